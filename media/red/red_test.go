package red

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// packets are payloads in hex and what they hold: "PT@offset:data", the own frame
// last; "" is an error.
var packets = []struct {
	name, payload, want string
	same                bool // Append makes this very payload
}{
	{"no repeat", "6f" + "f8aabb", "111@0:f8aabb", true},
	{"no repeat, no frame", "6f", "111@0:", true},
	{"one repeat", "ef0f0003" + "6f" + "f80102" + "f8aabb", "111@960:f80102 111@0:f8aabb", true},
	{"two repeats", "ef1e0001" + "ef0f0002" + "6f" + "11" + "2222" + "33", "111@1920:11 111@960:2222 111@0:33", true},
	{"an empty repeat", "ef0f0000" + "6f" + "33", "111@0:33", false},
	{"a repeat and no frame", "ef0f0001" + "6f" + "11", "111@960:11 111@0:", true},
	{"offset and length at their limits", "effffffF" + "6f" + strings.Repeat("77", 1023) + "33", "111@16383:" + strings.Repeat("77", 1023) + " 111@0:33", true},
	{"RFC 2198 section 5: PCMU repeated by LPC", "870a0004" + "05" + "00112233" + "44", "7@640:00112233 5@0:44", true},
	{"nothing", "", "", false},
	{"header cut short", "ef0f00", "", false},
	{"no last header", "ef0f0001", "", false},
	{"repeat cut short", "ef0f0003" + "6f" + "f801", "", false},
	{"32 repeats", strings.Repeat("ef0f0000", 32) + "6f", "", false},
}

func show(blocks []Block) string {
	var all []string
	for _, b := range blocks {
		all = append(all, fmt.Sprintf("%d@%d:%x", b.PayloadType, b.Offset, b.Data))
	}
	return strings.Join(all, " ")
}

func TestParseAppend(t *testing.T) {
	for _, c := range packets {
		payload, err := hex.DecodeString(c.payload)
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := Parse(nil, payload)
		if (err != nil) != (c.want == "") || show(blocks) != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.name, show(blocks), err, c.want)
			continue
		}
		if !c.same {
			continue
		}
		n := len(blocks) - 1
		got := append(Append(nil, blocks[n].PayloadType, blocks[:n]), blocks[n].Data...)
		if !bytes.Equal(got, payload) {
			t.Errorf("%s: written again it is %x, want %x", c.name, got, payload)
		}
	}
}

