package tally

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	h := New(time.Millisecond, 10*time.Millisecond, time.Second)
	for _, d := range []time.Duration{-5, 0, time.Millisecond, time.Millisecond + 1, time.Second, time.Minute} {
		h.Observe(d)
	}
	got := h.Look()
	if want := []uint64{3, 4, 5}; !slices.Equal(got.Within, want) || got.Count != 6 {
		t.Errorf("got %v of %d, want %v of 6: a bound is inside, less than 0 is 0", got.Within, got.Count, want)
	}
	if want := 2*time.Millisecond + 1 + time.Second + time.Minute; got.Sum != want {
		t.Errorf("got the sum %v, want %v", got.Sum, want)
	}
	var nobody *Histogram
	if nobody.Observe(1); nobody.Look().Count != 0 {
		t.Error("nil has counted something")
	}
}

func TestHistogramByMany(t *testing.T) {
	h := New(10, 20)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for range 1000 {
				h.Observe(time.Duration(n * 4))
			}
		})
	}
	wg.Wait()
	if got := h.Look(); got.Count != 8000 || !slices.Equal(got.Within, []uint64{3000, 6000}) || got.Sum != 1000*4*28 {
		t.Errorf("got %+v, want 3000 up to 10, 6000 up to 20, 8000 in all", got)
	}
}

func TestBoundsRise(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("bounds that fall were taken")
		}
	}()
	New(2, 1)
}

func BenchmarkObserve(b *testing.B) {
	h := New(1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 2e8, 5e8, 1e9)
	b.ReportAllocs()
	for b.Loop() {
		h.Observe(4e7)
	}
}
