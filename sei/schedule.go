package sei

import "time"

// Rule says when a body is written. The zero Rule never does.
type Rule struct {
	On        bool
	FollowIDR bool          // with each IDR
	Interval  time.Duration // and this long after it was written last; 0: not by time
}

// Schedule decides for each picture what to write. Set the rules before the
// first Next; afterwards they may be changed between two calls.
type Schedule struct {
	Layout, PassThrough Rule

	layout, passThrough timer
}

// Next decides for the picture at pts, in decoding order. The first picture
// carries whatever is on. So does a picture with changed, which tells that the
// layout or the content is another than in the picture before: there the player
// gets the whole state at once.
func (s *Schedule) Next(pts time.Duration, key, changed bool) (layout, passThrough bool) {
	return s.layout.next(s.Layout, pts, key, changed), s.passThrough.next(s.PassThrough, pts, key, changed)
}

// timer is one rule's state.
type timer struct {
	written bool
	last    time.Duration // when the last one was due
}

func (t *timer) next(r Rule, pts time.Duration, key, changed bool) bool {
	if !r.On {
		*t = timer{}
		return false
	}
	elapsed := pts - t.last
	switch {
	case !t.written, changed, key && r.FollowIDR, elapsed < 0: // elapsed < 0: the timeline began anew
		*t = timer{true, pts}
		return true
	case r.Interval <= 0 || elapsed < r.Interval:
		return false
	}
	// Count on from when it was due, not from the picture that came up to a
	// frame later, so that 1000 ms stay 1000 ms on average. After a pause begin
	// anew instead of catching up.
	t.last += r.Interval
	if pts-t.last >= r.Interval {
		t.last = pts
	}
	return true
}
