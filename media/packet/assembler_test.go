package packet

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"braid/internal/testkit"
	"braid/media"
)

// One picture of 16x16 at level 3.1 and 3.2, and its parts.
const (
	sps  = "6742001fda79"
	sps2 = "67420020da79"
	pps  = "68ce3c80"
	aud  = "09f0"
	sei  = "0605010080"
	idr  = "6588aabb"   // first_mb_in_slice 0
	idr2 = "6540ccdd"   // first_mb_in_slice 1
	p1   = "419a11"     // P slice
	p2   = "4144222222" // another of the same picture
)

// stap is a STAP-A packet's payload with the units.
func stap(units ...string) string {
	s := "78"
	for _, u := range units {
		s += fmt.Sprintf("%04x", len(u)/2) + u
	}
	return s
}

// step is one packet: "g" in how means a gap in front of it, "m" a marker.
type step struct {
	timestamp uint32
	how       string
	payload   string // hex
	want      string // the frames it brings, see show
}

// show writes frames as "100k 67 68 65": timestamp, k for a key frame, ! for
// Lost, and the units in hex.
func show(frames []Frame) string {
	var all []string
	for _, f := range frames {
		s := fmt.Sprint(f.Timestamp)
		if f.Key {
			s += "k"
		}
		if f.Lost {
			s += "!"
		}
		for _, u := range f.Units {
			s += " " + hex.EncodeToString(u)
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

// join is a stream's first key frame, as its packets and as its frame.
var join = step{1, "m", stap(sps, pps, idr), "1k " + sps + " " + pps + " " + idr}

var h264Cases = []struct {
	name  string
	steps []step
	need  bool // NeedKey at the end
	stats AssemblerStats
}{
	{"each unit in its own packet", []step{
		{1, "", sps, ""}, {1, "", pps, ""}, {1, "", sei, ""}, {1, "", idr, ""},
		{1, "m", idr2, "1k " + sps + " " + pps + " " + sei + " " + idr + " " + idr2},
		{2, "", p1, ""}, {2, "m", p2, "2 " + p1 + " " + p2},
	}, false, AssemblerStats{Frames: 2}},
	{"STAP-A", []step{join, {2, "m", stap(aud, p1, p2), "2 " + p1 + " " + p2}}, false, AssemblerStats{Frames: 2}},
	{"no marker", []step{
		{1, "", stap(sps, pps), ""}, {1, "", idr, ""}, {2, "", p1, "1k " + sps + " " + pps + " " + idr},
		{3, "m", p2, "2 " + p1 + ", 3 " + p2},
	}, false, AssemblerStats{Frames: 3}},
	{"FU-A", []step{
		{1, "", stap(sps, pps), ""}, {1, "", "7c8588", ""}, {1, "", "7c05aa", ""}, {1, "m", "7c45bb", "1k " + sps + " " + pps + " " + idr},
		{2, "m", "5cc19a11", "2 " + p1}, // start and end in one, which RFC 6184 forbids and some send
	}, false, AssemblerStats{Frames: 2}},
	{"parameter sets with an earlier timestamp", []step{
		{1, "", sps, ""}, {1, "m", pps, ""}, {2, "m", idr, "2k " + sps + " " + pps + " " + idr}, {3, "m", p1, "3 " + p1},
		{4, "m", idr, "4k " + sps + " " + pps + " " + idr},
	}, false, AssemblerStats{Frames: 3}},
	{"marker on the parameter sets", []step{
		{1, "m", sps, ""}, {1, "m", pps, ""}, {1, "m", idr, "1k " + sps + " " + pps + " " + idr},
	}, false, AssemblerStats{Frames: 1}},
	{"SEI with a timestamp of its own", []step{
		join, {2, "m", sei, ""}, {3, "m", p1, "3 " + sei + " " + p1},
	}, false, AssemblerStats{Frames: 2}},
	{"SPS alone repeated", []step{
		join, {2, "", sps, ""}, {2, "m", idr, "2k " + sps + " " + pps + " " + idr},
	}, false, AssemblerStats{Frames: 2}},
	{"new SPS without its PPS", []step{
		join, {2, "", sps2, ""}, {2, "m", idr, ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1}},
	{"nothing before the first key frame", []step{
		{1, "m", p1, ""}, {2, "m", idr, ""}, {3, "m", stap(sps, pps, idr), "3k! " + sps + " " + pps + " " + idr},
	}, false, AssemblerStats{Frames: 1, Dropped: 2}},
	{"joined inside a key frame", []step{
		{1, "", idr2, ""}, {1, "m", p1, ""}, {2, "m", p1, ""},
	}, true, AssemblerStats{Dropped: 2}},
	{"joined inside a fragment", []step{
		{1, "", "7c0588", ""}, {1, "m", "7c45bb", ""}, {2, "m", p1, ""},
	}, true, AssemblerStats{Dropped: 2}},
	{"gap between frames", []step{
		join, {3, "gm", p1, ""}, {4, "m", p1, ""}, {5, "m", stap(sps, pps, idr), "5k! " + sps + " " + pps + " " + idr}, {6, "m", p1, "6 " + p1},
	}, false, AssemblerStats{Frames: 3, Dropped: 2}},
	{"gap in front of a key frame", []step{
		join, {3, "gm", stap(sps, pps, idr), "3k! " + sps + " " + pps + " " + idr},
	}, false, AssemblerStats{Frames: 2}},
	{"gap inside a frame", []step{
		join, {2, "", p1, ""}, {2, "gm", p2, ""}, {3, "m", p1, ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 2}},
	{"gap inside a key frame", []step{
		join, {2, "", stap(sps, pps, idr), ""}, {2, "gm", idr2, ""}, {3, "m", p1, ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 2}},
	{"gap takes a frame's end", []step{
		join, {2, "", p1, ""}, {3, "gm", stap(sps, pps, idr), "3k! " + sps + " " + pps + " " + idr},
	}, false, AssemblerStats{Frames: 2, Dropped: 1}},
	{"gap takes a key frame's first slice", []step{
		join, {2, "gm", idr2, ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1}},
	{"gap takes a key frame's parameter sets", []step{
		join, {2, "gm", idr, ""}, {3, "m", idr, "3k! " + sps + " " + pps + " " + idr},
	}, false, AssemblerStats{Frames: 2, Dropped: 1}},
	{"gap takes a fragment", []step{
		join, {2, "", "7c8588", ""}, {2, "gm", "7c45bb", ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1}},
	{"gap in front of padding", []step{
		join, {1, "g", "", ""}, {2, "m", p1, ""}, {3, "m", stap(sps, pps, idr), "3k! " + sps + " " + pps + " " + idr},
	}, false, AssemblerStats{Frames: 2, Dropped: 1}},
	{"padding", []step{
		join, {1, "", "", ""}, {2, "", p1, ""}, {1, "", "", ""}, {2, "m", p2, "2 " + p1 + " " + p2},
	}, false, AssemblerStats{Frames: 2}},
	{"fragment without end", []step{
		join, {2, "", "5c819a", ""}, {2, "m", p2, ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"fragment without end, new frame", []step{
		join, {2, "", "5c819a", ""}, {3, "m", p2, ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 2}},
	{"fragment without end, marker", []step{
		join, {2, "m", "5c819a", ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1}},
	{"fragment without start", []step{
		join, {2, "m", "5c419a", ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"fragment starts twice", []step{
		join, {2, "", "5c819a", ""}, {2, "m", "5c819a", ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"fragment of another type", []step{
		join, {2, "", "5c819a", ""}, {2, "m", "5c4599", ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"STAP-A cut short", []step{
		join, {2, "m", "780003419a", ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"STAP-A in a STAP-A", []step{
		join, {2, "m", stap(stap(p1)), ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"interleaved mode", []step{
		join, {2, "m", "5d819a1111", ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"forbidden bit", []step{
		join, {2, "m", "c19a11", ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"reserved types", []step{
		join, {2, "", "1f00", ""}, {2, "", "0000", ""}, {2, "m", p1, "2 " + p1},
	}, false, AssemblerStats{Frames: 2}},
	{"units with start codes in one packet", []step{
		{1, "", sps + "00000001" + pps + "000001" + sei + "0000", ""},
		{1, "m", idr, "1k " + sps + " " + pps + " " + sei + " " + idr},
	}, false, AssemblerStats{Frames: 1}},
	{"start codes in a fragment", []step{
		join, {2, "", "5c819a110000", ""}, {2, "m", "5c4101" + p2, "2 " + p1 + " " + p2},
	}, false, AssemblerStats{Frames: 2}},
}

func TestAssemblerH264(t *testing.T) {
	for _, c := range h264Cases {
		t.Run(c.name, func(t *testing.T) {
			a := NewAssembler(media.H264)
			if !a.NeedKey() {
				t.Fatal("NeedKey is false before the first key frame")
			}
			run(t, a, c.steps)
			if a.NeedKey() != c.need {
				t.Errorf("NeedKey: got %t, want %t", a.NeedKey(), c.need)
			}
			if got := a.Stats(); got != c.stats {
				t.Errorf("got %+v, want %+v", got, c.stats)
			}
		})
	}
}

func run(t *testing.T, a *Assembler, steps []step) {
	t.Helper()
	for i, s := range steps {
		p := &media.Packet{Timestamp: s.timestamp, Marker: strings.Contains(s.how, "m"), Payload: testkit.Unhex(t, s.payload), Arrival: at(i)}
		if got := show(a.Push(p, strings.Contains(s.how, "g"))); got != s.want {
			t.Fatalf("packet %d: got %q, want %q", i, got, s.want)
		}
	}
}

func TestAssemblerParameterSetsOutOfBand(t *testing.T) {
	a := NewAssembler(media.H264)
	a.AddParameterSets([][]byte{testkit.Unhex(t, sps), testkit.Unhex(t, pps)})
	run(t, a, []step{{1, "m", idr, "1k " + sps + " " + pps + " " + idr}})
}

func TestAssemblerArrival(t *testing.T) {
	a := NewAssembler(media.H264)
	steps := []step{{1, "", sps, ""}, {1, "", pps, ""}, {2, "", sei, ""}, {2, "", idr, ""}}
	run(t, a, steps)
	frames := a.Push(&media.Packet{Timestamp: 2, Marker: true, Payload: testkit.Unhex(t, idr2), Arrival: at(9)}, false)
	if len(frames) != 1 || !frames[0].Arrival.Equal(at(2)) || frames[0].Level != -1 {
		t.Fatalf("got %+v, want the arrival of the timestamp's first packet, 2 ms, and no level", frames)
	}
}

// TestAssemblerBounds sends frames that have no end.
func TestAssemblerBounds(t *testing.T) {
	big := append(testkit.Unhex(t, "5c01"), make([]byte, 60_000)...)
	for _, c := range []struct {
		name    string
		codec   media.Codec
		first   []byte
		payload []byte
	}{
		{"fragments", media.H264, testkit.Unhex(t, "5c819a"), big},
		{"slices", media.H264, testkit.Unhex(t, p1), testkit.Unhex(t, p1)},
		{"tiny units", media.H264, testkit.Unhex(t, p1), testkit.Unhex(t, stap(strings.Split(strings.Repeat("41 ", 400)+"41", " ")...))},
		{"parameter sets", media.H264, testkit.Unhex(t, sps), testkit.Unhex(t, stap(sps, sps2))},
		{"VP8", media.VP8, testkit.Unhex(t, "10010000"), append([]byte{0}, make([]byte, 60_000)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := NewAssembler(c.codec)
			key := testkit.Unhex(t, stap(sps, pps, idr))
			if c.codec == media.VP8 {
				key = testkit.Unhex(t, vp8Key)
			}
			if got := a.Push(&media.Packet{Timestamp: 1, Marker: true, Payload: key}, false); len(got) != 1 || a.NeedKey() {
				t.Fatalf("got %s, NeedKey %t", show(got), a.NeedKey())
			}
			a.Push(&media.Packet{Timestamp: 2, Payload: c.first}, false)
			for i := range maxPackets + 10 {
				a.Push(&media.Packet{Timestamp: 2, Payload: c.payload}, false)
				size := 0
				for _, u := range append(a.cur.units, a.cur.parts...) {
					size += len(u)
				}
				if size > maxBytes+len(c.payload) || len(a.cur.units) > maxUnits+1 {
					t.Fatalf("packet %d: holds %d units, %d bytes", i, len(a.cur.units), size)
				}
			}
			if !a.NeedKey() {
				t.Fatal("NeedKey is false after a frame without end")
			}
			if got := a.Push(&media.Packet{Timestamp: 3, Marker: true, Payload: key}, false); len(got) != 1 || !got[0].Lost {
				t.Fatalf("the next key frame: got %s", show(got))
			}
			if got := a.Stats(); got.Dropped != 1 || got.Frames != 2 {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

// A key frame of 176x144 (RFC 6386 section 9.1), a frame that builds on it, and
// their packets.
const (
	vp8Frame = "100200" + "9d012a" + "b0009000" + "aabb"
	vp8Key   = "10" + vp8Frame
	vp8Next  = "110200ccdd"
)

var vp8Cases = []struct {
	name  string
	steps []step
	need  bool
	stats AssemblerStats
}{
	{"plain", []step{{1, "m", vp8Key, "1k " + vp8Frame}, {2, "m", "10" + vp8Next, "2 " + vp8Next}}, false, AssemblerStats{Frames: 2}},
	{"in parts", []step{
		{1, "", "10" + vp8Frame[:8], ""}, {1, "", "00" + vp8Frame[8:16], ""}, {1, "m", "02" + vp8Frame[16:], "1k " + vp8Frame},
	}, false, AssemblerStats{Frames: 1}},
	{"no marker", []step{
		{1, "", vp8Key, ""}, {2, "", "10" + vp8Next, "1k " + vp8Frame}, {3, "", "10" + vp8Next, "2 " + vp8Next},
	}, false, AssemblerStats{Frames: 2}},
	{"descriptors", []step{
		{1, "m", "908011" + vp8Frame, "1k " + vp8Frame},                   // I
		{2, "m", "90808011" + vp8Next, "2 " + vp8Next},                    // I, M
		{3, "m", "90f081112233" + vp8Next, "3 " + vp8Next},                // I, M, L, T, K
		{4, "m", "901022" + vp8Next, "4 " + vp8Next},                      // K
		{5, "m", "9000" + vp8Next, "5 " + vp8Next},                        // X alone
		{6, "m", "b0d0" + "8001" + "05" + "3f" + vp8Next, "6 " + vp8Next}, // N, I, M, L, K
	}, false, AssemblerStats{Frames: 6}},
	{"gap", []step{
		{1, "m", vp8Key, "1k " + vp8Frame}, {3, "gm", "10" + vp8Next, ""}, {4, "m", "10" + vp8Next, ""},
		{5, "gm", vp8Key, "5k! " + vp8Frame}, {6, "m", "10" + vp8Next, "6 " + vp8Next},
	}, false, AssemblerStats{Frames: 3, Dropped: 2}},
	{"gap takes a frame's beginning", []step{
		{1, "m", vp8Key, "1k " + vp8Frame}, {2, "gm", "00" + vp8Next, ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1}},
	{"beginning missing without gap", []step{
		{1, "m", vp8Key, "1k " + vp8Frame}, {2, "m", "00" + vp8Next, ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"descriptor alone", []step{
		{1, "m", vp8Key, "1k " + vp8Frame}, {2, "m", "10", ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"descriptor cut short", []step{
		{1, "m", vp8Key, "1k " + vp8Frame}, {2, "m", "9080", ""}, {3, "m", "90", ""}, {4, "m", "90f08011", ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 3, Malformed: 3}},
	{"key frame without its header", []step{{1, "m", "10" + "100200", ""}}, true, AssemblerStats{Dropped: 1}},
}

func TestAssemblerVP8(t *testing.T) {
	for _, c := range vp8Cases {
		t.Run(c.name, func(t *testing.T) {
			a := NewAssembler(media.VP8)
			run(t, a, c.steps)
			if a.NeedKey() != c.need {
				t.Errorf("NeedKey: got %t, want %t", a.NeedKey(), c.need)
			}
			if got := a.Stats(); got != c.stats {
				t.Errorf("got %+v, want %+v", got, c.stats)
			}
		})
	}
}

func TestVP8Size(t *testing.T) {
	if w, h, ok := VP8Size(testkit.Unhex(t, vp8Frame)); w != 176 || h != 144 || !ok {
		t.Errorf("got %dx%d, %t, want 176x144", w, h, ok)
	}
	if w, h, ok := VP8Size(testkit.Unhex(t, "100200"+"9d012a"+"b040"+"90c0")); w != 176 || h != 144 || !ok {
		t.Errorf("with scaling bits: got %dx%d, %t, want 176x144", w, h, ok)
	}
	for _, b := range []string{"", vp8Next, vp8Frame[:18], "1002009d012b" + "b0009000", "1002009d012a" + "00009000"} {
		if w, h, ok := VP8Size(testkit.Unhex(t, b)); ok {
			t.Errorf("%s: got %dx%d, want no size", b, w, h)
		}
	}
}

func TestAssemblerOpus(t *testing.T) {
	a := NewAssembler(media.Opus)
	if a.NeedKey() {
		t.Error("audio needs no key frame")
	}
	p := &media.Packet{Timestamp: 960, Marker: true, Payload: []byte{0xfc, 1, 2}, Arrival: at(5), Level: 30, Voice: true}
	got := a.Push(p, false)
	if len(got) != 1 || show(got) != "960k fc0102" || got[0].Level != 30 || !got[0].Voice || !got[0].Arrival.Equal(at(5)) {
		t.Fatalf("got %+v", got)
	}
	run(t, a, []step{
		{1920, "", "fc03", "1920k fc03"}, {3840, "g", "fc04", "3840k! fc04"}, {4800, "", "fc05", "4800k fc05"},
		{5760, "g", "", ""}, {6720, "", "fc06", "6720k! fc06"},
	})
}

// TestAssemblerFramesLast holds on to frames and wants them unchanged at the end.
func TestAssemblerFramesLast(t *testing.T) {
	a := NewAssembler(media.H264)
	var kept []Frame
	var want []string
	for i := range 100 {
		ts := uint32(i)
		fill := byte(i) | 0x80
		for _, p := range []media.Packet{
			{Timestamp: ts, Payload: testkit.Unhex(t, stap(sps, pps))},
			{Timestamp: ts, Payload: append(testkit.Unhex(t, "7c8588"), fill, fill)},
			{Timestamp: ts, Payload: append(testkit.Unhex(t, "7c45"), bytes.Repeat([]byte{fill}, i)...), Marker: true},
		} {
			for _, f := range a.Push(&p, false) {
				kept = append(kept, f)
				want = append(want, show([]Frame{f}))
			}
		}
	}
	if len(kept) != 100 {
		t.Fatalf("got %d frames, want 100", len(kept))
	}
	for i, f := range kept {
		if got := show([]Frame{f}); got != want[i] {
			t.Fatalf("frame %d became %s, was %s", i, got, want[i])
		}
	}
}
