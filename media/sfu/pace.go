package sfu

import (
	"time"

	"github.com/pion/rtp"

	"braid/media/bwe"
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
	timer  *time.Timer
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
		w.laterLocked(at)
	}
	return true
}

// laterLocked sets the timer for the first that waits.
func (w *wire) laterLocked(at time.Duration) {
	p := &w.pacer
	wait := max(p.Wait(bwe.Video, p.queued, at), time.Millisecond)
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, w.release)
	} else {
		p.timer.Reset(wait)
	}
}

// release sends what may leave now of what waits.
func (w *wire) release() {
	socket := w.srv.net.socket
	socket.Cork()
	defer socket.Uncork()
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
		w.laterLocked(at)
		return
	}
	p.next = 0
	if p.queue = p.queue[:0]; cap(p.queue) > 64 {
		p.queue = nil // of a key frame; the next one is far
	}
}

// stopPacing drops what waits, for a connection that ends.
func (w *wire) stopPacing() {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.pacer
	p.queue, p.next, p.queued, p.on = nil, 0, 0, false
	if p.timer != nil {
		p.timer.Stop()
	}
}
