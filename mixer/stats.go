package mixer

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"braid/media/tally"
	"braid/mixer/wire"
)

// PoolStats is how the media workers do.
type PoolStats struct {
	Workers []WorkerStats // that are wanted now, by key
	Mixes   int           // of them, outputs that mix
	Codings int           // of them, outputs that code one stream anew

	// Since the pool was made.
	Restarts map[string]int64   // by why the process before had to be replaced: "start", "died", "hung"
	Dropped  int64              // frames of inputs that found a worker's queue full
	Late     tally.Distribution // age of each mixed picture when it came, by the pool's clock: encoding and all waiting
}

// WorkerStats is one braid-mixer.
type WorkerStats struct {
	Key string // names what it is for; not for showing to strangers: it has the channel's name
	PID int    // 0 while there is no process
}

// Detail counts everything at this moment.
func (p *Pool) Detail() PoolStats {
	s := PoolStats{Dropped: p.count.dropped.Load(), Late: p.count.late.Look(), Restarts: map[string]int64{}}
	for i, why := range whys {
		s.Restarts[why] = p.count.restarts[i].Load()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		s.Workers = append(s.Workers, WorkerStats{Key: w.key, PID: int(w.pid.Load())})
		mixes, codings := w.running()
		s.Mixes += mixes
		s.Codings += codings
	}
	slices.SortFunc(s.Workers, func(a, b WorkerStats) int { return cmp.Compare(a.Key, b.Key) })
	return s
}

// running counts the outputs.
func (w *worker) running() (mixes, codings int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.outputs {
		if _, mix := o.open.(*wire.OpenMix); mix {
			mixes++
		} else {
			codings++
		}
	}
	return mixes, codings
}

// whys are the reasons to replace a process.
var whys = [...]string{"start", "died", "hung"}

const (
	whyStart = iota // it did not begin to work
	whyDied
	whyHung
)

// counts is what all workers of a pool count together.
type counts struct {
	restarts [len(whys)]atomic.Int64
	dropped  atomic.Int64
	late     *tally.Histogram
}

func newCounts() *counts {
	const ms = time.Millisecond
	return &counts{late: tally.New(10*ms, 20*ms, 40*ms, 60*ms, 80*ms, 100*ms, 150*ms, 200*ms, 300*ms, 500*ms, 1000*ms, 2000*ms)}
}

// came takes note of what a worker has made.
func (w *worker) came(o *output, m *wire.Output) {
	if _, mix := o.open.(*wire.OpenMix); mix && m.Codec.Video() {
		w.count.late.Observe(time.Since(w.zero) - m.PTS)
	}
}

// ended counts why a process has to be replaced.
func (w *worker) ended() {
	why := whyDied
	switch {
	case w.pid.Swap(0) == 0:
		why = whyStart
	case w.hung.Load():
		why = whyHung
	}
	w.hung.Store(false)
	w.count.restarts[why].Add(1)
}
