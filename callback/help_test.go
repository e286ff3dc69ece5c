package callback

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"braid/event"
	"braid/internal/testkit"
	"braid/store"
	"braid/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("BRAID_CALLBACK_CHILD"); dir != "" {
		child(dir)
		return
	}
	code := m.Run()
	testkit.Exit(code, "braid/callback.(")
}

const testApp = "app1"

// newApp makes a store's application.
func newApp(t testing.TB, db *store.DB, id string) store.Application {
	t.Helper()
	app := store.Application{ID: id, Signing: store.Secret{Current: NewSecret()}}
	update(t, db, func(tx *store.Tx) error { return tx.CreateApplication(&app) })
	return app
}

func update(t testing.TB, db *store.DB, f func(*store.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

// start makes a Service over a store with the application testApp and runs it
// until the test's end, or until stop is called.
func start(t testing.TB, db *store.DB, c Config) (s *Service, stop func()) {
	t.Helper()
	c.Store = db
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	s = New(c)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// subscribe makes a Room subscription to all events of all channels.
func subscribe(t testing.TB, s *Service, app, url string, channels ...string) store.Subscription {
	t.Helper()
	sub := store.Subscription{App: app, Kind: store.Room, URL: url, Channels: channels, Events: []string{channelEvent, userEvent}}
	if err := s.Create(context.Background(), &sub); err != nil {
		t.Fatal(err)
	}
	return sub
}

// role is an event with a number to know it by: its user's id.
func role(channel string, n int) event.Event {
	return event.Event{App: testApp, Channel: channel, Type: event.UserRole,
		User: &event.User{ID: fmt.Sprintf("u%d", n), Session: "s", Role: event.Streamer}}
}

func add(t testing.TB, db *store.DB, events ...event.Event) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error { return tx.Append(events...) })
}

// message is what a receiver got.
type message struct {
	roomMessage
	header http.Header
	body   []byte
}

func (m *message) user() string { return m.Contents[0].UserEvent.UserId }

// receiver takes callbacks. Its answer is 200 unless respond says otherwise.
type receiver struct {
	respond func(m *message) int // called without the lock

	mu  sync.Mutex
	got []message // that were answered with 2xx
	all []message
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	m := message{header: req.Header}
	m.body, _ = io.ReadAll(req.Body)
	if err := json.Unmarshal(m.body, &m.roomMessage); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	code := http.StatusOK
	if r.respond != nil {
		code = r.respond(&m)
	}
	r.mu.Lock()
	r.all = append(r.all, m)
	if code < 300 {
		r.got = append(r.got, m)
	}
	r.mu.Unlock()
	w.WriteHeader(code)
}

func (r *receiver) messages() []message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]message(nil), r.got...)
}

func (r *receiver) attempts() []message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]message(nil), r.all...)
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

func (r *receiver) listen(t testing.TB) (url string) {
	t.Helper()
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	return srv.URL + "/cb"
}

// inOrder checks that each channel's messages are its events 0 to n-1, each at
// least once, in order of first arrival, and that repeats have the same MsgId.
func inOrder(t testing.TB, got []message, want map[string]int) (repeats int) {
	t.Helper()
	next := map[string]int{}
	ids := map[string]string{} // by channel and number
	for _, m := range got {
		var n int
		if _, err := fmt.Sscanf(m.user(), "u%d", &n); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint(m.ChannelId, "/", n)
		switch {
		case n == next[m.ChannelId]:
			next[m.ChannelId]++
			ids[key] = m.MsgId
		case n > next[m.ChannelId]:
			t.Fatalf("channel %s: got event %d before %d", m.ChannelId, n, next[m.ChannelId])
		case n < next[m.ChannelId]-1:
			t.Fatalf("channel %s: got event %d again after %d", m.ChannelId, n, next[m.ChannelId]-1)
		default:
			repeats++
			if ids[key] != m.MsgId {
				t.Fatalf("channel %s: event %d came again with MsgId %s, was %s", m.ChannelId, n, m.MsgId, ids[key])
			}
		}
	}
	for c, n := range want {
		if next[c] != n {
			t.Fatalf("channel %s: got %d of %d events", c, next[c], n)
		}
	}
	return repeats
}

// pipes is a network without an operating system, for tests in fake time: a
// server listens on it, and Dial leads to that server while it is up.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	mu    sync.Mutex
	down  bool
	dials int
}

func newPipes(t testing.TB, h http.Handler) *pipes {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: h}
	ended := make(chan struct{})
	go func() { defer close(ended); srv.Serve(p) }()
	t.Cleanup(func() { srv.Close(); <-ended })
	return p
}

// set makes it go down or up and tells how often it was dialled before.
func (p *pipes) set(down bool) (dials int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	return p.dials
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	down := p.down
	p.dials++
	p.mu.Unlock()
	if down {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func records(t testing.TB, s *Service, q store.RecordQuery) []store.Record {
	t.Helper()
	q.App, q.Kind = cmp.Or(q.App, testApp), cmp.Or(q.Kind, store.Room)
	var all []store.Record
	for page := 1; ; page++ {
		p, err := s.Records(context.Background(), q, page, 100)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Records...)
		if !p.HasMore {
			return all
		}
	}
}

func open(t testing.TB) *store.DB {
	t.Helper()
	db := storetest.Open(t)
	newApp(t, db, testApp)
	return db
}

// eachOnceRefused is a receiver's respond that refuses each message once.
func eachOnceRefused() func(*message) int {
	var mu sync.Mutex
	refused := map[string]bool{} // by id
	return func(m *message) int {
		mu.Lock()
		defer mu.Unlock()
		id := m.header.Get("webhook-id")
		if refused[id] {
			return http.StatusOK
		}
		refused[id] = true
		return http.StatusServiceUnavailable
	}
}
