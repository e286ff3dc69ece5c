package transcode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/h264"
	"braid/origin"
	"braid/sei"
)

var (
	sps = []byte{0x67, 66, 0, 30, 0x95, 0xa0, 0x14, 0x01, 0x6e, 0x40}
	pps = []byte{0x68, 0xce, 0x3c, 0x80}
)

// coder is an Encoder that passes pictures on at once, or holds them back while more
// outputs than it can bear are open.
type coder struct {
	spec Spec
	bear int // outputs; 0: any
	dumb int // the output, from 1, that gives nothing; 0: none
	pace int // of so many pictures one comes out while there are more outputs

	mu     sync.Mutex
	on     map[int]bool // true once it has given a picture
	adds   []int
	held   []*media.AccessUnit
	calls  int
	closed bool
}

func newCoder(spec Spec) *coder { return &coder{spec: spec, on: make(map[int]bool)} }

func (c *coder) Add(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on[i], c.adds = false, append(c.adds, i)
}

func (c *coder) Write(au *media.AccessUnit) {
	c.mu.Lock()
	c.held = append(c.held, au)
	var out []*media.AccessUnit
	c.calls++
	switch {
	case c.bear == 0 || len(c.on) <= c.bear:
		out, c.held = c.held, nil
	case c.pace > 0 && c.calls%c.pace == 0:
		out, c.held = c.held[:1], c.held[1:]
	}
	c.mu.Unlock()
	for _, au := range out {
		for i := range c.spec.Encodes {
			c.mu.Lock()
			begun, on := c.on[i]
			if on {
				c.on[i] = true
			}
			c.mu.Unlock()
			if !on || c.dumb == i+1 {
				continue
			}
			coded := &media.AccessUnit{Codec: media.H264, PTS: au.PTS, Key: au.Key || !begun, Units: [][]byte{{0x41, byte(i)}}}
			if coded.Key {
				coded.Units = [][]byte{sps, pps, {0x65, byte(i)}}
			}
			c.spec.Emit(i, coded)
		}
	}
}

func (c *coder) Drop(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.on, i)
}

func (c *coder) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// rig is a stream of a hub and its renditions.
type rig struct {
	t      *testing.T
	hub    *origin.Hub
	in     *origin.Ingest
	begun  time.Time
	coders []*coder
	said   []string
	ran    chan error
	stop   context.CancelFunc
}

var sizes = []Rendition{{Name: "360p", Height: 360, Kbps: 700}, {Name: "720p", Height: 720, Kbps: 2000}, {Name: "180p", Height: 180, Kbps: 200, FPS: 12}}

func start(t *testing.T, change func(*Config), make func(Spec) *coder) *rig {
	r := &rig{t: t, hub: origin.NewHub(), begun: time.Now(), ran: nil}
	var err error
	if r.in, err = r.hub.Publish("live", "cam", "test"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop, r.ran = stop, newErr()
	c := Config{App: "live", Name: "cam", Renditions: sizes,
		Tap: func() (Viewer, error) { return r.hub.Tap("live", "cam") },
		Publish: func(p origin.Publisher) (Ingest, error) {
			in, err := r.hub.PublishAs(p)
			if err != nil {
				return nil, err
			}
			return in, nil
		},
		Open: func(s Spec) Encoder {
			one := newCoder(s)
			if make != nil {
				one = make(s)
			}
			r.coders = append(r.coders, one)
			return one
		},
		Trouble: func(reason string) { r.said = append(r.said, reason) },
	}
	if change != nil {
		change(&c)
	}
	go func() { r.ran <- Run(ctx, c) }()
	synctest.Wait()
	return r
}

func newErr() chan error { return make(chan error, 1) }

func (r *rig) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.ran; err != nil {
		r.t.Errorf("Run: %v", err)
	}
	r.hub.Close()
	synctest.Wait()
}

