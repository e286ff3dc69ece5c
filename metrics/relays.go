package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"braid/relay"
)

// mixes is the media workers.
func (c *collector) mixes() {
	outputs := c.desc("mixer_tasks", "What the media workers make: mixes, and single streams that they code anew.", "kind")
	workers := c.desc("mixer_workers", "Media worker processes, by whether they run or are being started.", "state")
	memory := c.desc("mixer_worker_resident_memory_bytes", "Memory of the media workers: sum, and that of the largest.", "stat")
	cpu := c.desc("mixer_worker_cpu_seconds", "CPU time of the media workers that run now.")
	restarts := c.desc("mixer_worker_restarts_total", "Media worker processes that had to be replaced, by reason.", "reason")
	dropped := c.desc("mixer_dropped_frames_total", "Frames of inputs that found a media worker's queue full.")
	late := c.desc("mixer_picture_age_seconds", "Age of each mixed picture when the worker gave it, encoding and waiting included.")
	p := c.parts
	c.see(func(_ context.Context, out chan<- prometheus.Metric) {
		s := p.Mixer.Detail()
		var running, sum, most, seconds float64
		for _, w := range s.Workers {
			if w.PID == 0 {
				continue
			}
			running++
			rss, took := processUse(w.PID)
			sum, most, seconds = sum+rss, max(most, rss), seconds+took
		}
		gauge(out, outputs, float64(s.Mixes), "mix")
		gauge(out, outputs, float64(s.Codings), "transcode")
		gauge(out, workers, running, "running")
		gauge(out, workers, float64(len(s.Workers))-running, "starting")
		gauge(out, memory, sum, "sum")
		gauge(out, memory, most, "max")
		gauge(out, cpu, seconds)
		for _, why := range sorted(s.Restarts) {
			counter(out, restarts, s.Restarts[why], why)
		}
		counter(out, dropped, s.Dropped)
		histogram(out, late, s.Late)
	})
}

// relays is the stream relay tasks and what they push.
func (c *collector) relays() {
	tasks := c.desc("relay_tasks", "Stream relay tasks, by the state of their best destination.", "app", "mode", "state")
	outputs := c.desc("relay_outputs", "Destinations of stream relay tasks.", "state")
	bytes := c.desc("relay_sent_bytes_total", "Coded media that was pushed to destinations.")
	dropped := c.desc("relay_dropped_units_total", "Pictures and pieces of sound that were left out because a destination was slow or away.")
	again := c.desc("relay_reconnects_total", "Connections to destinations that ended and are tried again, by reason.", "reason")
	queue := c.desc("relay_queue_seconds", "How long the oldest media wait for a destination; above 3 s pictures are dropped.")
	p := c.parts
	c.see(func(_ context.Context, out chan<- prometheus.Metric) {
		type kind struct{ app, mode, state string }
		byKind, byState := map[kind]int{}, map[string]int{}
		for _, s := range relayStates {
			byState[s] = 0
		}
		for _, t := range p.Relay.States() {
			byKind[kind{t.App, modeName(t.Mode), bestState(t.URLs)}]++
			for _, u := range t.URLs {
				byState[u.State]++
			}
		}
		for k, n := range byKind {
			gauge(out, tasks, float64(n), k.app, k.mode, k.state)
		}
		for state, n := range byState {
			gauge(out, outputs, float64(n), state)
		}
		s := p.Relay.Stats()
		counter(out, bytes, s.Bytes)
		counter(out, dropped, s.Dropped)
		gauge(out, queue, s.Queued.Seconds())
		for _, reason := range reconnectReasons {
			counter(out, again, s.Reconnects[reason], reason)
			delete(s.Reconnects, reason)
		}
		for _, reason := range sorted(s.Reconnects) {
			counter(out, again, s.Reconnects[reason], reason)
		}
	})
}

// reconnectReasons are shown before they happen: a rate needs a first value.
var reconnectReasons = [...]string{"refused", "dns", "tls", "forbidden", "rejected", "stalled", "lost"}

// relayStates is what relay.URLState has, the best first.
var relayStates = [...]string{"playing", "connecting", "waiting", "failed"}

// bestState is that of the destination that does best: a task that reaches one
// of them works.
func bestState(urls []relay.URLState) string {
	for _, state := range relayStates {
		for _, u := range urls {
			if u.State == state {
				return state
			}
		}
	}
	return "connecting"
}

func modeName(m relay.MixMode) string {
	if m == relay.Mix {
		return "mix"
	}
	return "single"
}
