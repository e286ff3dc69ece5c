package metrics

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requests counts what comes over HTTP.
type requests struct {
	done   *prometheus.CounterVec
	took   *prometheus.HistogramVec
	bytes  *prometheus.CounterVec
	denied denials
	open   prometheus.Gauge
}

// newRequests takes what was denied elsewhere: see Parts.Denied.
func newRequests(denied func() map[string]uint64) *requests {
	return &requests{
		done: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "braid_http_requests_total",
			Help: "HTTP requests that were answered, by route and status; for WebSockets and streams, those that ended."}, []string{"route", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "braid_http_request_seconds",
			Help:    "How long requests took to be answered; without WebSockets and streams.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}, []string{"route"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "braid_http_response_bytes_total",
			Help: "Bytes of HTTP answers, without headers and WebSockets, by where the requests went: to the origin come FLV, HLS and files."}, []string{"border"}),
		denied: denials{elsewhere: denied, desc: prometheus.NewDesc("braid_auth_failures_total",
			"HTTP requests answered with 401 or 403, joins over a WebSocket and RTMP clients that lacked rights, by where they went.", []string{"border"}, nil)},
		open: prometheus.NewGauge(prometheus.GaugeOpts{Name: "braid_http_requests_in_flight",
			Help: "HTTP requests under way, WebSockets and streams among them."}),
	}
}

func (q *requests) register(r prometheus.Registerer) {
	r.MustRegister(q.done, q.took, q.bytes, &q.denied, q.open)
	for _, b := range borders {
		q.bytes.WithLabelValues(b.name)
	}
}

// denials counts who lacked rights, by border.
type denials struct {
	desc      *prometheus.Desc
	elsewhere func() map[string]uint64 // beside HTTP; nil: nothing

	mu   sync.Mutex
	http map[string]uint64
}

func (d *denials) add(border string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.http == nil {
		d.http = make(map[string]uint64)
	}
	d.http[border]++
}

// all has every border, also those with nothing yet: a rate needs a first value.
func (d *denials) all() map[string]uint64 {
	sums := make(map[string]uint64)
	for _, b := range borders {
		sums[b.name] = 0
	}
	if d.elsewhere != nil {
		for border, n := range d.elsewhere() {
			sums[border] += n
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for border, n := range d.http {
		sums[border] += n
	}
	return sums
}

// Describe implements prometheus.Collector.
func (d *denials) Describe(out chan<- *prometheus.Desc) { out <- d.desc }

// Collect implements prometheus.Collector.
func (d *denials) Collect(out chan<- prometheus.Metric) {
	all := d.all()
	for _, border := range sorted(all) {
		counter(out, d.desc, all[border], border)
	}
}

// borders are the parts of the HTTP server, by how a route begins.
var borders = []struct{ route, name string }{
	{"/v1/rtc", "rtc"}, {"/v1/", "rest"}, {"/whip/", "whip"}, {"/whep/", "whep"}, {"/console", "console"}, {"/demo", "demo"},
	{"/metrics", "metrics"}, {"/?Action", "rpc"}, {"/{$}", "rpc"}, {"/", "origin"},
}

func borderOf(route string) string {
	for _, b := range borders {
		if strings.HasPrefix(route, b.route) {
			return b.name
		}
	}
	return "other"
}

// guess is where a request will go, as long as nobody has taken it.
func guess(path string) string {
	if path == "/" {
		return "rpc"
	}
	return borderOf(path)
}

// Requests counts the requests that go to next. What answers a request sets its
// Pattern, as http.ServeMux does, to a name of which there are few: it is the
// route.
func (m *Metrics) Requests(next http.Handler) http.Handler {
	q := m.requests
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		q.open.Inc()
		defer q.open.Dec()
		a := &answer{ResponseWriter: w, written: q.bytes.WithLabelValues(guess(r.URL.Path))}
		defer func() { // also when next panics, which ends the connection
			route := routeOf(r)
			q.done.WithLabelValues(route, strconv.Itoa(a.code())).Inc()
			if !endless(r, a) {
				q.took.WithLabelValues(route).Observe(time.Since(began).Seconds())
			}
			if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden {
				q.denied.add(borderOf(route))
			}
		}()
		next.ServeHTTP(a, r)
	})
}

// routeOf is the pattern that a request went by, without its method.
func routeOf(r *http.Request) string {
	if r.Pattern == "" {
		return "none" // nobody took it: the path is a stranger's word
	}
	_, route, ok := strings.Cut(r.Pattern, " ")
	if !ok {
		return r.Pattern
	}
	return route
}

// endless tells an answer that lasts as long as somebody wants it from one that
// should come soon.
func endless(r *http.Request, a *answer) bool {
	kind := a.Header().Get("Content-Type")
	return a.hijacked || a.status == http.StatusSwitchingProtocols || strings.HasPrefix(kind, "text/event-stream") ||
		strings.HasPrefix(kind, "video/x-flv") || strings.HasPrefix(r.URL.Path, "/v1/debug/")
}

// answer sees the status. What else a ResponseWriter can do is reached by Unwrap
// (http.ResponseController), but for Hijack, which WebSocket libraries look for.
type answer struct {
	http.ResponseWriter
	status   int
	hijacked bool
	written  prometheus.Counter
}

// Write implements io.Writer. What is written is counted at once: a stream's
// answer has no end.
func (a *answer) Write(b []byte) (int, error) {
	n, err := a.ResponseWriter.Write(b)
	a.written.Add(float64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom, so that the kernel goes on sending files.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(a.ResponseWriter, r)
	a.written.Add(float64(n))
	return n, err
}

func (a *answer) code() int {
	switch {
	case a.hijacked:
		return http.StatusSwitchingProtocols
	case a.status == 0:
		return http.StatusOK
	}
	return a.status
}

// WriteHeader implements http.ResponseWriter. Only the first that is final counts.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Hijack implements http.Hijacker.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(a.ResponseWriter).Hijack()
	a.hijacked = a.hijacked || err == nil
	return c, rw, err
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
