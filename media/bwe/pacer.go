package bwe

import "time"

// Class is what a packet is, for its turn to leave.
type Class uint8

// Classes, in the order in which they leave.
const (
	Audio   Class = iota // leaves at once
	Resend               // retransmission: leaves at once within limits
	Video                // waits for its turn
	Padding              // leaves when nothing else waits
)

// How much faster than the estimate packets leave, and what passes at once.
const (
	paceFactor = 2.5                    // as browsers do: a key frame leaves in 40 % of the time it stands for
	paceBurst  = 40 * time.Millisecond  // of the estimate passes at once: a normal frame at 25 a second
	paceLeast  = 3000                   // bytes that pass at once on the slowest path
	paceDebt   = 200 * time.Millisecond // of the pace: what audio and resends may take in advance
	paceLimit  = time.Second            // what waits is gone in this time: the pace is raised for a queue that is longer
)

// Pacer decides how many bytes may leave now: a token bucket at 2.5 times the
// estimate. The caller owns queue and timer. The zero value paces nothing until
// SetRate. Its methods must not be called at the same time.
type Pacer struct {
	estimate float64 // bytes/s
	pace     float64 // bytes/s
	tokens   float64 // bytes; negative: in debt
	last     time.Duration
}

// SetRate tells the estimate in bits/s, at any time.
func (p *Pacer) SetRate(estimate int, at time.Duration) {
	started := p.estimate > 0
	p.fill(at)
	p.estimate = float64(max(estimate, 1)) / 8
	p.pace = paceFactor * p.estimate
	if !started {
		p.tokens = p.depth()
	}
}

func (p *Pacer) fill(at time.Duration) {
	if at > p.last {
		p.tokens = min(p.tokens+p.pace*(at-p.last).Seconds(), p.depth())
		p.last = at
	}
}

func (p *Pacer) depth() float64 { return max(paceLeast, p.estimate*paceBurst.Seconds()) }

// May says how many bytes of a class may leave now; a packet may leave when it
// is more than 0, also one that is larger. Queued is what waits in all, in bytes.
func (p *Pacer) May(c Class, queued int, at time.Duration) int {
	if p.estimate == 0 {
		return 1 << 30
	}
	p.fill(at)
	p.pace = max(paceFactor*p.estimate, float64(queued)/paceLimit.Seconds())
	room := p.tokens
	switch c {
	case Audio:
		return 1 << 30
	case Resend:
		room += p.pace * paceDebt.Seconds()
	case Padding:
		if queued > 0 {
			return 0
		}
	}
	return max(int(room), 0)
}

// Sent takes what has left, of every class.
func (p *Pacer) Sent(size int, at time.Duration) {
	p.fill(at)
	p.tokens = max(p.tokens-float64(size), -p.pace*paceDebt.Seconds())
}

// Wait says in how long a packet of a class may leave; 0: now.
func (p *Pacer) Wait(c Class, queued int, at time.Duration) time.Duration {
	if p.May(c, queued, at) > 0 || p.estimate == 0 {
		return 0
	}
	return time.Duration((1-p.tokens)/p.pace*float64(time.Second)) + time.Millisecond
}
