package engine

import (
	"slices"
	"testing"
	"time"

	"braid/media"
	"braid/media/codec"
	"braid/mixer/wire"
)

// TestRenditions makes three sizes of what an encoder with B-frames sends: from one
// decoding, each with the source's times and with its key frames and no others, one of them
// with every other picture, none larger than the source.
func TestRenditions(t *testing.T) {
	t.Parallel()
	frames, _, _ := feedOf(t, "-bf", "3", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0")
	r := newRig(t)
	r.send(&wire.OpenInput{Input: 1, Codec: media.H264, Feed: true})
	for id, e := range map[uint32]wire.Encode{
		1: {Height: 120, FPS: 30, VideoKbps: 300},
		2: {Height: 90, FPS: 15, MostFPS: 15, VideoKbps: 200},
		3: {Height: 720, FPS: 30, VideoKbps: 800},
	} {
		e.Follow, e.GOP = true, 600
		r.send(&wire.OpenTranscode{Output: id, Input: 1, Encode: e})
	}
	r.pushFeed(1, 3, media.H264, frames, tickTime(4, 30))
	for id := range uint32(3) {
		r.until(id+1, media.H264, frames[len(frames)-1].PTS-300*time.Millisecond)
	}
	keys := make(map[time.Duration]bool)
	for _, m := range frames {
		if m.Key {
			keys[m.PTS] = true
		}
	}
	slices.SortFunc(frames, func(a, b *wire.Media) int { return int(a.PTS - b.PTS) })
	want := ffmpeg(t, nil, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-frames:v", "90", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
	for id, size := range map[uint32][2]int{1: {214, 120}, 2: {160, 90}, 3: {320, 180}} {
		all := r.watch(id)
		least := len(frames) - 6
		if id == 2 {
			least = len(frames)/2 - 4
		}
		if len(all) < least || id == 2 && len(all) > len(frames)/2+6 {
			t.Fatalf("output %d: %d pictures of %d", id, len(all), len(frames))
		}
		begin := all[0].PTS
		for i, s := range all {
			n := slices.IndexFunc(frames, func(m *wire.Media) bool { return m.PTS == s.PTS })
			if n < 0 || id != 2 && n != i {
				t.Fatalf("output %d picture %d: its PTS %v is that of picture %d", id, i, s.PTS, n)
			}
			if s.Key != keys[s.PTS] {
				t.Errorf("output %d at %v: key frame %v, the source's %v", id, s.PTS-begin, s.Key, keys[s.PTS])
			}
			if s.pic.W != size[0] || s.pic.H != size[1] {
				t.Fatalf("output %d: %dx%d, want %v", id, s.pic.W, s.pic.H, size)
			}
			src, small := codec.NewPicture(320, 180), codec.NewPicture(size[0], size[1])
			raw(src, want[n*320*180*3/2:])
			codec.Scale(small, src)
			if got := psnr(s.pic, small); got < 24 {
				t.Fatalf("output %d picture %d: PSNR %.1f dB from the source's", id, i, got)
			}
		}
	}
	r.send(&wire.CloseOutput{Output: 3}, &wire.CloseOutput{Output: 1}, &wire.CloseInput{Input: 1}, &wire.CloseOutput{Output: 2})
}

// raw reads a picture of planar 4:2:0 without padding.
func raw(p *codec.Picture, b []byte) {
	for y := range p.H {
		b = b[copy(p.Y[y*p.YStride:][:p.W], b):]
	}
	for _, plane := range [][]byte{p.U, p.V} {
		for y := range p.H / 2 {
			b = b[copy(plane[y*p.UStride:][:p.W/2], b):]
		}
	}
}

// TestRenditionsEnd closes outputs and inputs in the middle of the work, which must
// neither hang nor keep pictures; the race detector watches.
func TestRenditionsEnd(t *testing.T) {
	t.Parallel()
	frames, _, _ := feedOf(t, "-bf", "0")
	r := newRig(t)
	for round := range uint32(8) {
		in := round + 1
		r.send(&wire.OpenInput{Input: in, Codec: media.H264, Feed: true})
		for i := range uint32(3) {
			r.send(&wire.OpenTranscode{Output: in*10 + i, Input: in, Encode: wire.Encode{Follow: true, Height: 100 + 20*int(i), FPS: 30, GOP: 600, VideoKbps: 300}})
		}
		for i, m := range frames[:50] {
			copied := *m
			copied.Input = in
			r.send(&copied)
			if i == 20 {
				r.send(&wire.CloseOutput{Output: in*10 + 2})
			}
		}
		r.until(in*10, media.H264, frames[5].PTS)
		if round%2 == 0 {
			r.send(&wire.CloseInput{Input: in}, &wire.CloseOutput{Output: in * 10}, &wire.CloseOutput{Output: in*10 + 1})
		} else {
			r.send(&wire.CloseOutput{Output: in * 10}, &wire.CloseOutput{Output: in*10 + 1}, &wire.CloseInput{Input: in})
		}
	}
}

func TestKeyTimes(t *testing.T) {
	var k keyTimes
	for i := range 40 {
		k.add(time.Duration(i))
	}
	if len(k) != keyTimesMax || k.take(0) || !k.take(39) || len(k) != 0 || k.take(39) {
		t.Errorf("left: %v", k)
	}
}
