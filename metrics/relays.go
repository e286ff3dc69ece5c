package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"braid/relay"
)

// mixes is the media workers.
func (c *collector) mixes() {
	workers := c.desc("mixer_workers", "Media worker processes that are wanted.")
	restarts := c.desc("mixer_worker_restarts", "Restarts of the media workers that are wanted now.")
	p := c.parts
	c.see(func(_ context.Context, out chan<- prometheus.Metric) {
		n, again := p.Mixer.Stats()
		gauge(out, workers, float64(n))
		gauge(out, restarts, float64(again))
	})
}

// relays is the stream relay tasks and what they push.
func (c *collector) relays() {
	tasks := c.desc("relay_tasks", "Stream relay tasks, by the state of their best destination.", "app", "mode", "state")
	outputs := c.desc("relay_outputs", "Destinations of stream relay tasks.", "state")
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
	})
}

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