// TestAppendLeavesOut: what the format cannot hold does not spoil the rest.
func TestAppendLeavesOut(t *testing.T) {
	got := Append([]byte("dst"), 111, []Block{
		{111, MaxOffset + 1, []byte{1}}, {111, 1920, make([]byte, MaxLength+1)}, {111, 960, nil}, {111, 0, []byte{2}}, {111, 480, []byte{3}},
	})
	if want := "dst\xef\x07\x80\x01\x6f\x03"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// stream plays a sender whose packets repeat earlier ones, over a network that
// loses, doubles and reorders, and a Repair behind it.
type stream struct {
	repeats []int // how many packets back each repeat is, the oldest first
	dtx     int   // every so many packets there is a pause; 0: never
	lose    func(i int) bool
	shuffle bool
	first   uint16
}

type sent struct {
	seq  uint16
	ts   uint32
	data []byte
}

func (s stream) run(t *testing.T, n int) (got map[uint16]Frame, all []sent) {
	ts := uint32(1<<32 - 9600) // it wraps around
	for i := range n {
		ts += 960
		if s.dtx > 0 && i%s.dtx == 0 {
			ts += 960 * 19
		}
		all = append(all, sent{s.first + uint16(i), ts, []byte{byte(i), byte(i >> 8), 0xf8}})
	}
	var order []int
	for i := range all {
		if !s.lose(i) {
			order = append(order, i)
		}
		if i%7 == 3 {
			order = append(order, i) // twice
		}
	}
	order = slices.DeleteFunc(order, s.lose)
	if s.shuffle {
		for i := 0; i+1 < len(order); i += 5 {
			order[i], order[i+1] = order[i+1], order[i]
		}
	}
	var r Repair
	got = map[uint16]Frame{}
	var dst []Frame
	var blocks []Block
	for _, i := range order {
		blocks = blocks[:0]
		for _, back := range s.repeats {
			if i-back >= 0 && all[i].ts-all[i-back].ts <= MaxOffset {
				blocks = append(blocks, Block{111, all[i].ts - all[i-back].ts, all[i-back].data})
			}
		}
		dst = r.Push(dst[:0], all[i].seq, all[i].ts, all[i].data, blocks)
		for k, f := range dst {
			if _, again := got[f.Seq]; again {
				t.Fatalf("packet %d is given out twice", f.Seq)
			}
			if k > 0 && int16(f.Seq-dst[k-1].Seq) <= 0 {
				t.Fatalf("packet %d comes behind %d", f.Seq, dst[k-1].Seq)
			}
			got[f.Seq] = f
		}
	}
	return got, all
}

func TestRepair(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	drops := make([]bool, 4000)
	for i := range drops {
		drops[i] = i > 1 && random.IntN(10) == 0
	}
	for _, c := range []struct {
		name string
		stream
		missing func(i int) bool // what nothing can bring back
	}{
		{"no loss", stream{repeats: []int{1}, lose: func(int) bool { return false }}, func(int) bool { return false }},
		{"single losses", stream{repeats: []int{1}, lose: func(i int) bool { return i%5 == 4 }, first: 65000}, func(int) bool { return false }},
		{"single losses, two repeats", stream{repeats: []int{2, 1}, lose: func(i int) bool { return i%3 == 1 }}, func(i int) bool { return false }},
		{"two in a row, two repeats", stream{repeats: []int{2, 1}, lose: func(i int) bool { return i%6 > 3 }}, func(int) bool { return false }},
		{"two in a row, one repeat", stream{repeats: []int{1}, lose: func(i int) bool { return i%6 > 3 }}, func(i int) bool { return i%6 == 4 }},
		{"a repeat of the one before the last", stream{repeats: []int{2}, lose: func(i int) bool { return i%5 == 4 }}, func(int) bool { return false }},
		{"the same, two in a row", stream{repeats: []int{2}, lose: func(i int) bool { return i%6 > 3 }}, func(int) bool { return false }},
		{"out of order", stream{repeats: []int{1}, lose: func(i int) bool { return i%9 == 4 }, shuffle: true}, func(int) bool { return false }},
		{"random", stream{repeats: []int{1}, lose: func(i int) bool { return drops[i] }},
			func(i int) bool { return drops[i] && (i+1 == len(drops) || drops[i+1]) }},
		{"no repeats", stream{lose: func(i int) bool { return i%5 == 4 }}, func(i int) bool { return i%5 == 4 }},
		{"pauses", stream{repeats: []int{1}, dtx: 10, lose: func(i int) bool { return i%10 == 5 }}, func(int) bool { return false }},
		// A repeat cannot reach back over a pause of 400 ms.
		{"loss before a pause", stream{repeats: []int{1}, dtx: 10, lose: func(i int) bool { return i%10 == 9 }}, func(i int) bool { return i%10 == 9 }},
		{"loss behind a pause", stream{repeats: []int{1}, dtx: 10, lose: func(i int) bool { return i%10 == 0 && i > 0 }}, func(int) bool { return false }},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := len(drops)
			got, all := c.run(t, n)
			for i, p := range all {
				f, ok := got[p.seq]
				last := i == n-1 || i == n-2 // nothing follows that could repeat them
				if want := !c.missing(i) || !c.lose(i); ok != want && !(last && c.lose(i)) {
					t.Fatalf("packet %d: given out %v, want %v", i, ok, want)
				}
				if ok && (f.Timestamp != p.ts || !bytes.Equal(f.Data, p.data)) {
					t.Fatalf("packet %d: got %+v, want %+v", i, f, p)
				}
			}
		})
	}
}

