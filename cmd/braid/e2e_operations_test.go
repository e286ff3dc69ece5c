package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"braid/internal/testkit"
)

// TestOperations runs the whole program as systemd would, with everything logged,
// and does what an operator does: looks at profiles, changes the level of the log,
// ends the service. Secrets are planted wherever one can be given, and looked for
// in the log at the end.
func TestOperations(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole server: not in -short")
	}
	told := notifySocket(t)
	s, log, ended := operate(t, `
debug: {flight_recorder: 5s}
metrics: {token: canary-metrics-token-1}
`)
	told.wait(t, "READY=1")
	told.wait(t, "WATCHDOG=1")
	told.wait(t, "WATCHDOG=1")
	debugging(t, s)
	planted := plant(t, s)
	changeLevels(t, s, log)
	ended()
	told.wait(t, "STOPPING=1")

	text := log.String()
	for _, part := range []string{"store", "sfu", "relay"} {
		if !strings.Contains(text, `"part":"`+part+`"`) {
			t.Errorf("%s has not logged anything", part)
		}
	}
	for line := range strings.Lines(text) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is no JSON: %s", line)
		}
		for what, secret := range planted {
			if strings.Contains(line, secret) {
				t.Errorf("the log has the %s: %s", what, line)
			}
		}
	}
}

// debugging looks at the inside of the server, with rights and without.
func debugging(t *testing.T, s *braidServer) {
	t.Helper()
	for path, want := range map[string]string{
		"/v1/debug/pprof/":                  "goroutine",
		"/v1/debug/pprof/goroutine?debug=1": "goroutine profile",
		"/v1/debug/pprof/heap":              "\x1f\x8b", // gzip
		"/v1/debug/pprof/profile?seconds=1": "\x1f\x8b",
		"/v1/debug/flight":                  "go 1.",
		"/v1/debug/log":                     `"level":"debug"`,
	} {
		if code, body := s.scrape(t, path, adminToken); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %.100q, want %q in it", path, code, body, want)
		}
		if code, _ := s.scrape(t, path, ""); code != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", path, code)
		}
	}
	if code, _ := s.scrape(t, "/v1/debug/nothing", adminToken); code != http.StatusNotFound {
		t.Errorf("/v1/debug/nothing: %d", code)
	}
	var audit struct {
		Items []struct {
			Action, Who, Kind string
			Result            int
		}
	}
	s.rest("GET", "/v1/audit?limit=100", nil, &audit)
	seen := map[string]int{}
	for _, e := range audit.Items {
		if e.Who == "token 1" && e.Kind == "token" {
			seen[e.Action] = e.Result
		}
	}
	if seen["GET /v1/debug/flight"] != 200 || seen["GET /v1/debug/nothing"] != 404 || seen["GET /v1/debug/pprof/heap"] != 200 {
		t.Errorf("the audit log has %v", seen)
	}
}