func (r *rig) open() {
	config := h264.DecoderConfig(sps, pps)
	r.in.WriteTag(&flv.Tag{Type: flv.Video, Timestamp: r.now(), Payload: append([]byte{0x17, 0, 0, 0, 0}, config...)})
	r.in.WriteTag(&flv.Tag{Type: flv.Audio, Timestamp: r.now(), Payload: []byte{0xaf, 0, 0x11, 0x90}})
}

// play sends 25 pictures a second with sound, a key frame each second, with an SEI
// message that says when, for d.
func (r *rig) play(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		head, nal := byte(0x27), byte(0x41)
		if r.now()%1000 == 0 {
			head, nal = 0x17, 0x65
		}
		said := sei.AppendNAL(nil, sei.User(5, []byte(fmt.Sprintf("{%q:%d}", "at", r.now()))), sei.Message{Type: 6, Payload: []byte{0x80}})
		body := h264.AppendAVCC([]byte{head, 1, 0, 0, 0}, [][]byte{said, {nal, 1}})
		r.in.WriteTag(&flv.Tag{Type: flv.Video, Timestamp: r.now(), Payload: body})
		r.in.WriteTag(&flv.Tag{Type: flv.Audio, Timestamp: r.now() + 7, Payload: []byte{0xaf, 1, byte(r.now() >> 8), byte(r.now())}})
		time.Sleep(40 * time.Millisecond)
	}
	synctest.Wait()
}

func (r *rig) now() uint32 { return uint32(time.Since(r.begun).Milliseconds()) }

// onAir lists the hub's streams.
func (r *rig) onAir() string {
	var names []string
	for _, s := range r.hub.Streams() {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

// watch gives what a viewer of a rendition has got so far.
func (r *rig) watch(v *origin.Viewer) (tags []*origin.Tag) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	cancel()
	all, err := v.Next(ctx)
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) {
		r.t.Fatal(err)
	}
	return append(tags, all...)
}

// A rendition has the source's times, key frames, sound and SEI, each sound before the
// next picture; it is on air as long as the source.
func TestRenditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, nil)
		time.Sleep(3 * time.Second) // the stream's time does not begin at 0
		r.open()
		r.play(2 * time.Second)
		if got := r.onAir(); got != "cam cam_180p cam_360p cam_720p" {
			t.Fatalf("on air: %s", got)
		}
		e := r.coders[0].spec.Encodes
		if fmt.Sprint(e) != "[{360 700 25 0} {720 2000 25 0} {180 200 12 12}]" {
			t.Errorf("asked the encoder for %v", e)
		}
		v, err := r.hub.Play("live", "cam_360p")
		if err != nil {
			t.Fatal(err)
		}
		r.play(time.Second)
		checkTags(t, r.watch(v))
		if s := r.hub.Streams()[2]; s.Source != "cam" || s.Audio != "AAC" || s.Video != "H264" {
			t.Errorf("the hub says %+v", s)
		}
		r.end()
		if !r.coders[0].closed {
			t.Error("the encoder is still open")
		}
		if len(r.said) > 0 {
			t.Errorf("told %q", r.said)
		}
	})
}

func checkTags(t *testing.T, tags []*origin.Tag) {
	t.Helper()
	pictures, sounds, last := 0, 0, uint32(0)
	for _, tag := range tags {
		switch {
		case tag.Type == flv.Script || flv.IsSequenceHeader(&tag.Tag):
		case tag.Type == flv.Audio:
			sounds++
			if int32(tag.Timestamp-last) > 40 {
				t.Errorf("sound of %d ms comes behind the picture of %d ms", tag.Timestamp, last)
			}
			if at := uint32(tag.Payload[2])<<8 | uint32(tag.Payload[3]); uint16(at+7) != uint16(tag.Timestamp) {
				t.Errorf("sound of %d ms comes at %d", at+7, tag.Timestamp)
			}
		default:
			pictures++
			last = tag.Timestamp
			if key := tag.Timestamp%1000 == 0; flv.IsVideoKey(tag.Payload) != key {
				t.Errorf("picture of %d ms: key frame %v", tag.Timestamp, !key)
			}
			if said := []byte(fmt.Sprintf("{%q:%d}", "at", tag.Timestamp)); !bytes.Contains(tag.Payload, said) {
				t.Errorf("picture of %d ms lacks its SEI %s", tag.Timestamp, said)
			}
			if bytes.Contains(tag.Payload, []byte{0x06, 0x06, 0x01, 0x80}) {
				t.Errorf("picture of %d ms has the recovery point of the source", tag.Timestamp)
			}
		}
	}
	if pictures < 40 || sounds < 40 {
		t.Errorf("%d pictures and %d frames of sound", pictures, sounds)
	}
}

