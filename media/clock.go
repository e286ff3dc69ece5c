package media

import (
	"sync"
	"time"
)

// Limits of Clock.
const (
	slewPerSecond = 20 * time.Millisecond  // A/V correction that ear and eye do not notice
	jumpOver      = 300 * time.Millisecond // more than this is a new start, not an error to be slewed away
	reportTrust   = time.Second            // a sender report that moves media further than this against its arrival is wrong
	minWindow     = 5 * time.Second        // half of the span whose fastest packet counts
)

// Clock puts the tracks of one publisher on the local time axis, so that what
// was captured together gets the same time. Each track starts anchored to its
// own arrival: the fastest packet of the last seconds had no queueing. As soon
// as every track that sends has a sender report (RFC 3550 section 6.4.1), the
// publisher's wall clock relates the tracks, and only the fastest packet of all
// of them relates that clock to ours. The change is slewed, 20 ms a second.
//
//	RTP timestamp ── report ──→ publisher's clock ── fastest packet ──→ local time
//	      └────────────── fastest packet of the track ──────────────────↗ (until then)
//
// A publisher that sends no reports (some WHIP encoders) stays on arrival.
// All methods may be called from many goroutines.
type Clock struct {
	mu      sync.Mutex
	tracks  []*TrackClock
	transit minFilter // arrival - publisher's clock, over all tracks
}

// TrackClock maps one track's timestamps.
type TrackClock struct {
	clock  *Clock
	rate   int64
	report func() (SenderReport, bool)

	started bool
	last    int64 // newest timestamp, without wrap-around
	lastAt  time.Time
	arrival minFilter     // arrival - media time
	offset  time.Duration // what is added to media time now
}

// Track adds a track with the given RTP clock rate in Hz. report gives the
// newest sender report, as Track.Report does; nil means that there are none.
func (c *Clock) Track(rate int64, report func() (SenderReport, bool)) *TrackClock {
	if report == nil {
		report = func() (SenderReport, bool) { return SenderReport{}, false }
	}
	t := &TrackClock{clock: c, rate: rate, report: report}
	c.mu.Lock()
	c.tracks = append(c.tracks, t)
	c.mu.Unlock()
	return t
}

// Remove forgets a track that has ended, so that it holds up no one.
func (t *TrackClock) Remove() {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.tracks {
		if other == t {
			c.tracks = append(c.tracks[:i:i], c.tracks[i+1:]...)
			return
		}
	}
}

// epoch makes times into durations that fit arithmetic; only differences matter.
var epoch = time.Unix(0, 0)

// Time is the local time of the media with timestamp ts, whose first packet
// arrived at arrival. Timestamps may go back a little and wrap around.
func (t *TrackClock) Time(ts uint32, arrival time.Time) time.Time {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	if !t.started {
		t.started, t.last = true, int64(ts)
	}
	ext := t.last + int64(int32(ts-uint32(t.last)))
	media := ticks(ext, t.rate)
	at := arrival.Sub(epoch)

	fresh := t.lastAt.IsZero()
	if ext < t.last-t.rate { // the source started anew
		t.last, t.arrival, fresh = ext, minFilter{}, true
	}
	target := t.arrival.add(at, at-media)
	if byReport, ok := t.byReportLocked(ext, at); ok && (byReport-target).Abs() < reportTrust {
		target = byReport
	}
	if d := target - t.offset; fresh || d.Abs() > jumpOver {
		t.offset = target
	} else if step := time.Duration(float64(slewPerSecond) * arrival.Sub(t.lastAt).Seconds()); step > 0 {
		t.offset += max(-step, min(step, d))
	}
	if ext >= t.last {
		t.last, t.lastAt = ext, arrival
	}
	return arrival.Add(t.offset + media - at)
}

// byReportLocked is the offset that the sender reports ask for.
func (t *TrackClock) byReportLocked(ext int64, at time.Duration) (time.Duration, bool) {
	ntp := func(t *TrackClock, ext int64) (time.Duration, bool) {
		sr, ok := t.report()
		since := ticks(int64(int32(uint32(ext)-sr.Timestamp)), t.rate)
		return sr.NTP.Sub(epoch) + since, ok
	}
	mine, ok := ntp(t, ext)
	if !ok {
		return 0, false
	}
	for _, other := range t.clock.tracks {
		if other.started {
			if _, ok := other.report(); !ok {
				return 0, false
			}
		}
	}
	transit := t.clock.transit.add(at, at-mine)
	return transit + mine - ticks(ext, t.rate), true
}

// ticks is n/rate seconds, exact for any n an RTP stream can reach.
func ticks(n, rate int64) time.Duration {
	return time.Duration(n/rate)*time.Second + time.Duration(n%rate)*time.Second/time.Duration(rate)
}

// minFilter is the smallest value of the last minWindow to 2*minWindow.
type minFilter struct {
	since    time.Duration
	old, cur time.Duration
	have     int // filled halves, 0 to 2
}

func (f *minFilter) add(now, v time.Duration) time.Duration {
	switch {
	case f.have == 0:
		f.since, f.cur, f.have = now, v, 1
	case now-f.since > minWindow:
		f.since, f.old, f.cur, f.have = now, f.cur, v, 2
	default:
		f.cur = min(f.cur, v)
	}
	if f.have == 2 {
		return min(f.old, f.cur)
	}
	return f.cur
}
