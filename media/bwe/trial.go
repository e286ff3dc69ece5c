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
	acceptMost = 0.6 // more than this nothing but luck carries
	acceptDown = 0.1 // weight of a step with less loss than accepted
)

// trial answers whether loss comes of the rate. Less is sent, a little under
// what was delivered. A link that was too small then loses nothing more; a path
// that loses at random loses the same share as before, and that share is
// accepted from then on. (Browsers fit a model with an inherent loss to the
// last seconds, loss-based v2; an experiment needs no seconds of chance.)
type trial struct {
	on       bool
	from     int64 // first step at the lower rate
	began    time.Duration
	share    float64 // lost at the higher rate
	rate     float64 // what was sent then, bits/s
	estimate float64 // to go back to
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
	l.trial = trial{on: true, from: l.newest + 2, began: at, share: s.share(), rate: s.rate(), estimate: estimate}
	delivered := s.rate() * (1 - s.share()) / (1 - l.accepted)
	return verdict{hold: true, rate: min(estimate, trialUnder*delivered)}
}

// conclude ends a trial when enough packets have told.
func (l *loss) conclude(at time.Duration, last int64) verdict {
	t, s := &l.trial, l.over(l.trial.from, last, false)
	overdue := at-t.began > trialMost
	count := int(trialSure * (1 - t.share) / t.share)
	if (s.told < count || s.steps < trialSteps) && !overdue {
		return verdict{hold: true}
	}
	t.on = false
	l.nagging = 0
	l.fresh = t.from
	if s.told < lossPackets/2 {
		return verdict{}
	}
	full := max(1-(1-t.share)*t.rate/max(s.rate(), 1), l.accepted) // what a link that was too small loses now
	if full < t.share && s.share() > full+trialAlike*(t.share-full) {
		l.accepted = min((t.share+s.share())/2, acceptMost)
		return verdict{rate: t.estimate}
	}
	return verdict{full: true}
}
