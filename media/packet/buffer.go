// Package packet puts one track's RTP packets in order (Buffer) and joins them
// to frames (Assembler). It knows RTP payloads (RFC 6184, 7741, 9628, 7798, 7587,
// AOM's for AV1) and no connection. Buffer and Assembler have no clock, no lock and
// no goroutine: each belongs to the one goroutine that calls it.
//
//	packets as they came → Buffer → packets in order, gaps marked → Assembler → Frames
package packet

import (
	"slices"
	"time"

	"braid/media"
)

// window is how far a sequence number may be ahead of the newest or behind the
// expected one. RFC 3550 appendix A.1 takes 3000 forward and 100 back; 1000 both
// ways is two seconds at 5 Mbit/s, longer than any retransmission is waited for.
const window = 1000

// span is how far the packets that wait may reach: the order of 16-bit numbers
// is clear up to 32767.
const span = 1 << 14

// Buffer reorders the packets of one track by their sequence number.
//
// A packet more than 1000 numbers from its place in the sequence is set aside. When
// the packet that comes next is from its neighbourhood, the source has
// restarted: what was waiting is thrown away and both open the new sequence. A
// single stray packet changes nothing.
type Buffer struct {
	wait  time.Duration
	max   int
	begun bool
	next  uint16          // the number that comes out next
	gap   bool            // the next packet out follows a restart
	queue []*media.Packet // by distance from next, without duplicates
	stray *media.Packet   // a packet far off next, until a second one confirms it
	stats BufferStats
}

// BufferStats are counts of packets since the Buffer was made.
type BufferStats struct {
	Received   uint64 // all that were pushed
	Duplicates uint64 // came again while the first was still waiting
	Late       uint64 // came after their place was passed, also second copies of packets already out
	Lost       uint64 // never came, or came late
	Discarded  uint64 // thrown away at a restart, or a stray number
	Resets     uint64 // restarts of the source
}

// NewBuffer makes a Buffer that waits for a missing packet until the oldest
// packet after the hole is wait old or max packets wait. max is at most 1000.
func NewBuffer(wait time.Duration, max int) *Buffer {
	return &Buffer{wait: wait, max: min(max, window)}
}

// Stats are the counts so far.
func (b *Buffer) Stats() BufferStats { return b.stats }

// Push takes a packet as it came. Call Pop until it gives nil afterwards.
func (b *Buffer) Push(p *media.Packet) {
	b.stats.Received++
	if !b.begun {
		b.begun, b.next = true, p.Seq
	}
	d := distance(b.next, p.Seq)
	ahead := d
	if n := len(b.queue); n > 0 {
		ahead = distance(b.queue[n-1].Seq, p.Seq)
	}
	switch {
	case ahead > window || d < -window || d > span:
		b.far(p)
	case d < 0:
		b.stats.Late++
	default:
		b.insert(p)
	}
	if b.stray != nil && b.stray != p { // the sequence goes on: it was one stray packet
		b.stray = nil
		b.stats.Discarded++
	}
}

// far takes a packet outside the window: a stray, or the source restarted.
func (b *Buffer) far(p *media.Packet) {
	first := b.stray
	b.stray = p
	if first == nil {
		return
	}
	d := distance(first.Seq, p.Seq)
	if d == 0 || d > window || d < -window {
		b.stats.Discarded++ // first, or its twin
		return
	}
	if d < 0 {
		first, p = p, first
	}
	b.stats.Discarded += uint64(len(b.queue))
	b.stats.Resets++
	b.stray = nil
	b.next, b.gap = first.Seq, true
	b.queue = append(b.queue[:0], first, p)
}

func (b *Buffer) insert(p *media.Packet) {
	d := distance(b.next, p.Seq)
	i := len(b.queue)
	for i > 0 && distance(b.next, b.queue[i-1].Seq) > d {
		i--
	}
	if i > 0 && b.queue[i-1].Seq == p.Seq {
		b.stats.Duplicates++
		return
	}
	b.queue = slices.Insert(b.queue, i, p)
}

// Pop gives the next packet, or nil when there is none yet. gap tells that
// packets are missing in front of this one, or that the source restarted with it.
func (b *Buffer) Pop(now time.Time) (p *media.Packet, gap bool) {
	if len(b.queue) == 0 {
		return nil, false
	}
	p = b.queue[0]
	if d := distance(b.next, p.Seq); d > 0 {
		if len(b.queue) < b.max && now.Sub(b.oldest()) < b.wait {
			return nil, false
		}
		b.stats.Lost += uint64(d)
		b.gap = true
	}
	gap = b.gap
	b.gap = false
	b.next = p.Seq + 1
	b.queue = slices.Delete(b.queue, 0, 1)
	return p, gap
}

// Deadline is when Pop should be tried again if no packet comes before. ok is
// false while nothing waits.
func (b *Buffer) Deadline() (at time.Time, ok bool) {
	if len(b.queue) == 0 {
		return time.Time{}, false
	}
	if b.queue[0].Seq == b.next || len(b.queue) >= b.max {
		return b.queue[0].Arrival, true // due already: Pop was not called to its end
	}
	return b.oldest().Add(b.wait), true
}

// oldest is the earliest arrival in the queue, which is not empty.
func (b *Buffer) oldest() time.Time {
	at := b.queue[0].Arrival
	for _, p := range b.queue[1:] {
		if p.Arrival.Before(at) {
			at = p.Arrival
		}
	}
	return at
}

// distance is how far seq is ahead of from, negative when it is behind.
func distance(from, seq uint16) int { return int(int16(seq - from)) }
