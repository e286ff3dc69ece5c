package transcode

import "sync"

// What pictures cost, in nanoseconds a pixel: x264 superfast and the decoder as
// measured (doc/transcoding.md), with room for pictures that are harder.
const (
	decodePixel = 3.5
	encodePixel = 9
)

// Budget is how much of a machine transcoding may take, over all streams. It may be
// used from any goroutine.
type Budget struct {
	Cores float64

	mu   sync.Mutex
	used float64
}

// resize makes a reservation of some cores one of others, if there is room for it, and
// says what was free besides the old one. What is given back goes to who asks next.
func (b *Budget) resize(from, to float64) (free float64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	free = b.Cores - b.used + from
	if to > free && to > from {
		return free, false
	}
	b.used += to - from
	return free, true
}

// decodeCost is that of a source, encodeCost that of a rendition of it, in cores.
func decodeCost(w, h, fps int) float64 { return float64(w*h*fps) * decodePixel / 1e9 }

func encodeCost(w, h, fps int, r Rendition) float64 {
	if r.Height < h {
		w, h = w*r.Height/h, r.Height
	}
	if r.FPS > 0 {
		fps = min(fps, r.FPS)
	}
	return float64(w*h*fps) * encodePixel / 1e9
}
