package callback

import (
	"time"

	"braid/store"
)

const (
	// maxLanes is how many channels of one subscription are sent at a time.
	maxLanes = 8
	// After downAfter failures in a row, with nothing delivered between them, a
	// receiver counts as down: then downLanes channels are tried at a time, and a
	// try starts only every eighth of the wait, so that a receiver with 100,000
	// waiting channels is not asked more often than one with eight.
	downAfter = 8
	downLanes = 2
)

// endpoint is a subscription that has something waiting, while it has. It is
// owned by Run. What must outlive the process is in the store's lanes.
type endpoint struct {
	sub    string
	busy   map[int64]bool // lanes whose head is being sent or whose result is not durable yet
	up     bool           // the last attempt got through
	good   time.Time      // when one got through last; zero: none since it is in memory
	streak int            // attempts that failed since then
	pause  time.Time      // no try starts before, while it is down
	dirty  bool           // it is in dispatcher.dirty
	next   time.Time      // when something becomes due; zero: not before something else happens
	place  int            // in the heap of timers; -1: not there
}

func (e *endpoint) down() bool { return e.streak >= downAfter }

// note takes the end of an attempt into account.
func (e *endpoint) note(c *Config, o store.Outcome) {
	now := o.Record.Time
	if o.Delivered {
		e.up, e.good, e.streak, e.pause = true, now, 0, time.Time{}
		return
	}
	e.up = false
	e.streak++
	if e.down() {
		e.pause = now.Add(jitter(c.wait(e.streak-downAfter+1, 0) / maxLanes))
	}
}

// forgive makes an endpoint be tried at once: its URL has changed.
func (e *endpoint) forgive() { e.up, e.streak, e.pause = true, 0, time.Time{} }

// choose picks the lanes to start now, of those given in the order of Due, and
// tells when the next one becomes due; zero when that is not a matter of time.
//
//	Fresh    at once
//	Waiting  when it is due, or at once while the receiver takes messages
//	Held     when it is due
func (e *endpoint) choose(lanes []store.Lane, now time.Time) (start []store.Lane, next time.Time) {
	slots := maxLanes
	if e.down() {
		slots = downLanes
	}
	for _, l := range lanes {
		if e.busy[l.ID] {
			continue
		}
		at := l.Due
		if l.State == store.Fresh || l.State == store.Waiting && e.up {
			at = now
		}
		if e.down() && at.Before(e.pause) {
			at = e.pause
		}
		switch {
		case len(e.busy)+len(start) >= slots:
			return start, time.Time{} // the end of an attempt makes room
		case !at.After(now):
			start = append(start, l)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return start, next
}

// timers is a heap of endpoints by next (container/heap).
type timers []*endpoint

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].next.Before(t[j].next) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = i, j
}

func (t *timers) Push(x any) {
	e := x.(*endpoint)
	e.place = len(*t)
	*t = append(*t, e)
}

func (t *timers) Pop() any {
	last := len(*t) - 1
	e := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	e.place = -1
	return e
}
