//go:build cgo

package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"braid/media"
)

const frame30 = time.Second / 30

// Every picture is the very one that ffmpeg decodes, and comes out of the call
// that put it in.
func TestDecodeEqualsFFmpeg(t *testing.T) {
	for _, c := range []struct {
		codec media.Codec
		w, h  int
		args  []string
	}{
		{media.H264, 320, 180, []string{"-profile:v", "baseline"}},
		{media.H264, 322, 182, []string{"-profile:v", "high", "-x264-params", "aud=1:slices=3"}}, // cropped
		{media.VP8, 320, 180, nil},
		{media.VP8, 176, 98, []string{"-error-resilient", "1"}},
	} {
		t.Run(fmt.Sprintf("%s %dx%d", c.codec, c.w, c.h), func(t *testing.T) {
			clip := makeClip(t, c.codec, c.w, c.h, 40, c.args...)
			want := clip.raw(t)
			d := newDecoder(t, c.codec, 1280, 720)
			var got []byte
			for i, au := range clip.units {
				pic, err := d.Decode(au, time.Duration(i)*frame30)
				if err != nil || pic == nil {
					t.Fatalf("access unit %d: got picture %v, error %v", i, pic != nil, err)
				}
				if pic.W != c.w || pic.H != c.h || pic.PTS != time.Duration(i)*frame30 {
					t.Fatalf("access unit %d: got %dx%d at %v", i, pic.W, pic.H, pic.PTS)
				}
				got = append(got, pack(&pic.Picture)...)
				pic.Free()
				pic.Free()
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes differ from ffmpeg's %d", len(got), len(want))
			}
		})
	}
}

// A full range stream comes out limited, as swscale converts it (within rounding).
func TestDecodeFullRange(t *testing.T) {
	clip := makeClip(t, media.H264, 160, 96, 4, "-vf", "scale=out_range=full,format=yuvj420p", "-pix_fmt", "yuvj420p", "-color_range", "pc")
	want := clip.raw(t, "-vf", "scale=in_range=full:out_range=limited:flags=accurate_rnd", "-pix_fmt", "yuv420p", "-color_range", "tv")
	d := newDecoder(t, media.H264, 160, 96)
	var got []byte
	for i, au := range clip.units {
		pic, err := d.Decode(au, 0)
		if err != nil || pic == nil {
			t.Fatalf("access unit %d: got picture %v, error %v", i, pic != nil, err)
		}
		got = append(got, pack(&pic.Picture)...)
		pic.Free()
	}
	if len(got) != len(want) {
		t.Fatalf("got %d bytes, want %d", len(got), len(want))
	}
	low, high := byte(255), byte(0)
	for i := range got {
		if d := int(got[i]) - int(want[i]); d < -1 || d > 1 {
			t.Fatalf("byte %d: got %d, swscale has %d", i, got[i], want[i])
		}
		if i < 160*96 {
			low, high = min(low, got[i]), max(high, got[i])
		}
	}
	if low < 16 || high > 235 || high < 200 {
		t.Errorf("luma of the first picture is %d..%d, want within 16..235 and bright", low, high)
	}
}

func TestDecodeOtherFormats(t *testing.T) {
	for _, format := range []string{"yuv422p", "yuv444p", "gray"} {
		clip := makeClip(t, media.H264, 160, 96, 2, "-pix_fmt", format)
		d := newDecoder(t, media.H264, 160, 96)
		if pic, err := d.Decode(clip.units[0], 0); pic != nil || !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), "want 4:2:0") {
			t.Errorf("%s: got picture %v, error %v; want an error that names the format", format, pic != nil, err)
		}
		// The second belt: what libavcodec gives is looked at as well.
		if format == "gray" {
			continue // libavcodec gives it grey chroma planes, in FFmpeg 5.1 at least
		}
		if pic, err := d.decode(clip.units[0], sizeOf(clip.units[0]), 0); pic != nil || err == nil || !strings.Contains(err.Error(), format) {
			t.Errorf("%s past the first check: got picture %v, error %v", format, pic != nil, err)
		}
	}
}

func sizeOf(units [][]byte) int {
	n := 0
	for _, u := range units {
		n += len(startCode) + len(u)
	}
	return n
}

