package mixer

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"braid/media"
	"braid/media/h264"
	"braid/mixer/slate"
	"braid/mixer/wire"
)

const holdW, holdH = 320, 180

// watched is the video of a mix as a player sees it: ffmpeg decodes it.
func watched(t *testing.T, units []*Unit) (pts []time.Duration, pictures []*image.RGBA) {
	t.Helper()
	var stream []byte
	for _, u := range units {
		if u.Codec == media.H264 {
			stream = h264.AppendAnnexB(stream, u.Units)
			pts = append(pts, u.PTS)
		}
	}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-f", "h264", "-i", "-", "-fps_mode", "passthrough", "-pix_fmt", "rgba", "-f", "rawvideo", "-")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stream), &out, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("ffmpeg: %v\n%s", err, errs.String())
	}
	const size = holdW * holdH * 4
	for raw := out.Bytes(); len(raw) >= size; raw = raw[size:] {
		pictures = append(pictures, &image.RGBA{Pix: raw[:size:size], Stride: holdW * 4, Rect: image.Rect(0, 0, holdW, holdH)})
	}
	if len(pictures) != len(pts) {
		t.Fatalf("ffmpeg shows %d pictures of %d", len(pictures), len(pts))
	}
	return pts, pictures
}

// difference is how far two pictures are apart, 0 to 255, in the mean.
func difference(a, b *image.RGBA) float64 {
	sum := 0
	for i := range a.Pix {
		sum += max(int(a.Pix[i])-int(b.Pix[i]), int(b.Pix[i])-int(a.Pix[i]))
	}
	return float64(sum) / float64(len(a.Pix))
}

// drawn is the picture in a file.
func drawn(t *testing.T, file []byte) *image.RGBA {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	out := image.NewRGBA(img.Bounds())
	for y := range holdH {
		for x := range holdW {
			out.Set(x, y, img.At(x, y))
		}
	}
	return out
}

