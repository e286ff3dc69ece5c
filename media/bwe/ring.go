package bwe

import "time"

// Bounds of the ring in packets: 8 bytes each. It doubles when feedback has not
// come for what is about to be overwritten, so a viewer of 2.5 Mbit/s has 2 KiB.
const (
	ringLeast = 256
	ringMost  = 8192
	ringKeep  = 2 * time.Second // older than this is not missed
)

// States of a packet.
const (
	unsent uint8 = iota
	sent
	lost // reported as not received; may still arrive
	arrived
)

// packet is what is remembered of a packet that was sent.
type packet struct {
	at    uint32 // µs, the low bits
	size  uint16
	state uint8
	train uint8 // the probe it belongs to; 0: none
}

// ring remembers the last packets by number.
type ring struct {
	slots []packet
	last  int64 // highest number, unwrapped; valid when slots is not nil
}

// unwrap gives a 16-bit number its place near the last.
func (r *ring) unwrap(number uint16) int64 {
	return r.last + int64(int16(number-uint16(r.last)))
}

// add remembers a packet and returns false for one that is too old to matter.
func (r *ring) add(number uint16, size int, train uint8, at time.Duration) bool {
	if r.slots == nil {
		r.slots = make([]packet, ringLeast)
		r.last = 1<<16 + int64(number) - 1 // above 0 whatever comes before
	}
	n := r.unwrap(number)
	if n <= r.last-int64(len(r.slots)) {
		return false
	}
	for r.last < n {
		if n-r.last > int64(len(r.slots)) {
			r.last = n - int64(len(r.slots))
		}
		if s := r.slot(r.last + 1); s.state == sent && len(r.slots) < ringMost && s.age(at) < ringKeep {
			r.grow()
		}
		r.last++
		*r.slot(r.last) = packet{}
	}
	*r.slot(n) = packet{at: uint32(at / time.Microsecond), size: uint16(min(size, 1<<16-1)), state: sent, train: train}
	return true
}

func (r *ring) slot(n int64) *packet { return &r.slots[int(n)&(len(r.slots)-1)] }

// first is the lowest number that is remembered.
func (r *ring) first() int64 { return r.last - int64(len(r.slots)) + 1 }

func (r *ring) grow() {
	old := *r
	r.slots = make([]packet, 2*len(old.slots))
	for n := old.first(); n <= old.last; n++ {
		*r.slot(n) = *old.slot(n)
	}
}

// age is how long ago a packet was sent; what is over 35 minutes is gone.
func (p *packet) age(at time.Duration) time.Duration {
	return max(time.Duration(int32(uint32(at/time.Microsecond)-p.at)), 0) * time.Microsecond
}
