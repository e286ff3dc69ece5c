package testkit

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Unhex reads hexadecimal digits.
func Unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Packed writes fields of binary digits one behind the other, filled up with
// zeros to whole bytes, as hexadecimal digits.
func Packed(fields ...string) string {
	var w Bits
	for _, c := range strings.Join(fields, "") {
		w.U(1, uint(c-'0'))
	}
	return hex.EncodeToString(w.B)
}

// Bits writes a bit string, the most significant bit first.
type Bits struct {
	B []byte
	n int // bits in the last byte; 0: it is full
}

// U writes n bits.
func (w *Bits) U(n int, v uint) {
	for i := n - 1; i >= 0; i-- {
		if w.n == 0 {
			w.B = append(w.B, 0)
		}
		w.B[len(w.B)-1] |= byte(v>>i&1) << (7 - w.n)
		w.n = (w.n + 1) % 8
	}
}

// UE writes an Exp-Golomb code (H.264 clause 9.1).
func (w *Bits) UE(v uint) {
	n := 0
	for (v+1)>>n > 1 {
		n++
	}
	w.U(n, 0)
	w.U(n+1, v+1)
}

// SPS is an H.264 sequence parameter set (clause 7.3.2.1), Baseline and level 6.2,
// for pictures of w x h macroblocks, which may be more than any decoder takes.
func SPS(w, h uint) []byte {
	s := Bits{B: []byte{0x67, 66, 0xc0, 62}}
	for _, v := range []uint{0, 0, 2, 1} { // id, log2_max_frame_num-4, picture order count type, references
		s.UE(v)
	}
	s.U(1, 0)
	s.UE(w - 1)
	s.UE(h - 1)
	s.U(5, 0b11001) // frame_mbs_only, direct_8x8, no cropping, no VUI, stop
	return s.B
}
