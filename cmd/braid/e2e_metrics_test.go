package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// TestMetricsOfACall scrapes a server with a user, a mix, its stream and refused
// requests: the text is what Prometheus' own checks want, its numbers are true, and
// each name that the dashboard and the alerts ask for is there.
func TestMetricsOfACall(t *testing.T) {
	c := clip{ID: 7, W: 320, H: 180, FPS: 15, Seconds: 4, Tone: 500}
	s := startBraid(t, func(c *config) { c.Metrics.Token = "a token for Prometheus" })
	s.publish("room", "dan", c.make(t), c.FPS, "h264")
	s.call("StartLiveMPUTask", mixParams("mix", "room", []string{s.rtmp + "/mixed"}, 320, 180, 15, pane{"dan", 0, 0, 1, 1, 0}))
	if code, _ := s.scrape(t, "/v1/node", ""); code != http.StatusUnauthorized {
		t.Errorf("/v1/node without a token: %d", code)
	}
	conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.http, "http")+"/v1/rtc", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"id":1,"type":"join","token":"nonsense"}`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tryCommand(20*time.Second, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=d=1", "-f", "flv", strings.TrimSuffix(s.rtmp, "live")+"rtc/nobody"); err == nil {
		t.Error("a publisher to an address that nobody knows is let in")
	}
	var text string
	wait := func(what string, lines ...string) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			code, body := s.scrape(t, "/metrics", "")
			if text = body; code != http.StatusOK {
				t.Fatalf("/metrics: %d %s", code, body)
			}
			missing := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return regexp.MustCompile(`(?m)^` + l + `$`).MatchString(text) })
			if len(missing) == 0 {
				return
			}
			select {
			case <-deadline:
				t.Fatalf("%s: no line like %q in\n%s", what, missing, text)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	wait("a call that is mixed and pushed",
		`braid_channels\{app="`+testApp+`"\} 1`, `braid_users\{app="`+testApp+`",role="streamer"\} 1`,
		`braid_tracks\{app="`+testApp+`",codec="h264",kind="video"\} 1`, `braid_tracks\{app="`+testApp+`",codec="opus",kind="audio"\} 1`,
		`braid_rtp_packets_total\{direction="in",kind="video"\} [1-9].*`, `braid_rtp_lost_packets_total\{direction="in",kind="video"\} 0`,
		`braid_relay_tasks\{app="`+testApp+`",mode="mix",state="playing"\} 1`, `braid_relay_outputs\{state="playing"\} 1`,
		`braid_relay_sent_bytes_total [1-9].*`, `braid_mixer_tasks\{kind="mix"\} 1`, `braid_mixer_workers\{state="running"\} 1`,
		`braid_mixer_worker_resident_memory_bytes\{stat="sum"\} [1-9]\S+`, `braid_mixer_picture_age_seconds_count [1-9].*`,
		`braid_origin_streams\{codec="H264"\} 1`, `braid_origin_received_bytes_total [1-9].*`,
		`braid_db_commit_seconds_count [1-9].*`, `braid_disk_free_bytes [1-9]\S+`, `braid_ready 1`, `braid_ready_check\{check="store"\} 1`,
		`braid_http_requests_total\{code="200",route="/\?Action=StartLiveMPUTask"\} 1`, `braid_http_requests_total\{code="401",route="/v1/"\} 1`,
		`braid_auth_failures_total\{border="rest"\} 1`, `braid_auth_failures_total\{border="rtc"\} 1`, `braid_auth_failures_total\{border="rtmp_publish"\} 1`,
		`braid_origin_viewers\{protocol="hls"\} 0`, `braid_recordings\{state="recording"\} 0`, `braid_recording_failures_total\{reason="disk_full"\} 0`, `braid_webrtc_sessions 1`, `braid_callback_outbox_depth 0`, `go_goroutines [1-9]\d*`, `process_open_fds \d+`)

	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, secretly := range []string{"room", "dan", "mixed", accessID} {
		if strings.Contains(text, `"`+secretly+`"`) {
			t.Errorf("%q is a label", secretly)
		}
	}
	promtool(t, strings.NewReader(text), "check", "metrics")
	checkQueries(t, text)
}

// scrape asks for a path as another program of this machine.
func (b *braidServer) scrape(t *testing.T, path, token string, headers ...string) (code int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", b.http+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if r.Header.Set(name, value); name == "Host" {
			r.Host = value
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// checkQueries looks for the names of all queries that are shipped among those
// that a scrape has.
func checkQueries(t *testing.T, text string) {
	t.Helper()
	there := map[string]bool{"up": true}
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+)[ {]`).FindAllStringSubmatch(text, -1) {
		there[m[1]] = true
	}
	board, err := os.ReadFile("../../deploy/grafana/braid.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title  string
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(board, &dashboard); err != nil {
		t.Fatalf("deploy/grafana/braid.json: %v", err)
	}
	queries := map[string]string{}
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, q := range p.Targets {
			queries["panel "+p.Title] += " " + q.Expr
		}
	}
	alerts, err := os.ReadFile("../../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	queries["alerts.yml"] = string(alerts)
	names := regexp.MustCompile(`\b(braid|go|process)_[a-z_]+`)
	if len(queries) < 20 {
		t.Errorf("only %d queries were found", len(queries))
	}
	for of, q := range queries {
		found := names.FindAllString(q, -1)
		if len(found) == 0 {
			t.Errorf("%s: no metric in %s", of, q)
		}
		for _, name := range found {
			if !there[name] {
				t.Errorf("%s asks for %s, which a scrape does not have", of, name)
			}
		}
	}
}

