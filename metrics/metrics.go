// Package metrics shows how a running braid does, to Prometheus. It reads what
// the parts say of themselves at the moment somebody asks, and counts only HTTP
// requests itself. No part imports it.
//
// Names begin with braid_, units are seconds and bytes, and what counts from the
// start of the process ends in _total. A label has few values: an application, a
// kind, a codec, a state, a reason, a route. Users, channels, tasks and streams
// are never labels: there may be millions of them, and some are people's names.
//
// It starts no goroutine.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"braid/callback"
	"braid/media/sfu"
	"braid/media/tally"
	"braid/mixer"
	"braid/origin"
	"braid/origin/record"
	"braid/relay"
	"braid/store"
)

// Parts are what is shown; a part that is nil is left out. Functions are called
// from the goroutine of a request, several at a time, and should answer within
// seconds.
type Parts struct {
	Version    string
	DataDir    string // whose disk is looked at; "": none
	SFU        *sfu.Server
	Mixer      *mixer.Pool
	Relay      *relay.Service
	Callbacks  *callback.Service
	Store      *store.DB
	Origin     *origin.Origin
	Recordings *record.Index
	Refused    func() map[string]uint64 // what was not let out or in, by reason
	Denied     func() map[string]uint64 // who lacked rights beside HTTP requests, by border
	Ready      func() map[string]bool   // each check of the readiness, by name
	Log        *slog.Logger             // nil: nowhere
}

// Metrics is everything that one server shows.
type Metrics struct {
	registry *prometheus.Registry
	requests *requests
	log      *slog.Logger
}

// New makes the metrics of one server; two may run in one process.
func New(p Parts) *Metrics {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	m := &Metrics{registry: prometheus.NewRegistry(), requests: newRequests(p.Denied), log: p.Log}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(p),
	)
	m.requests.register(m.registry)
	return m
}

// ServeHTTP answers in the text format of Prometheus or in OpenMetrics, as the
// request's Accept has it. It asks nobody who they are.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(m.log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError, // a part that fails does not hide the others
		MaxRequestsInFlight: 4,
		Timeout:             20 * time.Second,
	}).ServeHTTP(w, r)
}

// collector asks all parts at each scrape. It has no state.
type collector struct {
	parts Parts
	descs []*prometheus.Desc
	sees  []func(context.Context, chan<- prometheus.Metric)
}

func newCollector(p Parts) *collector {
	c := &collector{parts: p}
	c.node()
	if p.SFU != nil {
		c.calls()
		c.flows()
	}
	if p.Mixer != nil {
		c.mixes()
	}
	if p.Relay != nil {
		c.relays()
	}
	if p.Origin != nil {
		c.streams()
	}
	if p.Recordings != nil {
		c.recordings()
	}
	if p.Callbacks != nil {
		c.callbacks()
	}
	if p.Store != nil {
		c.stores()
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// collectTime bounds what asks the store: a scrape waits 10 s by default.
const collectTime = 5 * time.Second

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTime)
	defer cancel()
	for _, see := range c.sees {
		see(ctx, out)
	}
}

func (c *collector) see(f func(context.Context, chan<- prometheus.Metric)) {
	c.sees = append(c.sees, f)
}

// desc names a metric; labels stand in the order in which values will.
func (c *collector) desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("braid_"+name, help, labels, nil)
	c.descs = append(c.descs, d)
	return d
}

// gauge is what is now; counter what has been since the start.
func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter[N int64 | uint64 | int](out chan<- prometheus.Metric, d *prometheus.Desc, v N, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func histogram(out chan<- prometheus.Metric, d *prometheus.Desc, t tally.Distribution, labels ...string) {
	buckets := make(map[float64]uint64, len(t.UpTo))
	for i, bound := range t.UpTo {
		buckets[bound.Seconds()] = t.Within[i]
	}
	out <- prometheus.MustNewConstHistogram(d, t.Count, t.Sum.Seconds(), buckets, labels...)
}

// sorted lists a map's keys, so that what is sent has an order.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
