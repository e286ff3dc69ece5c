package artc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"braid/callback"
	"braid/media"
	"braid/media/sfu"
	"braid/relay"
	"braid/store"
)

// captureTime is when the requests of testdata/captured were signed.
var captureTime = time.Date(2026, 11, 22, 13, 37, 35, 0, time.UTC)

type keyring map[string]string

func (k keyring) Secret(id string) (string, bool) { s, ok := k[id]; return s, ok }

type appList []string

func (a appList) Exists(app string) bool { return slices.Contains(a, app) }

// rooms is who is in the channels, by "app/channel"; it is both a
// media.Channels and an SFU.
type rooms struct {
	mu   sync.Mutex
	of   map[string]room
	fail error // of Kick, when set
}

func (r *rooms) Channel(app, channel string) (media.Channel, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.of[app+"/"+channel]
	return c, ok
}

func (r *rooms) ChannelsChanged() <-chan struct{} { return nil }

func (r *rooms) Snapshot() []sfu.ChannelInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []sfu.ChannelInfo
	for name := range r.of {
		app, channel, _ := strings.Cut(name, "/")
		all = append(all, sfu.ChannelInfo{App: app, Channel: channel})
	}
	return all
}

func (r *rooms) Kick(app, channel, user string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	name := app + "/" + channel
	i := slices.IndexFunc(r.of[name], func(u *media.User) bool { return u.ID == user })
	if i < 0 {
		return fmt.Errorf("user %s: %w", user, media.ErrNotFound)
	}
	r.of[name] = slices.Concat(r.of[name][:i], r.of[name][i+1:])
	return nil
}

func (r *rooms) Dismiss(app, channel string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := app + "/" + channel
	if _, ok := r.of[name]; !ok {
		return fmt.Errorf("channel %s: %w", channel, media.ErrNotFound)
	}
	delete(r.of, name)
	return nil
}

// put sets who is in a channel.
func (r *rooms) put(app, channel string, users ...*media.User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of[app+"/"+channel] = users
}

type room []*media.User

func (r room) Users() []*media.User     { return r }
func (r room) Changed() <-chan struct{} { return nil }

// tasks keeps specs in memory, newest update first, and checks what the border promises.
type tasks struct {
	mu    sync.Mutex
	rooms *rooms
	quota int
	specs []*relay.Spec
	sei   map[string]string
	fail  error // what every call fails with, when set
}

func (s *tasks) at(app, task string) int {
	return slices.IndexFunc(s.specs, func(x *relay.Spec) bool { return x.App == app && x.Task == task })
}

func (s *tasks) Start(_ context.Context, x *relay.Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if _, ok := s.rooms.Channel(x.App, x.Channel); !ok {
		return fmt.Errorf("channel: %w", media.ErrNotFound)
	}
	if s.at(x.App, x.Task) >= 0 {
		return fmt.Errorf("task: %w", media.ErrExists)
	}
	if len(s.specs) >= s.quota {
		return fmt.Errorf("the application runs %d tasks, the most: %w", s.quota, media.ErrLimit)
	}
	s.specs = slices.Insert(s.specs, 0, x)
	return nil
}

func (s *tasks) Update(_ context.Context, x *relay.Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.at(x.App, x.Task)
	if i < 0 {
		return fmt.Errorf("task: %w", media.ErrNotFound)
	}
	if x.Channel != s.specs[i].Channel {
		return fmt.Errorf("ChannelId: a task cannot move: %w", media.ErrInvalid)
	}
	s.specs = slices.Insert(slices.Delete(s.specs, i, i+1), 0, x)
	return nil
}

func (s *tasks) Stop(_ context.Context, app, task string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.at(app, task)
	if i < 0 {
		return fmt.Errorf("task: %w", media.ErrNotFound)
	}
	s.specs = slices.Delete(s.specs, i, i+1)
	return nil
}

func (s *tasks) SetSEI(_ context.Context, app, task, content string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at(app, task) < 0 {
		return fmt.Errorf("task: %w", media.ErrNotFound)
	}
	s.sei[app+"/"+task] = content
	return nil
}

func (s *tasks) List(app, task string, page, size int) []*relay.Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*relay.Spec
	for _, x := range s.specs {
		if x.App == app && (task == "" || x.Task == task) {
			found = append(found, x)
		}
	}
	from := min((page-1)*size, len(found))
	return found[from:min(from+size, len(found))]
}

// get is the spec of a running task.
func (s *tasks) get(t *testing.T, app, task string) *relay.Spec {
	t.Helper()
	found := s.List(app, task, 1, 1)
	if len(found) != 1 {
		t.Fatalf("task %s/%s: %d specs, want 1", app, task, len(found))
	}
	return found[0]
}

// server is a Handler behind net/http, with a clock that the test moves.
type server struct {
	t         *testing.T
	url       string
	addr      string
	tasks     *tasks
	rooms     *rooms
	db        *store.DB // nil when start made the server
	callbacks *callback.Service
	now       atomic.Int64 // unix seconds
	nonce     atomic.Int64
}

// start makes a server without a store: it is quick.
func start(t *testing.T) *server { t.Helper(); return startWith(t, func(*server, *Config) {}) }

// startWhole makes a server with a real store, in which the applications are,
// and real callbacks, which are not sent. All have the server's clock.
func startWhole(t *testing.T) *server {
	t.Helper()
	return startWith(t, func(s *server, c *Config) { s.fill(c, s.clock) })
}