// promtool runs Prometheus' checker (Debian: prometheus).
func promtool(t *testing.T, in io.Reader, args ...string) {
	t.Helper()
	program, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed")
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = in
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("error")) {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestPrometheusFiles: what is shipped for Prometheus is in order, and the alerts
// fire when they should.
func TestPrometheusFiles(t *testing.T) {
	dir, err := filepath.Abs("../../deploy/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "config", filepath.Join(dir, "prometheus.yml"))
	promtool(t, nil, "check", "rules", filepath.Join(dir, "alerts.yml"))
	promtool(t, nil, "test", "rules", filepath.Join(dir, "alerts_test.yml"))
}

// TestWhoMayScrape: this machine itself while no proxy stands in front, and who
// shows a token.
func TestWhoMayScrape(t *testing.T) {
	const mine = "a token for Prometheus"
	type ask struct {
		name, token, header string
		want                int
	}
	try := func(t *testing.T, s *braidServer, asks ...ask) {
		for _, a := range asks {
			var headers []string
			if a.header != "" {
				headers = []string{a.header}
			}
			if code, body := s.scrape(t, "/metrics", a.token, headers...); code != a.want || (code == 200) != strings.Contains(body, "braid_ready 1") {
				t.Errorf("%s: got %d %.200s, want %d", a.name, code, body, a.want)
			}
		}
	}
	t.Run("in the open", func(t *testing.T) {
		try(t, startBraid(t, func(c *config) { c.Metrics.Token = mine }),
			ask{"this machine", "", "", 200},
			ask{"a proxy that tells", "", "X-Forwarded-For: 192.0.2.7", 401},
			ask{"a page of a name that points here", "", "Host: evil.example.com", 401},
			ask{"a wrong token from elsewhere", "another token, as long", "Host: live.example.com", 401},
			ask{"the token", mine, "Host: live.example.com", 200},
			ask{"an admin token", adminToken, "Host: live.example.com", 200})
	})
	t.Run("behind a proxy", func(t *testing.T) {
		try(t, startBraid(t, func(c *config) { c.Metrics.Token, c.HTTP.PublicURL = mine, "https://live.example.com" }),
			ask{"a proxy that does not tell", "", "", 401},
			ask{"the token", mine, "", 200})
	})
	t.Run("a listener of its own", func(t *testing.T) {
		at := freeAddress(t)
		s := startBraid(t, func(c *config) { c.Metrics.Listen, c.HTTP.PublicURL = at, "https://live.example.com" })
		if code, _ := s.scrape(t, "/metrics", adminToken); code != 404 {
			t.Errorf("the public listener answers with %d", code)
		}
		own := &braidServer{http: "http://" + at}
		try(t, own, ask{"this machine", "", "", 200}, ask{"a proxy before it", "", "X-Forwarded-For: 192.0.2.7", 401})
		if code, body := own.scrape(t, "/readyz", ""); code != 200 || !strings.Contains(body, `"ready":true`) {
			t.Errorf("/readyz: %d %s", code, body)
		}
	})
}

// freeAddress is one of this machine that nobody listens on at this moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestMetricsConfig(t *testing.T) {
	for text, want := range map[string]string{
		"metrics: {listen: 127.0.0.1:9465}":                   "",
		"metrics: {listen: ':9465', token: 0123456789abcdef}": "",
		"metrics: {listen: ':9465'}":                          "metrics.token: is needed",
		"metrics: {listen: nowhere}":                          "metrics.listen: \"nowhere\" is not host:port",
		"metrics: {token: short}":                             "metrics.token: it has 5 characters, at least 16",
		"metrics: {token_file: /nowhere}":                     "metrics.token_file: open /nowhere",
		"metrics: {token_file: /dev/null}":                    "metrics.token_file: /dev/null is empty",
		"metrics: {token: 0123456789abcdef, token_file: a}":   "not both",
		"metrics: {user: me}":                                 "unknown field",
	} {
		name := filepath.Join(t.TempDir(), "braid.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readConfig(name)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
