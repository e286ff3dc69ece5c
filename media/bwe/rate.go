package bwe

import (
	"math"
	"time"
)

// Numbers of draft-ietf-rmcat-gcc-02 section 5.5, and ours where marked.
const (
	beta        = 0.85 // what remains of the rate that arrives when queues grow
	growSteady  = 1.08 // a second, far from where queues grew
	growStart   = 1.6  // a second, until the first sign of a limit (ours: probes do the rest)
	growCalm    = 1.20 // a second, after calmAfter without a sign (ours: 20 s from 0.5 to 2.5 Mbit/s is too long at 8 %)
	calmAfter   = 4 * time.Second
	growLeast   = 4000.0          // bits/s in a second, near where queues grew
	growMost    = 1.5             // times what arrives, and
	growBeside  = 10_000          // bits/s: what is not proven is not estimated
	clearAfter  = 8 * time.Second // without any queue: whoever filled the link with us has left (ours)
	growBack    = 2.5             // a second, back to backTo of what was before others took the link for a moment (ours)
	backTo      = 0.7
	backAfter   = time.Second     // without any queue
	provenAfter = time.Second     // without any queue what arrives fits, also when it is more than was thought (ours):
	proven      = 0.7             // of it; a smallest layer is sent whatever the estimate
	episode     = 3 * time.Second // cuts that are nearer to each other are of one cause
	packetBits  = 1200 * 8.0
	cutLeast    = 100 * time.Millisecond // between two cuts: the first has to show
	cutMost     = 300 * time.Millisecond
	idleShare   = 0.7         // of the estimate sent: below it the rate is the application's
	sharpShare  = 1.3         // ours: sent this much more than arrives, the link has shrunk; it is not others who fill it
	sharpKeeps  = 0.15        // of what arrived before, whatever arrived last: a receiver that stalls is no link
	sharpAfter  = time.Second // until then the rate sent still has in it what was sent before
	drainFrom   = 60 * time.Millisecond
	drainLeast  = 0.3             // ours: a queue of some 100 ms is emptied in a second, not in five
	drainOver   = 0.7             // s
	drainWithin = 3 * time.Second // a longer path is not a queue
)

// control moves the rate: up while the path is calm, down to under what arrives
// when queues grow.
type control struct {
	rate    float64 // bits/s
	limit   capacity
	started bool // a limit has shown: the fast start is over
	changed time.Duration
	cutAt   time.Duration // last time a limit showed
	peak    float64       // the rate before the cuts of the last episode
	dirty   time.Duration // last time a queue stood while the rate grew
	drainAt time.Duration // last time much more was sent than came out; 0: never
}

// grow raises the rate for the time since it last changed; clear says that no
// queue stands.
func (c *control) grow(at time.Duration, arrives float64, rtt time.Duration, clear bool) {
	dt := min(at-c.changed, time.Second).Seconds()
	c.changed = at
	if dt <= 0 || arrives == 0 {
		return
	}
	if c.limit.mean > 0 && arrives > c.limit.upper() {
		c.limit.forget()
	}
	if !clear {
		c.dirty = at
	} else if c.limit.mean > 0 && at-max(c.dirty, c.cutAt) > clearAfter {
		c.limit.forget() // here it was full and is not: others have left
	}
	var to float64
	switch calm := at - c.cutAt; {
	case c.limit.mean > 0: // near it: a packet more each response
		response := 2 * (rtt + 100*time.Millisecond).Seconds()
		to = c.rate + dt*max(growLeast, packetBits/response)
	case !c.started:
		to = c.rate * math.Pow(growStart, dt)
	case calm > calmAfter && clear:
		to = c.rate * math.Pow(growCalm, dt)
	default:
		to = c.rate * math.Pow(growSteady, dt)
	}
	if c.rate < backTo*c.peak && at-max(c.dirty, c.cutAt) > backAfter {
		to = max(to, min(c.rate*math.Pow(growBack, dt), backTo*c.peak))
	}
	if at-max(c.dirty, c.cutAt) > provenAfter {
		to = max(to, proven*arrives)
	}
	c.rate = max(c.rate, min(to, growMost*arrives+growBeside))
}

// hold lets time pass without growth.
func (c *control) hold(at time.Duration) { c.changed = at }

// cut lowers the rate because queues grow; arrives is what the link delivers,
// least the time since the last cut.
func (c *control) cut(at time.Duration, arrives float64, least time.Duration) {
	c.changed = at
	if c.started && at-c.cutAt < least {
		return
	}
	if !c.started || at-c.cutAt > episode {
		c.peak = c.rate
	}
	c.sign(at)
	if arrives == 0 {
		c.rate /= 2
		return
	}
	c.limit.full(arrives)
	c.rate = min(c.rate, beta*arrives)
}

// sign notes that a limit showed.
func (c *control) sign(at time.Duration) { c.started, c.cutAt = true, at }

// draining says that a link lost much of its capacity and has still to deliver
// what was sent before that showed.
func (c *control) draining(at, standing time.Duration) bool {
	return c.drainAt > 0 && at-c.drainAt < drainWithin && standing > drainFrom
}

// drained is the rate less what a queue that stands needs to go away.
func (c *control) drained(at, standing time.Duration) float64 {
	if !c.draining(at, standing) {
		return c.rate
	}
	return c.rate * max(1-(standing-drainFrom).Seconds()/drainOver, drainLeast)
}
