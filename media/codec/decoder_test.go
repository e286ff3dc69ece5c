//go:build cgo

package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/internal/testkit"
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
		{media.VP9, 322, 182, nil},
		{media.AV1, 322, 182, nil},
		{media.H265, 322, 182, nil},
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
		"another profile":        testkit.SPS(20, 12)[:5],
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
	for _, c := range videoCodecs {
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

// The stream that costs plain libavcodec over 1 GB (SPS of 16384x8704) is refused.
func TestSPSBomb(t *testing.T) {
	clip := makeClip(t, media.H264, 320, 180, 3, "-profile:v", "baseline")
	d := newDecoder(t, media.H264, 1920, 1088)
	bomb := [][]byte{testkit.SPS(1024, 544)}
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
	hidden := append([]byte{0x06, 5, 0, 0, 0, 1}, testkit.SPS(1024, 544)...)
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
		{media.H264, testkit.SPS(40, 23), false}, // 640x368
		{media.H264, testkit.SPS(23, 40), false}, // upright
		{media.H264, testkit.SPS(41, 23), true},
		{media.H264, testkit.SPS(24, 24), true}, // fewer samples, but neither way round
		{media.VP8, vp8(640, 360), false},
		{media.VP8, vp8(360, 640), false},
		{media.VP8, vp8(656, 360), true},
		{media.VP8, vp8(16383, 16383), true},
		{media.VP9, vp9Frame(640, 360), false},
		{media.VP9, vp9Frame(656, 360), true},
		{media.VP9, vp9Frame(65536, 65536), true},
		{media.VP9, vp9Super(vp9Frame(640, 360), vp9Frame(4096, 16)), true}, // fewer samples, in the second frame
		{media.VP9, vp9Inter(656, 360), true},
		{media.VP9, vp9Inter(640, 360), false},
		{media.AV1, av1Sequence(640, 360), false},
		{media.AV1, av1Sequence(360, 640), false},
		{media.AV1, av1Sequence(656, 360), true},
		{media.AV1, av1Sequence(65536, 65536), true},
		{media.AV1, append(av1Sequence(640, 360), av1Sequence(4096, 16)[2:]...), true},
		{media.H265, h265SPS(640, 360), false},
		{media.H265, h265SPS(360, 640), false},
		{media.H265, h265SPS(656, 360), true},
		{media.H265, h265SPS(16384, 8704), true},
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

// vp9Frame is the beginning of a key frame (bitstream specification section 6.2).
func vp9Frame(w, h uint) []byte {
	s := &testkit.Bits{}
	s.U(8, 0x82)
	s.U(24, 0x498342)
	s.U(4, 0)
	s.U(16, w-1)
	s.U(16, h-1)
	s.U(20, 0)
	return append(s.B, make([]byte, 40)...)
}

// vp9Inter is the beginning of a frame that takes no size of those before it.
func vp9Inter(w, h uint) []byte {
	s := &testkit.Bits{}
	s.U(8, 0x86)
	s.U(2+8+12+3, 0)
	s.U(16, w-1)
	s.U(16, h-1)
	return append(s.B, make([]byte, 40)...)
}

func vp9Super(a, b []byte) []byte {
	index := []byte{0xc1, byte(len(a)), byte(len(b)), 0xc1}
	return append(append(slices.Clone(a), b...), index...)
}

// av1Sequence is a temporal unit with a sequence header (section 5.5.1).
func av1Sequence(w, h uint) []byte {
	s := &testkit.Bits{}
	s.U(5, 0) // profile 0, no still picture
	s.U(2, 0) // no timing info, no display delay
	s.U(5+12, 0)
	s.U(5, 8)
	s.U(1, 0) // tier
	s.U(8, 0xff)
	s.U(16, w-1)
	s.U(16, h-1)
	s.U(32, 0)
	return append([]byte{0x12, 0, 0x0a, byte(len(s.B))}, s.B...)
}

// h265SPS announces 4:2:0 of 8 bits (section 7.3.2.2.1).
func h265SPS(w, h uint) []byte {
	s := &testkit.Bits{B: []byte{0x42, 0x01, 0x01, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d}}
	for _, v := range []uint{0, 1, w, h} {
		s.UE(v)
	}
	s.U(1, 0)
	s.UE(0)
	s.UE(0)
	s.U(16, 0x8888)
	return s.B
}

// Ten bits become eight, as swscale makes them.
func TestDecodeTenBits(t *testing.T) {
	for _, c := range []struct {
		codec media.Codec
		args  []string
	}{
		{media.VP9, []string{"-profile:v", "2"}}, {media.AV1, nil}, {media.H265, nil},
	} {
		clip := makeClip(t, c.codec, 160, 96, 4, append(c.args, "-pix_fmt", "yuv420p10le")...)
		want := clip.raw(t, "-pix_fmt", "yuv420p")
		d := newDecoder(t, c.codec, 160, 96)
		var got []byte
		for i, au := range clip.units {
			pic, err := d.Decode(au, 0)
			if err != nil || pic == nil {
				t.Fatalf("%s access unit %d: got picture %v, error %v", c.codec, i, pic != nil, err)
			}
			got = append(got, pack(&pic.Picture)...)
			pic.Free()
		}
		if len(got) != len(want) || psnr(got, want) < 45 {
			t.Errorf("%s: %d bytes of %d, %.1f dB, want 45", c.codec, len(got), len(want), psnr(got, want))
		}
	}
}

// The layers of one picture come as one superframe or temporal unit: the highest is
// shown. libaom and libvpx in ffmpeg make no layers, so a second frame that shows
// something else stands in for the upper one.
func TestDecodeHighestLayer(t *testing.T) {
	small, large := makeClip(t, media.VP9, 160, 96, 1), makeClip(t, media.VP9, 320, 192, 1)
	d := newDecoder(t, media.VP9, 320, 192)
	pic, err := d.Decode([][]byte{vp9Join(small.units[0][0], large.units[0][0])}, time.Second)
	if err != nil || pic == nil || pic.W != 320 || pic.PTS != time.Second || !bytes.Equal(pack(&pic.Picture), large.raw(t)) {
		t.Fatalf("got picture %v, error %v; want the second frame", pic != nil, err)
	}
	pic.Free()
}

// vp9Join is a superframe with sizes in 4 bytes (annex B).
func vp9Join(a, b []byte) []byte {
	index := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32([]byte{0xd9}, uint32(len(a))), uint32(len(b)))
	return slices.Concat(a, b, append(index, 0xd9))
}

// What is not 4:2:0 of 8 or 10 bits is refused with its reason.
func TestDecodeOtherProfiles(t *testing.T) {
	for _, c := range []struct {
		codec  media.Codec
		format string
		args   []string
		word   string
	}{
		{media.VP9, "yuv444p", []string{"-profile:v", "1"}, "VP9 profile 1"},
		{media.AV1, "yuv444p", nil, "AV1 profile 1"},
		{media.H265, "yuv422p", nil, "want 4:2:0"},
		{media.H265, "yuv420p12le", nil, "12 bits"},
		{media.VP9, "yuv420p12le", []string{"-profile:v", "2"}, "yuv420p12le"},
	} {
		clip := makeClip(t, c.codec, 160, 96, 1, append(c.args, "-pix_fmt", c.format)...)
		d := newDecoder(t, c.codec, 160, 96)
		if pic, err := d.Decode(clip.units[0], 0); pic != nil || !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s %s: got picture %v, error %v; want one with %q", c.codec, c.format, pic != nil, err, c.word)
		}
	}
}

