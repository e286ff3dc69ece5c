package origin

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/http"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/av1"
	"braid/media/flv"
	"braid/media/rtmp"
)

// TestEnhancedRTMP publishes real HEVC and AV1 by FourCC, the latter as the first of
// two tracks, to viewers who come late by RTMP and HTTP-FLV: they get the sequence
// header, then a key frame, and every picture decodes.
func TestEnhancedRTMP(t *testing.T) {
	s := start(t)
	for _, codec := range []media.Codec{media.H265, media.AV1} {
		t.Run(string(codec), func(t *testing.T) {
			pictures := encoded(t, codec)
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			url := s.rtmp + string(codec)
			p, err := rtmp.Dial(ctx, url, rtmp.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			send := func(tag *flv.Tag) {
				t.Helper()
				if codec == media.AV1 {
					tag = asTrack(tag)
				}
				if err := p.Write(tag); err != nil {
					t.Fatal(err)
				}
			}
			send(sequenceStart(t, codec, pictures[0]))
			const late = 40 // pictures; the newest key frame is number 25
			for i, units := range pictures[:late] {
				send(enhanced(codec, units, i*40, i%25 == 0))
			}
			testkit.Eventually(t, "the size, and the last picture sent", func() bool {
				for _, i := range s.Streams() {
					if i.Name == string(codec) {
						return i.Video == string(codec) && i.Width == 320 && i.Height == 180 && s.reached(i) == (late-1)*40
					}
				}
				return false
			})
			resp, err := http.Get(s.http + string(codec) + ".flv")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			v, err := rtmp.Play(ctx, url, rtmp.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			for i, units := range pictures[late:] {
				send(enhanced(codec, units, (late+i)*40, (late+i)%25 == 0))
			}
			decodes(t, codec, v.Read)
			if err := flv.ReadHeader(resp.Body); err != nil {
				t.Fatal(err)
			}
			decodes(t, codec, func() (*flv.Tag, error) { return flv.ReadTag(resp.Body) })
		})
	}
}

// reached is the newest timestamp of a stream.
func (o *Origin) reached(i StreamInfo) uint32 {
	o.Hub.mu.Lock()
	defer o.Hub.mu.Unlock()
	s := o.streams[key{i.App, i.Name}]
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// asTrack makes a tag a message of two tracks of which the second is noise.
func asTrack(tag *flv.Tag) *flv.Tag {
	p := tag.Payload
	out := []byte{p[0]&0xf0 | 6, 0x10 | p[0]&15}
	out = append(out, p[1:5]...)
	for id, body := range [][]byte{p[5:], []byte("noise")} {
		out = append(out, byte(id))
		out = append(out, binary.BigEndian.AppendUint32(nil, uint32(len(body)))[1:]...)
		out = append(out, body...)
	}
	return &flv.Tag{Type: tag.Type, Timestamp: tag.Timestamp, Payload: out}
}

// decodes reads what a late viewer gets up to picture 99, the last, and counts its
// pictures with ffprobe.
func decodes(t *testing.T, codec media.Codec, next func() (*flv.Tag, error)) {
	t.Helper()
	var file bytes.Buffer
	var d flv.Demuxer
	first := true
	for {
		tag, err := next()
		if err != nil {
			t.Fatal(err)
		}
		if first && !flv.IsSequenceHeader(tag) {
			t.Errorf("the first tag is % .20x, not the sequence header", tag.Payload)
		}
		first = false
		au, err := d.Demux(tag)
		if err != nil {
			t.Fatal(err)
		}
		if au == nil {
			continue
		}
		if file.Len() == 0 && (!au.Key || tag.Timestamp != 25*40) {
			t.Errorf("the first picture is of %d ms, key %v; want the newest key frame of 1000 ms", tag.Timestamp, au.Key)
		}
		if codec == media.AV1 {
			file.Write([]byte{av1.TypeTemporalDelimiter<<3 | 2, 0}) // with a size, of 0
		}
		for _, u := range au.Units {
			if codec != media.AV1 {
				file.Write([]byte{0, 0, 0, 1})
			}
			file.Write(u)
		}
		if tag.Timestamp == 99*40 {
			break
		}
	}
	name, ending := encoders[codec].name, ".hevc"
	if codec == media.AV1 {
		ending = ".obu"
	}
	if got := countFrames(t, "v"+ending, file.Bytes()); got[name] != 75 {
		t.Errorf("ffprobe decodes %v, want 75 pictures of %s", got, name)
	}
}
