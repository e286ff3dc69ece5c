package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"braid/media"
	"braid/relay"
	"braid/signaling/artc"
	"braid/signaling/token"
)

// room is a media.Channels with one channel, "demo" of application "app".
type room struct {
	mu      sync.Mutex
	users   []*media.User
	changed chan struct{}
}

func (r *room) set(users ...*media.User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users = users
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *room) Users() []*media.User {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.users
}

func (r *room) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *room) ChannelsChanged() <-chan struct{} { return nil }

func (r *room) Channel(app, channel string) (media.Channel, bool) {
	return r, app == "app" && channel == "demo" && len(r.Users()) > 0
}

type track struct{ media.Track }

// tasks keeps what the real OpenAPI handler asks for, and can fail.
type tasks struct {
	mu      sync.Mutex
	live    map[string]*relay.Spec
	starts  int
	fail    error
	resting string // URL that may not be used now
	sign    string // what play addresses have behind them
}

func (f *tasks) signPlay(_ context.Context, address string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return address + f.sign
}

func (f *tasks) Start(_ context.Context, s *relay.Spec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.fail != nil:
		return f.fail
	case f.resting != "" && slices.Contains(s.URLs, f.resting):
		return fmt.Errorf("StreamURL: it was in use until now: %w", media.ErrInvalid)
	}
	f.starts++
	f.live[s.Task] = s
	return nil
}

func (f *tasks) Update(_ context.Context, s *relay.Spec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live[s.Task] == nil {
		return media.ErrNotFound
	}
	f.live[s.Task] = s
	return nil
}

func (f *tasks) Stop(_ context.Context, _, task string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live[task] == nil {
		return media.ErrNotFound
	}
	delete(f.live, task)
	return nil
}

func (f *tasks) SetSEI(context.Context, string, string, string) error { return nil }

func (f *tasks) List(_, task string, _, _ int) []*relay.Spec {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.live[task]; s != nil {
		return []*relay.Spec{s}
	}
	return nil
}

func (f *tasks) only(t *testing.T) *relay.Spec {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.live) != 1 {
		t.Fatalf("%d tasks run, want 1", len(f.live))
	}
	for _, s := range f.live {
		return s
	}
	return nil
}

type one struct{}

func (one) Secret(id string) (string, bool) { return "secret", id == "key" }
func (one) Exists(app string) bool          { return app == "app" }

func start(t *testing.T) (base string, r *room, f *tasks) {
	t.Helper()
	r = &room{changed: make(chan struct{})}
	f = &tasks{live: map[string]*relay.Spec{}}
	api := artc.New(artc.Config{Keys: one{}, Apps: one{}, Tasks: f, Channels: r})
	server := httptest.NewServer(NewDemo(DemoConfig{App: "app", AppKey: func(string) string { return "appkey" }, AccessKeyID: "key", AccessKeySecret: "secret",
		API: api, Channels: r, OriginRTMP: "rtmp://127.0.0.1:1935", SignPlay: f.signPlay}))
	t.Cleanup(server.Close)
	return server.URL, r, f
}