// A machine that cannot keep up loses its biggest rendition, says so, and goes on with
// the others.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, func(s Spec) *coder {
			c := newCoder(s)
			c.bear, c.pace = 2, 2
			return c
		})
		r.open()
		r.play(15 * time.Second)
		if got := r.onAir(); got != "cam cam_180p cam_360p" {
			t.Errorf("on air: %s", got)
		}
		if len(r.said) != 1 || !strings.Contains(r.said[0], "720p is left out: this machine cannot keep up") {
			t.Errorf("told %q", r.said)
		}
		if n := r.coders[0].on; len(n) != 2 || n[1] || len(r.coders) != 1 {
			t.Errorf("the first of %d encoders still has %v", len(r.coders), n)
		}
		if left := len(r.coders[0].held); left > 0 {
			t.Errorf("%d pictures are still held back", left)
		}
		r.end()
	})
}

// A rendition that was dropped comes back after a minute, with a key frame of the
// source and its sound, and after two when that did not last; when it has, after one.
func TestComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, func(s Spec) *coder {
			c := newCoder(s)
			c.bear, c.pace = 2, 2
			return c
		})
		bear := func(n int) {
			c := r.coders[0]
			c.mu.Lock()
			defer c.mu.Unlock()
			c.bear = n
		}
		const all, less = "cam cam_180p cam_360p cam_720p", "cam cam_180p cam_360p"
		see := func(want string, within time.Duration) (after time.Duration) {
			t.Helper()
			begin := time.Now()
			for r.onAir() != want {
				if r.play(time.Second); time.Since(begin) > within {
					t.Fatalf("on air after %v: %s, want %s; told %q", within, r.onAir(), want, r.said)
				}
			}
			return time.Since(begin)
		}
		r.open()
		see(all, 2*time.Second)
		see(less, 15*time.Second)
		if took := see(all, 70*time.Second); took < 50*time.Second {
			t.Errorf("it came back after %v, want a minute", took)
		}
		if last := r.said[len(r.said)-1]; last != "" {
			t.Errorf("it is back, and the last word is %q", last)
		}
		see(less, 15*time.Second)
		if took := see(all, 130*time.Second); took < 110*time.Second {
			t.Errorf("it came back after %v, want two minutes", took)
		}
		bear(0)
		v, err := r.hub.Play("live", "cam_720p")
		if err != nil {
			t.Fatal(err)
		}
		r.play(3 * time.Second)
		checkTags(t, r.watch(v))
		r.play(backGood)
		bear(2)
		see(less, 15*time.Second)
		if took := see(all, 70*time.Second); took < 50*time.Second {
			t.Errorf("it had lasted, and came back after %v, want a minute", took)
		}
		if n := len(r.coders); n != 1 {
			t.Errorf("%d encoders were opened, want one", n)
		}
		r.end()
	})
}

// An encoder that gives nothing costs the others nothing: it is the one that is dropped.
func TestDumbEncoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, func(s Spec) *coder {
			c := newCoder(s)
			c.dumb = 1
			return c
		})
		r.open()
		r.play(20 * time.Second)
		if got := r.onAir(); got != "cam cam_180p cam_720p" {
			t.Errorf("on air: %s", got)
		}
		if len(r.said) != 1 || !strings.Contains(r.said[0], "360p is left out: nothing has come from its encoder") {
			t.Errorf("told %q", r.said)
		}
		r.end()
	})
}

