package h264

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// annexB are byte streams and the units in them; the fuzz target starts from them.
var annexB = []struct {
	name  string
	in    []byte
	units [][]byte
}{
	{"empty", nil, nil},
	{"no start code", []byte{0x67, 1, 2}, nil},
	{"zeros", []byte{0, 0, 0, 0, 0}, nil},
	{"start code alone", []byte{0, 0, 0, 1}, nil},
	{"four bytes", []byte{0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2}, [][]byte{{0x67, 1}, {0x68, 2}}},
	{"three bytes", []byte{0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2}, [][]byte{{0x67, 1}, {0x68, 2}}},
	{"trailing zeros", []byte{0, 0, 1, 0x67, 1, 0, 0, 0, 0, 0, 1, 0x68, 2, 0, 0}, [][]byte{{0x67, 1}, {0x68, 2}}},
	{"empty units", []byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0x68, 2}, [][]byte{{0x68, 2}}},
	{"bytes in front", []byte{9, 9, 0, 0, 1, 0x68, 2}, [][]byte{{0x68, 2}}},
	{"zeros inside", []byte{0, 0, 1, 0x65, 0, 0, 3, 0, 0, 2}, [][]byte{{0x65, 0, 0, 3, 0, 0, 2}}},
}

func TestSplitAnnexB(t *testing.T) {
	for _, c := range annexB {
		if got := SplitAnnexB(nil, c.in); !equal(got, c.units) {
			t.Errorf("%s: got %x, want %x", c.name, got, c.units)
		}
	}
}

var avcc = []struct {
	name  string
	in    []byte
	units [][]byte
	fails bool
}{
	{"empty", nil, nil, false},
	{"two", []byte{0, 0, 0, 2, 0x67, 1, 0, 0, 0, 1, 0x68}, [][]byte{{0x67, 1}, {0x68}}, false},
	{"empty unit", []byte{0, 0, 0, 0, 0, 0, 0, 1, 0x68}, [][]byte{{0x68}}, false},
	{"short length", []byte{0, 0, 0, 1, 0x68, 0, 0}, nil, true},
	{"short unit", []byte{0, 0, 0, 1, 0x68, 0, 0, 0, 2, 1}, nil, true},
	{"huge length", []byte{0xff, 0xff, 0xff, 0xff, 1}, nil, true},
}

func TestSplitAVCC(t *testing.T) {
	for _, c := range avcc {
		got, err := SplitAVCC(nil, c.in)
		if (err != nil) != c.fails || !equal(got, c.units) {
			t.Errorf("%s: got %x, %v, want %x, error %t", c.name, got, err, c.units, c.fails)
		}
	}
	kept := [][]byte{{1}}
	if got, err := SplitAVCC(kept, []byte{0, 0, 0, 1, 9, 9}); err == nil || !equal(got, kept) {
		t.Errorf("an error must leave dst as it was: got %x, %v", got, err)
	}
}

func FuzzSplit(f *testing.F) {
	for _, c := range annexB {
		f.Add(c.in)
	}
	for _, c := range avcc {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		units := SplitAnnexB(nil, b)
		for _, u := range units {
			if len(u) == 0 || u[len(u)-1] == 0 || StartCode(u) >= 0 {
				t.Fatalf("unit %x of %x", u, b)
			}
		}
		if again := SplitAnnexB(nil, AppendAnnexB(nil, units)); !equal(again, units) {
			t.Fatalf("annex B again: got %x, want %x", again, units)
		}
		units, err := SplitAVCC(nil, b)
		if err != nil {
			return
		}
		again, err := SplitAVCC(nil, AppendAVCC(nil, units))
		if err != nil || !equal(again, units) {
			t.Fatalf("AVCC again: got %x, %v, want %x", again, err, units)
		}
	})
}

func TestIsKey(t *testing.T) {
	idr := [][]byte{{0x67}, {0x68}, {0x65, 0x88}}
	if !IsKey(idr) || IsKey(idr[:2]) || IsKey([][]byte{{0x41}, {}}) {
		t.Fatal("IsKey is not: contains a unit of type 5")
	}
}