// After loss nothing is shown until the next key frame, and the caller hears of it.
func TestDecodeLoss(t *testing.T) {
	clip := makeClip(t, media.H264, 320, 180, 60, "-g", "30", "-profile:v", "baseline")
	want := clip.raw(t)
	damaged := bytes.Clone(clip.units[5][0])
	clear(damaged[len(damaged)/3 : len(damaged)/2])
	size := 320 * 180 * 3 / 2
	for name, fifth := range map[string][]byte{
		"half a unit":            clip.units[5][0][:len(clip.units[5][0])/2],
		"zeros in a unit":        damaged,
		"another profile":        baselineSPS(20, 12)[:5],
		"nothing, told by Flush": nil,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDecoder(t, media.H264, 320, 180)
			for i, au := range clip.units {
				if i == 5 {
					if au = [][]byte{fifth}; fifth == nil {
						d.Flush()
						continue
					}
				}
				pic, err := d.Decode(au, 0)
				if hidden := i >= 5 && i < 30; hidden != (pic == nil) || hidden != (err != nil) || i > 5 && hidden != errors.Is(err, ErrNeedKey) {
					t.Fatalf("access unit %d: got picture %v, error %v", i, pic != nil, err)
				}
				if pic != nil && !bytes.Equal(pack(&pic.Picture), want[i*size:][:size]) {
					t.Fatalf("access unit %d: the picture is not the one of the undamaged stream", i)
				}
				pic.Free()
			}
		})
	}
}

func TestFlushWaitsForKey(t *testing.T) {
	for _, c := range []media.Codec{media.H264, media.VP8} {
		clip := makeClip(t, c, 160, 96, 6, "-g", "4", "-keyint_min", "4")
		d := newDecoder(t, c, 160, 96)
		for i, au := range clip.units {
			if i == 2 {
				d.Flush()
			}
			pic, err := d.Decode(au, 0)
			if lost := i == 2 || i == 3; lost != errors.Is(err, ErrNeedKey) || lost != (pic == nil) {
				t.Errorf("%s access unit %d: got picture %v, error %v", c, i, pic != nil, err)
			}
			pic.Free()
		}
	}
}

// bits writes H.264 syntax elements.
type bits struct {
	b []byte
	n int
}

func (w *bits) u(n int, v uint) {
	for i := n - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

func (w *bits) ue(v uint) {
	n := 0
	for (v+1)>>n > 1 {
		n++
	}
	w.u(n, 0)
	w.u(n+1, v+1)
}

// baselineSPS announces w x h macroblocks, POC type 2.
func baselineSPS(w, h uint) []byte {
	s := &bits{b: []byte{0x67, 66, 0xc0, 62}, n: 32}
	for _, v := range []uint{0, 0, 2, 1} { // id, log2_max_frame_num-4, POC type, refs
		s.ue(v)
	}
	s.u(1, 0)
	s.ue(w - 1)
	s.ue(h - 1)
	for _, bit := range []uint{1, 1, 0, 0, 1} { // frame_mbs_only, direct_8x8, crop, VUI, stop
		s.u(1, bit)
	}
	return s.b
}

// The stream that costs plain libavcodec over 1 GB (SPS of 16384x8704) is refused.
func TestSPSBomb(t *testing.T) {
	clip := makeClip(t, media.H264, 320, 180, 3, "-profile:v", "baseline")
	d := newDecoder(t, media.H264, 1920, 1088)
	bomb := [][]byte{baselineSPS(1024, 544)}
	for _, u := range clip.units[0] {
		if u[0]&0x1f != 7 {
			bomb = append(bomb, u)
		}
	}
	before := resident(t)
	for range 20 {
		pic, err := d.Decode(bomb, 0)
		if pic != nil || !errors.Is(err, ErrTooLarge) || !errors.Is(err, media.ErrLimit) {
			t.Fatalf("got picture %v, error %v; want ErrTooLarge", pic != nil, err)
		}
	}
	if grown := resident(t) - before; grown > 4 {
		t.Errorf("resident memory grew by %.1f MiB, want at most 4", grown)
	}
	// The second belt: past our own check libavcodec refuses the picture, once it
	// has made tables of 54 MiB for it; Flush gives them back, though malloc may
	// keep one round's. Ten rounds that leaked would be 540 MiB.
	for range 10 {
		if pic, err := d.decode(bomb, sizeOf(bomb), 0); pic != nil || err == nil {
			t.Fatalf("past the first check: got picture %v, error %v", pic != nil, err)
		}
		d.Flush()
	}
	if grown := resident(t) - before; grown > 80 {
		t.Errorf("resident memory grew by %.1f MiB past the first check, want at most 80", grown)
	}
	for i, au := range clip.units { // the decoder lives on
		pic, err := d.Decode(au, 0)
		if pic == nil || err != nil {
			t.Errorf("access unit %d after the bomb: got picture %v, error %v", i, pic != nil, err)
		}
		pic.Free()
	}
}

// An SPS inside another unit would pass the size check unseen.
func TestHiddenSPS(t *testing.T) {
	d := newDecoder(t, media.H264, 640, 360)
	hidden := append([]byte{0x06, 5, 0, 0, 0, 1}, baselineSPS(1024, 544)...)
	if _, err := d.Decode([][]byte{hidden}, 0); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("got %v, want media.ErrInvalid", err)
	}
}

