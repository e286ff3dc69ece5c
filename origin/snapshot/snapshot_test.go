package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/h264"
	"braid/origin"
	"braid/origin/storage"
)

// full is a storage that can be told to fail.
type full struct {
	storage.Storage
	mu  *sync.Mutex
	err error
}

func (f *full) Put(ctx context.Context, name string, r io.Reader, size int64, kind string) error {
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.Storage.Put(ctx, name, r, size, kind)
}

// rig is a stream of an origin and the pictures that are taken of it.
type rig struct {
	t     *testing.T
	hub   *origin.Hub
	in    *origin.Ingest
	dir   *storage.Dir
	full  *full
	shelf Shelf
	begun time.Time
	taken []Picture
	said  []string
	ran   chan error
	stop  context.CancelFunc

	mu     sync.Mutex // held while the job tells, and by the test before time passes
	passes int
}

// pass lets time pass, behind what the test has read and written so far.
func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	r.passes++
	r.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
}

func start(t *testing.T, change func(*Config)) *rig {
	dir, err := storage.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, hub: origin.NewHub(), dir: dir, begun: time.Now()}
	r.full = &full{Storage: dir, mu: &r.mu}
	if r.in, err = r.hub.Publish("live", "cam", "test"); err != nil {
		t.Fatal(err)
	}
	r.run(change)
	return r
}

func (r *rig) run(change func(*Config)) {
	ctx, stop := context.WithCancel(r.t.Context())
	r.stop, r.ran = stop, make(chan error, 1)
	c := Config{
		App: "live", Name: "cam", Interval: 10 * time.Second, Storage: r.full, Shelf: &r.shelf,
		Tap: func() (Viewer, error) {
			v, err := r.hub.Tap("live", "cam")
			if err != nil {
				return nil, err
			}
			return v, nil
		},
		JPEG: func(_ context.Context, codec media.Codec, au *media.AccessUnit, width int) ([]byte, error) {
			if !h264.IsKey(au.Units) || len(au.Units) != 3 {
				return nil, fmt.Errorf("%s: %d units, want SPS, PPS and an IDR", codec, len(au.Units))
			}
			return []byte(fmt.Sprintf("jpeg of %v, width %d", au.PTS, width)), nil
		},
		Taken: func(p Picture) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.taken = append(r.taken, p)
		},
		Failed: func(reason string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.said = append(r.said, reason)
		},
	}
	if change != nil {
		change(&c)
	}
	go func() {
		time.Sleep(time.Millisecond) // so that no picture is due in the moment in which a key frame comes
		r.ran <- Run(ctx, c)
	}()
}

// end closes the stream for good and waits for Run.
func (r *rig) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.ran; err != nil {
		r.t.Errorf("Run: %v", err)
	}
	r.hub.Close()
	r.dir.Close()
}

// play sends a picture each 40 ms with a key frame each two seconds, for d. Key frames
// do not fall on the seconds: what comes at the very moment of a picture may be in it or not.
func (r *rig) play(d time.Duration) {
	r.pass(0)
	config := h264.DecoderConfig([]byte{0x67, 66, 0, 30, 0x95, 0xa0, 0x14, 0x01, 0x6e, 0x40}, []byte{0x68, 0xce, 0x3c, 0x80})
	r.in.WriteTag(&flv.Tag{Type: flv.Video, Timestamp: r.now(), Payload: append([]byte{0x17, 0, 0, 0, 0}, config...)})
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(40 * time.Millisecond) {
		head, nal := byte(0x27), byte(0x41)
		if r.now()%2000 == 1040 {
			head, nal = 0x17, 0x65
		}
		r.in.WriteTag(&flv.Tag{Type: flv.Video, Timestamp: r.now(), Payload: []byte{head, 1, 0, 0, 0, 0, 0, 0, 2, nal, 1}})
	}
	synctest.Wait()
}

func (r *rig) now() uint32 { return uint32(time.Since(r.begun).Milliseconds()) }

// files are all that is stored, by name.
func (r *rig) files() map[string]string {
	r.t.Helper()
	all := map[string]string{}
	for o, err := range r.dir.List(r.t.Context(), "") {
		if err != nil {
			r.t.Fatal(err)
		}
		f, _, err := r.dir.Open(r.t.Context(), o.Name)
		if err != nil {
			r.t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			r.t.Fatal(err)
		}
		all[o.Name] = string(text)
	}
	return all
}

