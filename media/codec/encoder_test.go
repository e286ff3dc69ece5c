//go:build cgo

package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"braid/media"
	"braid/media/h264"
)

// encodeAll codes the pictures, with an IDR where key says so, and checks what
// each access unit must hold.
func encodeAll(t testing.TB, e *VideoEncoder, pics []*Picture, key func(i int) bool) (stream []byte, keys []int) {
	t.Helper()
	for i, pic := range pics {
		units, isKey, err := e.Encode(pic, key(i))
		if err != nil {
			t.Fatalf("picture %d: %v", i, err)
		}
		if isKey {
			keys = append(keys, i)
		}
		if got := h264.IsKey(units); got != isKey {
			t.Errorf("picture %d: key is reported %v, the units say %v", i, isKey, got)
		}
		for n, u := range units {
			if k := h264.Type(u); isKey && (n == 0) != (k == h264.TypeSPS) || isKey && (n == 1) != (k == h264.TypePPS) || !isKey && k != h264.TypeSlice {
				t.Errorf("picture %d (key %v): unit %d has type %d", i, isKey, n, k)
			}
		}
		stream = h264.AppendAnnexB(stream, units)
	}
	return stream, keys
}

func never(int) bool { return false }

func TestEncodeForFFmpeg(t *testing.T) {
	const w, h, n = 320, 180, 60
	pics := testPictures(t, w, h, n, movingNoise)
	for _, c := range []struct {
		params  VideoParams
		profile string
		slices  int
	}{
		{VideoParams{Kbps: 1500}, "Constrained Baseline", 1},
		{VideoParams{Kbps: 1500, Profile: "main"}, "Main", 1},
		{VideoParams{Kbps: 1500, Profile: "high", Preset: "veryfast", Threads: 2}, "High", 2},
	} {
		c.params.Width, c.params.Height, c.params.FPS, c.params.GOP = w, h, 30, 24
		t.Run(fmt.Sprintf("%s %s %d", c.params.Profile, c.params.Preset, c.params.Threads), func(t *testing.T) {
			stream, keys := encodeAll(t, newEncoder(t, c.params), pics, never)
			if got := fmt.Sprint(keys); got != "[0 24 48]" {
				t.Errorf("IDR at %s, want every 24 pictures", got)
			}
			info := ffprobe(t, stream)
			if info.Profile != c.profile || info.Width != w || info.Height != h || info.BFrames != 0 || info.Format != "yuv420p" || info.Frames != fmt.Sprint(n) {
				t.Errorf("ffprobe sees %+v, want profile %s and %d frames", info, c.profile, n)
			}
			// What the picture lost: each decoded picture against its source.
			raw := clip{codec: media.H264, file: stream}.raw(t)
			if len(raw) != n*w*h*3/2 {
				t.Fatalf("ffmpeg decodes %d bytes", len(raw))
			}
			for i, pic := range pics {
				if q := psnr(raw[i*w*h*3/2:][:w*h*3/2], pack(pic)); q < 32 {
					t.Errorf("picture %d: PSNR %.1f dB, want 32 and more", i, q)
				}
			}
		})
	}
}

type probed struct {
	Profile       string `json:"profile"`
	Width, Height int
	Format        string `json:"pix_fmt"`
	BFrames       int    `json:"has_b_frames"`
	Frames        string `json:"nb_read_frames"`
}

func ffprobe(t testing.TB, stream []byte) probed {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clip.h264")
	if err := os.WriteFile(file, stream, 0o600); err != nil {
		t.Fatal(err)
	}
	var out struct{ Streams []probed }
	if err := json.Unmarshal(run(t, nil, "ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", file), &out); err != nil || len(out.Streams) != 1 {
		t.Fatalf("ffprobe: %d streams, error %v", len(out.Streams), err)
	}
	return out.Streams[0]
}

// A forced IDR is the very picture asked for, and the GOP counts from there.
func TestForcedKey(t *testing.T) {
	pics := testPictures(t, 160, 96, 60, movingNoise)
	e := newEncoder(t, VideoParams{Width: 160, Height: 96, FPS: 30, Kbps: 300, GOP: 30})
	_, keys := encodeAll(t, e, pics, func(i int) bool { return i == 7 || i == 8 || i == 20 })
	if got := fmt.Sprint(keys); got != "[0 7 8 20 50]" {
		t.Errorf("IDR at %s, want [0 7 8 20 50]", got)
	}
}

// SetBitrate holds from the next picture on and makes no IDR; a still picture
// takes next to nothing.
func TestBitrate(t *testing.T) {
	const w, h, n = 320, 180, 240
	pics := testPictures(t, w, h, n, "testsrc2=size=%dx%d:rate=30,noise=alls=40:allf=t")
	e := newEncoder(t, VideoParams{Width: w, Height: h, FPS: 30, Kbps: 1000, GOP: 600})
	rate := func(pics []*Picture) int {
		stream, keys := encodeAll(t, e, pics, never)
		if len(keys) > 0 && keys[0] != 0 {
			t.Errorf("IDR at %v", keys)
		}
		return len(stream) * 8 * 30 / len(pics) / 1000
	}
	encodeAll(t, e, pics[:30], never) // begins with a full buffer of one second
	first := rate(pics[30 : n/2])
	if err := e.SetBitrate(250); err != nil {
		t.Fatal(err)
	}
	encodeAll(t, e, pics[n/2:n/2+30], never) // the buffer drains
	second := rate(pics[n/2+30:])
	still := make([]*Picture, 60)
	for i := range still {
		still[i] = NewPicture(w, h)
		still[i].Crop(w/4, h/6, w/2, h/2).Fill(180, 60, 200)
	}
	encodeAll(t, e, still, never)
	quiet := rate(still)
	t.Logf("1000 kbps: %d, 250 kbps: %d, still: %d", first, second, quiet)
	if first < 850 || first > 1100 || second < 210 || second > 290 || quiet > 25 {
		t.Errorf("got %d, %d and %d kbps, want about 1000, 250 and 0", first, second, quiet)
	}
	if err := e.SetBitrate(0); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), "kbps 0, want 1..20000") {
		t.Errorf("0 kbps: got %v", err)
	}
}

