// Package bits reads coded headers bit by bit. It starts no goroutine and
// allocates nothing.
package bits

// Reader reads the bits of B, the highest of each byte first. Past the end it gives
// zeros and Over is true, so callers check once, at the end.
type Reader struct {
	B []byte
	// Emulation leaves out each 03 that follows two zeros, as NAL units want (H.264
	// and H.265 section 7.4.1.1 and 7.4.2).
	Emulation bool

	bit   int // of B[0] that comes next, from the highest
	zeros int // bytes in front of B[0]
	over  bool
}

// Over tells that more was read than there is, or a number over 32 bits.
func (r *Reader) Over() bool { return r.over }

// Bit reads one bit.
func (r *Reader) Bit() uint32 {
	if r.Emulation && r.bit == 0 && r.zeros >= 2 && len(r.B) > 0 && r.B[0] == 3 {
		r.B, r.zeros = r.B[1:], 0
	}
	if len(r.B) == 0 {
		r.over = true
		return 0
	}
	v := r.B[0] >> (7 - r.bit) & 1
	if r.bit++; r.bit == 8 {
		if r.zeros++; r.B[0] != 0 {
			r.zeros = 0
		}
		r.B, r.bit = r.B[1:], 0
	}
	return uint32(v)
}

// Flag reads one bit.
func (r *Reader) Flag() bool { return r.Bit() == 1 }

// U reads a number of n bits, at most 32.
func (r *Reader) U(n int) uint32 {
	v := uint32(0)
	for range n {
		v = v<<1 | r.Bit()
	}
	return v
}

// Skip reads n bits and forgets them. It ends with the bits.
func (r *Reader) Skip(n int) {
	for ; n > 0 && !r.over; n-- {
		r.Bit()
	}
}

// UE reads an Exp-Golomb code: ue(v) of H.264 and H.265 section 9, uvlc() of AV1
// section 4.10.3. Numbers over 32 bits count as running over the end.
func (r *Reader) UE() uint32 {
	zeros := 0
	for r.Bit() == 0 {
		if zeros++; zeros > 31 || r.over {
			r.over = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.U(zeros)
}
