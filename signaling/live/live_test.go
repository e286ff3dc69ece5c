package live

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"braid/event"
	"braid/internal/testkit"
	"braid/media"
	"braid/media/sfu"
	"braid/relay"
)

// What cmd wires fits.
var (
	_ Rooms = (*sfu.Server)(nil)
	_ Tasks = (*relay.Service)(nil)
)

// house is channels and tasks without media.
type house struct {
	mu       sync.Mutex
	channels []sfu.ChannelInfo
	live     []sfu.ChannelLive
	tasks    []relay.TaskState
	watchers atomic.Int32
}

func (h *house) Snapshot() []sfu.ChannelInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]sfu.ChannelInfo{}, h.channels...)
}

func (h *house) Live() []sfu.ChannelLive {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]sfu.ChannelLive{}, h.live...)
}

func (h *house) States() []relay.TaskState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]relay.TaskState{}, h.tasks...)
}

func (h *house) Watch() (stop func()) {
	h.watchers.Add(1)
	return func() { h.watchers.Add(-1) }
}

func (h *house) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

var at = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

func person(id string) sfu.UserInfo {
	return sfu.UserInfo{ID: id, Session: "s-" + id, Joined: at, Role: event.Streamer, Client: event.WebRTC, Sessions: 1, Sources: []media.Source{media.Camera}}
}

func room(app, id string, users ...string) sfu.ChannelInfo {
	c := sfu.ChannelInfo{App: app, Channel: id, Opened: at}
	for _, u := range users {
		c.Users = append(c.Users, person(u))
	}
	return c
}

func serve(t *testing.T, l *Live, still func(context.Context) bool) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := Filter{r.URL.Query().Get("app"), r.URL.Query().Get("channel")}
		if err := l.Serve(w, r, f, still); err != nil {
			w.Header().Del("Content-Type")
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return srv.URL
}

// reader reads a stream as EventSource does.
type reader struct {
	t    *testing.T
	res  *http.Response
	text *bufio.Reader
}

func read(t *testing.T, url string) *reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %s, %s", res.Status, res.Header.Get("Content-Type"))
	}
	return &reader{t, res, bufio.NewReader(res.Body)}
}

// next is the next event, "" for the name at a comment; io errors are returned.
func (r *reader) next() (id, name, data string, err error) {
	for {
		line, err := r.text.ReadString('\n')
		if err != nil {
			return id, name, data, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			data = value
		case "":
			return id, name, data, nil
		}
	}
}

// expect reads up to an event with a name, and compares its data.
func (r *reader) expect(name, want string) {
	r.t.Helper()
	for {
		_, got, data, err := r.next()
		if err != nil {
			r.t.Fatalf("waiting for %s: %v", name, err)
		}
		if got == "" {
			continue
		}
		if got != name || data != want {
			r.t.Fatalf("got %s %s\nwant %s %s", got, data, name, want)
		}
		return
	}
}

// A stream begins with everything and goes on with what changes.
func TestStream(t *testing.T) {
	h := &house{}
	h.channels = []sfu.ChannelInfo{room("a", "x", "ann", "ben"), room("b", "x", "zoe")}
	h.channels[0].Users[0].Receives = sfu.Receives{Audio: true, Video: true, Width: 640, Height: 360}
	h.live = []sfu.ChannelLive{{App: "a", Channel: "x", Levels: sfu.Levels{Users: map[string]int{"ann": -23}, Speakers: []string{"ann"}},
		Users: map[string]sfu.UserLive{"ann": {Quality: &sfu.Quality{Up: 5, Down: 3, Reasons: []string{"bandwidth"}}, Tracks: []sfu.TrackLive{
			{SourceState: sfu.SourceState{Source: sfu.Camera, Codec: media.H264, Width: 1280, Height: 720}, Bitrate: 1_476_123, Loss: 0.00444}}}}}}
	h.tasks = []relay.TaskState{{App: "a", Channel: "x", Task: "t", Mode: relay.Mix, Created: at,
		URLs: []relay.URLState{{URL: "rtmp://h/live/na***", State: "connecting"}}}}
	l := New(h, h)
	url := serve(t, l, nil)
	r := read(t, url+"?app=a")
	const user = `{"id":"%s","session":"s-%[1]s","joined":"2026-11-22T13:00:00Z","role":"streamer","client":"webrtc","connections":1,"sources":["camera"],"tracks":[%s],"receives":{%s}%s}`
	const idle = `"audio":false,"video":false`
	ann := fmt.Sprintf(user, "ann", `{"source":"camera","codec":"H264","width":1280,"height":720,"bitrate":1500000,"loss":0.4,"muted":false}`,
		`"audio":true,"video":true,"width":640,"height":360`, `,"quality":{"up":5,"down":3,"reasons":["bandwidth"]}`)
	ben := fmt.Sprintf(user, "ben", "", idle, "")
	task := `{"app":"a","id":"t","channel":"x","auto":false,"mode":"mix","created":"2026-11-22T13:00:00Z","urls":[{"url":"rtmp://h/live/na***","state":"%s","reason":"","bytes":%d,"dropped":0,"reconnects":0}]}`
	place := `{"app":"a","id":"x","opened":"2026-11-22T13:00:00Z",`
	r.expect("snapshot", `{"channels":[`+place+`"users":[`+ann+`,`+ben+`],"levels":{"ann":-23},"speakers":["ann"]}],"tasks":[`+fmt.Sprintf(task, "connecting", 0)+`]}`)

	h.set(func() { // one leaves, one comes, one is heard no more; another application's business is not ours
		h.channels[0] = room("a", "x", "ann", "cat")
		h.channels[0].Users[0].Receives = sfu.Receives{Audio: true, Video: true, Width: 640, Height: 360}
		h.channels[1] = room("b", "x")
		h.live[0].Levels = sfu.Levels{}
	})
	r.expect("change", `{"channels":[`+place+`"users":[`+fmt.Sprintf(user, "cat", "", idle, "")+`],"gone":["ben"]}]}`)
	r.expect("levels", `{"channels":[{"app":"a","id":"x","levels":{},"speakers":[]}]}`)
	h.set(func() { h.tasks[0].URLs = []relay.URLState{{URL: "rtmp://h/live/na***", State: "playing", Bytes: 9}} })
	r.expect("change", `{"tasks":[`+fmt.Sprintf(task, "playing", 9)+`]}`)
	h.set(func() { h.channels, h.live, h.tasks = nil, nil, nil })
	r.expect("change", `{"gone_channels":[{"app":"a","id":"x"}],"gone_tasks":[{"app":"a","id":"t"}]}`)
	h.set(func() { h.channels = []sfu.ChannelInfo{room("a", "y")} })
	r.expect("change", `{"channels":[`+strings.Replace(place, `"x"`, `"y"`, 1)+`"users":[]}]}`)

	h.set(func() { h.channels = []sfu.ChannelInfo{room("a", "y"), room("a", "z", "zoe")} })
	r.next() // all streams share what is seen now
	read(t, url+"?app=a&channel=z").expect("snapshot", `{"channels":[`+strings.Replace(place, `"x"`, `"z"`, 1)+`"users":[`+fmt.Sprintf(user, "zoe", "", idle, "")+`],"levels":{},"speakers":[]}],"tasks":[]}`)
}

