package engine

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
	"time"

	"braid/media"
	"braid/media/codec"
	"braid/mixer/wire"
)

// pngOf is a w x h picture of one colour.
func pngOf(t testing.TB, w, h int, c color.Color) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(img, img.Rect, image.NewUniform(c), image.Point{}, draw.Src)
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// is tells whether a picture is of one colour, within what coding costs.
func is(p *codec.Picture, y, u, v int) bool {
	gu, gv := colour(p)
	return abs(int(mean(p))-y) <= 4 && abs(gu-u) <= 4 && abs(gv-v) <= 4
}

// TestLayoutChange swaps two panes and checks that each picture shows what its
// Revision says, and no black between.
func TestLayoutChange(t *testing.T) {
	t.Parallel()
	clips := []*clip{h264Clip(t, 1, 320, 180, 80), h264Clip(t, 4, 320, 180, 80)}
	white := pngOf(t, 50, 50, color.White)
	r := newRig(t)
	start := r.now() + 50*time.Millisecond
	for i, c := range clips {
		id := uint32(i + 1)
		r.send(&wire.OpenInput{Input: id, Group: id, Codec: media.H264})
		r.feed(id, c.at(start), nil)
	}
	r.send(&wire.OpenMix{Output: 1, Encode: halfHD}, quarters(1, 1, 1, 2))
	r.until(1, media.H264, start+600*time.Millisecond)
	for i := range 8 { // several times, to meet a tick at any phase
		swapped := quarters(1, uint32(2+i), 2, 1)
		if i%2 == 1 {
			swapped = quarters(1, uint32(2+i), 1, 2)
		}
		r.send(swapped)
		r.until(1, media.H264, r.now()+time.Duration(100+7*i)*time.Millisecond)
	}
	// A pane above another one must stay above when only the lower one moves.
	r.send(&wire.Image{Image: 3, Data: white},
		&wire.Layout{Output: 1, Revision: 100, Panes: []wire.Pane{{W: 640, H: 360, Input: 1}, {X: 100, Y: 60, W: 64, H: 64, Image: 3}}})
	r.until(1, media.H264, r.now()+500*time.Millisecond)

	want := make([][2]int, len(clips))
	for i, c := range clips {
		p := codec.NewPicture(320, 180)
		paint(p, c.name, 0)
		want[i][0], want[i][1] = colour(p)
	}
	seen := make(map[uint32]int)
	onTop := 0
	for _, s := range r.watch(1) {
		if s.PTS < start+300*time.Millisecond {
			continue
		}
		seen[s.Revision]++
		if s.Revision == 100 {
			if is(s.pic.Crop(108, 68, 48, 48), 235, 128, 128) {
				onTop++
			} else if onTop > 0 {
				t.Fatalf("%v: the image on top is hurt", s.PTS)
			}
			continue
		}
		for i := range 2 {
			w := want[(i+int(s.Revision)-1)%2]
			u, v := colour(pane(s.pic, i))
			if abs(u-w[0]) > 5 || abs(v-w[1]) > 5 {
				t.Fatalf("%v revision %d pane %d: colour %d,%d, want %d,%d", s.PTS, s.Revision, i, u, v, w[0], w[1])
			}
		}
	}
	for rev := uint32(1); rev <= 9; rev++ {
		if seen[rev] == 0 {
			t.Errorf("revision %d was never shown: %v", rev, seen)
		}
	}
	if onTop < 5 {
		t.Errorf("the image was on top in %d pictures", onTop)
	}
}

