package h264

// EscapeRBSP appends rbsp to dst with emulation prevention (H.264 section
// 7.4.1): 03 goes in front of a byte 0 to 3 that follows two zeros, and behind
// two final zeros. Write the NAL header to dst before; it is not part of the
// RBSP.
func EscapeRBSP(dst, rbsp []byte) []byte {
	zeros := 0
	for _, c := range rbsp {
		if zeros == 2 && c <= 3 {
			dst = append(dst, 3)
			zeros = 0
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		dst = append(dst, c)
	}
	if zeros == 2 {
		dst = append(dst, 3)
	}
	return dst
}

// UnescapeRBSP appends b, a NAL unit without its header, to dst and leaves out
// each 03 that follows two zeros. What follows the 03 is not looked at, as
// decoders do not look either: both must see the same RBSP.
func UnescapeRBSP(dst, b []byte) []byte {
	zeros := 0
	for _, c := range b {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		dst = append(dst, c)
	}
	return dst
}

// bitReader reads an RBSP bit by bit. Past the end it gives zeros and over is
// set, so callers check once, at the end.
type bitReader struct {
	b    []byte
	pos  int // in bits
	over bool
}

func (r *bitReader) bit() uint32 {
	if r.pos >= len(r.b)*8 {
		r.over = true
		return 0
	}
	v := r.b[r.pos/8] >> (7 - r.pos%8) & 1
	r.pos++
	return uint32(v)
}

// u reads n bits, at most 32 (H.264 section 7.2, u(n)).
func (r *bitReader) u(n int) uint32 {
	v := uint32(0)
	for range n {
		v = v<<1 | r.bit()
	}
	return v
}

// ue reads an Exp-Golomb code (section 9.1). More than 31 leading zeros, which
// no syntax element has, count as running over the end.
func (r *bitReader) ue() uint32 {
	zeros := 0
	for r.bit() == 0 {
		if zeros++; zeros > 31 || r.over {
			r.over = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.u(zeros)
}

// se reads a signed Exp-Golomb code (section 9.1.1).
func (r *bitReader) se() int32 {
	v := r.ue()
	if v&1 == 1 {
		return int32(v/2 + 1)
	}
	return -int32(v / 2)
}
