package relay

import (
	"maps"
	"strings"
	"sync"
	"time"
)

// Stats is what all pushes of a Service have done since its start.
type Stats struct {
	Bytes      uint64            // of coded media, sent to connections
	Dropped    uint64            // access units that were left out because an origin was slow or away
	Reconnects map[string]uint64 // connections that ended and were tried again, by the words of PushState.Reason
	Queued     time.Duration     // how long the oldest access unit waits, of all pushes; they drop what waits for over 3 s
}

// Stats may be called at any time.
func (s *Service) Stats() Stats { return s.totals.look(time.Now()) }

// totals adds up pushes: those that are no more in sum, those that run as they
// are now. What it tells never falls.
type totals struct {
	mu      sync.Mutex
	running map[*Push]struct{}
	gone    Stats // without Queued
}

func newTotals() *totals {
	return &totals{running: map[*Push]struct{}{}, gone: Stats{Reconnects: map[string]uint64{}}}
}

// begin and end frame a push's life; on nil they do nothing.
func (t *totals) begin(p *Push) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running[p] = struct{}{}
}

func (t *totals) end(p *Push) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.running, p)
	s := p.State()
	t.gone.Bytes += s.Bytes
	t.gone.Dropped += s.Dropped
}

// lost counts a connection that ended and is tried again.
func (t *totals) lost(reason string) {
	if t == nil {
		return
	}
	reason, _, _ = strings.Cut(reason, " ") // the rest is an origin's own word
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone.Reconnects[reason]++
}

func (t *totals) look(now time.Time) Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.gone
	all.Reconnects = maps.Clone(all.Reconnects)
	for p := range t.running {
		s := p.State()
		all.Bytes += s.Bytes
		all.Dropped += s.Dropped
		all.Queued = max(all.Queued, p.queue.age(now))
	}
	return all
}

// age is how long the oldest unit waits; 0 when none does.
func (q *pushQueue) age(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.units) == 0 {
		return 0
	}
	return max(0, now.Sub(q.units[0].arrived))
}