// TestJoinAndLeave shows images for who is not there, a late joiner from the
// first tick after its first picture on, the last picture for 3 s after it left,
// then its image again. The background fills the rest.
func TestJoinAndLeave(t *testing.T) {
	t.Parallel()
	c := h264Clip(t, 1, 320, 180, 40)
	images := [][]byte{
		1: pngOf(t, 64, 64, color.RGBA{255, 0, 0, 255}),
		2: pngOf(t, 640, 360, color.RGBA{0, 0, 255, 255}),
		3: []byte("not a picture"),
		4: pngOf(t, 4098, 8, color.Black),
	}
	r := newRig(t)
	for i, data := range images[1:] {
		r.send(&wire.Image{Image: uint32(i + 1), Data: data})
	}
	r.wait("refusal of the last image", func() bool { return len(r.failed) == 2 })
	ready := r.now() + 100*time.Millisecond
	r.send(
		&wire.OpenMix{Output: 1, Encode: halfHD},
		&wire.Layout{Output: 1, Revision: 1, Background: 2, BackgroundFit: wire.FitCrop, Panes: []wire.Pane{
			{W: 320, H: 180, Input: 1, Image: 1, Fit: wire.FitCrop},
			{X: 320, W: 320, H: 180, Input: 9},
		}})
	r.until(1, media.H264, ready+300*time.Millisecond)
	start := r.now() + 50*time.Millisecond
	r.send(&wire.OpenInput{Input: 1, Group: 1, Codec: media.H264})
	r.feed(1, c.at(start), nil)
	r.until(1, media.H264, start+1500*time.Millisecond)
	left := r.now()
	r.send(&wire.CloseInput{Input: 1})
	r.until(1, media.H264, left+linger+time.Second)

	reasons := ""
	for _, f := range r.failed {
		reasons += f.Reason + "\n"
		if f.Image != 3 && f.Image != 4 {
			t.Errorf("failed %+v, want images 3 and 4", f)
		}
	}
	if len(r.failed) != 2 || !strings.Contains(reasons, "4098x8") {
		t.Errorf("failed for %q, want two images", reasons)
	}
	for _, s := range r.watch(1) {
		if s.PTS < ready {
			continue
		}
		if p := s.pic.Crop(0, 180, 640, 180); !is(p, 41, 240, 110) {
			t.Fatalf("%v: the background is not blue", s.PTS)
		}
		if p := s.pic.Crop(320, 0, 320, 180); !is(p, 16, 128, 128) {
			t.Fatalf("%v: the pane of nobody is not black", s.PTS)
		}
		red := is(s.pic.Crop(0, 0, 320, 180), 82, 90, 240)
		switch {
		case s.PTS < start && !red, s.PTS > left+linger+500*time.Millisecond && !red:
			t.Fatalf("%v: no image in the pane; joined %v, left %v", s.PTS, start, left)
		case s.PTS > start+300*time.Millisecond && s.PTS < left+linger-200*time.Millisecond && red:
			t.Fatalf("%v: the image hides the picture; joined %v, left %v", s.PTS, start, left)
		}
	}
}

// TestImageColours checks the conversion of both formats and of transparency.
func TestImageColours(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 33, 17))
	draw.Draw(img, img.Rect, image.NewUniform(color.NRGBA{0, 255, 0, 255}), image.Point{}, draw.Src)
	half := image.NewNRGBA(image.Rect(0, 0, 16, 16))
	draw.Draw(half, half.Rect, image.NewUniform(color.NRGBA{255, 255, 255, 128}), image.Point{}, draw.Src)
	var greenPNG, greenJPEG, halfPNG bytes.Buffer
	for _, err := range []error{png.Encode(&greenPNG, img), jpeg.Encode(&greenJPEG, img, &jpeg.Options{Quality: 95}), png.Encode(&halfPNG, half)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name       string
		data       []byte
		w, h       int
		y, u, v    int
		wantReason string
	}{
		{name: "green PNG", data: greenPNG.Bytes(), w: 32, h: 16, y: 145, u: 54, v: 34},
		{name: "green JPEG", data: greenJPEG.Bytes(), w: 32, h: 16, y: 145, u: 54, v: 34},
		{name: "half white", data: halfPNG.Bytes(), w: 16, h: 16, y: 126, u: 128, v: 128},
		{name: "cut PNG", data: greenPNG.Bytes()[:60], wantReason: "image"},
	} {
		p, err := decodeImage(c.data)
		if c.wantReason != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantReason) {
				t.Errorf("%s: got %v, want an error with %q", c.name, err, c.wantReason)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		u, v := colour(p)
		if p.W != c.w || p.H != c.h || !is(p, c.y, c.u, c.v) {
			t.Errorf("%s: %dx%d, colour %.0f,%d,%d, want %dx%d, %d,%d,%d", c.name, p.W, p.H, mean(p), u, v, c.w, c.h, c.y, c.u, c.v)
		}
	}
}

func FuzzImage(f *testing.F) {
	f.Add(pngOf(f, 8, 8, color.White))
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 8)), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("not a picture"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := decodeImage(data); err == nil && (p.W < 2 || p.H < 2 || p.W > maxImageSide || p.H > maxImageSide) {
			t.Fatalf("image of %dx%d", p.W, p.H)
		}
	})
}
