package engine

import (
	"sync"
	"time"
)

// Delay bounds. 60 ms is what a wired publisher needs at once, 30 ms what any
// frame based transport has in jitter alone, 300 ms what a conversation bears.
const (
	startDelay = 60 * time.Millisecond
	minDelay   = 30 * time.Millisecond
	maxDelay   = 300 * time.Millisecond

	growStep    = 20 * time.Millisecond // one hiccup does not cost the whole bound
	shrinkStep  = 10 * time.Millisecond
	shrinkEvery = 5 * time.Second
	margin      = 5 * time.Millisecond

	// Later than this is not jitter but a cached start or a stall: waiting for
	// it would help nobody.
	notJitter = 500 * time.Millisecond
	// Media that was kept for a late joiner comes in a burst; it says nothing
	// about the network.
	settleTime = time.Second
)

// group is one person: it chooses the delay that the person's sound and picture
// share. All methods may be called from any goroutine.
type group struct {
	mu       sync.Mutex
	delay    time.Duration              // owned by mu
	shrunk   time.Duration              // when it last shrank or grew
	lateness map[*input]*latenessWindow // owned by mu
}

func newGroup() *group {
	return &group{delay: startDelay, lateness: make(map[*input]*latenessWindow)}
}

func (g *group) get() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.delay
}

// forget drops what an input said about its lateness.
func (g *group) forget(in *input) {
	g.mu.Lock()
	delete(g.lateness, in)
	g.mu.Unlock()
}

// observe notes that media of in with time pts was ready to be shown or heard
// at now, and returns the delay after it.
func (g *group) observe(in *input, pts, now time.Duration) time.Duration {
	late := now - pts
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.lateness[in]
	if w == nil {
		w = &latenessWindow{opened: now}
		g.lateness[in] = w
		if len(g.lateness) == 1 {
			g.shrunk = now
		}
	}
	w.settle(late <= g.delay, pts, now)
	if !w.settled || late > notJitter {
		return g.delay
	}
	w.add(late, now)
	if late > g.delay {
		g.delay = min(g.delay+growStep, roundUp(late+margin, shrinkStep), maxDelay)
		g.shrunk = now
		return g.delay
	}
	if now-g.shrunk >= shrinkEvery {
		g.shrunk = now
		var need time.Duration
		for _, w := range g.lateness {
			need = max(need, w.p95())
		}
		if g.delay-shrinkStep >= max(need+margin, minDelay) {
			g.delay -= shrinkStep
		}
	}
	return g.delay
}

func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1) / unit * unit }

// latenessWindow is the histogram of the last ten seconds, a second a row.
type latenessWindow struct {
	opened  time.Duration
	settled bool
	pts, at time.Duration // of the newest media, until settled
	second  int64
	rows    [10][64]uint16 // bins of 5 ms; the last holds all above
}

// settle ends the burst at the beginning: with what is in time, or does not come
// faster than it plays.
func (w *latenessWindow) settle(inTime bool, pts, now time.Duration) {
	if w.settled {
		return
	}
	first := w.at == 0
	steady := !first && now-w.at >= (pts-w.pts)/2
	w.settled = inTime || steady || now-w.opened > settleTime
	w.pts, w.at = pts, now
}

const latenessBin = 5 * time.Millisecond

func (w *latenessWindow) add(late, now time.Duration) {
	second := int64(now / time.Second)
	for s := max(w.second+1, second-int64(len(w.rows))+1); s <= second; s++ {
		w.rows[s%int64(len(w.rows))] = [64]uint16{}
	}
	w.second = max(w.second, second)
	bin := min(max(late/latenessBin, 0), 63)
	w.rows[w.second%int64(len(w.rows))][bin]++
}

// p95 is the upper edge of the bin below which 95 of 100 observations lie.
func (w *latenessWindow) p95() time.Duration {
	var sum [64]int
	total := 0
	for _, row := range w.rows {
		for i, n := range row {
			sum[i] += int(n)
			total += int(n)
		}
	}
	left := total / 20
	for i := len(sum) - 1; i >= 0; i-- {
		if left -= sum[i]; left < 0 {
			return time.Duration(i+1) * latenessBin
		}
	}
	return 0
}
