package bwe

import "time"

const (
	ackedSpan   = 150 * time.Millisecond // of one sample: browsers' window; a frame is a fraction of it
	ackedWeight = 0.3                    // of a new sample: the mean is over half a second
	ackedStale  = 2 * time.Second        // nothing came for this long: the mean begins anew
)

// acked measures what arrives, on the receiver's clock.
type acked struct {
	bytes int
	from  time.Duration // arrival that the bytes are counted after
	until time.Duration // last arrival
	open  bool          // from is valid

	mean    float64    // bits/s; 0: unknown
	samples [2]float64 // the last two
	n       int
}

// add counts a packet that arrived for the first time.
func (a *acked) add(size int, came time.Duration) {
	if !a.open {
		a.open, a.from, a.until, a.bytes = true, came, came, 0
		return
	}
	a.bytes += size
	a.until = max(a.until, came)
}

// cut ends a span across which packets were not told about: their bytes would miss.
func (a *acked) cut() { a.open = false }

// settle makes a sample of what was counted when the span is long enough.
func (a *acked) settle() {
	span := a.until - a.from
	if !a.open || span < ackedSpan {
		return
	}
	sample := float64(a.bytes) * 8 / span.Seconds()
	if a.mean == 0 || span > ackedStale {
		a.mean = sample
		a.n = 0
	} else {
		a.mean += ackedWeight * (sample - a.mean)
	}
	a.samples[a.n&1] = sample
	a.n++
	a.bytes, a.from = 0, a.until
}

// full is what a link delivers whose queue grows: the better of the last two
// samples, for the other may begin before the queue did. The mean still has in
// it what was sent before.
func (a *acked) full() float64 {
	if a.n < 2 {
		return a.mean
	}
	return max(a.samples[0], a.samples[1])
}

// newest is the last sample; 0: unknown.
func (a *acked) newest() float64 {
	if a.n == 0 {
		return a.mean
	}
	return a.samples[(a.n-1)&1]
}
