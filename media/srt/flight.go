package srt

import "time"

// flight are the packets that were sent and are not acknowledged, the oldest
// first, their numbers without a gap.
type flight struct {
	packets []inFlight
	bytes   int
}

type inFlight struct {
	seq         uint32
	wire        []byte
	first, last time.Time // when it was sent
}

// after is the distance from a to b in the circle of 31-bit numbers (section 3.1):
// negative when b comes before a.
func after(a, b uint32) int32 { return int32((b-a)<<1) >> 1 }

func (f *flight) add(seq uint32, wire []byte, now time.Time) {
	f.packets = append(f.packets, inFlight{seq, wire, now, now})
	f.bytes += len(wire)
}

// ack forgets the packets before seq and tells whether there were any. A number
// that was never sent changes nothing.
func (f *flight) ack(seq uint32) bool {
	if len(f.packets) == 0 {
		return false
	}
	n := int(after(f.packets[0].seq, seq))
	if n <= 0 || n > len(f.packets) {
		return false
	}
	for i := range f.packets[:n] {
		f.bytes -= len(f.packets[i].wire)
		f.packets[i] = inFlight{}
	}
	f.packets = f.packets[n:]
	return true
}

// lost picks the packets from one number to another that were not sent for rest,
// at most most of them, and notes that they are sent now.
func (f *flight) lost(from, to uint32, now time.Time, rest time.Duration, most int) (wires [][]byte) {
	if len(f.packets) == 0 {
		return nil
	}
	first := max(int(after(f.packets[0].seq, from)), 0)
	last := min(int(after(f.packets[0].seq, to)), len(f.packets)-1)
	for i := first; i <= last && len(wires) < most; i++ {
		p := &f.packets[i]
		if now.Sub(p.last) < rest {
			continue
		}
		p.last = now
		p.wire[4] |= retransmitted
		wires = append(wires, p.wire)
	}
	return wires
}

// age is how long ago the oldest packet was first sent; 0 when there is none.
func (f *flight) age(now time.Time) time.Duration {
	if len(f.packets) == 0 {
		return 0
	}
	return now.Sub(f.packets[0].first)
}
