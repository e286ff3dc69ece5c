package bwe

import (
	"math"
	"time"
)

// Numbers of probes.
const (
	probeSpan    = 25 * time.Millisecond // of a train: long enough for five packets, too short to fill much
	probeSpanMax = 60 * time.Millisecond // where jitter is large
	probePackets = 5                     // fewer measure chance
	probeBytes   = 1000                  // the least train: five packets of 200
	probeUp      = 2.0                   // times the estimate
	probeUpStart = 3.0                   // until a limit has shown, as browsers
	probeOver    = 1.1                   // times what is wanted: measured is a little less than sent
	probeGood    = 0.85                  // of the train's rate came through: the next may follow
	probeFull    = 0.9                   // less than this of what was sent came: the link was full
	probeUnder   = 0.95                  // of what a full link let through
	probeHalf    = 0.5                   // share of a train that has to arrive
	probeWait    = 2 * time.Second       // after a train that did not come through, doubled each time
	probeWaitMax = 15 * time.Second
	probeIdle    = 0.85                   // of the estimate sent: above it the media itself shows what fits
	probeStands  = 15 * time.Second       // without a limit: what a train proved holds
	probeCalm    = time.Second            // after a limit showed
	probeLate    = 500 * time.Millisecond // beyond two round trips: the train's feedback is lost
	probeQueue   = 300 * time.Millisecond // what a train does to delays is over by then
)

// train is the probe under way.
type train struct {
	id      uint8 // of its packets; 0: there was none
	sending bool
	waiting bool // all sent, not all told about
	plan    Probe
	began   time.Duration

	bytes, packets       int // sent
	first, last          time.Duration
	lastSize             int
	told, came           int
	cameBytes, firstSize int
	cameFirst, cameLast  time.Duration
}

// prober plans trains and measures them.
type prober struct {
	train train
	next  time.Duration // not before
	wait  time.Duration // after the next failure

	proved time.Duration // when a train last came through; 0: that stood the test, or failed it
}

// plan begins a train towards want, or returns nothing.
func (p *prober) plan(rate, want float64, started bool, jitter, at time.Duration) Probe {
	if p.proved > 0 && at-p.proved > probeStands {
		p.proved, p.wait = 0, probeWait
	}
	if p.train.sending || p.train.waiting || at < p.next || want <= rate {
		return Probe{}
	}
	up := probeUp
	if !started {
		up = probeUpStart
	}
	r := min(up*rate, probeOver*want)
	span := min(max(probeSpan, jitter), probeSpanMax)
	bytes := max(int(r/8*span.Seconds()), probeBytes)
	id := p.train.id%255 + 1
	p.train = train{id: id, sending: true, began: at, plan: Probe{Bytes: bytes, Packets: probePackets, Rate: int(r), Span: span}}
	return p.train.plan
}

// sent takes a packet and returns the train it belongs to.
func (p *prober) sent(size int, at time.Duration) uint8 {
	t := &p.train
	if !t.sending || size == 0 {
		return 0
	}
	if t.packets == 0 {
		t.first = at
	}
	t.packets++
	t.bytes += size
	t.last, t.lastSize = at, size
	if t.bytes >= t.plan.Bytes && t.packets >= t.plan.Packets {
		t.sending, t.waiting = false, true
	}
	return t.id
}

// told takes what feedback says of a packet of the train.
func (p *prober) told(id uint8, size int, missing bool, came time.Duration) {
	t := &p.train
	if id != t.id || !t.sending && !t.waiting {
		return
	}
	t.told++
	if missing {
		return
	}
	t.came++
	t.cameBytes += size
	if t.came == 1 || came < t.cameFirst {
		t.cameFirst, t.firstSize = came, size
	}
	if t.came == 1 || came > t.cameLast {
		t.cameLast = came
	}
}

// blind says whether a packet sent at a time meets the queue of a train: the
// train made it, so it says nothing of the media.
func (p *prober) blind(sent time.Duration) bool {
	t := &p.train
	return t.id != 0 && t.packets > 0 && sent >= t.first && sent < t.last+probeQueue
}

// done ends a train that is complete or overdue. It returns what it proved in
// bits/s, 0 for nothing, and whether the link was full.
func (p *prober) done(rate, accepted float64, rtt, at time.Duration) (proved float64, full bool) {
	t := &p.train
	overdue := at-t.began > t.plan.Span+2*rtt+probeLate
	switch {
	case !t.sending && !t.waiting:
		return 0, false
	case t.sending && overdue && t.packets < t.plan.Packets:
		p.train = train{id: t.id} // the caller could not send it; nothing is learned
		p.next = at + probeWait
		return 0, false
	case (t.sending || t.told < t.packets) && !overdue:
		return 0, false
	}
	proved, full = t.measure(accepted)
	t.sending, t.waiting = false, false
	if proved > probeGood*float64(t.plan.Rate) {
		p.next, p.proved = at, at
		return proved, full
	}
	p.fail(at)
	return proved, full
}

// cut takes note that a limit showed. Soon after a train came through, what it
// proved did not hold: key frames may be more than the link takes.
func (p *prober) cut(at time.Duration) {
	p.next = max(p.next, at+probeCalm)
	if p.proved > 0 && at-p.proved < probeStands {
		p.proved = 0
		p.fail(at)
	}
}

// fail puts the next train off.
func (p *prober) fail(at time.Duration) {
	p.wait = min(max(p.wait, probeWait), probeWaitMax)
	p.next = at + p.wait
	p.wait *= 2
}

// again allows a train at once.
func (p *prober) again(at time.Duration) { p.next, p.wait = at, probeWait }

// measure compares how fast a train was sent and how fast it came.
func (t *train) measure(accepted float64) (proved float64, full bool) {
	if t.came < 3 || float64(t.came) < probeHalf*float64(t.packets)*(1-accepted) {
		return 0, false
	}
	out := min(rateOf(t.bytes-t.lastSize, t.last-t.first), float64(t.plan.Rate))
	in := rateOf(t.cameBytes-t.firstSize, t.cameLast-t.cameFirst) / (1 - accepted)
	if in < probeFull*out {
		return probeUnder * in, true
	}
	return min(in, out), false
}

func rateOf(bytes int, span time.Duration) float64 {
	if span <= 0 {
		return math.Inf(1)
	}
	return float64(bytes) * 8 / span.Seconds()
}
