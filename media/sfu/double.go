package sfu

import (
	"sync"
	"sync/atomic"
	"time"

	"braid/media/bwe"
)

// doubles is what a wire sends twice, unasked: a path that loses packets at random
// loses requests and answers too, and what comes after two round trips is too late.
// Browsers take no forward error correction for H.264; a retransmission packet (RFC
// 4588) of each packet is one that all of them know. It takes only what the path has
// to spare, and ends where it makes the loss worse.
//
//	off ── loss, no queue ──→ on ── loss is over, or grows, or a queue ──→ off
type doubles struct {
	copies atomic.Int32 // of each packet of a picture, beside the packet; 0: off

	mu     sync.Mutex // for the next two
	rate   float64    // bytes a second that may be spent
	copied bucket

	// Owned by Server.steer.
	before float64       // loss when it began
	calm   time.Duration // since when little is lost; 0: much is
	after  time.Duration // not to begin before
	hold   time.Duration // length of the newest hold
}

const (
	doubleLoss  = 0.03 // of the last seconds, from which on pictures are sent twice
	tripleLoss  = 0.12 // and three times
	doubleEnd   = 0.01 // it ends when less is lost
	doubleCalm  = 5 * time.Second
	doubleWorse = 1.5 // times the loss at the beginning, and some: the copies are what fills the path
	doubleMore  = 0.05
	doubleQueue = 60 * time.Millisecond // of standing delay
	doubleSpan  = 0.2                   // seconds of its rate that may be spent at once
	doubleBack  = 64                    // packets; what is further back comes too late
)

// steer decides whether to send twice. spare is what the path carries beside what is
// sent, in bits/s; nothing is heard of a path whose viewer does not tell.
func (d *doubles) steer(e bwe.Estimate, heard bool, spare float64, at time.Duration) {
	on := d.copies.Load() > 0
	full := e.Over || e.Queue > doubleQueue || e.Deaf
	switch {
	case !on && heard && !full && e.Loss >= doubleLoss && at >= d.after:
		d.before, d.calm = e.Loss, 0
		on = true
	case on && (full || e.Loss > doubleWorse*d.before+doubleMore):
		d.hold = min(max(2*d.hold, holdLeast), 4*holdMost)
		d.after = at + d.hold
		on = false
	case on && e.Loss >= doubleEnd:
		d.before, d.calm = min(d.before, max(e.Loss, doubleLoss)), 0
	case on && d.calm == 0:
		d.calm = at
	case on && at-d.calm > doubleCalm:
		d.hold = 0
		on = false
	}
	copies := int32(0)
	switch {
	case on && e.Loss >= tripleLoss:
		copies = 2
	case on:
		copies = 1
	}
	d.mu.Lock()
	d.rate = max(spare, 0) / 8
	d.mu.Unlock()
	d.copies.Store(copies)
}

// take spends bytes, if there are so many.
func (d *doubles) take(bytes int, at time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.copied.take(bytes, d.rate, doubleSpan*d.rate, at)
}

// double sends the packets since the last time once more. It is called with f.mu
// held, after a picture's last packet; a picture that still waits to go out has its
// turn with the next.
func (f *forward) double(out *outlet, copies int32) {
	w := f.wire
	if out.rtx == 0 || w.waits() {
		return
	}
	at := w.srv.age()
	if f.doubler == nil {
		f.doubler, f.doubled = newResender(f, time.Now()), f.last-1
	}
	if f.last-f.doubled > doubleBack { // numbers go around while nothing is sent twice
		f.doubled = f.last - doubleBack
	}
	from := f.doubled
	f.doubled = f.last
	for ; copies > 0; copies-- {
		for seq := from + 1; seq != f.last+1; seq++ {
			p, b := f.sent(seq)
			if p == nil {
				continue
			}
			if !w.doubles.take(len(p.Payload)+overhead, at) {
				return
			}
			f.doubler.send(out, p, b, seq)
		}
	}
}

// waits tells whether pictures wait for their time to leave.
func (w *wire) waits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pacer.next < len(w.pacer.queue)
}