// Each interval gives one picture: the newest under its name, in memory for HTTP,
// and as many before it as are wanted.
func TestPictures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *Config) { c.History, c.Width, c.Pattern = 2, 640, "{app}/{stream}/{sequence}" })
		r.play(45 * time.Second) // the first is waited for, then at 10, 20, 30 and 40 s
		if len(r.taken) != 5 || len(r.said) > 0 {
			t.Fatalf("%d pictures in 45 s, want 5: %+v; told %q", len(r.taken), r.taken, r.said)
		}
		want := map[string]string{
			"origin/live/cam/latest.jpg": "jpeg of 39.04s, width 640",
			"live/cam/000003.jpg":        "jpeg of 29.04s, width 640",
			"live/cam/000004.jpg":        "jpeg of 39.04s, width 640",
		}
		if got := r.files(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("stored: got %v, want %v", got, want)
		}
		last := r.taken[4]
		if last.Name != "live/cam/000004.jpg" || last.Latest != "origin/live/cam/latest.jpg" || last.Size != 25 || last.Time.Sub(r.begun) != 39040*time.Millisecond {
			t.Errorf("told of %+v", last)
		}
		if file, taken, ok := r.shelf.Latest("live", "cam"); !ok || string(file) != "jpeg of 39.04s, width 640" || taken.Sub(r.begun) != 39040*time.Millisecond {
			t.Errorf("in memory: %q of %v", file, taken)
		}
		r.end()
		if _, _, ok := r.shelf.Latest("live", "cam"); ok {
			t.Error("the stream has ended and its picture is still in memory")
		}
	})
}

// A later run goes on with the numbers and the history of the one before.
func TestHistoryIsRecalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		change := func(c *Config) {
			c.History, c.Interval, c.Pattern = 3, time.Second, "{domain}/{stream}-{sequence}-{time}"
		}
		r := start(t, change)
		r.play(7 * time.Second) // key frames at 1, 3, 5 s
		r.stop()
		<-r.ran
		r.run(change)
		r.play(4 * time.Second) // at 7 and 9 s, and the one of 5 s anew, since that run does not know it
		var names []string
		for name := range r.files() {
			if strings.HasPrefix(name, "origin/cam-") {
				names = append(names, strings.SplitN(name, "-", 3)[1])
			}
		}
		slices.Sort(names)
		if fmt.Sprint(names) != "[000003 000004 000005]" {
			t.Errorf("kept %v, want 3 to 5", names)
		}
		r.end()
	})
}

// A stream that stands still gives no picture twice, one without pictures says so, and
// a storage that fails is told of once and then tried again.
func TestTroubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		r.pass(2 * time.Minute)
		if len(r.said) != 1 || !strings.Contains(r.said[0], "no key frame") {
			t.Errorf("a stream without pictures: told %q", r.said)
		}
		r.play(time.Minute)
		n := len(r.taken)
		if n < 4 {
			t.Errorf("%d pictures in a minute", n)
		}
		r.pass(time.Minute) // the encoder hangs; what it sent stays in the cache for a while
		if len(r.taken) > n+1 {
			t.Errorf("%d pictures of a stream that stands still", len(r.taken)-n)
		}
		r.said, n = nil, len(r.taken)
		r.full.err = errors.New("disk full")
		r.play(time.Minute)
		if len(r.said) != 1 || !strings.Contains(r.said[0], "disk full") || len(r.taken) != n {
			t.Errorf("a full disk: told %q, %d pictures", r.said, len(r.taken)-n)
		}
		// Services and workers that break off say so in the words of a stream's end.
		for _, err := range []error{io.EOF, media.ErrNotFound} {
			r.full.err = fmt.Errorf("put: %w", err)
			r.play(15 * time.Second)
			if len(r.ran) != 0 {
				t.Fatalf("a storage that says %v ends the snapshots", err)
			}
		}
		r.full.err = nil
		r.play(25 * time.Second)
		if len(r.taken) < n+2 {
			t.Errorf("after the disk had room: %d pictures in 25 s", len(r.taken)-n)
		}
		r.end()
	})
}

// Run ends with its stream.
func TestEndsWithStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		r.play(3 * time.Second)
		r.in.Close()
		r.pass(30 * time.Second)
		select {
		case err := <-r.ran:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		default:
			t.Error("Run goes on 30 s after its stream's end")
			r.end()
		}
		r.stop()
		r.hub.Close()
		r.dir.Close()
	})
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		c    Config
		word string
	}{
		{"interval", Config{Interval: time.Millisecond}, "interval 1ms"},
		{"interval", Config{Interval: 2 * time.Hour}, "interval 2h0m0s"},
		{"history", Config{Interval: time.Second, History: 10001}, "history 10001"},
		{"pattern", Config{Interval: time.Second, Pattern: "x"}, "{sequence}"},
	} {
		if err := Run(t.Context(), c.c); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: got %v, want one with %q", c.name, err, c.word)
		}
	}
}

func TestCheckPattern(t *testing.T) {
	for pattern, word := range map[string]string{
		"":                                  "",
		DefaultPattern:                      "",
		"pictures/{stream}_{sequence}":      "",
		"{stream}":                          "neither",
		"{time}/../x":                       "way up",
		"/{time}":                           "empty part",
		"{time}/":                           "empty part",
		"{time}//x":                         "empty part",
		"{time}{host}":                      "{host}",
		"{time} x":                          "characters",
		"{time}ä":                           "characters",
		"{time}{":                           "characters",
		strings.Repeat("x", 255) + "{time}": "255",
	} {
		err := CheckPattern(pattern)
		if (err == nil) != (word == "") || err != nil && !strings.Contains(err.Error(), word) {
			t.Errorf("%.60q: got %v, want an error with %q", pattern, err, word)
		}
	}
}
