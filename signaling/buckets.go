package signaling

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// mostBuckets is how many names Buckets remembers, and someBuckets how many are
// left when some were forgotten.
const (
	mostBuckets = 10_000
	someBuckets = mostBuckets * 9 / 10
)

// Buckets are token buckets by name: each takes Burst at once, and one more every
// Every after that. They are in memory alone.
type Buckets struct {
	every time.Duration
	burst int

	mu  sync.Mutex
	all map[string]*rate.Limiter
}

// NewBuckets makes them; nobody has taken anything.
func NewBuckets(every time.Duration, burst int) *Buckets {
	return &Buckets{every: every, burst: burst, all: map[string]*rate.Limiter{}}
}

// Take takes one of a name's; when there is none left, nothing is taken, and wait
// says how long until there is: a second at least.
func (b *Buckets) Take(name string, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.all[name]
	if l == nil {
		if len(b.all) >= mostBuckets {
			b.forgetLocked(now)
		}
		l = rate.NewLimiter(rate.Every(b.every), b.burst)
		b.all[name] = l
	}
	if l.AllowN(now, 1) {
		return 0
	}
	return max(time.Second, time.Duration((1-l.TokensAt(now))*float64(b.every)))
}

// Fill gives a name all of its own back.
func (b *Buckets) Fill(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, name)
}

// forgetLocked makes room: buckets that are full again say nothing; when too few
// are, any go. It looks at all, so the room it makes has to last.
func (b *Buckets) forgetLocked(now time.Time) {
	for name, l := range b.all {
		if l.TokensAt(now) >= float64(b.burst) {
			delete(b.all, name)
		}
	}
	for name := range b.all {
		if len(b.all) <= someBuckets {
			return
		}
		delete(b.all, name)
	}
}