// Encoders that hang are replaced; nothing is dropped for it.
func TestHungEncoders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := 0
		r := start(t, nil, func(s Spec) *coder {
			c := newCoder(s)
			if hung++; hung == 1 {
				c.bear = -1
			}
			return c
		})
		r.open()
		r.play(15 * time.Second)
		if len(r.coders) != 2 || !r.coders[0].closed {
			t.Fatalf("%d encoders were opened, want a second one", len(r.coders))
		}
		if got := r.onAir(); got != "cam cam_180p cam_360p cam_720p" || len(r.said) > 0 {
			t.Errorf("on air %s; told %q", got, r.said)
		}
		r.end()
	})
}

// Streams share a budget: one that does not fit leaves out its biggest, one for which
// nothing is left waits and says so.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, h := sizeOf(&media.AccessUnit{Codec: media.H264, Units: [][]byte{sps}})
		full := decodeCost(w, h, 25)
		for _, s := range sizes {
			full += encodeCost(w, h, 25, s)
		}
		b := &Budget{Cores: full * 0.9}
		t.Logf("pictures of %dx%d: all of it takes %.3f cores", w, h, full)
		r := start(t, func(c *Config) { c.Budget = b }, nil)
		r.open()
		r.play(2 * time.Second)
		if got := r.onAir(); got != "cam cam_180p cam_360p" {
			t.Errorf("on air: %s", got)
		}
		if len(r.said) != 1 || !strings.Contains(r.said[0], "720p is left out: with it the stream takes") {
			t.Errorf("told %q", r.said)
		}
		used := b.used
		other := start(t, func(c *Config) { c.Budget, c.Renditions = b, sizes[1:2] }, nil)
		other.open()
		other.play(2 * time.Second)
		if got := other.onAir(); got != "cam" || len(other.said) != 1 || !strings.Contains(other.said[0], "no room") {
			t.Fatalf("without room: on air %s, told %q, %.3f cores used", got, other.said, b.used)
		}
		r.end()
		if b.used > 1e-9 {
			t.Errorf("%g of %g cores are not given back", b.used, used)
		}
		n := len(other.said)
		other.play(4 * time.Second)
		if got := other.onAir(); got != "cam cam_720p" || other.said[len(other.said)-1] != "" || len(other.said) != n+1 {
			t.Errorf("when there is room again: on air %s, told %q", got, other.said[n:])
		}
		other.end()
		if b.used > 1e-9 {
			t.Errorf("%g cores are not given back", b.used)
		}
	})
}

// What was left out because others had the budget comes back when they have ended.
func TestBudgetIsFreeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, h := sizeOf(&media.AccessUnit{Codec: media.H264, Units: [][]byte{sps}})
		full := decodeCost(w, h, 25)
		for _, s := range sizes {
			full += encodeCost(w, h, 25, s)
		}
		b := &Budget{Cores: full * 1.6}
		first := start(t, func(c *Config) { c.Budget = b }, nil)
		first.open()
		first.play(2 * time.Second)
		r := start(t, func(c *Config) { c.Budget = b }, nil)
		r.open()
		r.play(3 * time.Second)
		if got := r.onAir(); got == "cam cam_180p cam_360p cam_720p" || len(r.said) == 0 {
			t.Fatalf("on air: %s, told %q", got, r.said)
		}
		first.end()
		r.play(4 * time.Second)
		if got := r.onAir(); got != "cam cam_180p cam_360p cam_720p" || r.said[len(r.said)-1] != "" {
			t.Errorf("when there is room again: on air %s, told %q", got, r.said)
		}
		if b.used > full*1.001 || b.used < full*0.999 {
			t.Errorf("%g cores are reserved, want %g", b.used, full)
		}
		r.end()
		if b.used > 1e-9 {
			t.Errorf("%g cores are not given back", b.used)
		}
	})
}