// The picture's size may change from key frame to key frame.
func TestDecodeSizeChange(t *testing.T) {
	for _, c := range videoCodecs {
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
	for _, c := range videoCodecs {
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
	var clips []clip
	for _, c := range videoCodecs {
		clips = append(clips, makeClip(t, c, 320, 180, 5))
	}
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
	// One leaked picture a decoder would be 43 MB, one leaked context more.
	if grown := resident(t) - before; grown > 16 {
		t.Errorf("500 decoders: resident memory grew by %.1f MiB, want at most 16", grown)
	}
}

func FuzzDecodeH264(f *testing.F) {
	f.Add([]byte{0x67, 66, 0xc0, 30}, []byte{0x68, 0xce}, []byte{0x65, 0x88})
	f.Add(testkit.SPS(8, 6), []byte{0x68, 0xce, 0x3c, 0x80}, bytes.Repeat([]byte{0x65, 0x88, 0x84, 0x40}, 20))
	f.Add(testkit.SPS(1024, 544), []byte{0x68, 0xce, 0x3c, 0x80}, []byte{0x06, 0, 0, 0, 1, 0x67})
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

func FuzzDecodeVP9(f *testing.F) {
	f.Add(vp9Frame(64, 48), []byte{0x86, 0, 0x40, 0x92})
	f.Add(vp9Super(vp9Frame(64, 48), vp9Frame(32, 16)), vp9Inter(64, 48))
	f.Add(vp9Frame(65536, 65536), []byte{0xc9})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d := fuzzDecode(t, media.VP9, [][]byte{a})
		pic, _ := d.Decode([][]byte{b}, 0)
		pic.Free()
	})
}

func FuzzDecodeAV1(f *testing.F) {
	f.Add(av1Sequence(64, 48), []byte{0x12, 0, 0x32, 2, 0x30, 0xdd})
	f.Add([]byte("\x12\x00\x0a\x0a\x00\x00\x00\x03\xb4\xff\x73\x6b\xe4\x01\x32\x08\x10\x00\x80\x20\x00\x80\x00\x00"), []byte{0x32, 0})
	f.Add(av1Sequence(65536, 65536), []byte{0x30})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d := fuzzDecode(t, media.AV1, [][]byte{a})
		pic, _ := d.Decode([][]byte{b}, 0)
		pic.Free()
	})
}

func FuzzDecodeH265(f *testing.F) {
	f.Add(h265SPS(64, 48), []byte{0x44, 0x01, 0xc1, 0x72}, []byte{0x26, 0x01, 0xaf, 0x1b})
	f.Add(h265SPS(16384, 8704), []byte{0x40, 0x01, 0x0c}, []byte{0x02, 0x01, 0xd0})
	f.Fuzz(func(t *testing.T, a, b, c []byte) { fuzzDecode(t, media.H265, [][]byte{a, b, c}) })
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
	for _, c := range videoCodecs {
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
