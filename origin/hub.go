package origin

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/h264"
)

// Hub knows the streams on air by application and name, and carries tags from
// each one's publisher to its viewers.
//
// Timestamps are those of the first publisher: a viewer's first is not 0. When a
// publisher comes back in time, the new one's are moved to go on rising.
//
// All methods may be called from any goroutine. It starts none; a timer runs
// while a publisher is away.
type Hub struct {
	mu      sync.Mutex
	streams map[key]*stream
	closed  bool
}

type key struct{ app, name string }

// NewHub is a hub without streams.
func NewHub() *Hub { return &Hub{streams: make(map[key]*stream)} }

// Publish puts a stream on air, or back on air. remote is the publisher's
// address for Streams. It fails with media.ErrExists when somebody publishes
// under this name, media.ErrInvalid for a name that validName refuses,
// media.ErrClosed after Close.
func (h *Hub) Publish(app, name, remote string) (*Ingest, error) {
	if err := validKey(app, name); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("origin: publish %s/%s: %w", app, name, media.ErrClosed)
	}
	k := key{app, name}
	s := h.streams[k]
	if s == nil {
		s = &stream{hub: h, app: app, name: name, viewers: make(map[*Viewer]struct{})}
		h.streams[k] = s
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ingest != nil {
		return nil, fmt.Errorf("origin: publish %s/%s: %s publishes it: %w", app, name, s.ingest.remote, media.ErrExists)
	}
	in := &Ingest{s: s, remote: remote}
	s.startLocked(in)
	return in, nil
}

// Play joins a stream. It fails with media.ErrNotFound when it is not on air.
func (h *Hub) Play(app, name string) (*Viewer, error) { return h.play(app, name, false) }

func (h *Hub) play(app, name string, internal bool) (*Viewer, error) {
	if err := validKey(app, name); err != nil {
		return nil, err
	}
	h.mu.Lock()
	s := h.streams[key{app, name}]
	h.mu.Unlock()
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	if s == nil || s.ended {
		return nil, fmt.Errorf("origin: play %s/%s: nobody publishes it: %w", app, name, media.ErrNotFound)
	}
	v := newViewer(s, internal, s.gop.start(s.last), s.gop.keyed)
	s.viewers[v] = struct{}{}
	return v, nil
}

// expire ends a stream whose publisher did not come back. epoch is that of the
// publisher that went: a timer that fires while the next one starts does nothing.
func (h *Hub) expire(s *stream, epoch uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ingest == nil && s.epoch == epoch && !s.ended {
		s.endLocked()
		delete(h.streams, key{s.app, s.name})
	}
}

// Close ends all streams; afterwards nothing can be published.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for k, s := range h.streams {
		s.mu.Lock()
		s.endLocked()
		s.mu.Unlock()
		delete(h.streams, k)
	}
}

// StreamInfo describes a stream at one moment.
type StreamInfo struct {
	App, Name string
	Since     time.Time // when the present publisher began
	Remote    string    // its address; empty while it is away
	Viewers   int       // over RTMP and HTTP-FLV; HLS has requests, not viewers
	BytesIn   uint64    // media payload received
	BytesOut  uint64    // FLV bytes taken by viewers, HLS segments served

	Video, Audio  string // "H264", "AAC", "unknown" (Enhanced RTMP or old codecs), empty without
	Width, Height int    // 0 when not known
}

// Streams describes all streams on air, sorted by application and name.
func (h *Hub) Streams() []StreamInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	infos := make([]StreamInfo, 0, len(h.streams))
	for _, s := range h.streams {
		infos = append(infos, s.info())
	}
	slices.SortFunc(infos, func(a, b StreamInfo) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Name, b.Name))
	})
	return infos
}

func (s *stream) info() StreamInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := StreamInfo{App: s.app, Name: s.name, Since: s.since, BytesIn: s.bytesIn, BytesOut: s.bytesOut.Load()}
	if s.ingest != nil {
		i.Remote = s.ingest.remote
	}
	for v := range s.viewers {
		if !v.internal {
			i.Viewers++
		}
	}
	if s.hasVideo {
		i.Video = "unknown"
	}
	if s.hasAudio {
		i.Audio = "unknown"
	}
	if t := s.now.video; t != nil {
		i.Video, i.Width, i.Height = describeVideo(&t.Tag)
	}
	if s.now.audio != nil {
		i.Audio = string(media.AAC) // the only one that flv.IsSequenceHeader knows
	}
	return i
}

// describeVideo reads codec and size from a video sequence header.
func describeVideo(t *flv.Tag) (codec string, width, height int) {
	if t.Payload[0]&0x80 != 0 || len(t.Payload) < 5 {
		return "unknown", 0, 0
	}
	spss, _, _, err := h264.ParseDecoderConfig(t.Payload[5:])
	if err != nil || len(spss) == 0 {
		return string(media.H264), 0, 0
	}
	sps, err := h264.ParseSPS(spss[0])
	if err != nil {
		return string(media.H264), 0, 0
	}
	return string(media.H264), sps.Width, sps.Height
}

func validKey(app, name string) error {
	if err := validName("application", app); err != nil {
		return err
	}
	return validName("stream", name)
}

// validName holds names to what can stand in a URL's path and a file's name.
func validName(what, s string) error {
	fail := func(why string) error {
		return fmt.Errorf("origin: %s name %.40q %s: %w", what, s, why, media.ErrInvalid)
	}
	switch {
	case s == "":
		return fail("is empty")
	case len(s) > 255:
		return fail("is longer than 255 characters")
	case s == "." || s == "..":
		return fail("is a path")
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '=', c == '.':
		default:
			return fail("has characters other than A-Z a-z 0-9 - _ = .")
		}
	}
	return nil
}
