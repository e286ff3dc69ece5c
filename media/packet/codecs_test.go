package packet

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/pion/rtp/codecs"

	"braid/media"
	"braid/media/av1"
	"braid/media/h264"
	"braid/media/h265"
	"braid/media/vp9"
)

// codecCase is one of a codec's tables.
type codecCase struct {
	name  string
	steps []step
	need  bool // NeedKey at the end
	stats AssemblerStats
}

func runCases(t *testing.T, c media.Codec, cases []codecCase) {
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			a := NewAssembler(c)
			run(t, a, tc.steps)
			if a.NeedKey() != tc.need {
				t.Errorf("NeedKey: got %t, want %t", a.NeedKey(), tc.need)
			}
			if got := a.Stats(); got != tc.stats {
				t.Errorf("got %+v, want %+v", got, tc.stats)
			}
		})
	}
}

// A VP9 key frame of 160x120 as libvpx begins it, and a frame that builds on it; of
// a second layer, one that builds on the first.
const (
	vp9Frame = "824983420009f007760638aabb"
	vp9Next  = "86004092f0a1cc"
	vp9Upper = "86005092f0a1dddd"
)

// superframe of two frames with their sizes in 4 bytes (VP9 annex B).
func superframe(a, b string) string {
	size := func(s string) string {
		return string("0123456789abcdef"[len(s)/2>>4]) + string("0123456789abcdef"[len(s)/2&15]) + "000000"
	}
	return a + b + "d9" + size(a) + size(b) + "d9"
}

