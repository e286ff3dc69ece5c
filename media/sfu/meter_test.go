package sfu

import (
	"slices"
	"testing"
	"time"
)

// TestQualityOfANarrowPath: who gets smaller pictures than wanted is told so, beside what
// else is wrong.
func TestQualityOfANarrowPath(t *testing.T) {
	now := time.Now()
	p := &Participant{}
	p.down.pc = testClient(t)
	p.down.lanes = []*lane{{flows: true}}
	if q := p.quality(0, 0, now); q.Down != 5 || len(q.Reasons) != 0 {
		t.Errorf("nothing is wrong: got %+v", q)
	}
	p.down.limited = true
	if q := p.quality(0, 0, now); q.Up != 5 || q.Down != 3 || !slices.Equal(q.Reasons, []string{"bandwidth"}) {
		t.Errorf("a narrow path: got %+v", q)
	}
	p.down.lanes[0].health.at, p.down.lanes[0].health.lost = now, 0.1
	if q := p.quality(0, 0, now); q.Down != 2 || !slices.Equal(q.Reasons, []string{"bandwidth", "loss"}) {
		t.Errorf("a narrow path that loses a tenth: got %+v", q)
	}
}