// startSending makes a server whose callbacks are sent, by the real clock.
func startSending(t *testing.T) *server {
	t.Helper()
	s := startWith(t, func(s *server, c *Config) { s.fill(c, time.Now) })
	s.now.Store(time.Now().Unix())
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { s.callbacks.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return s
}

// fill adds the store and what needs it.
func (s *server) fill(c *Config, now func() time.Time) {
	s.t.Helper()
	var err error
	if s.db, err = store.Open(s.t.Context(), store.Config{Dir: s.t.TempDir(), Now: now}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.db.Close() })
	s.callbacks = callback.New(callback.Config{Store: s.db, Now: now})
	c.Store, c.Callbacks = s.db, s.callbacks
	err = s.db.Update(s.t.Context(), func(tx *store.Tx) error {
		for _, app := range []string{"app1", "app2"} {
			a := &store.Application{ID: app, Name: app, Signing: store.Secret{Current: callback.NewSecret()}}
			if err := tx.CreateApplication(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func startWith(t *testing.T, more func(*server, *Config)) *server {
	t.Helper()
	publisher := &media.User{ID: "111", Video: track{}}
	in := &rooms{of: map[string]room{"app1/ch1": {publisher, {ID: "viewer"}}}}
	s := &server{t: t, tasks: &tasks{rooms: in, quota: 4, sei: map[string]string{}}, rooms: in}
	s.now.Store(captureTime.Unix())
	c := Config{
		Keys: keyring{"testid": "testsecret", "other": "othersecret", "empty": ""}, Apps: appList{"app1", "app2"},
		Tasks: s.tasks, Channels: in, SFU: in, Now: s.clock,
		PublicHTTP: func(r *http.Request) string { return "http://" + r.Host },
		PublicRTMP: func(*http.Request) string { return "rtmp://media.example" },
	}
	more(s, &c)
	srv := httptest.NewServer(New(c))
	t.Cleanup(srv.Close)
	s.url, s.addr = srv.URL, srv.Listener.Addr().String()
	return s
}

// track says only that something is published; nothing here reads it.
type track struct{ media.Track }

func (s *server) clock() time.Time { return time.Unix(s.now.Load(), 0) }

// answer is a response as an SDK sees it.
type answer struct {
	status int
	body   map[string]any
}

func (a answer) code() string    { c, _ := a.body["Code"].(string); return c }
func (a answer) message() string { m, _ := a.body["Message"].(string); return m }

func (s *server) read(res *http.Response) answer {
	s.t.Helper()
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{status: res.StatusCode}
	if err := json.Unmarshal(b, &a.body); err != nil {
		s.t.Fatalf("the answer is not JSON: %v: %q", err, b)
	}
	return a
}

// do sends a request and reads the answer.
func (s *server) do(req *http.Request) answer {
	s.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(res)
}

// request is an action signed by ACS3 and not sent yet.
func (s *server) request(action string, params map[string]string) *http.Request {
	s.t.Helper()
	req, err := http.NewRequest("POST", s.url+"/?"+values(params).Encode(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("x-acs-action", action)
	if err := Sign(req, "testid", "testsecret", s.clock(), s.newNonce()); err != nil {
		s.t.Fatal(err)
	}
	return req
}

func (s *server) newNonce() string { return fmt.Sprint("nonce-", s.nonce.Add(1)) }

func (s *server) call(action string, params map[string]string) answer {
	s.t.Helper()
	return s.do(s.request(action, params))
}

// rpcParams are an action's parameters signed by HMAC-SHA1.
func (s *server) rpcParams(method, action string, params map[string]string) map[string]string {
	all := map[string]string{
		"Action": action, "Version": Version, "Format": "JSON", "AccessKeyId": "testid",
		"Timestamp": s.clock().UTC().Format(timeLayout), "SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0",
		"SignatureNonce": s.newNonce(), "SignatureType": "", "RegionId": "cn-shanghai",
	}
	for k, v := range params {
		all[k] = v
	}
	all["Signature"] = base64.StdEncoding.EncodeToString(rpcSum("testsecret", rpcStringToSign(method, all)))
	return all
}

func (s *server) callRPC(action string, params map[string]string) answer {
	s.t.Helper()
	req, err := http.NewRequest("GET", s.url+"/?"+values(s.rpcParams("GET", action, params)).Encode(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(req)
}

// replay writes a captured request byte for byte to the server.
func (s *server) replay(raw []byte) answer {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(raw); err != nil {
		s.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(res)
}

func captured(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/captured/" + name + ".http")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// capturedParams are the parameters of a captured request, not verified.
func capturedParams(t testing.TB, name string) map[string]string {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(captured(t, name))))
	if err != nil {
		t.Fatal(err)
	}
	params := map[string]string{}
	for k, v := range r.URL.Query() {
		params[k] = v[0]
	}
	return params
}

func values(params map[string]string) url.Values {
	v := url.Values{}
	for k, s := range params {
		v.Set(k, s)
	}
	return v
}

// expect fails the test when an answer is not the one wanted; an empty message is not compared.
func (s *server) expect(what string, a answer, status int, code, message string) {
	s.t.Helper()
	if a.status != status || a.code() != code || message != "" && a.message() != message {
		s.t.Errorf("%s:\ngot  %d %s %q\nwant %d %s %q", what, a.status, a.code(), a.message(), status, code, message)
	}
}
