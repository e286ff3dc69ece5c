package origin

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"braid/media"
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
	changed func(Change) // may be nil

	mu      sync.Mutex
	streams map[key]*stream
	closed  bool
	changes []Change // that changed is yet to be told
	telling bool
}

type key struct{ app, name string }

// NewHub is a hub without streams.
func NewHub() *Hub { return newHub(nil) }

func newHub(changed func(Change)) *Hub {
	return &Hub{changed: changed, streams: make(map[key]*stream)}
}

// Publisher says what somebody publishes.
type Publisher struct {
	Domain    string // streaming domain; "": the origin's own
	App, Name string
	Remote    string // address for people
	// Source names the stream of the same application that this one is made from,
	// in the transcoder; "" for what comes from outside.
	Source string
	// Peak is the most that a second takes, in bit/s, when the publisher knows it.
	Peak int
}

// Publish is PublishAs in the origin's own domain.
func (h *Hub) Publish(app, name, remote string) (*Ingest, error) {
	return h.PublishAs(Publisher{App: app, Name: name, Remote: remote})
}

// PublishAs puts a stream on air, or back on air. It fails with media.ErrExists
// when somebody publishes under this name, in whatever domain, media.ErrInvalid for
// a name that validName refuses, media.ErrClosed after Close. A stream that waits
// for its publisher ends when one of another domain or source comes.
func (h *Hub) PublishAs(p Publisher) (*Ingest, error) {
	if err := validKey(p.App, p.Name); err != nil {
		return nil, err
	}
	defer h.tell()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("origin: publish %s/%s: %w", p.App, p.Name, media.ErrClosed)
	}
	k := key{p.App, p.Name}
	s := h.streams[k]
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ingest != nil {
			return nil, fmt.Errorf("origin: publish %s/%s: %s publishes it: %w", p.App, p.Name, s.remote, media.ErrExists)
		}
		if s.domain != p.Domain || s.source != p.Source {
			h.endLocked(s)
			s = nil
		}
	}
	if s == nil {
		s = &stream{hub: h, domain: p.Domain, app: p.App, name: p.Name, source: p.Source, remote: p.Remote, viewers: make(map[*Viewer]struct{})}
		h.streams[k] = s
		h.noteLocked(s, true)
	}
	in := &Ingest{s: s}
	s.remote, s.peak, s.rate = p.Remote, p.Peak, rateMeter{}
	s.startLocked(in)
	return in, nil
}

// endLocked ends a stream whose lock is held too.
func (h *Hub) endLocked(s *stream) {
	s.endLocked()
	delete(h.streams, key{s.app, s.name})
	h.noteLocked(s, false)
}

// Play joins a stream. It fails with media.ErrNotFound when it is not on air.
func (h *Hub) Play(app, name string) (*Viewer, error) { return h.PlayOnly(app, name, 0) }

// PlayOnly joins a stream for one kind of media, flv.Audio or flv.Video; 0: for all
// that there is. Metadata and sequence headers of the other kind are left out too. It
// fails as Play does, and with media.ErrNotFound when the stream lacks that kind and
// was given the time to show it.
func (h *Hub) PlayOnly(app, name string, only byte) (*Viewer, error) {
	return h.join(app, name, only, false)
}

// Tap is Play for a part of braid: it is not counted as somebody watching, nor are
// its bytes as sent.
func (h *Hub) Tap(app, name string) (*Viewer, error) { return h.TapOnly(app, name, 0) }

// TapOnly is PlayOnly as Tap is Play.
func (h *Hub) TapOnly(app, name string, only byte) (*Viewer, error) {
	return h.join(app, name, only, true)
}

func (h *Hub) join(app, name string, only byte, internal bool) (*Viewer, error) {
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
	if err := s.lacksLocked(only); err != nil {
		return nil, err
	}
	v := newViewer(s, internal, only, s.gop.start(s.last), s.gop.keyed)
	s.viewers[v] = struct{}{}
	return v, nil
}

// expire ends a stream whose publisher did not come back. epoch is that of the
// publisher that went: a timer that fires while the next one starts does nothing.
func (h *Hub) expire(s *stream, epoch uint32) {
	defer h.tell()
	h.mu.Lock()
	defer h.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ingest == nil && s.epoch == epoch && !s.ended {
		h.endLocked(s)
	}
}

// Close ends all streams; afterwards nothing can be published.
func (h *Hub) Close() {
	defer h.tell()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, s := range h.streams {
		s.mu.Lock()
		h.endLocked(s)
		s.mu.Unlock()
	}
}

// StreamInfo describes a stream at one moment.
type StreamInfo struct {
	Domain    string // streaming domain of its publisher; "": the origin's own
	App, Name string
	Source    string    // Publisher.Source
	Since     time.Time // when the present publisher began
	Remote    string    // its address; empty while it is away
	Viewers   int       // over RTMP and HTTP-FLV; HLS has requests, not viewers
	BytesIn   uint64    // media payload received
	BytesOut  uint64    // FLV bytes taken by viewers, HLS segments served

	Video, Audio  string // names of media.Codec, "unknown" for others, empty without
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
	i := StreamInfo{Domain: s.domain, Source: s.source, App: s.app, Name: s.name, Since: s.since, BytesIn: s.bytesIn, BytesOut: s.bytesOut.Load()}
	if s.ingest != nil {
		i.Remote = s.remote
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
	s.describeLocked(&i)
	return i
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