func TestDecoderMaximum(t *testing.T) {
	vp8 := func(w, h int) []byte {
		return append([]byte{0x10, 2, 0, 0x9d, 1, 0x2a, byte(w), byte(w >> 8), byte(h), byte(h >> 8)}, make([]byte, 40)...)
	}
	for _, c := range []struct {
		codec media.Codec
		unit  []byte
		large bool
	}{
		{media.H264, baselineSPS(40, 23), false}, // 640x368
		{media.H264, baselineSPS(23, 40), false}, // upright
		{media.H264, baselineSPS(41, 23), true},
		{media.H264, baselineSPS(24, 24), true}, // fewer samples, but neither way round
		{media.VP8, vp8(640, 360), false},
		{media.VP8, vp8(360, 640), false},
		{media.VP8, vp8(656, 360), true},
		{media.VP8, vp8(16383, 16383), true},
	} {
		_, err := newDecoder(t, c.codec, 640, 360).Decode([][]byte{c.unit}, 0)
		if errors.Is(err, ErrTooLarge) != c.large {
			t.Errorf("%s %x: got %v, want too large %v", c.codec, c.unit, err, c.large)
		}
	}
	if _, err := NewVideoDecoder(media.H264, 640, 5000); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), "maximum height 5000, want 16..4096") {
		t.Errorf("got %v", err)
	}
	if _, err := NewVideoDecoder(media.Opus, 640, 360); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// The picture's size may change from key frame to key frame.
func TestDecodeSizeChange(t *testing.T) {
	for _, c := range []media.Codec{media.H264, media.VP8} {
		d := newDecoder(t, c, 640, 640)
		clips := []clip{makeClip(t, c, 320, 180, 3), makeClip(t, c, 180, 320, 3)}
		for _, clip := range append(clips, clips...) {
			for i, au := range clip.units {
				pic, err := d.Decode(au, 0)
				if err != nil || pic == nil || pic.W != clip.w || pic.H != clip.h {
					t.Fatalf("%s %dx%d access unit %d: got picture %v, error %v", c, clip.w, clip.h, i, pic != nil, err)
				}
				pic.Free()
			}
		}
	}
}

