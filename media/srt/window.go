package srt

import "time"

const (
	leastWindow = 32 << 10               // bytes: a connection begins with it, and a slow stream needs no more
	sampleTime  = 100 * time.Millisecond // acknowledgements come each 10 ms, in lumps after a loss
	samples     = 20                     // the best of 2 s counts: a stream comes in lumps too
)

// window says how many bytes may be under way: what the network has shown to carry
// in a round trip and an eighth of the latency more. So a key frame, or what has
// waited for a while, finds its way as fast as the network takes it, a network
// that is narrower than the stream fills no queue of its own, and a single loss
// slows nothing down. (SRT's own live mode sends whatever comes, and leaves
// congestion to the stream's maker.)
type window struct {
	begun time.Time // of the sample
	bytes int       // acknowledged since
	rates [samples]float64
	next  int
}

func (w *window) acknowledged(bytes int, now time.Time) {
	w.bytes += bytes
	d := now.Sub(w.begun)
	if d < sampleTime {
		return
	}
	if d < samples*sampleTime { // else nothing was under way for long
		w.rates[w.next] = float64(w.bytes) / d.Seconds()
		w.next = (w.next + 1) % samples
	}
	w.begun, w.bytes = now, 0
}

// size is for a round trip of an empty network and the session's latency.
func (w *window) size(rtt, latency time.Duration) int {
	best := 0.0
	for _, r := range w.rates {
		best = max(best, r)
	}
	return min(max(int(best*(rtt+latency/8).Seconds()), leastWindow), flightBytes)
}
