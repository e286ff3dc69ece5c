package bwe

import "time"

// Numbers of a trial.
const (
	trialQueue = 30 * time.Millisecond // loss beside this much standing delay is a full queue: no question
	trialRate  = 150_000               // bits/s: below, an answer takes too long, and there is nothing to save
	trialMost  = 4 * time.Second       // for a path that carries few packets
	trialSure  = 25                    // packets sent at the lower rate, times the odds of no loss: 2.5 sigma are half the loss
	trialAlike = 0.4                   // of the way from no loss to as much as before: a trial begins when loss is above its mean
	trialSteps = 3                     // and at least so many steps
	trialUnder = 0.95                  // of what was delivered: a link that was only too small now loses nothing
	trialAfter = 8                     // steps of loss between 3 and 10 % before it is asked about
	trialNag   = 0.03
	trialCalm  = 3 * time.Second // without a queue; beside one, others may be what fills the link, and more of ours proves nothing
	trialUp    = 1.3             // times what was sent, where padding can make it more
	trialGrown = 1.12            // less than this and the padding did not go out
	trialSigma = 6.25            // 2.5 sigma, squared
	trialLeast = 250             // bytes; less padding waits until there is more
	trialHalf  = 0.5             // of the way from as much as before to what a full link would lose: it is full
	acceptMost = 0.6             // more than this nothing but luck carries
	acceptDown = 0.1             // weight of a step with less loss than accepted
)

// trial answers whether loss comes of the rate. (Browsers fit a model with an
// inherent loss to the last seconds, loss-based v2; an experiment needs no
// seconds of chance.) A path that loses at random loses the same share whatever
// is sent, and that share is accepted from then on.
//
// Where padding can be sent, more is: a link that was too small then loses all
// that was added. Media that come in layers go on as they are meanwhile. Else
// less is sent, a little under what was delivered, of which such a link loses
// nothing.
type trial struct {
	on       bool
	up       bool  // more is sent
	from     int64 // first step at the other rate
	began    time.Duration
	padded   time.Duration // when padding was last asked for
	share    float64       // lost before
	rate     float64       // what was sent then, bits/s
	estimate float64       // to go back to
}

// verdict is what loss says of the rate.
type verdict struct {
	hold bool    // it must not grow
	rate float64 // it is to be this; 0: no wish
	full bool    // the link is full at what arrives
}

// judge looks at the steps that feedback has told about since it was last asked.
// The one before the newest is not settled yet: late packets may still come.
func (l *loss) judge(at time.Duration, estimate float64, standing time.Duration) verdict {
	last := l.covered - 2
	if last <= l.judged {
		return verdict{hold: l.trial.on || l.nagging > 0}
	}
	l.judged = last
	if l.trial.on {
		return l.conclude(at, last)
	}
	if estimate < trialRate && standing < trialQueue {
		l.nagging = 0
		return verdict{}
	}
	s := l.over(max(last-3, l.fresh), last, false)
	if s.told < lossPackets {
		s = l.over(max(last-lossSteps/2, l.fresh), last, false)
	}
	if s.told < lossPackets {
		return verdict{hold: l.nagging > 0}
	}
	excess := s.share() - l.accepted
	if excess <= lossHold {
		l.nagging = 0
		l.accepted += acceptDown * min(excess, 0)
		return verdict{}
	}
	l.nagging++
	idle := s.rate() < idleShare*estimate
	if excess < lossLarge && (excess < trialNag || l.nagging < trialAfter || idle) {
		return verdict{hold: true}
	}
	if standing > trialQueue {
		l.fresh = l.newest + 1
		return verdict{hold: true, full: true, rate: estimate * (1 - excess/2)}
	}
	return l.try(at, s, estimate)
}

// try begins a trial.
func (l *loss) try(at time.Duration, s sums, estimate float64) verdict {
	l.trial = trial{on: true, from: l.newest + 2, began: at, padded: at, share: s.share(), rate: s.rate(), estimate: estimate}
	if l.asks && !l.bare && l.calm {
		l.trial.up = true
		return verdict{hold: true}
	}
	delivered := s.rate() * (1 - s.share()) / (1 - l.accepted)
	return verdict{hold: true, rate: min(estimate, trialUnder*delivered)}
}

// conclude ends a trial when enough packets have told.
func (l *loss) conclude(at time.Duration, last int64) verdict {
	t, s := &l.trial, l.over(l.trial.from, last, false)
	overdue := at-t.began > trialMost
	if (s.told < t.enough() || s.steps < trialSteps) && !overdue {
		return verdict{hold: true}
	}
	t.on = false
	l.nagging = 0
	l.fresh = t.from
	l.bare = t.up && s.rate() < trialGrown*t.rate
	if l.bare || s.told < lossPackets/2 { // nothing was learned; without padding the next one goes down
		return verdict{}
	}
	full := max(1-(1-t.share)*t.rate/max(s.rate(), 1), l.accepted) // what a link that is too small loses now
	if !t.alike(s.share(), full) {
		return t.full()
	}
	l.accepted = min((t.share+s.share())/2, acceptMost)
	return verdict{rate: t.estimate}
}

// enough is how many packets tell loss at random from a full link.
func (t *trial) enough() int {
	if !t.up {
		return int(trialSure * (1 - t.share) / t.share)
	}
	more := (1 - t.share) * (1 - 1/trialUp) * trialHalf
	return max(int(trialSigma*t.share*(1-t.share)/(more*more)), lossPackets)
}

// alike tells whether a share is that of before, rather than the one of a full
// link.
func (t *trial) alike(share, full float64) bool {
	if t.up {
		return share < t.share+trialHalf*(full-t.share)
	}
	return full < t.share && share > full+trialAlike*(t.share-full)
}

// full is the verdict that the loss was the rate's.
func (t *trial) full() verdict {
	if !t.up { // it is sent already
		return verdict{full: true}
	}
	return verdict{full: true, rate: min(t.estimate, trialUnder*t.rate*(1-t.share))}
}

// pad says how many bytes to send beside media now that a trial wants more sent.
func (t *trial) pad(at time.Duration) (bytes int) {
	bytes = int((trialUp - 1) * t.rate / 8 * min(at-t.padded, lossStep).Seconds())
	if bytes < trialLeast {
		return 0
	}
	t.padded = at
	return bytes
}
