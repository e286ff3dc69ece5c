package metrics

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"braid/event"
	"braid/media"
	"braid/media/sfu"
	"braid/origin"
	"braid/relay"
)

func TestRequests(t *testing.T) {
	m := New(Parts{Version: "test", Denied: func() map[string]uint64 { return map[string]uint64{"rtc": 2, "rtmp_play": 0} }})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/things/{thing}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("thing") == "secret" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		w.WriteHeader(http.StatusEarlyHints) // not the last word
		io.WriteString(w, "12345")
	})
	mux.HandleFunc("GET /v1/rtc", func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: close\r\n\r\n")
		c.Close()
	})
	mux.HandleFunc("/{app}/{file}", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, strings.NewReader(strings.Repeat("x", 1000)))
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("what is behind cannot be reached: %v", err)
		}
	})
	s := httptest.NewServer(m.Requests(mux))
	defer s.Close()
	for _, path := range []string{"/v1/things/one", "/v1/things/two", "/v1/things/secret", "/live/a.flv", "/nothing/here/at/all"} {
		r, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /v1/rtc HTTP/1.1\r\nHost: a\r\n\r\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "101") {
		t.Fatalf("got %q, %v", line, err)
	}
	s.Close() // waits for all handlers but the one that took its connection
	for deadline := time.Now().Add(10 * time.Second); testutil.ToFloat64(m.requests.open) > 0 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	want := `
# HELP braid_http_requests_total HTTP requests that were answered, by route and status; for WebSockets and streams, those that ended.
# TYPE braid_http_requests_total counter
braid_http_requests_total{code="101",route="/v1/rtc"} 1
braid_http_requests_total{code="200",route="/v1/things/{thing}"} 2
braid_http_requests_total{code="200",route="/{app}/{file}"} 1
braid_http_requests_total{code="403",route="/v1/things/{thing}"} 1
braid_http_requests_total{code="404",route="none"} 1
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "braid_http_requests_total"); err != nil {
		t.Error(err)
	}
	for name, tt := range map[string]struct{ got, want float64 }{
		"denied":        {float64(m.requests.denied.all()["rest"]), 1},
		"joins denied":  {float64(m.requests.denied.all()["rtc"]), 2},
		"bytes of REST": {testutil.ToFloat64(m.requests.bytes.WithLabelValues("rest")), 5 + 5 + 3},
		"of the origin": {testutil.ToFloat64(m.requests.bytes.WithLabelValues("origin")), 1000 + float64(len("404 page not found\n"))},
		"under way":     {testutil.ToFloat64(m.requests.open), 0},
		"durations":     {float64(testutil.CollectAndCount(m.requests.took)), 3},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %v, want %v", name, tt.got, tt.want)
		}
	}
}

func TestBorders(t *testing.T) {
	for route, want := range map[string]string{
		"/v1/rtc": "rtc", "/v1/applications/{app}": "rest", "/whip/": "whip", "/{$}": "rpc", "/?Action=StartLiveMPUTask": "rpc",
		"/console/": "console", "/": "origin", "none": "other", "/metrics": "metrics",
	} {
		if got := borderOf(route); got != want {
			t.Errorf("%s: got %s, want %s", route, got, want)
		}
	}
}

func TestCountCalls(t *testing.T) {
	got := countCalls([]sfu.ChannelInfo{
		{App: "a", Users: []sfu.UserInfo{
			{Role: event.Streamer, Audio: media.Opus, Video: media.H264, Screen: media.VP8, Receives: sfu.Receives{Audio: true}},
			{Role: event.Viewer, Receives: sfu.Receives{Audio: true, Video: true}},
		}},
		{App: "a"}, {App: "b", Users: []sfu.UserInfo{{Role: event.Streamer, Audio: media.Opus}}},
	})
	a := got["a"]
	if a.channels != 2 || a.users[event.Streamer] != 1 || a.users[event.Viewer] != 1 || a.audio != 2 || a.video != 1 ||
		len(a.tracks) != 3 || a.tracks[trackKind{"video", "vp8"}] != 1 || a.tracks[trackKind{"audio", "opus"}] != 1 {
		t.Errorf("a: got %+v", a)
	}
	if b := got["b"]; b.channels != 1 || b.users[event.Streamer] != 1 || len(got) != 2 {
		t.Errorf("b: got %+v of %d", b, len(got))
	}
}

func TestOriginSums(t *testing.T) {
	var o originSums
	for i, tt := range []struct {
		streams []origin.StreamInfo
		in, out uint64
	}{
		{[]origin.StreamInfo{{App: "live", Name: "a", BytesIn: 10, BytesOut: 5}}, 10, 5},
		{[]origin.StreamInfo{{App: "live", Name: "a", BytesIn: 30, BytesOut: 5}, {App: "live", Name: "b", BytesIn: 1}}, 31, 5},
		{nil, 31, 5},
		{[]origin.StreamInfo{{App: "live", Name: "a", BytesIn: 7, BytesOut: 70}}, 38, 75}, // anew
		{[]origin.StreamInfo{{App: "live", Name: "a", BytesIn: 3, BytesOut: 1}}, 41, 76},  // anew, between scrapes
	} {
		if in, out := o.add(tt.streams); in != tt.in || out != tt.out {
			t.Errorf("%d: got %d in, %d out, want %d, %d", i, in, out, tt.in, tt.out)
		}
	}
}

func TestBestState(t *testing.T) {
	for want, states := range map[string]string{"playing": "failed playing", "waiting": "waiting failed", "failed": "failed", "connecting": ""} {
		var urls []relay.URLState
		for _, s := range strings.Fields(states) {
			urls = append(urls, relay.URLState{State: s})
		}
		if got := bestState(urls); got != want {
			t.Errorf("%q: got %s, want %s", states, got, want)
		}
	}
}
