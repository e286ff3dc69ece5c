package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"braid/callback"
	"braid/event"
	"braid/media"
	"braid/media/sfu"
	"braid/relay"
	"braid/signaling/console"
	"braid/signaling/live"
	"braid/store"
	"braid/store/storetest"
)

const adminToken = "an admin token"

// What cmd wires fits.
var (
	_ Tasks     = (*relay.Service)(nil)
	_ Rooms     = (*sfu.Server)(nil)
	_ Callbacks = (*callback.Service)(nil)
)

type keyring map[string]string

func (k keyring) Secret(id string) (string, bool) { s, ok := k[id]; return s, ok }

// rooms are channels without media.
type rooms struct {
	mu   sync.Mutex
	open []sfu.ChannelInfo
	seen []sfu.SessionInfo
	did  []string
}

// Live and Watch say that nothing is measured.
func (r *rooms) Live() []sfu.ChannelLive { return nil }
func (r *rooms) Watch() (stop func())    { return func() {} }

func (r *rooms) Sessions() []sfu.SessionInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

func (r *rooms) Snapshot() []sfu.ChannelInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.open)
}

func (r *rooms) Kick(app, channel, user string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.open {
		if c.App != app || c.Channel != channel {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(c.Users), func(u sfu.UserInfo) bool { return u.ID == user })
		if len(left) < len(c.Users) {
			r.open[i].Users = left
			r.did = append(r.did, "kick "+app+"/"+channel+"/"+user)
			return nil
		}
	}
	return fmt.Errorf("user %s is not in channel %s: %w", user, channel, media.ErrNotFound)
}

func (r *rooms) Dismiss(app, channel string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.open)
	r.open = slices.DeleteFunc(r.open, func(c sfu.ChannelInfo) bool { return c.App == app && c.Channel == channel })
	if len(r.open) == before {
		return fmt.Errorf("there is no channel %s: %w", channel, media.ErrNotFound)
	}
	r.did = append(r.did, "dismiss "+app+"/"+channel)
	return nil
}

// tasks notes what the relay is told; what is asked for is in the store.
type tasks struct {
	mu  sync.Mutex
	db  *store.DB
	did []string
}

func (r *tasks) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.did = append(r.did, s)
}

func (r *tasks) Stop(ctx context.Context, app, id string) error {
	r.note("stop " + app + "/" + id)
	return r.db.Update(ctx, func(tx *store.Tx) error { return tx.DeleteTask(app, id) })
}
func (r *tasks) MixOf(app, channel, id string) (*relay.Spec, error) {
	var found *relay.Spec
	err := r.db.View(context.Background(), func(tx *store.Tx) error {
		all, err := tx.Tasks()
		for _, t := range all {
			var s relay.Spec
			if t.App == app && t.ID == id && json.Unmarshal(t.Spec, &s) == nil && s.Mode == relay.Mix {
				found = &s
			}
		}
		return err
	})
	if err == nil && found == nil {
		err = fmt.Errorf("channel %s has no mixed stream %s: %w", channel, id, media.ErrNotFound)
	}
	return found, err
}

func (r *tasks) Update(ctx context.Context, s *relay.Spec) error {
	r.note("update " + s.App + "/" + s.Task)
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return r.db.Update(ctx, func(tx *store.Tx) error {
		return tx.UpdateTask(&store.Task{App: s.App, ID: s.Task, Channel: s.Channel, Auto: s.Auto != nil, Spec: b})
	})
}
func (r *tasks) States() []relay.TaskState {
	return []relay.TaskState{{App: "app1", Task: "t3", URLs: []relay.URLState{
		{URL: "rtmp://h:1935/live/***", State: "waiting", Reason: "rejected (NetStream.Publish.BadName)", Since: time.Unix(1700000000, 0).UTC(), Bytes: 7, Dropped: 8, Reconnects: 9},
	}}, {App: "app2", Task: "t1"}}
}
func (r *tasks) StopApp(app string)         { r.note("stop all of " + app) }
func (r *tasks) SettingsChanged(app string) { r.note("changed " + app) }

// told gives what was noted and forgets it.
func (r *tasks) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	did := r.did
	r.did = nil
	return did
}

// server is the API over real HTTP with a real store. Every answer is compared
// with openapi.json.
type server struct {
	t         *testing.T
	url       string
	handler   *Handler
	accounts  *console.Accounts
	db        *store.DB
	rooms     *rooms
	tasks     *tasks
	streams   *streams
	callbacks *callback.Service
	now       atomic.Int64 // unix milliseconds, of the store and the handler
	nonce     atomic.Int64
	real      bool // now is not looked at
}

func start(t *testing.T) *server {
	t.Helper()
	return startWith(t, false, callback.Config{})
}

// startWith starts with the real clock when real is set, and with the times of c.
func startWith(t *testing.T, real bool, c callback.Config) *server {
	t.Helper()
	s := &server{t: t, rooms: &rooms{}, streams: &streams{}, real: real}
	s.now.Store(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC).UnixMilli())
	s.db = storetest.OpenConfig(t, store.Config{Dir: t.TempDir(), Now: s.clock})
	s.tasks = &tasks{db: s.db}
	c.Store, c.Now = s.db, s.clock
	s.callbacks = callback.New(c)
	s.accounts = console.New(console.Config{Store: s.db, Now: s.clock, Hash: console.Cost{MemoryKiB: 64, Passes: 1}})
	s.handler = New(Config{Accounts: s.accounts, Live: live.New(s.rooms, s.tasks),
		Store: s.db, Callbacks: s.callbacks, SFU: s.rooms, Tasks: s.tasks, Streams: s.streams,
		Keys: keyring{"testid": "testsecret", "empty": ""}, AdminTokens: []string{"", "another", adminToken}, Now: s.clock})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a ServeMux would tidy up paths
		if strings.HasPrefix(r.URL.Path, "/console/") {
			s.accounts.ServeHTTP(w, r)
			return
		}
		s.handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// in makes a subtest the one that fails.
