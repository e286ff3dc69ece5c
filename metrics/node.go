package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// node is what the server says of itself and its machine.
func (c *collector) node() {
	info := c.desc("build_info", "1, with the version that runs.", "version")
	ready := c.desc("ready", "Whether sessions are taken: 1 when all checks of /readyz pass.")
	check := c.desc("ready_check", "Each check of /readyz: 1 when it passes.", "check")
	free := c.desc("disk_free_bytes", "Bytes that may still be written to the disk of the data directory.")
	size := c.desc("disk_size_bytes", "Size of the disk of the data directory.")
	refused := c.desc("refused_total", "What was turned away: sessions over the limit (sessions), sessions while the server ends (draining), connections to addresses that the configuration does not allow (address).", "reason")
	p := c.parts
	c.see(func(_ context.Context, out chan<- prometheus.Metric) {
		gauge(out, info, 1, p.Version)
		if p.Ready != nil {
			all, checks := true, p.Ready()
			for _, name := range sorted(checks) {
				all = all && checks[name]
				gauge(out, check, oneIf(checks[name]), name)
			}
			gauge(out, ready, oneIf(all))
		}
		if p.DataDir != "" {
			if left, whole, ok := disk(p.DataDir); ok {
				gauge(out, free, float64(left))
				gauge(out, size, float64(whole))
			}
		}
		if p.Refused != nil {
			counts := p.Refused()
			for _, reason := range sorted(counts) {
				counter(out, refused, counts[reason], reason)
			}
		}
	})
}

// stores is how long the database takes.
func (c *collector) stores() {
	commits := c.desc("db_commit_seconds", "How long commits of changes took to be durable.")
	waits := c.desc("db_wait_seconds", "How long changes waited for those before them.")
	p := c.parts
	c.see(func(_ context.Context, out chan<- prometheus.Metric) {
		s := p.Store.Stats()
		histogram(out, commits, s.Commit)
		histogram(out, waits, s.Wait)
	})
}

// callbacks is the outbox and what became of attempts.
func (c *collector) callbacks() {
	depth := c.desc("callback_outbox_depth", "Callback messages that wait to be delivered.")
	failed := c.desc("callback_outbox_failed", "Callback messages that were set aside, and may be sent again.")
	oldest := c.desc("callback_oldest_seconds", "Age of the oldest callback message that waits; 0 when none does.")
	flight := c.desc("callback_in_flight", "Callback requests under way.")
	attempts := c.desc("callback_attempts_total", "Callback requests that ended, by what became of them.", "result")
	aside := c.desc("callback_set_aside_total", "Callback messages that were given up.")
	p := c.parts
	c.see(func(ctx context.Context, out chan<- prometheus.Metric) {
		s, err := p.Callbacks.Stats(ctx)
		counter(out, attempts, s.Delivered, "delivered")
		counter(out, attempts, s.Failures, "failed")
		counter(out, aside, s.SetAside)
		gauge(out, flight, float64(s.InFlight))
		if err != nil { // the store does not answer: what it holds is not known
			p.Log.Warn("metrics: the outbox cannot be counted", "error", err)
			return
		}
		gauge(out, depth, float64(s.Waiting))
		gauge(out, failed, float64(s.Failed))
		gauge(out, oldest, s.Oldest.Round(time.Millisecond).Seconds())
	})
}
