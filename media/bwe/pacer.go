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
	paceFactor = 2.5                    // as browsers do: a key frame is sent in 40 % of the time it stands for
	paceBurst  = 12_000                 // bytes: a normal frame of 2.5 Mbit/s at 30/s fits whole
	paceHold   = 10 * time.Millisecond  // tokens saved: what the timer of the caller may be late
	paceDebt   = 200 * time.Millisecond // what audio and resends may take in advance
	paceLimit  = time.Second            // nothing waits longer than this: the rate is raised
)

// Pacer decides how many bytes may leave now: a token bucket at 2.5 times the
// estimate. The caller owns queue and timer. The zero value paces nothing until
// SetRate. Its methods must not be called at the same time.
type Pacer struct {
	rate   float64 // bytes/s of the bucket
	tokens float64 // bytes; negative: in debt
	last   time.Duration
}

// SetRate tells the estimate in bits/s, at any time.
func (p *Pacer) SetRate(estimate int, at time.Duration) {
	p.fill(at)
	if p.rate == 0 {
		p.tokens = paceBurst
	}
	p.rate = paceFactor * float64(max(estimate, 1)) / 8
}

func (p *Pacer) fill(at time.Duration) {
	if at > p.last {
		p.tokens = min(p.tokens+p.rate*(at-p.last).Seconds(), p.depth())
		p.last = at
	}
}

func (p *Pacer) depth() float64 { return max(paceBurst, p.rate*paceHold.Seconds()) }

// May says how many bytes of a class may leave now; a packet may leave when it
// is more than 0, also one that is larger. Queued is what waits in all, in bytes.
func (p *Pacer) May(c Class, queued int, at time.Duration) int {
	p.fill(at)
	if p.rate == 0 {
		return 1 << 30
	}
	room := p.tokens
	switch c {
	case Audio:
		return 1 << 30
	case Resend:
		room += p.rate * paceDebt.Seconds()
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
	p.tokens = max(p.tokens-float64(size), -p.rate*paceDebt.Seconds())
}

// Wait says in how long a packet of a class may leave; 0: now.
func (p *Pacer) Wait(c Class, queued int, at time.Duration) time.Duration {
	if p.May(c, queued, at) > 0 || p.rate == 0 {
		return 0
	}
	return time.Duration((1-p.tokens)/p.rate*float64(time.Second)) + time.Millisecond
}
