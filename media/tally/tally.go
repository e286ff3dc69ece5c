// Package tally sorts what is measured on paths that must not wait: durations
// into a histogram, by a few atomic additions, without allocating. Whoever shows
// the numbers looks at them when asked. It starts no goroutine.
package tally

import (
	"slices"
	"sync/atomic"
	"time"
)

// Histogram counts durations by size. Its methods may be called from any
// goroutine; the zero value takes nothing, New makes one.
type Histogram struct {
	bounds []time.Duration
	counts []atomic.Uint64 // one more than bounds: what is longer than all
	sum    atomic.Int64    // nanoseconds; 292 years
}

// New makes a histogram with these upper bounds, which must rise. It panics when
// they do not: they are constants of whoever calls.
func New(bounds ...time.Duration) *Histogram {
	if !slices.IsSorted(bounds) {
		panic("tally: the bounds of a histogram must rise")
	}
	return &Histogram{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Observe counts one duration; below 0 counts as 0. It does nothing on nil.
func (h *Histogram) Observe(d time.Duration) {
	if h == nil {
		return
	}
	d = max(0, d)
	i := 0
	for i < len(h.bounds) && d > h.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Distribution is what a Histogram has counted up to a moment.
type Distribution struct {
	Count  uint64
	Sum    time.Duration
	UpTo   []time.Duration // immutable
	Within []uint64        // how many were at most UpTo of the same index
}

// Look is what has been counted; the zero Distribution on nil. Observations made
// meanwhile may be in Sum and not in Count, or the other way round.
func (h *Histogram) Look() Distribution {
	if h == nil {
		return Distribution{}
	}
	d := Distribution{UpTo: h.bounds, Within: make([]uint64, len(h.bounds)), Sum: time.Duration(h.sum.Load())}
	for i := range h.bounds {
		d.Count += h.counts[i].Load()
		d.Within[i] = d.Count
	}
	d.Count += h.counts[len(h.bounds)].Load()
	return d
}
