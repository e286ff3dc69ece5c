package ingest

import "time"

// The tracks of a publisher.
const (
	soundTrack = iota
	videoTrack
)

const (
	// lineStart is the time of the first tag: room for the negative composition
	// times of some encoders, so that no time is negative.
	lineStart = time.Second
	// backMax is how far a track's decoding time may go back; encoders whose clock
	// was corrected do.
	backMax = 100 * time.Millisecond
	// aheadMax is how far a track's time may run ahead of the clock; a file that is
	// pushed as fast as it goes, in bursts, does. More is another timeline.
	aheadMax = 3 * time.Second
	// apartMax is how far the tracks may be apart when the second one begins.
	apartMax = 5 * time.Second
)

// timeline puts a publisher's decoding times on one axis that goes on at the pace
// of real time over all their jumps: an encoder that starts anew, a file that is
// looped. Both tracks are moved by the same amount, which keeps lips and words
// together.
//
//	at a jump:  shift ──→ old       the other track may still send tags of before
//	            new  ──→ shift      the next tag comes where the clock says
type timeline struct {
	begun      bool
	zero       time.Time     // when the first tag came
	shift, old time.Duration // added to times; old is the one of before the newest jump
	tracks     [2]struct {
		begun bool
		last  time.Duration // newest time given out
		at    time.Time     // when
		pace  pace
	}
}

// place is time, but for what comes late after a pause. While that catches up,
// pictures hurry and sound is left out (ok is false); where it does not, the
// timeline goes on from where the pictures are.
func (l *timeline) place(track int, ts time.Duration, now time.Time) (at time.Duration, ok bool) {
	at = l.time(track, ts, now)
	p := &l.tracks[track].pace
	switch v, late := p.judge(at, now.Sub(l.zero)); {
	case v == fallenBack:
		d := late - p.allowed
		l.skip(d)
		return at + d, true
	case v == catchingUp && track == soundTrack:
		return 0, false
	case v == catchingUp:
		return p.hurried(at, late), true
	}
	return at, true
}

// skip moves both tracks on by d. They are as late as is allowed then, and allowed
// a little more.
func (l *timeline) skip(d time.Duration) {
	l.shift += d
	l.old = l.shift
	for i := range l.tracks {
		l.tracks[i].last += d
		l.tracks[i].pace.late, l.tracks[i].pace.allowed = false, 2*lateMax
	}
}

// time is the place of a tag that came now with decoding time ts.
func (l *timeline) time(track int, ts time.Duration, now time.Time) time.Duration {
	if !l.begun {
		l.begun, l.zero = true, now
		l.shift = lineStart - ts
		l.old = l.shift
	}
	out := ts + l.shift
	if !l.fits(track, out, now) {
		if before := ts + l.old; l.fits(track, before, now) {
			out = before
		} else {
			out = l.expected(track, now)
			l.old, l.shift = l.shift, out-ts
		}
	}
	t := &l.tracks[track]
	if !t.begun || out >= t.last {
		t.last, t.at = out, now
	}
	t.begun = true
	return out
}

// fits tells whether a track may go on at out.
func (l *timeline) fits(track int, out time.Duration, now time.Time) bool {
	t := l.tracks[track]
	if t.begun {
		return out >= t.last-backMax && out <= l.expected(track, now)+aheadMax
	}
	other := l.tracks[1-track]
	return !other.begun || (out-l.expected(track, now)).Abs() <= apartMax
}

// expected is where a track should be now, if it goes on as the clock does.
func (l *timeline) expected(track int, now time.Time) time.Duration {
	t := l.tracks[track]
	if !t.begun {
		t = l.tracks[1-track]
	}
	if !t.begun {
		return lineStart
	}
	return t.last + now.Sub(t.at)
}