func (s *server) in(t *testing.T) {
	outer := s.t
	s.t = t
	t.Cleanup(func() { s.t = outer })
}

func (s *server) clock() time.Time {
	if s.real {
		return time.Now()
	}
	return time.UnixMilli(s.now.Load())
}

func (s *server) advance(by time.Duration) { s.now.Add(by.Milliseconds()) }

// answer is a response.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	text   string
	body   map[string]any
}

// request makes a request with the admin token. A string body is sent as it is.
func (s *server) request(method, path string, body any, headers ...string) *http.Request {
	s.t.Helper()
	var text []byte
	switch b := body.(type) {
	case nil:
	case string:
		text = []byte(b)
	default:
		var err error
		if text, err = json.Marshal(b); err != nil {
			s.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

func (s *server) do(method, path string, body any, headers ...string) answer {
	s.t.Helper()
	return s.send(s.request(method, path, body, headers...))
}

func (s *server) send(req *http.Request) answer {
	s.t.Helper()
	var sent []byte
	if req.GetBody != nil {
		r, err := req.GetBody()
		if err != nil {
			s.t.Fatal(err)
		}
		sent, _ = io.ReadAll(r)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{t: s.t, what: req.Method + " " + req.URL.RequestURI(), status: res.StatusCode, header: res.Header, text: string(text)}
	if len(text) > 0 && res.Header.Get("Content-Type") != "image/jpeg" {
		if err := json.Unmarshal(text, &a.body); err != nil {
			s.t.Fatalf("%s: the answer is not a JSON object: %v: %q", a.what, err, text)
		}
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Set-Cookie": ""} {
		if got := res.Header.Get(name); got != want {
			s.t.Errorf("%s: header %s: got %q, want %q", a.what, name, got, want)
		}
	}
	document(s.t).check(s.t, req, sent, a)
	return a
}

// expect checks the status, and that the answer's text has some words.
func (a answer) expect(status int, words ...string) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: got %d %s, want %d", a.what, a.status, a.text, status)
	}
	for _, w := range words {
		if !strings.Contains(a.text, w) {
			a.t.Errorf("%s: got %s, want it to say %q", a.what, a.text, w)
		}
	}
	return a
}

// field expects a 400 whose errors name a field.
func (a answer) field(name string, words ...string) {
	a.t.Helper()
	a.expect(400, words...)
	list, _ := a.body["errors"].([]any)
	for _, e := range list {
		if e.(map[string]any)["field"] == name {
			return
		}
	}
	a.t.Errorf("%s: got %s, want errors to name the field %s", a.what, a.text, name)
}

// at is a value inside, by its path "items.0.id".
func (a answer) at(path string) any {
	a.t.Helper()
	var v any = a.body
	for step := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

func (a answer) str(path string) string {
	a.t.Helper()
	s, ok := a.at(path).(string)
	if !ok {
		a.t.Fatalf("%s: %s is %v in %s, want a string", a.what, path, a.at(path), a.text)
	}
	return s
}

func (a answer) etag() string { return a.header.Get("ETag") }

// ids are the values of one field of all items.
func (a answer) ids(field string) []string {
	a.t.Helper()
	all := []string{}
	for _, item := range a.body["items"].([]any) {
		all = append(all, fmt.Sprint(item.(map[string]any)[field]))
	}
	return all
}

// next is the cursor of the next page as a query, "" on the last.
func (a answer) next() string {
	if s, ok := a.body["next"].(string); ok && s != "" {
		return "&cursor=" + s
	}
	return ""
}

// app creates an application.
func (s *server) app(id string) answer {
	s.t.Helper()
	return s.do("POST", "/v1/applications", map[string]any{"id": id, "name": "of " + id}).expect(201)
}

// update writes the store as other parts of braid do.
func (s *server) update(f func(*store.Tx) error) {
	s.t.Helper()
	if err := s.db.Update(s.t.Context(), f); err != nil {
		s.t.Fatal(err)
	}
}

func room(app, channel string, users ...string) sfu.ChannelInfo {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	c := sfu.ChannelInfo{App: app, Channel: channel, Opened: at}
	for _, u := range users {
		c.Users = append(c.Users, sfu.UserInfo{ID: u, Session: "s-" + u, Joined: at, Role: event.Streamer, Client: event.WebRTC,
			Sources: []media.Source{media.Camera}, Audio: media.Opus, Video: media.H264, Sessions: 1,
			Receives: sfu.Receives{Audio: true, Video: true, Width: 1280, Height: 720}})
	}
	return c
}

// streams are those of an origin without media.
type streams struct {
	mu      sync.Mutex
	on      []Stream
	changed int
}

func (s *streams) OnAir() []Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.on)
}

func (s *streams) TemplatesChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed++
}

// told says how often templates changed since it was asked last.
func (s *streams) told() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.changed
	s.changed = 0
	return n
}
