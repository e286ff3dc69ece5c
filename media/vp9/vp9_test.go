package vp9

import (
	"bytes"
	"fmt"
	"testing"

	"braid/internal/testkit"
)

// The first two are libvpx's.
var headers = []struct {
	name, frame string
	want        Header
	ok          bool
}{
	{"key frame of 160x120", "824983420009f007760638", Header{Key: true, Shown: true, Width: 160, Height: 120}, true},
	{"interframe with the size of a reference", "86004092f0a125", Header{Shown: true}, true},
	{"interframe with a size of its own", testkit.Packed("10000110", "00", "11111111", "000000000000", "000", fmt.Sprintf("%016b%016b", 639, 359), "0"), Header{Shown: true, Width: 640, Height: 360}, true},
	{"frame that is shown again", "88", Header{Shown: true}, true},
	{"intra frame that is not shown", testkit.Packed("10000101", "1", fmt.Sprintf("%024b", 0x498342), "11111111", fmt.Sprintf("%016b%016b", 159, 119)), Header{Width: 160, Height: 120}, true},
	{"key frame of profile 2", "92" + "498342" + "0004f8" + "03bb00", Header{Key: true, Shown: true, Profile: 2, Width: 160, Height: 120}, true},
	{"profile 1 in RGB", testkit.Packed("10100010", fmt.Sprintf("%024b", 0x498342), "1110", fmt.Sprintf("%016b%016b", 159, 119)), Header{Key: true, Shown: true, Profile: 1, Width: 160, Height: 120}, true},
	{"RGB in profile 0", "82" + "498342" + "e0" + "04f803b8", Header{}, false},
	{"no frame marker", "424983420009f007760638", Header{}, false},
	{"no sync code", "824983430009f007760638", Header{}, false},
	{"reserved profile", "b8", Header{}, false},
	{"cut off", "824983420009f0", Header{}, false},
	{"nothing", "", Header{}, false},
}

func TestParseHeader(t *testing.T) {
	for _, c := range headers {
		got, ok := ParseHeader(testkit.Unhex(t, c.frame))
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

var descriptors = []struct {
	payload string
	want    string
}{
	{"0c" + "aa", "{Begin:true End:true Predicted:false Spatial:0 Temporal:0 Width:0 Height:0} aa"},
	{"8c" + "07" + "aa", "{Begin:true End:true Predicted:false Spatial:0 Temporal:0 Width:0 Height:0} aa"},
	{"c4" + "8007" + "aa", "{Begin:false End:true Predicted:true Spatial:0 Temporal:0 Width:0 Height:0} aa"},
	{"28" + "45" + "09" + "aa", "{Begin:true End:false Predicted:false Spatial:2 Temporal:2 Width:0 Height:0} aa"},
	{"38" + "45" + "aa", "{Begin:true End:false Predicted:false Spatial:2 Temporal:2 Width:0 Height:0} aa"},
	{"50" + "0305" + "02" + "aa", "{Begin:false End:false Predicted:true Spatial:0 Temporal:0 Width:0 Height:0} aa"},
	{"50" + "030507" + "aa", "{Begin:false End:false Predicted:true Spatial:0 Temporal:0 Width:0 Height:0} aa"}, // no more than three
	{"0a" + "38" + "00a00078" + "014000f0" + "02" + "08" + "01" + "0c" + "0102" + "03" + "aa", "{Begin:true End:false Predicted:false Spatial:0 Temporal:0 Width:320 Height:240} 0203aa"},
	{"0a" + "00" + "aa", "{Begin:true End:false Predicted:false Spatial:0 Temporal:0 Width:0 Height:0} aa"},
	{"0a" + "f0" + "00a0", ""},
	{"0a" + "08ff", ""},
	{"80" + "80", ""},
	{"0c", ""},
	{"", ""},
}

func TestParseDescriptor(t *testing.T) {
	for _, c := range descriptors {
		d, frame, ok := ParseDescriptor(testkit.Unhex(t, c.payload))
		got := fmt.Sprintf("%+v %x", d, frame)
		if !ok {
			got = ""
		}
		if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.payload, got, c.want)
		}
	}
}

func frames(b []byte) (all [][]byte, ok bool) {
	s, ok := Split(b)
	for f, more := s.Next(); ok && more; f, more = s.Next() {
		all = append(all, f)
	}
	return all, ok
}

var superframes = []struct {
	b    string
	want string // "" when it is wrong
}{
	{"82aabb", "[82aabb]"},
	{"82aabb" + "86cc" + "c9" + "0300" + "0200" + "c9", "[82aabb 86cc]"},
	{"82aabb" + "c0" + "03" + "c0", "[82aabb]"},
	{"82aabb" + "c1" + "03" + "00" + "c1", "[82aabb ]"},
	{"82aabb" + "c1" + "02" + "01" + "c1", "[82aa bb]"},
	{"82aabb" + "c1" + "03" + "01" + "c1", ""}, // more than there is
	{"82aabb" + "c2" + "03" + "01" + "c1", "[82aabbc20301c1]"},
	{"c9", "[c9]"},
	{"", ""},
}

func TestSplitJoin(t *testing.T) {
	for _, c := range superframes {
		got, ok := frames(testkit.Unhex(t, c.b))
		text := fmt.Sprintf("%x", got)
		if !ok {
			text = ""
		}
		if text != c.want {
			t.Errorf("%s: got %s, want %s", c.b, text, c.want)
		}
	}
	many := [][]byte{{1}, {2, 2}, bytes.Repeat([]byte{3}, 70000)}
	got, ok := frames(Join(many))
	if !ok || len(got) != 3 || !bytes.Equal(got[1], many[1]) || !bytes.Equal(got[2], many[2]) {
		t.Errorf("joined and split: %d frames, %v", len(got), ok)
	}
	if Join(nil) != nil || Join(make([][]byte, 9)) != nil {
		t.Error("a superframe of none or of nine")
	}
}

func FuzzVP9(f *testing.F) {
	for _, c := range headers {
		f.Add(testkit.Unhex(f, c.frame))
	}
	for _, c := range descriptors {
		f.Add(testkit.Unhex(f, c.payload))
	}
	for _, c := range superframes {
		f.Add(testkit.Unhex(f, c.b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := ParseHeader(b); ok && (h.Width < 0 || h.Width > 65536 || h.Height > 65536 || h.Key && h.Width == 0) {
			t.Fatalf("%+v", h)
		}
		if d, frame, ok := ParseDescriptor(b); ok && (len(frame) == 0 || d.Spatial > 7 || d.Temporal > 7 || d.Width > 65535) {
			t.Fatalf("%+v, %d bytes", d, len(frame))
		}
		if all, ok := frames(b); ok && (len(all) < 1 || len(all) > 8 || len(bytes.Join(all, nil)) > len(b)) {
			t.Fatalf("%d frames of %d bytes", len(all), len(b))
		}
	})
}
