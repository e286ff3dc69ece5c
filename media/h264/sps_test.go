package h264

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"

	"braid/internal/testkit"
)

// bitWriter writes what bitReader reads.
type bitWriter struct{ testkit.Bits }

func (w *bitWriter) u(n int, v uint32) { w.U(n, uint(v)) }
func (w *bitWriter) ue(v uint32)       { w.UE(uint(v)) }

func (w *bitWriter) flag(b bool) {
	if b {
		w.u(1, 1)
	} else {
		w.u(1, 0)
	}
}

func (w *bitWriter) se(v int32) {
	if v > 0 {
		w.ue(uint32(v)*2 - 1)
	} else {
		w.ue(uint32(-v) * 2)
	}
}

// spsText are the syntax elements of a test's SPS.
type spsText struct {
	SPS
	order   uint32 // pic_order_cnt_type
	cycle   []int32
	scaling [][]int32 // delta_scale of each list, nil: not present
	hasCrop bool
	crop    [4]uint32
	vui     *vuiText
}

// vuiText says which parts a test's VUI has.
type vuiText struct {
	aspect, overscan, signal, chroma, timing, nal, vcl, restriction bool
}

func (v *vuiText) write(w *bitWriter, reorder int) {
	w.flag(v.aspect)
	if v.aspect {
		w.u(8, 255)
		w.u(32, 0x00010001)
	}
	w.flag(v.overscan)
	if v.overscan {
		w.u(1, 1)
	}
	w.flag(v.signal)
	if v.signal {
		w.u(5, 5<<2|1)
		w.u(24, 0x010101)
	}
	w.flag(v.chroma)
	if v.chroma {
		w.ue(1)
		w.ue(2)
	}
	w.flag(v.timing)
	if v.timing {
		w.u(32, 1)
		w.u(32, 60)
		w.u(1, 1)
	}
	for _, hrd := range []bool{v.nal, v.vcl} {
		w.flag(hrd)
		if hrd {
			w.ue(1)
			w.u(8, 0x33)
			for range 2 {
				w.ue(70000)
				w.ue(9)
				w.u(1, 0)
			}
			w.u(20, 0xfffff)
		}
	}
	if v.nal || v.vcl {
		w.u(1, 0)
	}
	w.u(1, 0)
	w.flag(v.restriction)
	if v.restriction {
		w.u(1, 1)
		for _, n := range []uint32{2, 1, 11, 12, uint32(reorder), 4} {
			w.ue(n)
		}
	}
}

// unsaid is what ParseSPS makes of an SPS that does not say Reorder.
func (s *spsText) unsaid() int {
	if s.order == 2 || s.Profile == 66 || s.Constraints&0x10 != 0 && hasChroma(s.Profile) {
		return 0
	}
	return -1
}

func (s *spsText) nal() []byte {
	w := &bitWriter{}
	w.u(8, uint32(s.Profile))
	w.u(8, uint32(s.Constraints))
	w.u(8, uint32(s.Level))
	w.ue(uint32(s.ID))
	if hasChroma(s.Profile) {
		w.ue(uint32(s.ChromaFormat))
		if s.ChromaFormat == 3 {
			w.u(1, 0)
		}
		w.ue(uint32(s.BitDepthLuma - 8))
		w.ue(uint32(s.BitDepthChroma - 8))
		w.u(1, 0)
		w.flag(s.scaling != nil)
		for _, list := range s.scaling {
			w.flag(list != nil)
			for _, d := range list {
				w.se(d)
			}
		}
	}
	w.ue(4)
	w.ue(s.order)
	switch s.order {
	case 0:
		w.ue(2)
	case 1:
		w.u(1, 0)
		w.se(-3)
		w.se(7)
		w.ue(uint32(len(s.cycle)))
		for _, c := range s.cycle {
			w.se(c)
		}
	}
	w.ue(4)
	w.u(1, 0)
	w.ue(uint32(s.MbWidth) - 1)
	if s.Interlaced {
		w.ue(uint32(s.MbHeight)/2 - 1)
		w.u(2, 1)
	} else {
		w.ue(uint32(s.MbHeight) - 1)
		w.u(1, 1)
	}
	w.u(1, 1)
	w.flag(s.hasCrop)
	if s.hasCrop {
		for _, c := range s.crop {
			w.ue(c)
		}
	}
	w.flag(s.vui != nil)
	if s.vui != nil {
		s.vui.write(w, s.Reorder)
	}
	w.u(1, 1) // stop bit
	return EscapeRBSP([]byte{0x67}, w.B)
}

func bomb() *spsText {
	return &spsText{SPS: SPS{Profile: 100, Level: 31, Width: 16384, Height: 8704, MbWidth: 1024, MbHeight: 544,
		ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8, Reorder: -1}}
}