// keep writes pictures where somebody can look at them: BRAID_KEEP names a directory.
func keep(t *testing.T, name string, img image.Image) {
	dir := os.Getenv("BRAID_KEEP")
	if dir == "" {
		return
	}
	f, err := os.Create(filepath.Join(dir, name+".png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
}

// holdMix is a mix of one pane, with a hold that a test can wait for.
func holdMix(t *testing.T, r *room, hold time.Duration, plan func(*Plan), fetch func(context.Context, string) ([]byte, error)) (*Mix, *collector) {
	pool := NewPool(Config{Program: buildWorker(t), MaxWidth: 1920, MaxHeight: 1088, Hold: hold, Fetch: fetch,
		Slate: func(app string, w, h int) ([]byte, error) { return slate.PNG("The "+app+" show", w, h) },
		Log:   slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(pool.Close)
	p := Plan{Panes: []Pane{{W: 1, H: 1}},
		Encode: wire.Encode{Width: holdW, Height: holdH, FPS: 30, VideoKbps: 1000, GOP: 60, SampleRate: 48000, Channels: 2, AudioKbps: 64}}
	if plan != nil {
		plan(&p)
	}
	c := new(collector)
	m := pool.NewMix(MixConfig{App: "morning", Channel: "room", Channels: r, Plan: p,
		Emit: c.emit, Failed: func(s string) { t.Errorf("failed: %s", s) }})
	t.Cleanup(m.Close)
	return m, c
}

func (c *collector) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.units)
}

// forPTS waits until d of the mix's time has passed.
func (c *collector) forPTS(t *testing.T, d time.Duration) {
	t.Helper()
	units := c.until(t, "a picture", 0, func(u *Unit) bool { return u.Codec == media.H264 })
	from := units[len(units)-1].PTS
	c.until(t, fmt.Sprintf("%v more", d), len(units), func(u *Unit) bool { return u.Codec == media.H264 && u.PTS > from+d })
}

// TestNeverDark: an empty mix shows the slate from its first picture on; when
// its user goes, the last picture stays, then comes the slate; when the user is back,
// so is its picture. Sound, timestamps and parameter sets go on as if nothing were.
func TestNeverDark(t *testing.T) {
	t.Parallel()
	const hold = 2 * time.Second
	a := newPlayer(t, "testsrc2=size=320x180:rate=30")
	a.play(t)
	ann := &media.User{ID: "a", Video: a}
	r := newRoom()
	_, c := holdMix(t, r, hold, nil, nil)
	moving := func(u *Unit) bool { return seenUsers(u) == "a" && !u.Key && u.Size() > 300 }
	c.forPTS(t, 500*time.Millisecond)
	r.set(ann)
	c.until(t, "ann", 0, moving)
	c.forPTS(t, time.Second)
	gone := c.count()
	close(a.done) // as the SFU does when somebody leaves
	r.set()
	c.until(t, "the slate", gone, func(u *Unit) bool { return u.Codec == media.H264 && seenUsers(u) == "-" })
	c.forPTS(t, time.Second)
	back := c.count()
	again := newPlayer(t, "mandelbrot=size=320x180:rate=30")
	again.play(t)
	r.set(&media.User{ID: "a", Video: again})
	units := c.until(t, "ann again", back, moving)

	pts, pictures := watched(t, units)
	file, err := slate.PNG("The morning show", holdW, holdH)
	if err != nil {
		t.Fatal(err)
	}
	want := drawn(t, file)
	isSlate := func(i int) bool { return difference(pictures[i], want) < 6 }
	video := func(n int) (i int) { // which picture unit n is, or follows
		for _, u := range units[:n] {
			if u.Codec == media.H264 {
				i++
			}
		}
		return i
	}
	if !isSlate(0) {
		keep(t, "first", pictures[0])
		t.Errorf("the first picture of an empty mix is not the slate: it differs by %.1f", difference(pictures[0], want))
	}
	first := video(gone)
	end := first
	for end < len(pictures) && !isSlate(end) {
		end++
	}
	if end == len(pictures) {
		t.Fatal("no slate after ann has left")
	}
	keep(t, "last", pictures[first-1])
	keep(t, "held", pictures[end-1])
	keep(t, "slate", pictures[end+20])
	keep(t, "back", pictures[len(pictures)-1])
	if held := pts[end] - pts[first]; held < hold-500*time.Millisecond || held > hold+2*time.Second {
		t.Errorf("the last picture was held for %v, want %v", held, hold)
	}
	for i := first + 20; i < end; i++ {
		if d := difference(pictures[i], pictures[end-1]); d > 4 {
			t.Errorf("held picture %d of %d moves: it differs by %.1f from the last", i-first, end-first, d)
			break
		}
	}
	for i := end; i < video(back); i++ {
		if !isSlate(i) {
			t.Errorf("picture %d after the slate came is not the slate", i-end)
			break
		}
	}
	if isSlate(len(pictures) - 1) {
		t.Error("ann is back and the slate is still there")
	}
	goesOn(t, units)
}

// goesOn checks that nothing but the picture has changed.
func goesOn(t *testing.T, units []*Unit) {
	t.Helper()
	last := map[media.Codec]time.Duration{}
	sets := map[string]bool{}
	sound := 0
	for i, u := range units {
		before, some := last[u.Codec]
		if some && (u.PTS <= before || u.PTS-before > time.Second) {
			t.Errorf("unit %d, %s: %v after %v", i, u.Codec, u.PTS, before)
		}
		last[u.Codec] = u.PTS
		if u.Codec != media.H264 {
			sound++
			continue
		}
		if tick := float64(u.PTS) * 30 / float64(time.Second); tick-float64(int(tick+0.5)) > 0.001 || float64(int(tick+0.5))-tick > 0.001 {
			t.Errorf("unit %d: %v is no multiple of a thirtieth of a second", i, u.PTS)
		}
		for _, nal := range u.Units {
			if typ := h264.Type(nal); typ == h264.TypeSPS || typ == h264.TypePPS {
				sets[string(nal)] = true
			}
		}
	}
	if len(sets) != 2 {
		t.Errorf("%d different parameter sets, want 2: the encoder was started again", len(sets))
	}
	if want := int((last[media.H264] - units[0].PTS) * 48000 / 1024 / time.Second); sound < want*8/10 {
		t.Errorf("%d frames of sound, want about %d", sound, want)
	}
}

// TestNeverDarkOwnPictures: a task with a background of its own shows that, without
// the black rectangles of its panes; and the slate while the file cannot be had.
func TestNeverDarkOwnPictures(t *testing.T) {
	t.Parallel()
	fetched := make(chan []byte)
	fetch := func(ctx context.Context, url string) ([]byte, error) {
		select {
		case file := <-fetched:
			return file, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	_, c := holdMix(t, newRoom(), -1, func(p *Plan) { p.Background = &Image{URL: "http://h/b.png"} }, fetch)
	c.forPTS(t, 300*time.Millisecond)
	green := image.NewRGBA(image.Rect(0, 0, holdW, holdH))
	for i := range green.Pix {
		green.Pix[i] = []byte{0, 160, 0, 255}[i%4]
	}
	var file bytes.Buffer
	if err := png.Encode(&file, green); err != nil {
		t.Fatal(err)
	}
	n := c.count()
	fetched <- file.Bytes()
	c.forPTS(t, time.Second)
	_, pictures := watched(t, c.until(t, "more", n, func(*Unit) bool { return true }))
	if r, g, b, _ := pictures[0].At(10, 10).RGBA(); r>>8 < 0x18 || g>>8 < 0x18 || b>>8 < 0x18 {
		t.Errorf("before the background is there: got %v, want the slate", pictures[0].At(10, 10))
	}
	last := pictures[len(pictures)-1]
	for _, at := range []image.Point{{10, 10}, {160, 90}, {310, 170}} {
		if c := last.At(at.X, at.Y).(color.RGBA); c.G < 130 || c.R > 40 || c.B > 40 {
			t.Errorf("at %v: got %v, want the green background", at, c)
		}
	}
}