// TestRepairGuesses: what belongs to no hole is not given out.
func TestRepairGuesses(t *testing.T) {
	repeat := func(offset uint32) []Block { return []Block{{111, offset, []byte{9}}} }
	for _, c := range []struct {
		name string
		run  func(r *Repair) []Frame
		want int
	}{
		{"at the very beginning", func(r *Repair) []Frame { return r.Push(nil, 5, 9600, []byte{1}, repeat(960)) }, 1},
		{"nothing is missing", func(r *Repair) []Frame {
			r.Push(nil, 5, 9600, []byte{1}, nil)
			return r.Push(nil, 6, 10560, []byte{1}, repeat(480))
		}, 1},
		{"older than the hole", func(r *Repair) []Frame {
			r.Push(nil, 5, 9600, []byte{1}, nil)
			return r.Push(nil, 7, 11520, []byte{1}, repeat(2880))
		}, 1},
		{"that came", func(r *Repair) []Frame {
			r.Push(nil, 5, 9600, []byte{1}, nil)
			return r.Push(nil, 7, 11520, []byte{1}, repeat(1920))
		}, 1},
		{"in the hole", func(r *Repair) []Frame {
			r.Push(nil, 5, 9600, []byte{1}, nil)
			return r.Push(nil, 7, 11520, []byte{1}, repeat(960))
		}, 2},
		{"its packet comes late", func(r *Repair) []Frame {
			r.Push(nil, 5, 9600, []byte{1}, nil)
			r.Push(nil, 7, 11520, []byte{1}, repeat(960))
			return r.Push(nil, 6, 10560, []byte{1}, repeat(960))
		}, 0},
	} {
		var r Repair
		if got := c.run(&r); len(got) != c.want {
			t.Errorf("%s: got %+v, want %d", c.name, got, c.want)
		}
	}
}

func TestAllocations(t *testing.T) {
	payload, _ := hex.DecodeString("ef0f0003" + "6f" + "f80102" + "f8aabb")
	blocks, frames, head := make([]Block, 0, 4), make([]Frame, 0, 4), make([]byte, 0, 64)
	var r Repair
	seq := uint16(0)
	if n := testing.AllocsPerRun(1000, func() {
		blocks, _ = Parse(blocks[:0], payload)
		frames = r.Push(frames[:0], seq, uint32(seq)*960, blocks[1].Data, blocks[:1])
		head = Append(head[:0], 111, blocks[:1])
		seq += 2
	}); n != 0 {
		t.Errorf("%v allocations for each packet, want none", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range packets {
		payload, err := hex.DecodeString(c.payload)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		blocks, err := Parse(nil, payload)
		if err != nil {
			if len(blocks) > 0 {
				t.Fatalf("%d blocks and %v", len(blocks), err)
			}
			return
		}
		n := len(blocks) - 1
		if n < 0 || blocks[n].Offset != 0 {
			t.Fatalf("the last block is no own frame: %s", show(blocks))
		}
		again, err := Parse(nil, append(Append(nil, blocks[n].PayloadType, blocks[:n]), blocks[n].Data...))
		if err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(slices.Clone(blocks[:n]), func(b Block) bool { return !b.fits() })
		if show(again) != show(append(want, blocks[n])) {
			t.Fatalf("%x is %s, and written again %s", payload, show(blocks), show(again))
		}
		var r Repair
		r.Push(nil, 100, 0, nil, nil)
		if got := r.Push(nil, 110, 9600, blocks[n].Data, blocks[:n]); len(got) > n+1 {
			t.Fatalf("%d frames of %d blocks", len(got), n+1)
		}
	})
}