// recoveryPoints are SEI units. Those of x264 come with its own words in front of them.
var recoveryPoints = []struct {
	unit []byte
	want bool
}{
	{[]byte{6, 6, 1, 0xc4, 0x80}, true},
	{[]byte{6, 5, 3, 1, 2, 3, 6, 1, 0xc4, 0x80}, true},
	{slices.Concat([]byte{6, 5, 0xff, 1}, bytes.Repeat([]byte{9}, 256), []byte{6, 1, 0xc4, 0x80}), true},
	{[]byte{6, 5, 3, 0, 0, 3, 1, 6, 1, 0xc4, 0x80}, true}, // 00 00 03 01 are three bytes
	{[]byte{6, 5, 3, 6, 1, 0xc4, 0x80}, false},
	{[]byte{6, 0xff, 6, 1, 0xc4, 0x80}, false},
	{[]byte{6, 6, 4, 0xc4, 0x80}, false},
	{[]byte{6, 6}, false},
	{[]byte{6}, false},
	{[]byte{0x41, 6, 1, 0xc4, 0x80}, false},
	{[]byte{6, 0xff, 0xff, 0xff}, false},
}

func TestIsRecoveryPoint(t *testing.T) {
	for _, c := range recoveryPoints {
		if got := IsRecoveryPoint([][]byte{{0x67}, {}, c.unit, {0x41, 0x9a}}); got != c.want {
			t.Errorf("%x: got %t, want %t", c.unit, got, c.want)
		}
	}
}

// FuzzIsRecoveryPoint: whatever the bytes are, it returns.
func FuzzIsRecoveryPoint(f *testing.F) {
	for _, c := range recoveryPoints {
		f.Add(c.unit)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if IsRecoveryPoint([][]byte{b}) && Type(b) != TypeSEI {
			t.Fatalf("%x is no SEI", b)
		}
	})
}

func TestEscapeTable(t *testing.T) {
	for _, c := range []struct{ rbsp, nal []byte }{
		{[]byte{0, 0, 0}, []byte{0, 0, 3, 0}},
		{[]byte{0, 0, 1}, []byte{0, 0, 3, 1}},
		{[]byte{0, 0, 3}, []byte{0, 0, 3, 3}},
		{[]byte{0, 0, 4}, []byte{0, 0, 4}},
		{[]byte{0, 0}, []byte{0, 0, 3}},
		{[]byte{0, 0, 0, 0, 0, 0, 1}, []byte{0, 0, 3, 0, 0, 3, 0, 0, 3, 1}},
		{[]byte{0, 3, 0, 3}, []byte{0, 3, 0, 3}},
	} {
		if got := EscapeRBSP(nil, c.rbsp); !bytes.Equal(got, c.nal) {
			t.Errorf("escape %x: got %x, want %x", c.rbsp, got, c.nal)
		}
		if got := UnescapeRBSP(nil, c.nal); !bytes.Equal(got, c.rbsp) {
			t.Errorf("unescape %x: got %x, want %x", c.nal, got, c.rbsp)
		}
	}
}

func TestEscapeRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		rbsp := make([]byte, rnd.IntN(64))
		for i := range rbsp {
			rbsp[i] = byte(rnd.IntN(5) * rnd.IntN(2)) // half zeros, else 0 to 4
		}
		nal := EscapeRBSP(nil, rbsp)
		for i := range len(nal) - 2 {
			if nal[i] == 0 && nal[i+1] == 0 && nal[i+2] < 3 {
				t.Fatalf("%x escaped to %x", rbsp, nal)
			}
		}
		if got := UnescapeRBSP(nil, nal); !bytes.Equal(got, rbsp) {
			t.Fatalf("got %x, want %x through %x", got, rbsp, nal)
		}
	}
}

func BenchmarkSplitAnnexB(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var stream []byte
	for range 8 {
		rbsp := make([]byte, 4000)
		for i := range rbsp {
			rbsp[i] = byte(rnd.Uint32())
		}
		stream = AppendAnnexB(stream, [][]byte{EscapeRBSP([]byte{0x41}, append(rbsp, 0x80))})
	}
	var units [][]byte
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		units = SplitAnnexB(units[:0], stream)
	}
	if len(units) != 8 {
		b.Fatalf("got %d units, want 8", len(units))
	}
}

func equal(a, b [][]byte) bool {
	return slices.EqualFunc(a, b, bytes.Equal)
}
