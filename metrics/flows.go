package metrics

import (
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"braid/media/sfu"
)

// flows is what goes in and out over WebRTC, and how well. Direction is as seen
// from here: packets that come are in, and so are the requests that viewers send.
func (c *collector) flows() {
	sessions := c.desc("webrtc_sessions", "Sessions of publishers, viewers and participants, those that connect among them.")
	packets := c.desc("rtp_packets_total", "RTP packets received (in) and sent (out); sent again counts again.", "direction", "kind")
	bytes := c.desc("rtp_payload_bytes_total", "Payload of RTP packets, without headers.", "direction", "kind")
	lost := c.desc("rtp_lost_packets_total", "RTP packets that never came: in, after retransmissions; out, as viewers report it.", "direction", "kind")
	again := c.desc("rtp_resent_packets_total", "RTP packets that viewers asked for again and got.", "kind")
	nacks := c.desc("nack_packets_total", "RTP packets asked for again: by viewers (in), of publishers (out).", "direction", "kind")
	plis := c.desc("key_frame_requests_total", "Key frames asked for, by PLI or FIR: by viewers (in), of publishers (out).", "direction")
	rtt := c.desc("rtt_seconds", "Round trip times to viewers, one for each of their reports that tells it.")
	jitter := c.desc("jitter_seconds", "Interarrival jitter at viewers, one for each of their reports (RFC 3550).")
	forward := c.desc("forward_seconds", "Time from a burst of packets' arrival until it was given to all who get it.")
	paths := c.desc("viewer_paths", "Viewers whose connection tells what it carries; limited are those whose pictures are smaller than wanted.", "limited")
	estimate := c.desc("bandwidth_estimate_bytes_per_second", "What the paths to viewers carry, as estimated: sum, and that of the worst twentieth (p05) and half (p50).", "stat")
	p := c.parts
	c.see(func(_ context.Context, out chan<- prometheus.Metric) {
		s := p.SFU.Stats()
		gauge(out, sessions, float64(s.Sessions))
		for _, f := range []struct {
			direction, kind, asks string
			flow                  sfu.Flow
		}{{"in", "audio", "out", s.In.Audio}, {"in", "video", "out", s.In.Video}, {"out", "audio", "in", s.Out.Audio}, {"out", "video", "in", s.Out.Video}} {
			counter(out, packets, f.flow.Packets, f.direction, f.kind)
			counter(out, bytes, f.flow.Bytes, f.direction, f.kind)
			counter(out, lost, f.flow.Lost, f.direction, f.kind)
			counter(out, nacks, f.flow.NACKs, f.asks, f.kind)
			if f.direction == "out" {
				counter(out, again, f.flow.Again, f.kind)
			}
			if f.kind == "video" {
				counter(out, plis, f.flow.PLIs, f.asks)
			}
		}
		histogram(out, rtt, s.RoundTrip)
		histogram(out, jitter, s.Jitter)
		histogram(out, forward, s.Forward)
		var rates []float64
		limited, sum := 0, 0.0
		for _, path := range s.Paths {
			rates = append(rates, path.Rate/8)
			sum += path.Rate / 8
			if path.Limited {
				limited++
			}
		}
		gauge(out, paths, float64(len(rates)-limited), "no")
		gauge(out, paths, float64(limited), "yes")
		gauge(out, estimate, sum, "sum")
		if len(rates) > 0 {
			slices.Sort(rates)
			gauge(out, estimate, rates[len(rates)/20], "p05")
			gauge(out, estimate, rates[len(rates)/2], "p50")
		}
	})
}
