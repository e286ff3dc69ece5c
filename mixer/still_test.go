package mixer

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"braid/media"
	"braid/media/h264"
)

func stillPool(t *testing.T) *Pool {
	p := NewPool(Config{Program: buildWorker(t), MaxWidth: 1280, MaxHeight: 720, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(p.Close)
	return p
}

// keyFrame is the first picture of a test source.
func keyFrame(t *testing.T, source string) *media.AccessUnit {
	units := h264.SplitAnnexB(nil, newPlayer(t, source).pictures[0])
	return &media.AccessUnit{Codec: media.H264, Key: true, Units: units}
}

// TestJPEG looks at the file as a person would: its size and what it shows.
func TestJPEG(t *testing.T) {
	pool := stillPool(t)
	// Colour bars: white, yellow, cyan, green, magenta, red, blue from left to right.
	au := keyFrame(t, "pal75bars=size=640x360:rate=30")
	for _, c := range []struct{ width, wantW, wantH int }{{320, 320, 180}, {0, 640, 360}, {1280, 640, 360}, {100, 100, 56}, {16, 16, 9}} {
		img := jpegOf(t, pool, au, c.width)
		if s := img.Bounds().Size(); s != image.Pt(c.wantW, c.wantH) {
			t.Errorf("width %d: got %v, want %dx%d", c.width, s, c.wantW, c.wantH)
		}
	}
	img := jpegOf(t, pool, au, 320)
	for i, want := range [][3]int{{255, 255, 255}, {191, 191, 0}, {0, 191, 191}, {0, 191, 0}, {191, 0, 191}, {191, 0, 0}, {0, 0, 191}} {
		r, g, b, _ := img.At(320*(2*i+1)/16, 90).RGBA()
		for j, v := range []uint32{r, g, b} {
			if d := int(v>>8) - want[j]; d < -24 || d > 24 {
				t.Errorf("bar %d: got %d %d %d, want %v", i, r>>8, g>>8, b>>8, want)
				break
			}
		}
	}
	if running, restarts := pool.Stats(); running != 1 || restarts != 0 {
		t.Errorf("%d workers, %d restarts; want 1 and 0", running, restarts)
	}
}

func jpegOf(t *testing.T, pool *Pool, au *media.AccessUnit, width int) image.Image {
	t.Helper()
	file, err := pool.JPEG(t.Context(), au.Codec, au, width)
	if err != nil {
		t.Fatalf("width %d: %v", width, err)
	}
	img, err := jpeg.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatalf("width %d: %v", width, err)
	}
	return img
}

func TestJPEGRefuses(t *testing.T) {
	pool := stillPool(t)
	good := keyFrame(t, "testsrc2=size=320x180:rate=30")
	large := keyFrame(t, "testsrc2=size=1920x1080:rate=1")
	bad := *good
	bad.Units = [][]byte{{0x65, 1, 2, 3}}
	inter := *good
	inter.Key = false
	sound := &media.AccessUnit{Codec: media.Opus, Key: true, Units: [][]byte{{0}}}
	for name, c := range map[string]struct {
		au    *media.AccessUnit
		width int
		words string
	}{
		"no parameter sets": {&bad, 320, "key frame"},
		"not a key frame":   {&inter, 320, "not a key frame"},
		"over the maximum":  {large, 320, "1920x1088, at most 1280x720"},
		"sound":             {sound, 320, "codec"},
		"too narrow":        {good, 15, "width 15"},
		"negative":          {good, -1, "width -1"},
		"too wide":          {good, 5000, "width 5000"},
		"too long": {&media.AccessUnit{Codec: media.VP8, Key: true, Units: [][]byte{make([]byte, maxStill+1)}}, 320,
			"at most 8388608"},
	} {
		_, err := pool.JPEG(t.Context(), c.au.Codec, c.au, c.width)
		if err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got error %v, want one with %q", name, err, c.words)
		}
	}
	if _, err := pool.JPEG(t.Context(), good.Codec, good, 320); err != nil {
		t.Errorf("after all these: %v", err)
	}
}

// TestJPEGManyAtOnce: more than may be under way wait for each other and all get
// their picture.
func TestJPEGManyAtOnce(t *testing.T) {
	pool := stillPool(t)
	au := keyFrame(t, "testsrc2=size=320x180:rate=30")
	var wg sync.WaitGroup
	for range 4 * stillsMax {
		wg.Go(func() {
			if _, err := pool.JPEG(t.Context(), au.Codec, au, 160); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestJPEGOutlivesWorker: a worker that dies or hangs takes what it works on with
// it; the next picture is made by another.
func TestJPEGOutlivesWorker(t *testing.T) {
	t.Parallel()
	pool := stillPool(t)
	au := keyFrame(t, "testsrc2=size=320x180:rate=30")
	jpegOf(t, pool, au, 320)
	pool.mu.Lock()
	w := pool.workers[stillWorker]
	pool.mu.Unlock()
	if err := syscall.Kill(int(w.pid.Load()), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.JPEG(t.Context(), au.Codec, au, 320); err == nil {
		t.Error("a stopped worker made a picture")
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := pool.JPEG(t.Context(), au.Codec, au, 320)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no picture after the worker hung: %v", err)
		}
	}
	if w.restarts.Load() == 0 {
		t.Error("the worker was not started again")
	}
}

// TestJPEGAfterClose: who waits for a picture is not forgotten, and nobody gets one
// afterwards.
func TestJPEGAfterClose(t *testing.T) {
	pool := NewPool(Config{Program: "/nonexistent/braid-mixer", Log: slog.New(slog.DiscardHandler)})
	au := &media.AccessUnit{Codec: media.VP8, Key: true, Units: [][]byte{{1}}}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := pool.JPEG(ctx, au.Codec, au, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a worker: got %v, want the context's end", err)
	}
	waits := make(chan error)
	go func() {
		_, err := pool.JPEG(context.WithoutCancel(t.Context()), au.Codec, au, 0)
		waits <- err
	}()
	pool.Close()
	if err := <-waits; err == nil {
		t.Error("a picture was made while the pool closed")
	}
	if _, err := pool.JPEG(t.Context(), au.Codec, au, 0); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v, want %v", err, media.ErrClosed)
	}
}
