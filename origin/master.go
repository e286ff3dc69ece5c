package origin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"braid/media"
	"braid/media/flv"
	"braid/media/h264"
)

// serveMaster answers with the master playlist of a stream (RFC 8216 section 4.3.4):
// the stream itself and its renditions, those with the most bits first, as fragmented
// MP4. A stream without renditions has one of one entry.
func (o *Origin) serveMaster(w http.ResponseWriter, r *http.Request, app, name string) {
	l, err := readListing(r.URL.RawQuery, false)
	if err != nil {
		refuse(w, err)
		return
	}
	all := o.variants(app, name)
	if len(all) == 0 {
		refuse(w, fmt.Errorf("origin: %s/%s is not on air with pictures of H.264: %w", app, name, media.ErrNotFound))
		return
	}
	var list strings.Builder
	list.WriteString("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n")
	for _, v := range all {
		v.write(&list, name, l.query)
	}
	reply(w, "application/vnd.apple.mpegurl", []byte(list.String()))
}

// variant is one entry of a master playlist.
type variant struct {
	name          string
	peak, average int // bit/s
	width, height int
	codecs        string // RFC 6381
}

func (v *variant) write(list *strings.Builder, source, query string) {
	fmt.Fprintf(list, "#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,CODECS=%q", v.peak, min(v.average, v.peak), v.codecs)
	if v.width > 0 {
		fmt.Fprintf(list, ",RESOLUTION=%dx%d", v.width, v.height)
	}
	at := "fmp4.m3u8"
	if v.name != source {
		at = "../" + v.name + "/" + at
	}
	fmt.Fprintf(list, "\n%s%s\n", at, query)
}

// variants are a stream and those that are made from it, as far as it can be said what
// a player needs for them.
func (h *Hub) variants(app, name string) (all []variant) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, s := range h.streams {
		if k.app != app || k.name != name && s.source != name {
			continue
		}
		if v, ok := s.variant(); ok {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b variant) int {
		return cmp.Or(cmp.Compare(b.peak, a.peak), cmp.Compare(a.name, b.name))
	})
	return all
}

func (s *stream) variant() (variant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ingest == nil || s.now.video == nil {
		return variant{}, false
	}
	v := variant{name: s.name}
	p, err := flv.ParsePacket(&s.now.video.Tag)
	if err != nil || p.Codec != media.H264 {
		return v, false
	}
	sets, _, _, err := h264.ParseDecoderConfig(p.Body)
	if err != nil || len(sets) == 0 || len(sets[0]) < 4 {
		return v, false
	}
	v.codecs = fmt.Sprintf("avc1.%02x%02x%02x", sets[0][1], sets[0][2], sets[0][3])
	v.width, v.height = flv.ConfigSize(p.Codec, p.Body)
	if sound := s.soundCodecLocked(); sound != "" {
		v.codecs += "," + sound
	}
	v.average = s.rate.average()
	v.peak = max(int(1.1*s.rate.peak), s.peak, 100_000) // what MP4 adds, and a little
	return v, true
}

func (s *stream) soundCodecLocked() string {
	if s.now.audio == nil {
		return ""
	}
	p, err := flv.ParsePacket(&s.now.audio.Tag)
	switch {
	case err == nil && p.Codec == media.AAC && len(p.Body) > 0:
		return fmt.Sprintf("mp4a.40.%d", p.Body[0]>>3) // the audio object type (ISO/IEC 14496-3 section 1.6.2.1)
	case err == nil && p.Codec == media.Opus:
		return "opus"
	}
	return ""
}

// rateMeter finds the highest rate of a stream's groups of pictures, which are what
// HLS segments are made of, by the stream's own time.
type rateMeter struct {
	peak  float64 // bit/s
	bytes int     // since begin
	begin uint32  // ms
	some  bool

	allBytes int // of whole groups
	allTime  int // ms
}

// groupMost bounds a group: streams of sound alone have no key frames.
const groupMost = 10_000 // ms

// add takes the next tag.
func (m *rateMeter) add(bytes int, key bool, ms uint32) {
	span := int(int32(ms - m.begin))
	if m.some && span >= 1000 && (key || span >= groupMost) || span < 0 && key || !m.some {
		if m.some && span > 0 {
			m.peak = max(m.peak, float64(m.bytes)*8000/float64(span))
			m.allBytes += m.bytes
			m.allTime += span
		}
		m.some, m.begin, m.bytes = true, ms, 0
	}
	m.bytes += bytes
}

// average is that of whole groups, in bit/s.
func (m *rateMeter) average() int {
	if m.allTime == 0 {
		return 0
	}
	return int(int64(m.allBytes) * 8000 / int64(m.allTime))
}
