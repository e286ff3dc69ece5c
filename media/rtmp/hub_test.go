package rtmp

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"braid/media"
	"braid/media/flv"
)

// testHub is a small origin: streams by "app/name", each with its tags from the
// newest key frame on.
type testHub struct {
	mu      sync.Mutex
	streams map[string]*testStream
	kept    map[string]*testStream // if not nil: also those that have ended
	queries []string
	deny    error // returned to all who publish or play
}

type testStream struct {
	hub  *testHub
	name string

	mu      sync.Mutex
	heads   []*flv.Tag // metadata and sequence headers
	gop     []*flv.Tag
	all     []*flv.Tag
	closed  bool
	changed chan struct{} // closed at each change
}

func newTestHub() *testHub { return &testHub{streams: map[string]*testStream{}} }

func (h *testHub) Publish(r Request) (Ingest, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queries = append(h.queries, r.Query)
	name := r.App + "/" + r.Stream
	switch {
	case h.deny != nil:
		return nil, h.deny
	case r.Remote == nil:
		return nil, fmt.Errorf("no remote address")
	case h.streams[name] != nil:
		return nil, media.ErrExists
	}
	s := &testStream{hub: h, name: name, changed: make(chan struct{})}
	h.streams[name] = s
	if h.kept != nil {
		h.kept[name] = s
	}
	return s, nil
}

func (h *testHub) Play(r Request) (Playback, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queries = append(h.queries, r.Query)
	s := h.streams[r.App+"/"+r.Stream]
	if s == nil || h.deny != nil {
		return nil, media.ErrNotFound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &testPlayback{s: s, first: append(append([]*flv.Tag{}, s.heads...), s.gop...), next: len(s.all)}, nil
}

func (h *testHub) stream(name string) *testStream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams[name]
}

func (s *testStream) WriteTag(t *flv.Tag) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case t.Type == flv.Script || flv.IsSequenceHeader(t):
		s.heads = append(s.heads, t)
	case t.Type == flv.Video && flv.IsVideoKey(t.Payload):
		s.gop = []*flv.Tag{t}
	default:
		s.gop = append(s.gop, t)
	}
	s.all = append(s.all, t)
	s.changeLocked()
}

func (s *testStream) changeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *testStream) Close() {
	s.hub.mu.Lock()
	delete(s.hub.streams, s.name)
	s.hub.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.changeLocked()
}

func (s *testStream) tags() []*flv.Tag {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[:len(s.all):len(s.all)]
}

type testPlayback struct {
	s     *testStream
	first []*flv.Tag
	next  int
}

func (p *testPlayback) Next(ctx context.Context) ([]*flv.Tag, error) {
	if tags := p.first; len(tags) > 0 {
		p.first = nil
		return tags, nil
	}
	for {
		p.s.mu.Lock()
		tags, changed, closed := p.s.all[p.next:], p.s.changed, p.s.closed
		p.s.mu.Unlock()
		if len(tags) > 0 {
			p.next += len(tags)
			return tags, nil
		}
		if closed {
			return nil, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *testPlayback) Close() {}

// testServer listens on loopback and hands each connection to Serve.
type testServer struct {
	addr string
	errs chan error // one for each connection that ended
}

func startServer(t testing.TB, h Handler, cfg *tls.Config) *testServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{addr: l.Addr().String(), errs: make(chan error, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(testLog{t}, nil))
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if cfg != nil {
				nc = tls.Server(nc, cfg)
			}
			wg.Go(func() { s.errs <- Serve(ctx, nc, h, log) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		wg.Wait()
	})
	return s
}

func (s *testServer) url(path string) string { return "rtmp://" + s.addr + "/" + path }

// ended waits for the next connection to end.
func (s *testServer) ended(t testing.TB) error {
	t.Helper()
	select {
	case err := <-s.errs:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the session does not end")
		return nil
	}
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", b)
	return len(b), nil
}

func readFLV(t testing.TB, path string) []*flv.Tag {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := flv.ReadHeader(f); err != nil {
		t.Fatal(err)
	}
	var tags []*flv.Tag
	for {
		tag, err := flv.ReadTag(f)
		if err == io.EOF {
			return tags
		}
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, tag)
	}
}

const sampleFLV = "../flv/testdata/sample.flv"