// plant gives the server secrets in all ways there are, and has it fail with some.
func plant(t *testing.T, s *braidServer) map[string]string {
	t.Helper()
	all := map[string]string{
		"admin token": adminToken, "access key's secret": accessCode, "AppKey": testKey, "metrics token": "canary-metrics-token-1",
		"domain's key": "canarydomainkey1", "stream key": "canary-stream-key-2", "key of a URL": "canary-url-key-3", "wrong bearer": "canary-wrong-bearer-4",
		"wrong token's signature": "Y2FuYXJ5LXNpZ25hdHVyZQ", "password": "canary-password-5", "callback's own token": "canary-hook-token-6",
		"user of a URL": "canary-user-7",
	}
	s.rest("POST", "/v1/domains", map[string]any{"name": "live.example.com", "ingest": "rtmp://push.example.com", "play": "https://play.example.com", "auth_key": all["domain's key"]}, nil)
	hook := "http://127.0.0.1:1/hook?token=" + all["callback's own token"]
	s.rest("POST", "/v1/applications/"+testApp+"/callbacks", map[string]any{"kind": "room", "url": hook, "events": []string{"ChannelEvent", "UserEvent"}}, nil)
	c := clip{ID: 8, W: 320, H: 180, FPS: 15, Seconds: 3, Tone: 500}
	s.publish("room", "dan", c.make(t), c.FPS, "h264")
	all["join token"] = strings.Split(s.token("room", "dan"), ".")[0]
	refused := "rtmp://127.0.0.1:1/live/" + all["stream key"] + "?auth_key=" + all["key of a URL"]
	s.call("StartLiveMPUTask", singleParams("refused", "room", "dan", refused))
	s.do(s.rpc("StartLiveMPUTask", singleParams("broken", "room", "dan", "rtmp://"+all["user of a URL"]+":x@127.0.0.1:1")))
	for _, path := range []string{
		"/live/none.flv?auth_key=1700000000-0-0-" + all["key of a URL"], "/v1/node", "/whip/" + testApp + "/room/eve", "/v1/rtc?token=" + all["key of a URL"],
	} {
		s.scrape(t, path, all["wrong bearer"])
		s.scrape(t, path, "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ."+all["wrong token's signature"])
	}
	resp, err := http.PostForm(s.http+"/console/login", url.Values{"name": {"root"}, "password": {all["password"]}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	testkit.Eventually(t, "the push and a callback have failed", func() bool {
		code, body := s.scrape(t, "/metrics", "")
		return code == 200 && !strings.Contains(body, `braid_relay_reconnects_total{reason="refused"} 0`) && !strings.Contains(body, `braid_callback_attempts_total{result="failed"} 0`)
	})
	return all
}

// changeLevels makes the log silent, and loud again.
func changeLevels(t *testing.T, s *braidServer, log *story) {
	t.Helper()
	var got levelsBody
	s.rest("PUT", "/v1/debug/log", levelsBody{"error", map[string]string{"sfu": "debug"}}, &got)
	if got.Level != "error" || got.Levels["sfu"] != "debug" {
		t.Errorf("got %+v", got)
	}
	for body, want := range map[string]string{
		`{"level":"loud"}`: "not debug, info", `{"level":"info","levels":{"engine":"info"}}`: "none of the parts",
		`{"level":"info","more":1}`: "unknown field", `{"level":"info"}{}`: "more than one", ``: "EOF",
	} {
		r, _ := http.NewRequest("PUT", s.http+"/v1/debug/log", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+adminToken)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 400 || !strings.Contains(string(text), want) {
			t.Errorf("%s: got %d %s, want %q", body, resp.StatusCode, text, want)
		}
	}
	s.rest("GET", "/v1/debug/log", nil, &got)
	if got.Level != "error" {
		t.Errorf("what was refused has changed the level to %s", got.Level)
	}
	before := len(log.String())
	s.call("StopLiveMPUTask", map[string]any{"TaskId": "refused"})
	if said := log.String()[before:]; strings.Contains(said, `"part":"relay"`) {
		t.Errorf("at level error the relay says %s", said)
	}
}

// operate runs braid's main with a configuration until ended is called.
func operate(t *testing.T, more string) (s *braidServer, log *story, ended func()) {
	t.Helper()
	at, rtmpAt := freeAddress(t), freeAddress(t)
	dir := t.TempDir()
	text := fmt.Sprintf(`
data_dir: %s
http: {listen: %q}
rtmp: {listen: %q}
media: {listen: "127.0.0.1:0"}
mixer: {program: %s}
outbound: {allow: [127.0.0.0/8]}
log: {format: json, level: debug}
admin_tokens: [%s]
access_keys: [{id: %s, secret: %s}]
applications: [{id: %s, key: %s, name: tests}]
`, filepath.Join(dir, "data"), at, rtmpAt, mixerProgram(t), adminToken, accessID, accessCode, testApp, testKey) + more
	name := filepath.Join(dir, "braid.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log = newStory(t)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- run(ctx, []string{"serve", "--config", name}, io.Discard, log) }()
	ended = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-over:
			if err != nil {
				t.Errorf("braid ended with %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("braid does not end:\n%s", stacks())
		}
	})
	t.Cleanup(ended)
	s = &braidServer{t: t, http: "http://" + at, rtmp: "rtmp://" + rtmpAt + "/live"}
	testkit.Eventually(t, "braid is ready", func() bool {
		resp, err := http.Get(s.http + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	return s, log, ended
}

// manager is systemd's end of the notify socket.
type manager struct{ said chan string }

// notifySocket makes this process look like a service of systemd with a watchdog
// of a second.
func notifySocket(t *testing.T) *manager {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("there is no systemd here")
	}
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "400000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	m := &manager{make(chan string, 1000)}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			m.said <- string(bytes.Clone(buf[:n]))
		}
	}()
	return m
}

func (m *manager) wait(t *testing.T, want string) {
	t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		select {
		case got := <-m.said:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("the service manager was not told %s", want)
		}
	}
}

func TestNotifier(t *testing.T) {
	pid := fmt.Sprint(os.Getpid())
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
	}{{"", "", 0}, {"30000000", pid, 15 * time.Second}, {"30000000", "", 15 * time.Second}, {"30000000", "1", 0}, {"x", pid, 0}, {"-5", pid, 0}} {
		env := map[string]string{"WATCHDOG_USEC": tt.usec, "WATCHDOG_PID": tt.pid}
		if n := newNotifier(func(k string) string { return env[k] }, nil); n.every != tt.want {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: got %v, want %v", tt.usec, tt.pid, n.every, tt.want)
		}
	}
	if runtime.GOOS != "linux" {
		return
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "@braid-test-" + pid, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	notifier{socket: "@braid-test-" + pid}.tell("READY=1") // an abstract name, as in containers
	buf := make([]byte, 100)
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	notifier{}.tell("READY=1") // nobody
}
