package metrics

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"braid/origin"
)

// streams is what the embedded origin has on air.
func (c *collector) streams() {
	streams := c.desc("origin_streams", "Streams on air at the embedded origin, by what their pictures are coded in.", "codec")
	viewers := c.desc("origin_viewers", "Viewers of the embedded origin; of HLS those who asked for a playlist in the last half minute, by address and program.", "protocol")
	in := c.desc("origin_received_bytes_total", "Media that publishers sent to the embedded origin, as of the scrapes.")
	out := c.desc("origin_sent_bytes_total", "Media that viewers of the embedded origin took over RTMP, HTTP-FLV and HLS, as of the scrapes.")
	p, sums := c.parts, &originSums{}
	c.see(func(_ context.Context, to chan<- prometheus.Metric) {
		all, byCodec := p.Origin.Streams(), map[string]int{}
		for _, s := range all {
			codec := s.Video
			if codec == "" {
				codec = "none"
			}
			byCodec[codec]++
		}
		for _, codec := range sorted(byCodec) {
			gauge(to, streams, float64(byCodec[codec]), codec)
		}
		audience := p.Origin.Audience()
		gauge(to, viewers, float64(audience.RTMP), "rtmp")
		gauge(to, viewers, float64(audience.FLV), "http_flv")
		gauge(to, viewers, float64(audience.HLS), "hls")
		received, sent := sums.add(all)
		counter(to, in, received)
		counter(to, out, sent)
	})
}

// originSums adds up streams that come and go. What a stream carries between the
// last scrape and its end is not seen.
type originSums struct {
	mu   sync.Mutex
	last map[streamID][2]uint64
	sum  [2]uint64
}

type streamID struct{ app, name string }

func (o *originSums) add(all []origin.StreamInfo) (in, out uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := make(map[streamID][2]uint64, len(all))
	for _, s := range all {
		id := streamID{s.App, s.Name}
		now, before := [2]uint64{s.BytesIn, s.BytesOut}, o.last[id]
		if now[0] < before[0] { // another stream of the same name
			before = [2]uint64{}
		}
		for i := range now {
			o.sum[i] += now[i] - before[i]
		}
		next[id] = now
	}
	o.last = next
	return o.sum[0], o.sum[1]
}