// The picture may be a part of a larger one, and is only read.
func TestEncodeCrop(t *testing.T) {
	big := randomPicture(200, 120)
	before := pack(big)
	part := big.Crop(20, 10, 128, 96)
	own := NewPicture(128, 96)
	Copy(own, part)
	p := VideoParams{Width: 128, Height: 96, FPS: 30, Kbps: 2000, GOP: 30}
	a, _, _ := newEncoder(t, p).Encode(part, true)
	b, _, _ := newEncoder(t, p).Encode(own, true)
	if len(a) == 0 || !bytes.Equal(h264.AppendAnnexB(nil, a), h264.AppendAnnexB(nil, b)) {
		t.Error("a cropped picture and its copy code differently")
	}
	if !bytes.Equal(before, pack(big)) {
		t.Error("Encode wrote into the picture")
	}
}

func TestVideoParams(t *testing.T) {
	good := VideoParams{Width: 640, Height: 360, FPS: 30, Kbps: 800, GOP: 60}
	for want, change := range map[string]func(p *VideoParams){
		"width 0, want 16..1920":      func(p *VideoParams) { p.Width = 0 },
		"width 1922, want 16..1920":   func(p *VideoParams) { p.Width = 1922 },
		"height 361 is not even":      func(p *VideoParams) { p.Height = 361 },
		"fps 0, want 1..60":           func(p *VideoParams) { p.FPS = 0 },
		"kbps 1000000, want 1..20000": func(p *VideoParams) { p.Kbps = 1000000 },
		"gop -1, want 1..600":         func(p *VideoParams) { p.GOP = -1 },
		"threads 9, want 1..8":        func(p *VideoParams) { p.Threads = 9 },
		"profile high10, want one of": func(p *VideoParams) { p.Profile = "high10" },
		"preset fastest, want one of": func(p *VideoParams) { p.Preset = "fastest" },
	} {
		p := good
		change(&p)
		if _, err := NewVideoEncoder(p); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, size := range [][2]int{{16, 16}, {1920, 1920}, {1080, 1920}} {
		p := good
		p.Width, p.Height, p.Threads = size[0], size[1], 2
		if _, key, err := newEncoder(t, p).Encode(NewPicture(size[0], size[1]), false); err != nil || !key {
			t.Errorf("%v: key %v, error %v", size, key, err)
		}
	}
	// The ends of what the control API documents (artc-api.md section 4.2).
	for _, change := range []func(p *VideoParams){
		func(p *VideoParams) { p.Kbps, p.Preset = 1, "placebo" },
		func(p *VideoParams) { p.Kbps, p.FPS, p.GOP, p.Preset, p.Profile = 10000, 1, 1, "veryslow", "high" },
	} {
		p := good
		change(&p)
		if units, key, err := newEncoder(t, p).Encode(randomPicture(640, 360), false); err != nil || !key || len(units) == 0 {
			t.Errorf("%+v: %d units, key %v, error %v", p, len(units), key, err)
		}
	}
	e := newEncoder(t, good)
	if _, _, err := e.Encode(NewPicture(320, 180), false); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("other size: got %v", err)
	}
	e.Close()
	if _, _, err := e.Encode(NewPicture(640, 360), false); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
	if err := e.SetBitrate(100); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
}

func TestEncodersDoNotLeak(t *testing.T) {
	pic := NewPicture(320, 180)
	cycle := func() {
		e, err := NewVideoEncoder(VideoParams{Width: 320, Height: 180, FPS: 30, Kbps: 400, GOP: 60, Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if _, _, err := e.Encode(pic, false); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		cycle()
	}
	before := resident(t)
	for range 50 {
		cycle()
	}
	// One lost encoder is over 1 MiB.
	if grown := resident(t) - before; grown > 12 {
		t.Errorf("50 encoders: resident memory grew by %.1f MiB, want at most 12", grown)
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, s := range [][3]int{{640, 360, 1}, {1280, 720, 1}, {1280, 720, 2}} {
		for _, profile := range []string{"baseline", "high"} {
			b.Run(fmt.Sprintf("%s/%dp/threads%d", profile, s[1], s[2]), func(b *testing.B) {
				pics := testPictures(b, s[0], s[1], 30, movingNoise)
				e := newEncoder(b, VideoParams{Width: s[0], Height: s[1], FPS: 30, Kbps: 2000, GOP: 60, Profile: profile, Threads: s[2]})
				b.ReportAllocs()
				reportCPU(b)
				for i := 0; b.Loop(); i++ {
					if _, _, err := e.Encode(pics[i%30], false); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
