package relay

import (
	"testing"
	"time"

	"braid/media"
)

// TestTotals: what pushes did stays counted when they are no more.
func TestTotals(t *testing.T) {
	var nobody *totals
	nobody.begin(nil)
	nobody.end(nil)
	nobody.lost("refused")

	all := newTotals()
	a, b := NewPush(PushConfig{}), NewPush(PushConfig{})
	all.begin(a)
	all.begin(b)
	a.state.Bytes, b.state.Bytes = 100, 20
	now := time.Now()
	b.queue.open(false)
	b.queue.put(&media.AccessUnit{Codec: media.AAC, Units: [][]byte{{1, 2, 3}}}, now.Add(-2*time.Second))
	b.queue.put(&media.AccessUnit{Codec: media.AAC, Units: [][]byte{{4}}}, now.Add(-time.Second))
	all.lost("refused")
	all.lost("rejected (NetStream.Publish.BadName)")
	all.lost("rejected (anything that an origin likes)")
	s := all.look(now)
	if s.Bytes != 120 || s.Dropped != 0 || s.Queued != 2*time.Second || s.Reconnects["refused"] != 1 || s.Reconnects["rejected"] != 2 || len(s.Reconnects) != 2 {
		t.Errorf("while both run: got %+v", s)
	}
	b.queue.close() // as the end of a session does: what waited is lost
	all.end(b)
	if s := all.look(now); s.Bytes != 120 || s.Dropped != 2 || s.Queued != 0 {
		t.Errorf("after the second has ended: got %+v, want 120 bytes, 2 dropped", s)
	}
	all.end(a)
	s = all.look(now)
	s.Reconnects["refused"] = 99
	if s := all.look(now); s.Bytes != 120 || s.Reconnects["refused"] != 1 {
		t.Errorf("after both have ended: got %+v", s)
	}
}