// A picture outlives its decoder.
func TestPictureAfterClose(t *testing.T) {
	clip := makeClip(t, media.H264, 160, 96, 1)
	d := newDecoder(t, media.H264, 160, 96)
	pic, err := d.Decode(clip.units[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	d.Close()
	if !bytes.Equal(pack(&pic.Picture), clip.raw(t)) {
		t.Error("the picture changed with its decoder's Close")
	}
	pic.Free()
	if pic.Y != nil {
		t.Error("a freed picture has planes")
	}
	if _, err := d.Decode(clip.units[0], 0); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
	d.Flush()
}

// Broken streams give errors or pictures, never a crash, and never pictures over
// the maximum.
func TestDecodeRandomBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []media.Codec{media.H264, media.VP8} {
		clip := makeClip(t, c, 128, 96, 20, "-g", "10")
		d := newDecoder(t, c, 256, 256)
		pictures, failures := 0, 0
		for range 2000 {
			au := make([][]byte, 0, 4)
			for _, u := range clip.units[rng.IntN(len(clip.units))] {
				au = append(au, spoil(rng, u))
			}
			pic, err := d.Decode(au, 0)
			if pic != nil {
				pictures++
				if pic.W > 256 || pic.H > 256 {
					t.Fatalf("%s: a picture of %dx%d", c, pic.W, pic.H)
				}
				Copy(NewPicture(pic.W, pic.H), &pic.Picture) // reads every byte
				pic.Free()
			}
			if err != nil {
				failures++
			}
		}
		if pictures < 50 || failures < 50 {
			t.Errorf("%s: %d pictures and %d errors of 2000: the test does not spoil as it should", c, pictures, failures)
		}
	}
}

func spoil(rng *rand.Rand, u []byte) []byte {
	u = bytes.Clone(u)
	switch rng.IntN(8) {
	case 0:
		for i := range u {
			u[i] = byte(rng.Uint32())
		}
	case 1:
		u = u[:rng.IntN(len(u)+1)]
	case 2, 3:
		for range 1 + rng.IntN(8) {
			u[rng.IntN(len(u))] ^= 1 << rng.IntN(8)
		}
	}
	return u
}

func TestDecodersDoNotLeak(t *testing.T) {
	clips := []clip{makeClip(t, media.H264, 320, 180, 5), makeClip(t, media.VP8, 320, 180, 5)}
	cycle := func() {
		for _, clip := range clips {
			d, err := NewVideoDecoder(clip.codec, 320, 180)
			if err != nil {
				t.Fatal(err)
			}
			for _, au := range clip.units {
				pic, err := d.Decode(au, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer pic.Free()
			}
			d.Close()
		}
	}
	for range 20 {
		cycle()
	}
	before := resident(t)
	for range 100 {
		cycle()
	}
	// One leaked picture a decoder would be 17 MB, one leaked context more.
	if grown := resident(t) - before; grown > 8 {
		t.Errorf("200 decoders: resident memory grew by %.1f MiB, want at most 8", grown)
	}
}

func FuzzDecodeH264(f *testing.F) {
	f.Add([]byte{0x67, 66, 0xc0, 30}, []byte{0x68, 0xce}, []byte{0x65, 0x88})
	f.Add(baselineSPS(8, 6), []byte{0x68, 0xce, 0x3c, 0x80}, bytes.Repeat([]byte{0x65, 0x88, 0x84, 0x40}, 20))
	f.Add(baselineSPS(1024, 544), []byte{0x68, 0xce, 0x3c, 0x80}, []byte{0x06, 0, 0, 0, 1, 0x67})
	e, err := NewVideoEncoder(VideoParams{Width: 64, Height: 48, FPS: 30, Kbps: 200, GOP: 30})
	if err != nil {
		f.Fatal(err)
	}
	units, _, err := e.Encode(randomPicture(64, 48), true)
	e.Close()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(units[0], units[1], units[2])
	f.Fuzz(func(t *testing.T, a, b, c []byte) { fuzzDecode(t, media.H264, [][]byte{a, b, c}) })
}

func FuzzDecodeVP8(f *testing.F) {
	f.Add([]byte{0x10, 2, 0, 0x9d, 1, 0x2a, 64, 0, 48, 0, 0, 0, 0, 0}, []byte{1})
	f.Add([]byte{0x10, 2, 0, 0x9d, 1, 0x2a, 0xff, 0x3f, 0xff, 0x3f}, []byte{0x31, 0, 0, 7, 8, 9})
	f.Add([]byte{0x10, 2, 0, 0x9d, 1}, []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d := fuzzDecode(t, media.VP8, [][]byte{a})
		pic, _ := d.Decode([][]byte{b}, 0)
		pic.Free()
	})
}

func fuzzDecode(t *testing.T, c media.Codec, units [][]byte) *VideoDecoder {
	d := newDecoder(t, c, 256, 256)
	for range 2 {
		pic, err := d.Decode(units, 0)
		if pic != nil && (err != nil || pic.W > 256 || pic.H > 256) {
			t.Errorf("got a picture of %dx%d with error %v", pic.W, pic.H, err)
		}
		pic.Free()
	}
	return d
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []media.Codec{media.H264, media.VP8} {
		for _, s := range [][2]int{{640, 360}, {1280, 720}} {
			b.Run(fmt.Sprintf("%s/%dp", c, s[1]), func(b *testing.B) {
				clip := makeClip(b, c, s[0], s[1], 60, "-b:v", fmt.Sprintf("%dk", s[1]*2))
				d := newDecoder(b, c, s[0], s[1])
				b.ReportAllocs()
				reportCPU(b)
				for i := 0; b.Loop(); i++ {
					pic, err := d.Decode(clip.units[i%60], 0)
					if err != nil {
						b.Fatal(err)
					}
					pic.Free()
				}
			})
		}
	}
}
