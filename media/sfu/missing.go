package sfu

import (
	"slices"
	"time"
)

// missing knows which packets of a publisher's stream have not come, and when to
// ask for them (RFC 4585 section 6.2.1): at once when a newer one has come, again
// when an answer is overdue, until somebody who waits for it has frozen. Where much
// is lost each request is sent twice, for requests are lost as well; libwebrtc
// answers the second only if it has not got the first.
//
// It is told of all that arrives, retransmissions too, which come as another
// stream: who counts only the first stream's packets asks for each lost one as
// long as it remembers it.
type missing struct {
	begun  bool
	newest uint16
	absent []absent      // in the order in which they were missed
	stale  int           // packets in a row that were far behind newest
	answer time.Duration // from a request to its packet, smoothed; 0: none came yet

	numbers, gaps int  // since lossy was last decided
	lossy         bool // of the last lossyOf numbers many did not come in their turn
}

// absent is a packet that has not come.
type absent struct {
	seq   uint16
	since time.Time
	asked time.Time // last; zero: not yet
	times int
	twice bool // the last request was repeated
}

const (
	firstAnswer  = 100 * time.Millisecond // until one has been measured
	leastAnswer  = 20 * time.Millisecond
	mostAnswer   = 500 * time.Millisecond
	askLongest   = time.Second           // viewers ask for a key frame then, if they have not before
	askMost      = 10                    // times
	askTwice     = 15 * time.Millisecond // after the first, where much is lost
	lossyOf      = 256
	lossyFrom    = 8    // of lossyOf: 3 %
	maxAbsent    = 300  // packets; more is an outage, which only a key frame ends
	farthestLeap = 1000 // ahead, or back for maxStale packets: the sender has begun to count anew
)

// saw is told of each packet that arrives. repaired tells that it was asked for.
func (m *missing) saw(seq uint16, now time.Time) (repaired bool) {
	if !m.begun {
		m.begun, m.newest = true, seq
		return false
	}
	ahead := int(int16(seq - m.newest))
	if ahead >= -farthestLeap {
		m.stale = 0
	} else if m.stale++; m.stale == maxStale {
		*m = missing{begun: true, newest: seq, absent: m.absent[:0], answer: m.answer}
		return false
	}
	if ahead <= 0 {
		return m.found(seq, now)
	}
	if ahead > farthestLeap {
		m.absent = m.absent[:0]
	} else {
		for n := m.newest + 1; n != seq; n++ {
			m.absent = append(m.absent, absent{seq: n, since: now})
		}
		m.weigh(ahead)
	}
	m.newest = seq
	return false
}

// weigh counts numbers of which all but one were not there in their turn.
func (m *missing) weigh(ahead int) {
	m.numbers, m.gaps = m.numbers+ahead, m.gaps+ahead-1
	if m.numbers >= lossyOf {
		m.lossy = m.gaps*lossyOf >= lossyFrom*m.numbers
		m.numbers, m.gaps = 0, 0
	}
}

// found takes a packet off the list. What comes soon after a second request is
// taken for the answer to the first: so an estimate that is too short can grow.
func (m *missing) found(seq uint16, now time.Time) (repaired bool) {
	i := slices.IndexFunc(m.absent, func(a absent) bool { return a.seq == seq })
	if i < 0 {
		return false
	}
	a := m.absent[i]
	m.absent = slices.Delete(m.absent, i, i+1)
	if a.times == 1 || a.times == 2 {
		took := now.Sub(a.asked)
		if a.times == 2 && took < m.expected()/2 {
			took = now.Sub(a.since)
		}
		took = min(max(took, leastAnswer), mostAnswer)
		m.answer = m.expected() + (took-m.expected())/8
	}
	return a.times > 0
}

// expected is how long an answer takes.
func (m *missing) expected() time.Duration {
	if m.answer == 0 {
		return firstAnswer
	}
	return m.answer
}

// due appends the numbers to ask for now. hopeless tells that some were given
// up: what follows them needs a key frame.
func (m *missing) due(now time.Time, numbers []uint16) (due []uint16, hopeless bool) {
	if len(m.absent) == 0 {
		return numbers, false
	}
	if len(m.absent) > maxAbsent {
		m.absent = m.absent[:0]
		return numbers, true
	}
	wait := m.expected() * 5 / 4
	m.absent = slices.DeleteFunc(m.absent, func(a absent) bool {
		over := a.times >= askMost && now.Sub(a.asked) >= wait || now.Sub(a.since) >= askLongest
		hopeless = hopeless || over
		return over
	})
	for i := range m.absent {
		a := &m.absent[i]
		switch silent := now.Sub(a.asked); {
		case a.times == 0 || silent >= wait:
			a.times++
			a.asked, a.twice = now, false
		case m.lossy && !a.twice && silent >= askTwice:
			a.twice = true
		default:
			continue
		}
		numbers = append(numbers, a.seq)
	}
	return numbers, hopeless
}
