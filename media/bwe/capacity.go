package bwe

import "math"

// capacity remembers at which rates queues grew: what the link is about to take
// (draft-ietf-rmcat-gcc-02 section 5.5, its average of the incoming rate).
type capacity struct {
	mean   float64 // kbit/s; 0: unknown
	spread float64 // variance, relative to the mean
}

const (
	capacityWeight = 0.05
	spreadLeast    = 0.4
	spreadMost     = 2.5
)

// full takes the rate in bits/s that arrived while queues grew.
func (c *capacity) full(rate float64) {
	kbit := rate / 1000
	if c.mean == 0 || math.Abs(kbit-c.mean) > 3*c.deviation() {
		c.mean, c.spread = kbit, spreadLeast // another link than before
		return
	}
	c.mean += capacityWeight * (kbit - c.mean)
	diff := c.mean - kbit
	c.spread = (1-capacityWeight)*c.spread + capacityWeight*diff*diff/max(c.mean, 1)
	c.spread = min(max(c.spread, spreadLeast), spreadMost)
}

func (c *capacity) deviation() float64 { return math.Sqrt(c.spread * c.mean) }

// forget drops what is known: the link takes more, or less.
func (c *capacity) forget() { c.mean = 0 }

// upper is the rate in bits/s above which the link is another one.
func (c *capacity) upper() float64 { return (c.mean + 3*c.deviation()) * 1000 }
