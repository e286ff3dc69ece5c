package bwe

import "time"

// Estimator estimates for one connection. Its methods must not be called at
// the same time: whoever stamps the numbers has a lock already. None blocks.
type Estimator struct {
	config Config
	rate   int
}

// New returns an estimator that has seen nothing.
func New(c Config) *Estimator {
	e := &Estimator{config: c.bounded()}
	e.rate = e.config.Start
	return e
}

func (c Config) bounded() Config {
	if c.Start <= 0 {
		c.Start = DefaultStart
	}
	if c.Min <= 0 {
		c.Min = DefaultMin
	}
	if c.Max <= 0 {
		c.Max = DefaultMax
	}
	c.Max = max(c.Max, c.Min)
	c.Start = min(max(c.Start, c.Min), c.Max)
	return c
}

// Sent records a packet that carries a transport-wide number, just before or
// after it leaves: media, retransmission or padding. Size is that of the RTP
// packet in bytes.
func (e *Estimator) Sent(number uint16, size int, at time.Duration) {}

// Feedback takes an RTCP packet or compound as it came (decrypted) and uses the
// transport-wide feedback in it; other packets are passed over. It keeps
// nothing of raw. An error means that raw is malformed; what came before the
// fault has been used.
func (e *Estimator) Feedback(raw []byte, at time.Duration) error { return nil }

// Estimate tells what is known at a time. It may be called as often as wanted,
// at least every 100 ms while something is sent, so that missing feedback shows.
func (e *Estimator) Estimate(at time.Duration) Estimate { return Estimate{Rate: e.rate} }

// Probe says what to send now to find out whether want bits/s would fit (0, or
// no more than the estimate: nothing is wanted). Ask at each tick of 25 to 50 ms
// and after each feedback: mostly the answer is nothing. What is answered counts
// as begun, and what is Sent next, media too, belongs to the train until it is
// complete. A caller that cannot send padding must not ask.
func (e *Estimator) Probe(want int, at time.Duration) Probe { return Probe{} }
