package sfu

import "time"

const (
	restAfter = 10 * time.Second // that nobody takes a layer
	wakeTime  = 3 * time.Second  // that a publisher may take to send it again
)

// rest is whether a layer's publisher was asked not to send it. It is owned by
// Server.steer.
type rest struct {
	asked  bool      // not to send
	unused time.Time // since when nobody takes it; zero: somebody does
	woken  time.Time // when it was asked to send again
}

// steerUp looks at what a participant publishes, and asks it to send the layers
// that somebody takes, and no others.
func (p *Participant) steerUp(now time.Time) {
	for _, t := range p.up.sections() {
		t.track.steer(now)
		if t.track.settle(now) {
			p.tell(Layers{t.source, t.track.awake()})
		}
	}
}

// settle decides which layers rest; changed tells that the publisher has to know.
// The smallest never does: whoever comes sees it at once.
func (t *track) settle(now time.Time) (changed bool) {
	if len(t.layers) == 1 {
		return false
	}
	smallest := t.smallest()
	for _, l := range t.layers {
		r := &l.rest
		taken := l == smallest || l.takers.Load() > 0
		switch {
		case taken:
			r.unused = time.Time{}
		case r.unused.IsZero():
			r.unused = now
		}
		switch {
		case r.asked && taken:
			r.asked, r.woken, changed = false, now, true
		case !r.asked && !taken && l.flows() && now.Sub(r.unused) >= restAfter:
			r.asked, changed = true, true
			l.resting.Store(true)
		case !r.asked && l.resting.Load() && (l.flows() || now.Sub(r.woken) > wakeTime):
			l.resting.Store(false)
		}
	}
	return changed
}

// awake lists the layers that are to be sent.
func (t *track) awake() []string {
	rids := []string{}
	for _, l := range t.layers {
		if !l.rest.asked {
			rids = append(rids, l.rid)
		}
	}
	return rids
}
