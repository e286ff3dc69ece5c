package sfu

import (
	"sync"
	"time"

	"github.com/pion/rtp"

	"braid/media/bwe"
	sockets "braid/media/udp"
)

// pacer spreads a viewer's pictures: a key frame is many times as large as what
// the path carries in a frame's time, and would fill its queues for everyone.
// Sound does not wait, and what is sent again waits for nothing but its own
// bound. Until the viewer tells what arrives nothing waits.
//
// It is owned by wire.mu.
type pacer struct {
	bwe.Pacer
	on     bool
	queue  []paced // the oldest first
	next   int     // first in queue that has not gone
	queued int     // bytes
}

// paced is a packet that waits. Its body is a part of an immutable media.Packet.
type paced struct {
	out    *outlet
	header rtp.Header
	head   [maxHead]byte
	size   int // of head
	body   []byte
}

const (
	maxHead  = 16   // bytes: RTX's number and a VP8 descriptor are 8
	overhead = 40   // bytes of headers and tag around a payload, about
	maxPaced = 1024 // packets: a key frame of a megabyte
)

// paceEvery is how long what waits is gathered: the packets of all viewers leave
// together, and half a frame's time is nothing beside what a key frame takes.
const paceEvery = 5 * time.Millisecond

// pacing is the wires that have something waiting.
type pacing struct {
	mu      sync.Mutex
	waiting []*wire
	wake    chan struct{} // one place; filled when waiting was empty
}

func (p *pacing) add(w *wire) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting = append(p.waiting, w); len(p.waiting) == 1 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// run sends what waits in its time, until stop is closed.
func (p *pacing) run(socket *sockets.Conn, stop <-chan struct{}) {
	tick := time.NewTimer(time.Hour)
	defer tick.Stop()
	var all, left []*wire
	for {
		select {
		case <-stop:
			return
		case <-p.wake:
			tick.Reset(paceEvery)
			continue
		case <-tick.C:
		}
		p.mu.Lock()
		all, p.waiting = p.waiting, all[:0]
		p.mu.Unlock()
		socket.Cork()
		for _, w := range all {
			if w.release() {
				left = append(left, w)
			}
		}
		socket.Uncork()
		for _, w := range left {
			p.add(w)
		}
		clear(all)
		clear(left)
		left = left[:0]
	}
}

// spread sets how fast pictures may leave, in bits/s; it is told each steerEvery.
func (w *wire) spread(rate int, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pacer.on = true
	w.pacer.SetRate(rate, at)
}

// heldLocked decides whether a packet leaves now; if not it is kept for later, or,
// when it is one that was sent before, left out.
func (w *wire) heldLocked(out *outlet, h *rtp.Header, head, body []byte, at time.Duration) (held bool) {
	p := &w.pacer
	if !p.on {
		return false
	}
	size := overhead + len(head) + len(body)
	switch {
	case !out.video:
		p.Sent(size, at)
		return false
	case out.rtx != 0 && h.SSRC == out.rtx:
		if p.May(bwe.Resend, p.queued, at) == 0 {
			return true
		}
		p.Sent(size, at)
		return false
	case p.next == len(p.queue) && p.May(bwe.Video, 0, at) > 0:
		p.Sent(size, at)
		return false
	case len(head) > maxHead || len(p.queue)-p.next >= maxPaced:
		return true // never so; the viewer asks for it again
	}
	q := paced{out: out, header: *h, size: len(head), body: body}
	copy(q.head[:], head)
	p.queue = append(p.queue, q)
	p.queued += size
	if p.next == len(p.queue)-1 {
		w.srv.pacing.add(w)
	}
	return true
}

// release sends what may leave now of what waits; more tells that some is left.
func (w *wire) release() (more bool) {
	owner := w.whose()
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.pacer
	at := w.srv.age()
	for p.next < len(p.queue) && (p.May(bwe.Video, p.queued, at) > 0 || owner == undecided) {
		q := &p.queue[p.next]
		p.next++
		size := overhead + q.size + len(q.body)
		p.queued -= size
		p.Sent(size, at)
		if owner != undecided {
			_ = w.sendLocked(owner, q.out, &q.header, q.head[:q.size], q.body, at) // as forward.pass
		}
		*q = paced{}
	}
	if p.next < len(p.queue) {
		return true
	}
	p.next = 0
	if p.queue = p.queue[:0]; cap(p.queue) > 64 {
		p.queue = nil // of a key frame; the next one is far
	}
	return false
}

// end is for a connection that ends: what waits is dropped, and nothing is led anywhere
// any more. Pion tells of pairs in another goroutine than of the end, and who is led
// after that is never forgotten.
func (w *wire) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	p := &w.pacer
	p.queue, p.next, p.queued, p.on = nil, 0, 0, false
	w.tellSentLocked()
}
