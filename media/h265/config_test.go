package h265

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// record is what FFmpeg writes for libx265's 176x144, with its SEI shortened.
const record = "0101600000009000000000001ef000fcfdf8f800000f04" +
	"a00001001840010c01ffff01600000030090000003000003001eba0240" +
	"a10001002942010101600000030090000003000003001ea0162024596e92930bc05a020000030002000003001410" +
	"a2000100064401c073c189" +
	"2700010004" + "4e010500"

func TestParseDecoderConfig(t *testing.T) {
	b, err := hex.DecodeString(record)
	if err != nil {
		t.Fatal(err)
	}
	sets, size, err := ParseDecoderConfig(b)
	if err != nil || size != 4 || len(sets) != 3 {
		t.Fatalf("got %d sets, lengths of %d, %v; want VPS, SPS and PPS, 4", len(sets), size, err)
	}
	for i, want := range []byte{TypeVPS, TypeSPS, TypePPS} {
		if got := Type(sets[i]); got != want {
			t.Errorf("set %d: got type %d, want %d", i, got, want)
		}
	}
	if s, err := ParseSPS(sets[1]); err != nil || s.Width != 176 || s.Height != 144 {
		t.Errorf("SPS: got %dx%d %v, want 176x144", s.Width, s.Height, err)
	}
	for n := range len(b) {
		if _, _, err := ParseDecoderConfig(b[:n]); err == nil {
			t.Fatalf("cut after %d bytes: no error", n)
		}
	}
	for at, v := range map[int]byte{0: 2, 21: 2} { // version, lengthSizeMinusOne
		bad := bytes.Clone(b)
		bad[at] = v
		if _, _, err := ParseDecoderConfig(bad); err == nil {
			t.Errorf("byte %d = %d: no error", at, v)
		}
	}
}

func FuzzParseDecoderConfig(f *testing.F) {
	b, err := hex.DecodeString(record)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:60])
	f.Fuzz(func(t *testing.T, b []byte) {
		sets, size, err := ParseDecoderConfig(b)
		if err != nil {
			return
		}
		if size != 1 && size != 2 && size != 4 {
			t.Fatalf("NAL lengths of %d bytes", size)
		}
		for _, s := range sets {
			if len(s) < HeaderSize {
				t.Fatalf("a set of %d bytes", len(s))
			}
		}
	})
}
