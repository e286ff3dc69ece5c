package bwe

import "time"

// Numbers of missing feedback (ours).
const (
	deafAfter  = time.Second            // receivers send every 50 to 250 ms
	deafStep   = 500 * time.Millisecond // the rate falls once in
	deafFactor = 0.7
	deafLong   = 10 * time.Second // after this the path may be any other
	deafBack   = 0.7              // of the rate before, when feedback is there again
)

// Estimator estimates for one connection. Its methods must not be called at
// the same time: whoever stamps the numbers has a lock already. None blocks.
type Estimator struct {
	config  Config
	ring    ring
	clock   remote
	queue   queue
	trend   trend
	acked   acked
	loss    loss
	control control
	prober  prober

	rtt       time.Duration
	nextNum   int64         // the number after the last that was told about; 0: none yet
	highest   int64         // highest number that arrived
	heard     time.Duration // last feedback that told of something new
	waits     time.Duration // first packet sent since
	open      bool          // waits is valid
	deaf      bool
	deafSince time.Duration
	deafAt    time.Duration // last fall
	before    float64       // rate before it fell
	grown     int           // trend's groups when it was last asked
}

const (
	remoteJump = time.Hour
	sentMost   = 1.2 // times what was sent: a queue that empties delivers a little more
)

// remote unwraps the receiver's reference times.
type remote struct {
	ref   uint32
	time  time.Duration
	known bool
}

func (r *remote) unwrap(ref uint32) time.Duration {
	if !r.known {
		r.known = true
	} else if d := time.Duration(int32((ref-r.ref)<<8)>>8) * refUnit; d.Abs() < remoteJump {
		r.time += d
	} else {
		r.time = 0 // the clock was set: queue sees it too
	}
	r.ref = ref
	return r.time
}

