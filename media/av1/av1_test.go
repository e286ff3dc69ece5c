package av1

import (
	"fmt"
	"strings"
	"testing"

	"braid/internal/testkit"
)

// The first is libaom's; the others are written by hand after section 5.5.1.
var sequences = []struct {
	name, payload string
	want          Sequence
	ok            bool
}{
	{"160x120", "00000003b4ff736be401", Sequence{Width: 160, Height: 120}, true},
	// 000 0 1 | 00000 | 0111 0110 10011111 1110111
	{"reduced still picture", "08" + "1da7fb80", Sequence{Reduced: true, Width: 160, Height: 120}, true},
	// 000 0 0 1 | 32 + 32 bits | 0 equal_picture_interval | 1 model: 01111, 32 bits, 5 + 5 bits | 1 display |
	// 00000 one point: 12 bits, level 8 with tier | 1 for this: 16 + 16 bits, 1 | 1, 4 bits | 1111 1111 16 16
	{"timing and decoder model", timed, Sequence{Width: 1280, Height: 720}, true},
	{"cut off", "00000003b4", Sequence{}, false},
	{"nothing", "", Sequence{}, false},
}

// timed is a sequence header with all that may stand before the size.
var timed = testkit.Packed("000", "0", "0", "1", strings.Repeat("0", 64), "0", "1", "01111", strings.Repeat("1", 32), "0000011111",
	"1", "00000", "000000000000", "01000", "1", "1", strings.Repeat("01", 16), "1", "1", "1010", "1111", "1111", fmt.Sprintf("%016b%016b", 1279, 719), "0000")

func TestParseSequence(t *testing.T) {
	for _, c := range sequences {
		got, ok := ParseSequence(testkit.Unhex(t, c.payload))
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

var obus = []struct{ b, want string }{
	{"1200", "2/0: "},
	{"1200" + "0a01aa", "2/0:  1/0: aa"},
	{"30aabb", "6/0: aabb"},
	{"3628" + "02aabb" + "32" + "01cc", "6/1: aabb 6/0: cc"},
	{"3202aa", ""},
	{"b2", ""},
	{"34", ""},
	{"32ffffffffffffffffff01", ""},
	{"32ffffffff7f", ""},
}

func list(b []byte) string {
	var all []string
	for first := true; first || len(b) > 0; first = false {
		o, rest, ok := ParseOBU(b)
		if !ok {
			return ""
		}
		all = append(all, fmt.Sprintf("%d/%d: %x", o.Type, o.Spatial, o.Payload))
		b = rest
	}
	return strings.Join(all, " ")
}

func TestParseOBU(t *testing.T) {
	for _, c := range obus {
		if got := list(testkit.Unhex(t, c.b)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.b, got, c.want)
		}
	}
	long := OBU{Type: TypeFrame, Header: []byte{0x30}, Payload: make([]byte, 300)}
	o, rest, ok := ParseOBU(append(AppendSized(nil, long), 0x12, 0))
	if !ok || len(o.Payload) != 300 || o.Type != TypeFrame || len(rest) != 2 {
		t.Errorf("written and read: %d bytes, %d behind, %v", len(o.Payload), len(rest), ok)
	}
}

const sequence = "0a0a00000003b4ff736be401"

var units = []struct {
	name, b string
	key     bool
}{
	{"key frame", "1200" + sequence + "320210aa", true},
	{"frame header", "1200" + sequence + "1a0110", true},
	{"sequence alone", "1200" + sequence, false},
	{"frame without its sequence", "1200" + "320210aa", false},
	{"interframe behind a sequence", "1200" + sequence + "320230aa", false},
	{"key frame that is not shown", "1200" + sequence + "320200aa", false},
	{"intra frame", "1200" + sequence + "320250aa", false},
	{"key frame behind metadata", "1200" + sequence + "2a0100" + "320210aa", true},
	{"empty frame", "1200" + sequence + "3200", false},
	{"cut off", "1200" + sequence + "32", false},
	{"still picture", "1200" + "0a05081da7fb80" + "3201ff", true},
}

func TestIsKey(t *testing.T) {
	for _, c := range units {
		if got := IsKey(testkit.Unhex(t, c.b)); got != c.key {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

var payloads = []struct{ b, want string }{
	{"1830", "[30] new"},
	{"00" + "0130" + "023100", "[30 3100]"},
	{"20" + "0130" + "3100", "[30 3100]"},
	{"d0" + "aabb", "[aabb] continues unfinished"},
	{"30" + "01aa" + "01bb" + "cc", "[aa bb cc]"},
	{"20" + "05aa", "[] bad"},
	{"20" + "01aa", "[aa] bad"},
	{"00" + "01aa" + "ff", "[aa] bad"},
	{"10", ""},
	{"", ""},
}

func TestPayload(t *testing.T) {
	for _, c := range payloads {
		if got := elements(t, testkit.Unhex(t, c.b)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.b, got, c.want)
		}
	}
}

func elements(t *testing.T, b []byte) string {
	p, ok := ParsePayload(b)
	if !ok {
		return ""
	}
	var all [][]byte
	for e, more := p.Next(); more; e, more = p.Next() {
		all = append(all, e)
		if len(all) > len(b) {
			t.Fatalf("%x: elements without end", b)
		}
	}
	text := fmt.Sprintf("%x", all)
	if p.Continues {
		text += " continues"
	}
	if p.Unfinished {
		text += " unfinished"
	}
	if p.New {
		text += " new"
	}
	if p.Bad() {
		text += " bad"
	}
	return text
}

func FuzzAV1(f *testing.F) {
	for _, c := range sequences {
		f.Add(testkit.Unhex(f, c.payload))
	}
	for _, c := range obus {
		f.Add(testkit.Unhex(f, c.b))
	}
	for _, c := range units {
		f.Add(testkit.Unhex(f, c.b))
	}
	for _, c := range payloads {
		f.Add(testkit.Unhex(f, c.b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := ParseSequence(b); ok && (s.Width < 1 || s.Width > 65536 || s.Height < 1 || s.Height > 65536) {
			t.Fatalf("%+v", s)
		}
		elements(t, b)
		list(b)
		IsKey(b)
		Size(b)
	})
}