func TestParseSPSBomb(t *testing.T) {
	want := bomb()
	got, err := ParseSPS(want.nal())
	if err != nil || got != want.SPS {
		t.Fatalf("got %+v, %v, want %+v", got, err, want.SPS)
	}
}

// TestParseSPSRandom writes SPS of every shape and reads them back.
func TestParseSPSRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 3000 {
		want := randomSPS(rnd)
		want.Reorder = want.unsaid()
		if bit := func() bool { return rnd.IntN(2) == 1 }; bit() {
			want.vui = &vuiText{bit(), bit(), bit(), bit(), bit(), bit(), bit(), bit()}
			if want.vui.restriction {
				want.Reorder = rnd.IntN(17)
			}
		}
		nal := want.nal()
		got, err := ParseSPS(nal)
		if err != nil || got != want.SPS {
			t.Fatalf("case %d, %x:\ngot  %+v, %v\nwant %+v", i, nal, got, err, want.SPS)
		}
		// Cut anywhere it must not show another size.
		if len(nal) > 64 {
			continue
		}
		for n := range nal {
			if got, err := ParseSPS(nal[:n]); err == nil && (got.MbWidth != want.MbWidth || got.MbHeight != want.MbHeight) {
				t.Fatalf("case %d cut to %d bytes: got %+v, want an error", i, n, got)
			}
		}
	}
}

func randomSPS(rnd *rand.Rand) *spsText {
	s := &spsText{SPS: SPS{
		Profile:     []byte{66, 77, 88, 100, 110, 122, 244, 44, 118}[rnd.IntN(9)],
		Constraints: byte(rnd.IntN(64) << 2), Level: byte(10 + rnd.IntN(50)), ID: rnd.IntN(32),
		MbWidth: 1 + rnd.IntN(512), MbHeight: 2 + 2*rnd.IntN(256), Interlaced: rnd.IntN(3) == 0,
		ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8,
	}}
	if hasChroma(s.Profile) {
		s.ChromaFormat, s.BitDepthLuma, s.BitDepthChroma = rnd.IntN(4), 8+rnd.IntN(7), 8+rnd.IntN(7)
		if rnd.IntN(2) == 0 {
			s.scaling = randomScaling(rnd, s.ChromaFormat)
		}
	}
	if s.order = uint32(rnd.IntN(3)); s.order == 1 {
		s.cycle = make([]int32, rnd.IntN(256))
		for i := range s.cycle {
			s.cycle[i] = int32(rnd.Uint32()) / 2
		}
	}
	s.Width, s.Height = s.MbWidth*16, s.MbHeight*16
	if s.hasCrop = rnd.IntN(2) == 0; s.hasCrop {
		for i := range s.crop {
			s.crop[i] = uint32(rnd.IntN(2))
		}
		x, y := 1, 1 // SubWidthC, SubHeightC of table 6-1
		switch s.ChromaFormat {
		case 1:
			x, y = 2, 2
		case 2:
			x = 2
		}
		if s.Interlaced {
			y *= 2
		}
		s.Width -= x * int(s.crop[0]+s.crop[1])
		s.Height -= y * int(s.crop[2]+s.crop[3])
	}
	return s
}

func randomScaling(rnd *rand.Rand, chroma int) [][]int32 {
	lists := make([][]int32, 8)
	if chroma == 3 {
		lists = make([][]int32, 12)
	}
	for i := range lists {
		size := 16
		if i >= 6 {
			size = 64
		}
		last := int32(8)
		switch rnd.IntN(3) {
		case 0: // not present
		case 1: // ends early
			lists[i] = []int32{2, -10}
		default:
			for range size {
				next := int32(1 + rnd.IntN(255))
				d := next - last
				if d > 127 {
					d -= 256
				} else if d < -128 {
					d += 256
				}
				lists[i] = append(lists[i], d)
				last = next
			}
		}
	}
	return lists
}