var vp9Cases = []codecCase{
	{"plain", []step{{1, "m", "0c" + vp9Frame, "1k " + vp9Frame}, {2, "m", "4c" + vp9Next, "2 " + vp9Next}}, false, AssemblerStats{Frames: 2}},
	{"in parts", []step{
		{1, "", "08" + vp9Frame[:8], ""}, {1, "", "00" + vp9Frame[8:16], ""}, {1, "m", "04" + vp9Frame[16:], "1k " + vp9Frame},
	}, false, AssemblerStats{Frames: 1}},
	{"no marker", []step{{1, "", "0c" + vp9Frame, ""}, {2, "", "4c" + vp9Next, "1k " + vp9Frame}}, false, AssemblerStats{Frames: 1}},
	{"two layers", []step{
		{1, "", "ac070005" + vp9Frame, ""}, {1, "m", "ac070305" + vp9Upper, "1k " + superframe(vp9Frame, vp9Upper)},
		{2, "", "ec080006" + vp9Next, ""}, {2, "m", "ec080206" + vp9Upper, "2 " + superframe(vp9Next, vp9Upper)},
	}, false, AssemblerStats{Frames: 2}},
	{"flexible mode", []step{{1, "m", "bc0700" + vp9Frame, "1k " + vp9Frame}, {2, "m", "fc0800" + "0304" + vp9Next, "2 " + vp9Next}}, false, AssemblerStats{Frames: 2}},
	{"a frame without its end", []step{{1, "", "0c" + vp9Frame, ""}, {1, "m", "08" + vp9Upper, ""}}, true, AssemblerStats{Dropped: 1}},
	{"a second beginning", []step{{1, "", "08" + vp9Frame, ""}, {1, "m", "0c" + vp9Upper, ""}}, true, AssemblerStats{Dropped: 1}},
	{"gap", []step{
		{1, "m", "0c" + vp9Frame, "1k " + vp9Frame}, {2, "gm", "44" + vp9Next, ""}, {3, "m", "4c" + vp9Next, ""},
		{4, "m", "0c" + vp9Frame, "4k! " + vp9Frame},
	}, false, AssemblerStats{Frames: 2, Dropped: 2}},
	{"no frame", []step{{1, "m", "0c" + "40", ""}, {2, "m", "0c", ""}}, true, AssemblerStats{Dropped: 2, Malformed: 1}},
	{"not a VP9 frame behind a good one", []step{
		{1, "m", "0c" + vp9Frame, "1k " + vp9Frame}, {2, "m", "4c" + "00aa", ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1}},
}

func TestAssemblerVP9(t *testing.T) { runCases(t, media.VP9, vp9Cases) }

// An AV1 sequence header of 160x120 as libaom makes it, a key frame that is hardly
// more than its beginning, and a frame that builds on it.
const (
	av1Sequence = "0800000003b4ff736be401"
	av1Frame    = "3010aabbcc"
	av1Next     = "3030dd"

	// With their sizes.
	delimiter   = "1200"
	sequenceOBU = "0a0a00000003b4ff736be401"
	frameOBU    = "320410aabbcc"
	nextOBU     = "320230dd"
)

var av1Cases = []codecCase{
	{"two elements", []step{
		{1, "m", "28" + "0b" + av1Sequence + av1Frame, "1k " + delimiter + sequenceOBU + frameOBU},
		{2, "m", "10" + av1Next, "2 " + delimiter + nextOBU},
	}, false, AssemblerStats{Frames: 2}},
	{"each with its length", []step{
		{1, "m", "08" + "0b" + av1Sequence + "05" + av1Frame, "1k " + delimiter + sequenceOBU + frameOBU},
	}, false, AssemblerStats{Frames: 1}},
	{"with a delimiter, padding and sizes of their own", []step{
		{1, "", "38" + "021200" + "0c" + sequenceOBU + "7800", ""}, {1, "m", "10" + frameOBU, "1k " + delimiter + sequenceOBU + frameOBU},
	}, false, AssemblerStats{Frames: 1}},
	{"in parts", []step{
		{1, "", "68" + "0b" + av1Sequence + "3010", ""}, {1, "", "d0" + "aa", ""}, {1, "m", "90" + "bbcc", "1k " + delimiter + sequenceOBU + frameOBU},
		{2, "", "50" + "30", ""}, {2, "m", "a0" + "0230dd" + av1Next, "2 " + delimiter + nextOBU + nextOBU},
	}, false, AssemblerStats{Frames: 2}},
	{"no marker", []step{
		{1, "", "28" + "0b" + av1Sequence + av1Frame, ""}, {2, "", "10" + av1Next, "1k " + delimiter + sequenceOBU + frameOBU},
	}, false, AssemblerStats{Frames: 1}},
	{"a key frame without its sequence", []step{{1, "m", "18" + av1Frame, ""}}, true, AssemblerStats{Dropped: 1}},
	{"a sequence without a frame", []step{{1, "m", "18" + av1Sequence, ""}}, true, AssemblerStats{Dropped: 1}},
	{"a part without its beginning", []step{{1, "m", "90" + "bbcc", ""}}, true, AssemblerStats{Dropped: 1}},
	{"a part without its end", []step{{1, "", "68" + "0b" + av1Sequence + "3010", ""}, {1, "m", "10" + av1Next, ""}}, true, AssemblerStats{Dropped: 1}},
	{"an element that lies", []step{{1, "m", "28" + "7f" + av1Sequence, ""}}, true, AssemblerStats{Dropped: 1}},
	{"an element is missing", []step{
		{1, "m", "28" + "0b" + av1Sequence + av1Frame, "1k " + delimiter + sequenceOBU + frameOBU}, {2, "m", "20" + "03" + av1Next, ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"gap", []step{
		{1, "m", "28" + "0b" + av1Sequence + av1Frame, "1k " + delimiter + sequenceOBU + frameOBU}, {3, "gm", "10" + av1Next, ""},
		{4, "m", "28" + "0b" + av1Sequence + av1Frame, "4k! " + delimiter + sequenceOBU + frameOBU},
	}, false, AssemblerStats{Frames: 2, Dropped: 1}},
}

func TestAssemblerAV1(t *testing.T) { runCases(t, media.AV1, av1Cases) }

// Parameter sets as x265 makes them for 160x120, an IDR's slice segments and those of
// a picture that builds on it.
const (
	h265VPS  = "40010c01ffff01600000030090000003000003001eba0240"
	h265SPS  = "42010101600000030090000003000003001ea014207965ba924caf016808000003000800000300784" + "0"
	h265PPS  = "4401c172b46240"
	h265IDR  = "2601afaabb"
	h265IDR2 = "26012fccdd"
	h265P    = "0201d01122"
	h265AUD  = "460150"
)

// ap is an aggregation packet's payload with the units.
func ap(units ...string) string { return "6001" + stap(units...)[2:] }

var h265Cases = []codecCase{
	{"each unit in its own packet", []step{
		{1, "", h265VPS, ""}, {1, "", h265SPS, ""}, {1, "", h265PPS, ""}, {1, "", h265IDR, ""},
		{1, "m", h265IDR2, "1k " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR + " " + h265IDR2}, {2, "m", h265P, "2 " + h265P},
	}, false, AssemblerStats{Frames: 2}},
	{"AP", []step{
		{1, "m", ap(h265AUD, h265VPS, h265SPS, h265PPS, h265IDR), "1k " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR},
	}, false, AssemblerStats{Frames: 1}},
	{"FU", []step{
		{1, "", ap(h265VPS, h265SPS, h265PPS), ""}, {1, "", "620193af", ""}, {1, "", "620113aa", ""},
		{1, "m", "620153bb", "1k " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR},
	}, false, AssemblerStats{Frames: 1}},
	{"an IDR without its sets gets the last ones", []step{
		{1, "m", ap(h265VPS, h265SPS, h265PPS, h265IDR), "1k " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR},
		{2, "m", h265IDR, "2k " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR},
	}, false, AssemblerStats{Frames: 2}},
	{"an IDR without any sets", []step{{1, "m", h265IDR, ""}}, true, AssemblerStats{Dropped: 1}},
	{"no VPS", []step{{1, "m", ap(h265SPS, h265PPS, h265IDR), ""}}, true, AssemblerStats{Dropped: 1}},
	{"sets with a timestamp of their own", []step{
		{1, "m", ap(h265VPS, h265SPS, h265PPS), ""}, {2, "m", h265IDR, "2k " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR},
	}, false, AssemblerStats{Frames: 1}},
	{"another layer is left out", []step{
		{1, "m", ap(h265VPS, h265SPS, h265PPS, h265IDR, "2609afaabb"), "1k " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR},
	}, false, AssemblerStats{Frames: 1}},
	{"a CRA is a key frame", []step{
		{1, "m", ap(h265VPS, h265SPS, h265PPS, "2a01afaa"), "1k " + h265VPS + " " + h265SPS + " " + h265PPS + " 2a01afaa"},
	}, false, AssemblerStats{Frames: 1}},
	{"gap takes the first slice segment", []step{
		{1, "m", ap(h265VPS, h265SPS, h265PPS, h265IDR), "1k " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR},
		{2, "gm", ap(h265VPS, h265SPS, h265PPS, h265IDR2), ""},
	}, true, AssemblerStats{Frames: 1, Dropped: 1}},
	{"gap", []step{
		{1, "m", ap(h265VPS, h265SPS, h265PPS, h265IDR), "1k " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR},
		{3, "gm", h265P, ""}, {4, "m", ap(h265VPS, h265SPS, h265PPS, h265IDR), "4k! " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR},
	}, false, AssemblerStats{Frames: 2, Dropped: 1}},
	{"FU without its start", []step{{1, "m", ap(h265VPS, h265SPS, h265PPS, h265IDR), "1k " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR}, {2, "m", "620141bb", ""}},
		true, AssemblerStats{Frames: 1, Dropped: 1, Malformed: 1}},
	{"FU of another type", []step{{1, "", "620193af", ""}, {1, "m", "620154bb", ""}}, true, AssemblerStats{Dropped: 1}},
	{"AP cut short", []step{{1, "m", ap(h265VPS)[:20], ""}}, true, AssemblerStats{Dropped: 1}},
	{"AP in an AP", []step{{1, "m", ap(ap(h265P)), ""}}, true, AssemblerStats{Dropped: 1}},
	{"PACI", []step{{1, "m", "640100aa", ""}}, true, AssemblerStats{Dropped: 1}},
	{"start codes inside", []step{
		{1, "m", h265VPS + "000001" + h265SPS + "00000001" + h265PPS + "000001" + h265IDR, "1k " + h265VPS + " " + h265SPS + " " + h265PPS + " " + h265IDR},
	}, false, AssemblerStats{Frames: 1}},
}

func TestAssemblerH265(t *testing.T) { runCases(t, media.H265, h265Cases) }

// ivfFrames are the frames of an IVF file: a header of 32 bytes, then size uint32,
// time uint64, frame.
func ivfFrames(b []byte) (frames [][]byte) {
	for b = b[min(32, len(b)):]; len(b) >= 12; {
		n := int(binary.LittleEndian.Uint32(b))
		frames = append(frames, b[12:12+n])
		b = b[12+n:]
	}
	return frames
}

var source = []string{"-f", "lavfi", "-i", "testsrc2=size=322x182:rate=30", "-frames:v", "40", "-pix_fmt", "yuv420p"}

// TestAssemblerRealVP9 and those below compare with what the encoder made, by way of
// Pion's packets.
func TestAssemblerRealVP9(t *testing.T) {
	want := ivfFrames(ffmpeg(t, nil, append(source, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "20", "-b:v", "600k", "-f", "ivf", "-")...))
	for _, flexible := range []bool{true, false} {
		frames := assemble(media.VP9, packetize((&codecs.VP9Payloader{FlexibleMode: flexible}).Payload, want), true)
		mustBe(t, frames, want)
		h, ok := vp9.ParseHeader(frames[0].Units[0])
		if !ok || !h.Key || h.Width != 322 || h.Height != 182 {
			t.Errorf("got %+v, want a key frame of 322x182", h)
		}
	}
}

func TestAssemblerRealAV1(t *testing.T) {
	want := ivfFrames(ffmpeg(t, nil, append(source, "-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "20", "-b:v", "400k", "-lag-in-frames", "0", "-f", "ivf", "-")...))
	frames := assemble(media.AV1, packetize((&codecs.AV1Payloader{}).Payload, want), true)
	mustBe(t, frames, want)
	o, _, _ := av1.ParseOBU(frames[0].Units[0][2:])
	s, ok := av1.ParseSequence(o.Payload)
	if o.Type != av1.TypeSequenceHeader || !ok || s.Width != 322 || s.Height != 182 || s.Profile != 0 {
		t.Errorf("got %+v, want a sequence of 322x182", s)
	}
}

func TestAssemblerRealH265(t *testing.T) {
	for _, params := range []string{"slices=1", "slices=3:aud=1"} {
		stream := ffmpeg(t, nil, append(source, "-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "600k",
			"-x265-params", "log-level=none:keyint=20:min-keyint=20:scenecut=0:bframes=0:repeat-headers=1:"+params, "-f", "hevc", "-")...)
		var want, whole [][]byte // what is to come out, what goes in
		var au, out []byte
		for _, u := range append(h264.SplitAnnexB(nil, stream), []byte{h265.TypeVPS << 1, 1}) { // one more ends the last
			if len(out) > 0 && (!h265.IsSlice(u) || h265.StartsPicture(u)) && h265.IsSlice(lastUnit(au)) {
				want, whole, au, out = append(want, out), append(whole, au), nil, nil
			}
			au = h264.AppendAnnexB(au, [][]byte{u})
			if h265.Type(u) != h265.TypeAUD {
				out = append(out, u...)
			}
		}
		frames := assemble(media.H265, packetize((&codecs.H265Payloader{}).Payload, whole), true)
		for i := range frames {
			frames[i].Units = [][]byte{bytes.Join(frames[i].Units, nil)}
		}
		mustBe(t, frames, want)
		s, err := h265.ParseSPS(h264.SplitAnnexB(nil, stream)[firstOf(stream, h265.TypeSPS)])
		if err != nil || s.Width != 322 || s.Height != 182 || s.CodedWidth != 336 || s.BitDepthLuma != 8 || s.ChromaFormat != 1 {
			t.Errorf("SPS: got %+v, %v", s, err)
		}
	}
}

func firstOf(stream []byte, kind byte) int {
	return slices.IndexFunc(h264.SplitAnnexB(nil, stream), func(u []byte) bool { return h265.Type(u) == kind })
}

func lastUnit(au []byte) []byte {
	units := h264.SplitAnnexB(nil, au)
	return units[len(units)-1]
}

// mustBe wants the frames to be these, with a key frame each 20.
func mustBe(t *testing.T, got []Frame, want [][]byte) {
	t.Helper()
	if len(got) != len(want) || len(want) != 40 {
		t.Fatalf("got %d frames of %d, want 40", len(got), len(want))
	}
	for i, f := range got {
		if len(f.Units) != 1 || !bytes.Equal(f.Units[0], want[i]) || f.Key != (i%20 == 0) || f.Lost {
			t.Fatalf("frame %d: got %d units, the first of %d bytes (% x), key %t; want %d bytes (% x)", i,
				len(f.Units), len(f.Units[0]), f.Units[0][:8], f.Key, len(want[i]), want[i][:8])
		}
	}
}

func fuzzCases(f *testing.F, c media.Codec, cases []codecCase, check func(t *testing.T, f Frame)) {
	for _, tc := range cases {
		f.Add(fuzzInput(f, tc.steps))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		a := NewAssembler(c)
		begun := false
		pushed, gave := 0, 0
		fuzzPackets(in, func(p *media.Packet, gap bool) {
			pushed += len(p.Payload)
			for _, f := range a.Push(p, gap) {
				if !f.Key && (!begun || f.Lost) {
					t.Fatalf("a frame behind nothing is no key frame: %s", show([]Frame{f}))
				}
				begun = true
				check(t, f)
				gave += len(f.Units)
			}
		})
		if gave > (1+maxSets*3)*(pushed+1) {
			t.Fatalf("%d units of %d bytes", gave, pushed)
		}
	})
}

func FuzzAssemblerVP9(f *testing.F) {
	fuzzCases(f, media.VP9, vp9Cases, func(t *testing.T, f Frame) {
		h, ok := vp9.ParseHeader(f.Units[0])
		if len(f.Units) != 1 || !ok || h.Key != f.Key {
			t.Fatalf("got %s, header %+v, %v", show([]Frame{f}), h, ok)
		}
		if s, ok := vp9.Split(f.Units[0]); ok {
			for total := 0; ; total++ {
				if _, more := s.Next(); !more {
					break
				}
				if total > 8 {
					t.Fatalf("a superframe without end: %s", show([]Frame{f}))
				}
			}
		}
	})
}

func FuzzAssemblerAV1(f *testing.F) {
	fuzzCases(f, media.AV1, av1Cases, func(t *testing.T, f Frame) {
		for rest := f.Units[0]; len(rest) > 0; {
			o, next, ok := av1.ParseOBU(rest)
			if !ok || len(next) >= len(rest) || o.Header[0]&2 == 0 {
				t.Fatalf("no OBUs with sizes: %s", show([]Frame{f}))
			}
			av1.ParseSequence(o.Payload)
			rest = next
		}
		if len(f.Units) != 1 || av1.IsKey(f.Units[0]) != f.Key {
			t.Fatalf("got %s", show([]Frame{f}))
		}
	})
}

func FuzzAssemblerH265(f *testing.F) {
	fuzzCases(f, media.H265, h265Cases, func(t *testing.T, f Frame) {
		has := func(kind byte) bool {
			return slices.ContainsFunc(f.Units, func(u []byte) bool { return h265.Type(u) == kind })
		}
		if !slices.ContainsFunc(f.Units, h265.IsSlice) || f.Key && !(has(h265.TypeVPS) && has(h265.TypeSPS) && has(h265.TypePPS)) {
			t.Fatalf("no picture, or a key frame without parameter sets: %s", show([]Frame{f}))
		}
		for _, u := range f.Units {
			if n := h265.Type(u); n >= h265.TypeAP || n == h265.TypeAUD || h265.Layer(u) > 0 || h264.StartCode(u) >= 0 || u[0]&0x80 != 0 {
				t.Fatalf("unit %x", u)
			}
			h265.SetID(u)
		}
	})
}
