package bwe

import "time"

// Numbers of the loss part.
const (
	lossStep    = 250 * time.Millisecond
	lossSteps   = 16
	lossPackets = 30   // fewer say nothing
	lossOutage  = 0.95 // a step that lost this share is a hole in the path, not a full queue
	lossHold    = 0.02 // draft-ietf-rmcat-gcc-02 section 6: below 2 % the rate may grow
	lossLarge   = 0.10 // above 10 % it has to fall
)

// step is what was sent in a quarter of a second.
type step struct {
	bytes            int32
	sent, told, lost uint16
	void             bool // nothing can be learned from it
}

// loss counts what is lost by the time it was sent, so that a late report or a
// late packet goes where it belongs.
type loss struct {
	steps  [lossSteps]step
	newest int64
	first  int64 // step of the first packet; valid once begun
	begun  bool

	covered  int64   // newest step that feedback tells of
	judged   int64   // newest step that was judged
	fresh    int64   // steps before it were sent under another regime
	accepted float64 // share that does not depend on the rate: the path just loses it
	nagging  int     // steps in a row with more loss than accepted
	trial    trial
	asks     bool // whoever sends asks what padding to send
	bare     bool // and sent none the last time
	calm     bool // no queue has been seen for a while
}

func (l *loss) at(sent time.Duration) *step {
	n := int64(sent / lossStep)
	for ; l.newest < n; l.newest++ {
		if n-l.newest > lossSteps {
			l.newest = n - lossSteps
		}
		l.steps[(l.newest+1)%lossSteps] = step{}
	}
	if n <= l.newest-lossSteps || n < 0 {
		return nil
	}
	return &l.steps[n%lossSteps]
}

func (l *loss) sent(size int, at time.Duration) {
	s := l.at(at)
	if !l.begun {
		l.begun, l.first = true, l.newest
	}
	if s != nil && s.sent < 1<<16-1 {
		s.sent++
		s.bytes += int32(min(size, 1<<16))
	}
}

// told counts a packet's first report; it was sent at a time.
func (l *loss) told(sent time.Duration, missing bool) {
	l.covered = max(l.covered, int64(sent/lossStep))
	if s := l.at(sent); s != nil && s.told < s.sent {
		s.told++
		if missing {
			s.lost++
		}
	}
}

// late takes back a loss: the packet came after all.
func (l *loss) late(sent time.Duration) {
	if s := l.at(sent); s != nil && s.lost > 0 {
		s.lost--
	}
}

// forget makes all that was sent until now say nothing.
func (l *loss) forget() {
	for i := range l.steps {
		l.steps[i].void = true
	}
	l.trial.on = false
	l.fresh = l.newest + 1
}

// sums of some steps.
type sums struct{ bytes, sent, told, lost, steps int }

func (s sums) share() float64 { return float64(s.lost) / float64(max(s.told, 1)) }
func (s sums) rate() float64 {
	return float64(s.bytes) * 8 / (float64(max(s.steps, 1)) * lossStep.Seconds())
}

// over adds up the steps from first to last; those of which nothing can be
// learned of loss only when all is asked for.
func (l *loss) over(first, last int64, all bool) (s sums) {
	for n := max(first, l.newest-lossSteps+1, 0); n <= min(last, l.newest); n++ {
		st := &l.steps[n%lossSteps]
		if !all && (st.void || st.told > 2 && float64(st.lost) > lossOutage*float64(st.told)) {
			continue
		}
		s.bytes += int(st.bytes)
		s.sent += int(st.sent)
		s.told += int(st.told)
		s.lost += int(st.lost)
		s.steps++
	}
	return s
}

// sentRate is what was sent in the last second of whole steps, in bits/s; 0
// before the first step is whole.
func (l *loss) sentRate(at time.Duration) float64 {
	l.at(at)
	first := max(l.newest-4, l.first)
	if !l.begun || first >= l.newest {
		return 0
	}
	return l.over(first, l.newest-1, true).rate()
}

// share is the loss of all steps that are known.
func (l *loss) share() float64 { return l.over(0, l.newest, false).share() }