// New returns an estimator that has seen nothing.
func New(c Config) *Estimator {
	e := &Estimator{config: c.bounded()}
	e.control.rate = float64(e.config.Start)
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
func (e *Estimator) Sent(number uint16, size int, at time.Duration) {
	id := e.prober.sent(size, at)
	if !e.ring.add(number, size, id, at) {
		return
	}
	e.loss.sent(size, at)
	if !e.open {
		e.open, e.waits = true, at
	}
}

// Feedback takes an RTCP packet or compound as it came (decrypted) and uses the
// transport-wide feedback in it; other packets are passed over. It keeps
// nothing of raw. An error means that raw is malformed; what came before the
// fault has been used.
func (e *Estimator) Feedback(raw []byte, at time.Duration) error {
	for {
		r, rest, ok, err := nextFeedback(raw)
		if err != nil || !ok {
			return err
		}
		if e.ring.slots != nil {
			e.take(&r, at)
		}
		raw = rest
	}
}

// take uses one feedback packet.
func (e *Estimator) take(r *report, at time.Duration) {
	ref := e.clock.unwrap(r.ref)
	base := e.ring.unwrap(r.base)
	if e.nextNum != 0 && base > e.nextNum {
		e.acked.cut() // a feedback packet was lost
	}
	newest := time.Duration(-1) // when the last packet that arrived had been sent
	news := false
	for {
		offset, n, status, came := r.next()
		if n == 0 {
			break
		}
		first := base + int64(offset)
		end := first + int64(n)
		if status == notReceived {
			news = e.missing(first, end, at) || news
			continue
		}
		for number := max(first, e.ring.first()); number < min(end, e.ring.last+1); number++ {
			if sentAt, ok := e.received(number, status != noDelta, ref+came, at); ok {
				newest, news = max(newest, sentAt), true
			}
		}
	}
	e.nextNum = max(e.nextNum, min(base+int64(r.count), e.ring.last+1))
	if !news {
		return
	}
	e.acked.settle()
	if newest >= 0 {
		e.roundTrip(at - newest)
	}
	e.hear(at)
	e.update(at)
}

// missing marks the packets from first up to end as not received.
func (e *Estimator) missing(first, end int64, at time.Duration) (news bool) {
	for n := max(first, e.ring.first()); n < min(end, e.ring.last+1); n++ {
		s := e.ring.slot(n)
		if s.state != sent {
			continue
		}
		s.state, news = lost, true
		e.loss.told(at-s.age(at), true)
		if s.train != 0 {
			e.prober.told(s.train, int(s.size), true, 0)
		}
	}
	return news
}

// received marks a packet as arrived; timed says that came is known. ok is
// false when that is no news.
func (e *Estimator) received(n int64, timed bool, came, at time.Duration) (sentAt time.Duration, ok bool) {
	if n < e.ring.first() || n > e.ring.last {
		return 0, false
	}
	s := e.ring.slot(n)
	sentAt = at - s.age(at)
	switch s.state {
	case sent:
		e.loss.told(sentAt, false)
	case lost:
		e.loss.late(sentAt)
	default:
		return 0, false
	}
	late := s.state == lost
	s.state = arrived
	if !timed {
		return sentAt, true
	}
	e.acked.add(int(s.size), came)
	if s.train != 0 && !late {
		e.prober.told(s.train, int(s.size), false, came)
	}
	if n > e.highest {
		e.highest = n
		e.delay(sentAt, came)
	}
	return sentAt, true
}

// delay takes the times of a packet, in the order sent.
func (e *Estimator) delay(sentAt, came time.Duration) {
	if e.prober.blind(sentAt) {
		return
	}
	if e.queue.add(sentAt, came) {
		e.trend.reset()
		e.acked.cut()
	}
	e.trend.add(sentAt, came)
}

func (e *Estimator) roundTrip(rtt time.Duration) {
	if rtt < 0 {
		return
	}
	if e.rtt == 0 {
		e.rtt = rtt
	}
	e.rtt += (rtt - e.rtt) / 8
}

// update draws the conclusions after a feedback packet.
func (e *Estimator) update(at time.Duration) {
	c := &e.control
	accepted := e.loss.accepted
	arrives := e.acked.mean / (1 - accepted)
	if out := e.loss.sentRate(at); out > 0 {
		arrives = min(arrives, sentMost*out) // who claims more got what was never sent
	}
	standing := e.queue.standing()
	e.loss.calm = at-max(c.dirty, c.cutAt) > trialCalm
	v := e.loss.judge(at, c.rate, standing)
	if v.rate > 0 {
		c.rate = v.rate
	}
	if v.full {
		c.sign(at)
		if standing > trialQueue { // else chance may have had a part in it
			c.limit.full(arrives)
		}
	}
	sharp := e.queue.growing(at) && at-c.drainAt > max(sharpAfter, e.rtt) &&
		e.loss.sentRate(at) > sharpShare*e.acked.newest()/(1-accepted)
	if sharp || e.over() && e.trend.groups != e.grown {
		e.loss.trial.on = false
		e.cut(at, sharp)
	} else if v.hold || e.trend.state != normal || c.draining(at, standing) {
		c.hold(at)
	} else {
		c.grow(at, arrives, e.rtt, !e.queue.real())
	}
	e.grown = e.trend.groups
	e.probed(at)
	e.bound()
}

// cut lowers the rate to under what arrives. After a sharp drop that is what
// arrived last: the samples before it are of the link as it was.
func (e *Estimator) cut(at time.Duration, sharp bool) {
	arrives := e.acked.full()
	least := min(max(e.rtt, cutLeast), cutMost)
	if sharp {
		arrives, least = max(e.acked.newest(), sharpKeeps*e.acked.mean), cutLeast
		e.control.drainAt = at
	}
	e.control.cut(at, arrives/(1-e.loss.accepted), least)
	e.prober.cut(at)
}

// over says that queues grow, and that it is not jitter.
func (e *Estimator) over() bool { return e.trend.state == over && e.queue.real() }

// probed takes what a train has proved.
func (e *Estimator) probed(at time.Duration) {
	proved, full := e.prober.done(e.control.rate, e.loss.accepted, e.rtt, at)
	if full {
		e.control.started = true
	}
	if proved <= e.control.rate {
		return
	}
	e.control.rate = proved
	e.control.limit.forget()
	if full {
		e.control.limit.full(proved)
	}
}

func (e *Estimator) bound() {
	e.control.rate = min(max(e.control.rate, float64(e.config.Min)), float64(e.config.Max))
}

// hear ends a silence.
func (e *Estimator) hear(at time.Duration) {
	e.heard, e.open = at, false
	if !e.deaf {
		return
	}
	e.deaf = false
	e.loss.forget()
	e.acked.cut()
	e.trend.reset()
	back := deafBack * e.before
	if at-e.deafSince > deafLong {
		back = min(back, float64(e.config.Start))
	}
	e.control.rate = max(e.control.rate, back)
	e.prober.again(at)
}

// listen lowers the rate while packets are out and no feedback comes.
func (e *Estimator) listen(at time.Duration) {
	if !e.open || e.nextNum == 0 {
		return
	}
	if silence := at - max(e.waits, e.heard); silence < deafAfter+2*e.rtt {
		return
	}
	if !e.deaf {
		e.deaf, e.before, e.deafSince = true, e.control.rate, at
	} else if at-e.deafAt < deafStep {
		return
	}
	e.deafAt = at
	e.control.rate *= deafFactor
	e.bound()
}

// Estimate tells what is known at a time. It may be called as often as wanted,
// at least every 100 ms while something is sent, so that missing feedback shows.
func (e *Estimator) Estimate(at time.Duration) Estimate {
	e.listen(at)
	standing := e.queue.standing()
	rate := max(e.control.drained(at, standing), float64(e.config.Min))
	out := e.loss.sentRate(at)
	return Estimate{
		Rate:  int(rate),
		Acked: int(e.acked.mean),
		Sent:  int(out),
		Loss:  e.loss.share(),
		RTT:   e.rtt,
		Queue: standing,
		Over:  e.over(),
		Idle:  out < idleShare*rate,
		Deaf:  e.deaf,
	}
}

// Probe says what to send now to find out whether want bits/s would fit (0, or
// no more than the estimate: nothing is wanted), or whether what is lost is lost
// at any rate. Ask at each tick of 25 to 200 ms and after each feedback: mostly
// the answer is nothing. What is answered counts as begun, and what is Sent next,
// media too, belongs to the train until it is complete. A caller that cannot send
// padding should not ask; it costs an answer, no more.
func (e *Estimator) Probe(want int, at time.Duration) Probe {
	e.listen(at)
	e.probed(at)
	e.loss.asks = true
	if t := &e.loss.trial; t.on && t.up {
		return Probe{Bytes: t.pad(at), Span: probeSpan}
	}
	c := &e.control
	quiet := !c.started || at-c.cutAt > probeCalm && e.loss.sentRate(at) < probeIdle*c.rate
	if e.nextNum == 0 || e.deaf || e.loss.trial.on || e.loss.nagging > 0 || !quiet || e.over() {
		return Probe{}
	}
	jitter := time.Duration(e.queue.jitter) * time.Microsecond
	return e.prober.plan(c.rate, float64(min(want, e.config.Max)), c.started, jitter, at)
}