func send(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestJoinGivesAValidToken(t *testing.T) {
	base, _, _ := start(t)
	status, body := send(t, "POST", base+"/demo/join", `{"channel":"demo","user":"ann"}`)
	var got struct{ App, Channel, User, Token string }
	if err := json.Unmarshal([]byte(body), &got); status != 200 || err != nil {
		t.Fatalf("join: %d %s", status, body)
	}
	claims, err := token.Verify(got.Token, func(string) (token.App, bool) { return token.App{Keys: []string{"appkey"}}, true }, time.Now())
	if err != nil || claims.User != "ann" || claims.Channel != "demo" {
		t.Errorf("token: %+v, %v", claims, err)
	}
	for _, bad := range []string{`{"channel":"a b","user":"ann"}`, `{"channel":"demo","user":""}`, `{"channel":"demo","user":"` + strings.Repeat("a", 65) + `"}`, `[]`, ``, strings.Repeat("[", 70<<10)} {
		if status, body := send(t, "POST", base+"/demo/join", bad); status/100 != 4 || !strings.Contains(body, "detail") {
			t.Errorf("join with %.40q: %d %s", bad, status, body)
		}
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	base, r, _ := start(t)
	r.set(&media.User{ID: "ann", Video: track{}})
	for _, path := range []string{"/demo/join", "/demo/mix"} {
		if status, _ := send(t, "POST", base+path, `{}`, "Sec-Fetch-Site", "cross-site", "Origin", "https://elsewhere.example"); status != 403 {
			t.Errorf("%s from another site: %d, want 403", path, status)
		}
	}
}

func TestMixStartsChangesAndStops(t *testing.T) {
	base, r, f := start(t)
	if status, body := send(t, "POST", base+"/demo/mix", `{"channel":"demo","layout":"grid"}`); status != 409 {
		t.Errorf("mix of an empty channel: %d %s, want 409", status, body)
	}
	r.set(&media.User{ID: "ann", Video: &track{}, Audio: &track{}}, &media.User{ID: "bob", Video: &track{}, Screen: &track{}}, &media.User{ID: "watcher"})
	status, body := send(t, "POST", base+"/demo/mix", `{"channel":"demo","layout":"side"}`)
	if status != 200 {
		t.Fatalf("start: %d %s", status, body)
	}
	s := f.only(t)
	if s.Mode != relay.Mix || !slices.Equal(s.URLs, []string{"rtmp://127.0.0.1:1935/live/app_demo_mix"}) || len(s.Panes) != 3 || s.SEI == nil || s.SEI.Layout == nil {
		t.Fatalf("the task is %+v", s)
	}
	if p := s.Panes[2]; p.User == nil || p.User.User != "bob" || p.User.Source != media.ShareScreen || p.Crop {
		t.Errorf("third pane: %+v, want bob's screen, uncut", p)
	}

	status, body = send(t, "POST", base+"/demo/mix", `{"channel":"demo","layout":"speaker","users":[{"user":"bob","source":"camera"},{"user":"ann","source":"camera"}]}`)
	if status != 200 || f.starts != 1 {
		t.Fatalf("change: %d %s, %d starts", status, body, f.starts)
	}
	if s := f.only(t); len(s.Panes) != 2 || s.Panes[0].W != 0.75 || s.Panes[0].User.User != "bob" {
		t.Errorf("after the change: %+v", s.Panes)
	}
	if _, body := send(t, "GET", base+"/demo/mix?channel=demo", ""); !strings.Contains(body, `"layout":"speaker"`) || !strings.Contains(body, `"flv":"/live/app_demo_mix.flv"`) {
		t.Errorf("state: %s", body)
	}
	f.mu.Lock()
	f.sign = "?signed"
	f.mu.Unlock()
	if _, body := send(t, "GET", base+"/demo/mix?channel=demo", ""); !strings.Contains(body,
		`"rtmp":"rtmp://127.0.0.1:1935/live/app_demo_mix?signed","flv":"/live/app_demo_mix.flv?signed","hls":"/live/app_demo_mix.m3u8?signed"`) {
		t.Errorf("state where the origin wants signatures: %s", body)
	}
	if status, body := send(t, "DELETE", base+"/demo/mix?channel=demo", ""); status != 204 || len(f.live) != 0 {
		t.Errorf("stop: %d %s, %d tasks", status, body, len(f.live))
	}
	if _, body := send(t, "GET", base+"/demo/mix?channel=demo", ""); strings.TrimSpace(body) != `{"mix":null}` {
		t.Errorf("state after the stop: %s", body)
	}

	f.resting = "rtmp://127.0.0.1:1935/live/app_demo_mix"
	if status, body := send(t, "POST", base+"/demo/mix", `{"channel":"demo","layout":"grid"}`); status != 200 || !strings.HasPrefix(f.only(t).URLs[0], f.resting+"-") {
		t.Errorf("start soon after a stop: %d %s, task %+v", status, body, f.only(t))
	}
	if status, _ := send(t, "DELETE", base+"/demo/mix?channel=demo", ""); status != 204 {
		t.Errorf("second stop: %d", status)
	}

	f.fail = fmt.Errorf("quota of 40 mixes: %w", media.ErrLimit)
	if status, body := send(t, "POST", base+"/demo/mix", `{"channel":"demo","layout":"grid"}`); status != 502 || !strings.Contains(body, "StartLiveMPUTask") {
		t.Errorf("refused start: %d %s", status, body)
	}
}

func TestEventsFollowTheChannel(t *testing.T) {
	base, r, _ := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", base+"/demo/events?channel=demo", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.set(&media.User{ID: "ann", Video: &track{}})
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() (e eventJSON) {
		for lines.Scan() {
			if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); ok {
				if err := json.Unmarshal(data, &e); err != nil {
					t.Fatal(err)
				}
				return e
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return e
	}
	first := next()
	if len(first.Users) != 1 || first.Users[0].Video == 0 || first.Users[0].Audio != 0 || first.Mix != nil {
		t.Fatalf("first event: %+v", first)
	}
	r.set(&media.User{ID: "ann", Video: &track{}}) // republished
	if second := next(); second.Users[0].Video == first.Users[0].Video {
		t.Errorf("a new track has the old number %d", second.Users[0].Video)
	}
	if status, body := send(t, "POST", base+"/demo/mix", `{"channel":"demo","layout":"grid"}`); status != 200 {
		t.Fatalf("mix: %d %s", status, body)
	}
	if e := next(); e.Mix == nil || e.Mix.Layout != "grid" {
		t.Errorf("after the start: %+v", e)
	}
}

func TestLayoutsStayInsideAndApart(t *testing.T) {
	for name, plan := range layouts {
		for n := 1; n <= maxSeats; n++ {
			boxes := plan(n)
			if len(boxes) != n {
				t.Fatalf("%s for %d: %d boxes", name, n, len(boxes))
			}
			for i, a := range boxes {
				if a.x < 0 || a.y < 0 || a.w <= 0 || a.h <= 0 || a.x+a.w > 1+1e-9 || a.y+a.h > 1+1e-9 {
					t.Errorf("%s for %d: box %d is outside: %+v", name, n, i, a)
				}
				for j, b := range boxes[:i] {
					wide := math.Min(a.x+a.w, b.x+b.w) - math.Max(a.x, b.x)
					high := math.Min(a.y+a.h, b.y+b.h) - math.Max(a.y, b.y)
					if wide > 1e-9 && high > 1e-9 {
						t.Errorf("%s for %d: boxes %d and %d overlap", name, n, i, j)
					}
				}
			}
		}
	}
}

func TestFilesAreServed(t *testing.T) {
	base, _, _ := start(t)
	for path, want := range map[string]string{
		"/demo/": "<!doctype html>", "/demo/app.js": "import", "/demo/style.css": ":root", "/vendor/mpegts.js": "mpegts", "/vendor/mpegts.LICENSE": "Apache License",
	} {
		if status, body := send(t, "GET", base+path, ""); status != 200 || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d, %d bytes without %q", path, status, len(body), want)
		}
	}
	if status, _ := send(t, "GET", base+"/demo/../demo.go", ""); status == 200 {
		t.Error("the source is served")
	}
	resp, err := http.Get(base + "/demo/app.js")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/javascript") {
		t.Errorf("module type: %s", got)
	}
	if status, _ := send(t, "GET", base+"/demo/app.js", "", "If-None-Match", resp.Header.Get("ETag")); status != 304 {
		t.Errorf("unchanged file: %d, want 304", status)
	}
}

func TestReachable(t *testing.T) {
	for _, c := range []struct{ base, host, want string }{
		{"rtmp://127.0.0.1:1935", "live.example:8080", "rtmp://live.example:1935"},
		{"rtmp://0.0.0.0:1935", "[::1]:8080", "rtmp://[::1]:1935"},
		{"rtmp://origin.example", "live.example:8080", "rtmp://origin.example"},
		{"http://127.0.0.1", "live.example", "http://live.example"},
		{"", "live.example", ""},
	} {
		if got := reachable(c.base, c.host); got != c.want {
			t.Errorf("reachable(%q, %q) = %q, want %q", c.base, c.host, got, c.want)
		}
	}
}