// Everything is measured only while somebody reads, and a stream ends when its
// reader may not read any more.
func TestStreamEnds(t *testing.T) {
	h := &house{channels: []sfu.ChannelInfo{room("a", "x", "ann")}}
	l := New(h, h)
	l.silent = 600 * time.Millisecond
	var may atomic.Bool
	may.Store(true)
	r := read(t, serve(t, l, func(context.Context) bool { return may.Load() }))
	if _, name, _, err := r.next(); name != "snapshot" || err != nil {
		t.Fatalf("got %q, %v", name, err)
	}
	if n := h.watchers.Load(); n != 1 {
		t.Errorf("%d watch, want 1", n)
	}
	if _, name, _, err := r.next(); name != "" || err != nil {
		t.Fatalf("in the silence: got %q, %v; want a comment", name, err)
	}
	may.Store(false)
	for err := error(nil); err == nil; {
		_, _, _, err = r.next()
	}
	testkit.Eventually(t, "nobody watches", func() bool { return h.watchers.Load() == 0 && l.readers.Load() == 0 })

	l.readers.Store(mostReaders)
	err := l.Serve(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), Filter{}, nil)
	if !errors.Is(err, media.ErrLimit) || l.readers.Load() != mostReaders {
		t.Errorf("one too many: got %v", err)
	}
	l.readers.Store(0)
	if err := l.Serve(httptest.NewRecorder(), httptest.NewRequest("HEAD", "/", nil), Filter{}, nil); err != nil {
		t.Errorf("HEAD: got %v", err)
	}
}

// A reader that takes nothing holds nobody up, and gets only what is new when it
// reads on; one that never does is let go.
func TestSlowReader(t *testing.T) {
	h := &house{}
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("user-%d", i))
	}
	h.channels = []sfu.ChannelInfo{room("a", "big", names...), room("a", "small", "n0")}
	for i := range h.channels[0].Users {
		h.channels[0].Users[i].DisplayName = strings.Repeat("long ", 1600) // 8 MB in all: more than sockets hold
	}
	l := New(h, h)
	url := serve(t, l, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the slow reader is there", func() bool { return l.readers.Load() == 1 })

	quick := read(t, url+"?channel=small")
	if _, name, data, err := quick.next(); name != "snapshot" || err != nil || !strings.Contains(data, `"n0"`) {
		t.Fatalf("got %s %s, %v", name, data, err)
	}
	for i := 1; i <= 4; i++ {
		h.set(func() { h.channels[1] = room("a", "small", fmt.Sprintf("n%d", i)) })
		if _, name, data, err := quick.next(); name != "change" || err != nil || !strings.Contains(data, fmt.Sprintf(`"id":"n%d"`, i)) {
			t.Fatalf("while another is slow: got %s %s, %v", name, data, err)
		}
	}

	// It reads on: the first view, then at once the newest, the others never.
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	slow := &reader{t, res, bufio.NewReader(res.Body)}
	if _, name, data, err := slow.next(); name != "snapshot" || err != nil || strings.Contains(data, `"n4"`) || !json.Valid([]byte(data)) {
		t.Fatalf("got %s of %d bytes, %v", name, len(data), err)
	}
	if _, name, data, err := slow.next(); name != "change" || err != nil || !strings.Contains(data, `"n4"`) || strings.Contains(data, `"n2"`) || len(data) > 2000 {
		t.Fatalf("after the snapshot: got %s %.300s, %v; want the newest change", name, data, err)
	}
	conn.Close()
	testkit.Eventually(t, "the slow reader has gone", func() bool { return l.readers.Load() == 1 })

	l.limit = 300 * time.Millisecond
	dead, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	_ = dead.(*net.TCPConn).SetReadBuffer(64 << 10)
	if _, err := dead.Write([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "one more reader", func() bool { return l.readers.Load() == 2 })
	testkit.Eventually(t, "who takes nothing is let go", func() bool { return l.readers.Load() == 1 })
}
