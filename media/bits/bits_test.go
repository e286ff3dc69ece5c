package bits

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"braid/media/h264"
)

func TestReader(t *testing.T) {
	r := Reader{B: []byte{0b1010_0110, 0b0100_0010, 0xff}}
	for _, c := range []struct{ got, want uint32 }{
		{r.U(3), 5}, {r.UE(), 5}, {r.UE(), 1}, {r.Bit(), 0}, {r.UE(), 4}, {r.U(7), 0x7f}, {r.U(0), 0},
	} {
		if c.got != c.want {
			t.Errorf("got %d, want %d", c.got, c.want)
		}
	}
	if r.Over() {
		t.Error("over before the end")
	}
	if r.Bit() != 0 || !r.Over() {
		t.Error("not over behind the end")
	}
	r = Reader{B: make([]byte, 20)}
	if r.UE() != 0 || !r.Over() {
		t.Error("a code of 32 zeros is read")
	}
	r = Reader{B: make([]byte, 4)}
	r.Skip(1 << 40)
	if !r.Over() {
		t.Error("more was skipped than there is")
	}
}

// TestEmulation compares with h264's, which takes the bytes out first.
func TestEmulation(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := make([]byte, random.IntN(40))
		for i := range b {
			b[i] = byte(random.IntN(5))
		}
		plain := h264.UnescapeRBSP(nil, b)
		r := Reader{B: b, Emulation: true}
		var got []byte
		for range plain {
			n := random.IntN(9)
			got = append(got, byte(r.U(n)<<(8-n)|r.U(8-n)))
		}
		if !bytes.Equal(got, plain) || r.Over() {
			t.Fatalf("% x: got % x, want % x", b, got, plain)
		}
		if r.Bit(); !r.Over() {
			t.Fatalf("% x: something is left", b)
		}
	}
}
