package engine

import (
	"testing"
	"time"

	"braid/media"
	"braid/media/codec"
	"braid/mixer/wire"
)

var halfHD = wire.Encode{Width: 640, Height: 360, FPS: 30, VideoKbps: 2000, GOP: 60}

// quarters is four panes of 320x180.
func quarters(output, revision uint32, inputs ...uint32) *wire.Layout {
	l := &wire.Layout{Output: output, Revision: revision}
	for i, in := range inputs {
		l.Panes = append(l.Panes, wire.Pane{X: i % 2 * 320, Y: i / 2 * 180, W: 320, H: 180, Fit: wire.FitInside, Input: in})
	}
	return l
}

func pane(p *codec.Picture, i int) *codec.Picture { return p.Crop(i%2*320, i/2*180, 320, 180) }

// TestPictures composes four clips of several sizes and codecs, and checks each pane
// of each picture against the source frame whose number it shows.
func TestPictures(t *testing.T) {
	t.Parallel()
	for name, kinds := range map[string][4]media.Codec{
		"H264 and VP8":           {media.H264, media.H264, media.VP8, media.H264},
		"VP9, AV1, H265 and VP8": {media.VP9, media.AV1, media.H265, media.VP8},
	} {
		t.Run(name, func(t *testing.T) { testPictures(t, kinds) })
	}
}

func testPictures(t *testing.T, kinds [4]media.Codec) {
	clips := []*clip{
		clipOf(t, kinds[0], 1, 320, 180, 90), clipOf(t, kinds[1], 2, 640, 360, 90),
		clipOf(t, kinds[2], 3, 320, 180, 90), clipOf(t, kinds[3], 4, 160, 90, 90),
	}
	r := newRig(t)
	start := r.now() + 100*time.Millisecond
	for i, c := range clips {
		id := uint32(i + 1)
		r.send(&wire.OpenInput{Input: id, Group: id, Codec: kinds[i]})
		r.feed(id, c.at(start+time.Duration(i)*9*time.Millisecond), nil)
	}
	r.send(&wire.OpenMix{Output: 7, Encode: halfHD}, quarters(7, 5, 1, 2, 3, 4))
	r.until(7, media.H264, start+2500*time.Millisecond)

	all := r.watch(7)
	span := all[len(all)-1].PTS - all[0].PTS
	if want := int(span*30/time.Second) + 1; len(all) > want || len(all) < want/2 { // a loaded machine skips ticks
		t.Errorf("%d pictures in %v, want %d", len(all), span, want)
	}
	src := make([]*codec.Picture, len(clips))
	for i, c := range clips {
		src[i] = codec.NewPicture(c.w, c.h)
	}
	last := [4]int{-1, -1, -1, -1}
	steps := make(map[int]int)
	for _, s := range all {
		if n := tickAt(s.PTS, 30); tickTime(n, 30) != s.PTS {
			t.Fatalf("PTS %v is not on the 30 fps grid", s.PTS)
		}
		if s.PTS < start+500*time.Millisecond {
			continue
		}
		for i, c := range clips {
			p := pane(s.pic, i)
			n := number(p)
			if last[i] >= 0 {
				steps[n-last[i]]++
			}
			if n < last[i] {
				t.Fatalf("%v pane %d: frame %d after %d", s.PTS, i, n, last[i])
			}
			last[i] = n
			paint(src[i], c.name, n)
			want := codec.NewPicture(320, 180)
			codec.Scale(want, src[i])
			if got := psnr(p, want); got < 27 {
				t.Fatalf("%v pane %d: PSNR %.1f dB against frame %d of its clip, want 27", s.PTS, i, got, n)
			}
			u, v := colour(p)
			wu, wv := colour(want)
			if abs(u-wu) > 5 || abs(v-wv) > 5 {
				t.Fatalf("%v pane %d: colour %d,%d, want %d,%d", s.PTS, i, u, v, wu, wv)
			}
			// Half a tick early at most, see phase.
			age := s.PTS - start - tickTime(int64(n), 30) - time.Duration(i)*9*time.Millisecond
			if age < minDelay-17*time.Millisecond || age > 450*time.Millisecond {
				t.Fatalf("%v pane %d: shows a frame of %v ago", s.PTS, i, age)
			}
		}
	}
	for i, n := range last {
		if n < 40 {
			t.Errorf("pane %d ends at frame %d", i, n)
		}
	}
	if steps[1] < steps[0]+steps[2] {
		t.Errorf("frame steps %v, want mostly 1", steps)
	}
	t.Logf("%d pictures, frame steps %v, last frames %v", len(all), steps, last)
}

// TestSixteen is a full gallery with voices.
func TestSixteen(t *testing.T) {
	t.Parallel()
	const n = 16
	c := h264Clip(t, 1, 160, 90, 40)
	voices := voiceOf(t, 0, 1300*time.Millisecond, sine(500, 0.2))
	r := newRig(t)
	start := r.now() + 100*time.Millisecond
	l := &wire.Layout{Output: 1, Revision: 1}
	for i := range uint32(n) {
		r.send(&wire.OpenInput{Input: 1 + i, Group: i, Codec: media.H264}, &wire.OpenInput{Input: 101 + i, Group: i, Codec: media.Opus})
		r.feed(1+i, c.at(start), nil)
		r.feed(101+i, shift(voices, start), early)
		l.Panes = append(l.Panes, wire.Pane{X: int(i%4) * 160, Y: int(i/4) * 90, W: 160, H: 90, Input: 1 + i})
		l.Audio = append(l.Audio, 101+i)
	}
	encode := halfHD
	encode.SampleRate, encode.Channels, encode.AudioKbps = 48000, 2, 128
	r.send(&wire.OpenMix{Output: 1, Encode: encode}, l)
	r.until(1, media.H264, start+1200*time.Millisecond)
	all := r.watch(1)
	for i := range n {
		p := all[len(all)-1].pic.Crop(i%4*160, i/4*90, 160, 90)
		want := codec.NewPicture(160, 90)
		paint(want, 1, number(p))
		if got := psnr(p, want); got < 24 {
			t.Errorf("pane %d: PSNR %.1f dB against frame %d, want 24", i, got, number(p))
		}
	}
	if got := len(all[len(all)-1].Levels); got != n {
		t.Errorf("%d levels, want %d", got, n)
	}
	pcm, first := r.hear(1, 48000, 2)
	for _, v := range window(left(pcm, 2), first, start+600*time.Millisecond, start+time.Second, rate) {
		if v > 1 || v < -1 {
			t.Fatalf("sixteen voices sum to %.2f, want below 1", v)
		}
	}
}

func abs(n int) int { return max(n, -n) }
