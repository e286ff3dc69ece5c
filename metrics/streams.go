package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// streams is what the embedded origin has on air.
func (c *collector) streams() {
	streams := c.desc("origin_streams", "Streams on air at the embedded origin.")
	viewers := c.desc("origin_viewers", "Viewers of the embedded origin over RTMP and HTTP-FLV; HLS has requests, not viewers.")
	p := c.parts
	c.see(func(_ context.Context, out chan<- prometheus.Metric) {
		all, watching := p.Origin.Streams(), 0
		for _, s := range all {
			watching += s.Viewers
		}
		gauge(out, streams, float64(len(all)))
		gauge(out, viewers, float64(watching))
	})
}