func TestParseSPSErrors(t *testing.T) {
	wide := bomb()
	wide.MbWidth = maxMb + 1
	crop := bomb()
	crop.hasCrop, crop.crop = true, [4]uint32{4096, 4096, 0, 0}
	overflow := bomb()
	overflow.hasCrop, overflow.crop = true, [4]uint32{1<<32 - 2, 2, 0, 0}
	order := bomb()
	order.order = 3
	for name, nal := range map[string][]byte{
		"empty": nil, "header": {0x67}, "other type": {0x68, 1, 2, 3}, "zeros": append([]byte{0x67}, make([]byte, 100)...),
		"too wide": wide.nal(), "nothing left": crop.nal(), "crop overflow": overflow.nal(), "order type 3": order.nal(),
	} {
		if got, err := ParseSPS(nal); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}

// TestParseSPSReal compares with ffprobe on what x264 writes.
func TestParseSPSReal(t *testing.T) {
	for _, c := range []struct {
		size, pix, profile, params string
		interlaced                 bool
		reorder                    int
	}{
		{"640x360", "yuv420p", "baseline", "", false, 0},
		{"1920x1080", "yuv420p", "main", "bframes=3", false, 2},
		{"322x182", "yuv420p", "high", "cqm=jvt:bframes=0", false, 0},
		{"322x182", "yuv422p", "high422", "bframes=3:b-pyramid=none", false, 1},
		{"323x183", "yuv444p", "high444", "cqm=jvt:bframes=3", false, 2},
		{"322x182", "yuv420p10le", "high10", "bframes=3", false, 2},
		{"720x580", "yuv420p", "high", "interlaced=1:bframes=3", true, 2},
		{"16x16", "yuv420p", "baseline", "", false, 0},
		{"4096x2304", "yuv420p", "high", "bframes=3:nal-hrd=vbr:vbv-maxrate=2000:vbv-bufsize=2000", false, 2},
	} {
		t.Run(c.size+" "+c.profile, func(t *testing.T) {
			stream := encode(t, c.size, c.pix, c.profile, c.params)
			s, err := ParseSPS(firstOf(t, stream, TypeSPS))
			if err != nil {
				t.Fatal(err)
			}
			want := probe(t, stream)
			if s.Width != want.Width || s.Height != want.Height {
				t.Errorf("got %dx%d, ffprobe says %dx%d", s.Width, s.Height, want.Width, want.Height)
			}
			if s.MbWidth != (want.CodedWidth+15)/16 || s.MbHeight*16 < want.Height || s.MbHeight*16 >= want.Height+32 {
				t.Errorf("got %dx%d macroblocks for %dx%d samples", s.MbWidth, s.MbHeight, want.CodedWidth, want.CodedHeight)
			}
			if int(s.Level) != want.Level || s.Interlaced != c.interlaced {
				t.Errorf("got level %d, interlaced %t, want %d, %t", s.Level, s.Interlaced, want.Level, c.interlaced)
			}
			if want.Bits != "" && fmt.Sprint(s.BitDepthLuma) != want.Bits {
				t.Errorf("got %d bits, want %s", s.BitDepthLuma, want.Bits)
			}
			if s.Reorder != c.reorder {
				t.Errorf("got %d pictures out of order, want %d", s.Reorder, c.reorder)
			}
			if _, ok := PPSID(firstOf(t, stream, TypePPS)); !ok {
				t.Error("the PPS has no id")
			}
		})
	}
}

func firstOf(t *testing.T, stream []byte, kind byte) []byte {
	t.Helper()
	for _, u := range SplitAnnexB(nil, stream) {
		if Type(u) == kind {
			return u
		}
	}
	t.Fatalf("no NAL unit of type %d", kind)
	return nil
}

type probed struct {
	Width       int    `json:"width"`
	Height      int    `json:"height"`
	CodedWidth  int    `json:"coded_width"`
	CodedHeight int    `json:"coded_height"`
	Level       int    `json:"level"`
	Bits        string `json:"bits_per_raw_sample"`
}

func probe(t *testing.T, stream []byte) probed {
	t.Helper()
	cmd := exec.Command("ffprobe", "-v", "error", "-f", "h264", "-show_streams", "-of", "json", "-")
	cmd.Stdin = bytes.NewReader(stream)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffprobe: %v", err)
	}
	var answer struct{ Streams []probed }
	if err := json.Unmarshal(out, &answer); err != nil || len(answer.Streams) != 1 {
		t.Fatalf("ffprobe answers %s: %v", out, err)
	}
	return answer.Streams[0]
}

// encode makes two pictures of Annex B with x264.
func encode(t *testing.T, size, pix, profile, params string) []byte {
	t.Helper()
	for _, tool := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=" + size + ":rate=25", "-frames:v", "2",
		"-pix_fmt", pix, "-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-profile:v", profile}
	if params != "" {
		args = append(args, "-x264-params", params)
	}
	cmd := exec.Command("ffmpeg", append(args, "-f", "h264", "-")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, stderr.Bytes())
	}
	return out
}

func FuzzParseSPS(f *testing.F) {
	f.Add(bomb().nal())
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		f.Add(randomSPS(rnd).nal())
	}
	f.Fuzz(func(t *testing.T, nal []byte) {
		s, err := ParseSPS(nal)
		if err != nil {
			return
		}
		if s.Width < 1 || s.Height < 1 || s.Width > s.MbWidth*16 || s.Height > s.MbHeight*16 ||
			s.MbWidth > maxMb || s.MbHeight > maxMb || s.ID > 31 || s.ChromaFormat > 3 ||
			s.Reorder < -1 || s.Reorder > 16 || s.BitDepthLuma < 8 || s.BitDepthLuma > 14 || s.BitDepthChroma < 8 || s.BitDepthChroma > 14 {
			t.Fatalf("got %+v", s)
		}
	})
}