// An encoder that comes back, its clock begun anew, is transcoded again; a name that
// somebody else has is left alone; what cannot be decoded is said.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, nil)
		taken, err := r.hub.Publish("live", "cam_360p", "somebody")
		if err != nil {
			t.Fatal(err)
		}
		r.open()
		r.play(2 * time.Second)
		if len(r.said) != 1 || !strings.Contains(r.said[0], "360p is left out: it cannot go on air") {
			t.Errorf("a name that is taken: told %q", r.said)
		}
		r.in.Close()
		time.Sleep(time.Second)
		if r.in, err = r.hub.Publish("live", "cam", "test"); err != nil {
			t.Fatal(err)
		}
		r.begun = time.Now()
		r.open()
		r.play(2 * time.Second)
		if len(r.coders) != 2 || !r.coders[0].closed {
			t.Errorf("%d encoders were opened for two publishers", len(r.coders))
		}
		v, err := r.hub.Play("live", "cam_720p")
		if err != nil {
			t.Fatal(err)
		}
		var stamps []uint32
		for _, tag := range r.watch(v) {
			if tag.Type == flv.Video {
				stamps = append(stamps, tag.Timestamp)
			}
		}
		if len(stamps) < 20 || stamps[0] < 3000 {
			t.Errorf("after the encoder came back pictures are at %v", stamps)
		}
		r.coders[1].spec.Failed(-1, "picture of 7680x4320 is over the limit")
		if last := r.said[len(r.said)-1]; !strings.Contains(last, "7680x4320") {
			t.Errorf("told %q", r.said)
		}
		r.play(3 * time.Second)
		if last := r.said[len(r.said)-1]; strings.Contains(last, "7680x4320") || !strings.Contains(last, "360p is left out") {
			t.Errorf("pictures come again, and the last word is %q", last)
		}
		taken.Close()
		r.play(2 * time.Minute)
		if got := r.onAir(); got != "cam cam_180p cam_360p cam_720p" || r.said[len(r.said)-1] != "" {
			t.Errorf("the name is free: on air %s, told %q", got, r.said)
		}
		r.end()
	})
}

// Run ends with its stream; its renditions do, too.
func TestEndsWithStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, nil)
		r.open()
		r.play(time.Second)
		r.in.Close()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := r.onAir(); got != "" {
			t.Errorf("20 s after the end there are on air: %s", got)
		}
		r.end()
	})
}

func TestConfigIsChecked(t *testing.T) {
	for word, list := range map[string][]Rendition{
		"0 renditions":         nil,
		"7 renditions":         make([]Rendition, 7),
		"empty or there twice": {{Name: "a", Height: 360, Kbps: 1}, {Name: "a", Height: 180, Kbps: 1}},
		"height 2000":          {{Name: "a", Height: 2000, Kbps: 1}},
		"30000 kbit/s":         {{Name: "a", Height: 360, Kbps: 30000}},
		"90 pictures a second": {{Name: "a", Height: 360, Kbps: 1, FPS: 90}},
	} {
		if err := Run(t.Context(), Config{Renditions: list}); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), word) {
			t.Errorf("got %v, want one with %q", err, word)
		}
	}
}

func TestFrameRate(t *testing.T) {
	head := func(ms ...int) (all []*media.AccessUnit) {
		for _, m := range ms {
			all = append(all, &media.AccessUnit{PTS: time.Duration(m) * time.Millisecond})
		}
		return all
	}
	for _, c := range []struct {
		head []*media.AccessUnit
		want int
	}{
		{head(0, 33, 67, 100, 133, 167, 200, 233, 267, 300, 333, 367), 30},
		{head(0, 120, 40, 80, 240, 160, 200, 360, 280, 320, 480, 400), 25}, // B-frames
		{head(0, 17, 33, 50, 67, 83, 100, 117, 133, 150, 167, 183), 60},
		{head(0, 33, 67, 100, 2133, 2167, 2200, 2233, 2267, 2300), 30}, // a hole
		{head(0, 42, 83, 125, 167, 209, 250, 292), 24},
		{head(0, 5000), 1},
		{head(0, 1, 2, 3), 60},
		{head(0, 0, 0), 30},
		{head(0), 30},
	} {
		if got := frameRate(c.head); got != c.want {
			t.Errorf("%d pictures: got %d a second, want %d", len(c.head), got, c.want)
		}
	}
}
