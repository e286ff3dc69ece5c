package relay

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"braid/media"
	"braid/media/flv"
)

// openOutlet is an outlet with one push whose session takes everything.
func openOutlet(sei *SEI) (*outlet, *Push) {
	o := newOutlet(slog.New(slog.DiscardHandler))
	p := NewPush(PushConfig{Video: true, Audio: flv.AudioConfig{SampleRate: 48000, Channels: 2}})
	p.queue.open(true)
	o.pushes["rtmp://h/a/1"] = &running{push: p}
	o.setSEILocked(sei, "")
	return o, p
}

func picture(ms int, key bool) *media.AccessUnit {
	unit := []byte{0x41, 0x9a, 1}
	if key {
		unit = []byte{0x65, 0x88, 1}
	}
	return &media.AccessUnit{Codec: media.H264, PTS: time.Duration(ms) * time.Millisecond, Key: key, Units: [][]byte{unit}}
}

// When the time of the pictures goes back, because a publisher's first packets
// were held up or a worker was started again, none is left out: those that
// follow need it.
func TestOutletKeepsPicturesWhenTimeGoesBack(t *testing.T) {
	o, p := openOutlet(nil)
	times := []int{0, 33, 66, 400, 100, 133, 166, 433}
	for i, ms := range times {
		o.write(picture(ms, i == 0), nil, 0)
	}
	last := time.Duration(-1)
	for i := range times {
		au := p.queue.take()
		if au == nil {
			t.Fatalf("%d pictures of %d came", i, len(times))
		}
		if au.PTS <= last {
			t.Errorf("picture %d: %v after %v", i, au.PTS, last)
		}
		last = au.PTS
	}
	if want := 433 * time.Millisecond; last != want {
		t.Errorf("the last picture is at %v, want its own time %v", last, want)
	}
}

// Content that comes with an update is in the next picture; content that an
// update takes away is in none.
func TestOutletContentFollowsUpdates(t *testing.T) {
	pass := func(content string) *SEI {
		return &SEI{PayloadType: 5, PassThrough: &SEIRule{FollowIDR: true}, Key: "udd", Content: content}
	}
	o, p := openOutlet(pass("one"))
	next := func(ms int, revision uint32) []byte {
		o.write(picture(ms, ms == 0), nil, revision)
		return bytes.Join(p.queue.take().Units, nil)
	}
	if b := next(0, 1); !bytes.Contains(b, []byte("one")) {
		t.Errorf("the first picture is without content: %q", b)
	}
	if b := next(33, 1); bytes.Contains(b, []byte("one")) {
		t.Errorf("the second picture has content that is due at key frames: %q", b)
	}
	o.setSEILocked(pass("two"), "")
	if b := next(66, 1); !bytes.Contains(b, []byte("two")) {
		t.Errorf("the picture after the update is without its content: %q", b)
	}
	o.setSEILocked(nil, "")
	for ms := 99; ms < 200; ms += 33 {
		if b := next(ms, uint32(ms)); bytes.Contains(b, []byte("two")) {
			t.Errorf("content was taken away and is still written: %q", b)
		}
	}
	o.custom("three")
	if b := next(233, 1); !bytes.Contains(b, []byte("three")) {
		t.Errorf("the picture after SetLiveMpuTaskSei is without its content: %q", b)
	}
}

// SetLiveMpuTaskSei works in a task that was started without SeiParams.
func TestOutletCustomContentWithoutParameters(t *testing.T) {
	o, p := openOutlet(nil)
	o.write(picture(0, true), nil, 0)
	o.custom("three")
	o.write(picture(33, false), nil, 0)
	p.queue.take()
	if b := bytes.Join(p.queue.take().Units, nil); !bytes.Contains(b, []byte("three")) {
		t.Errorf("the next picture is without the content: %q", b)
	}
}

// Custom content lasts over an update, unless content comes with the old or the
// new parameters.
func TestContentAfter(t *testing.T) {
	pass := &SEI{PassThrough: &SEIRule{}, Content: "given"}
	rules := &SEI{Layout: &SEIRule{}}
	for _, c := range []struct {
		name      string
		old, next *SEI
		want      string
	}{
		{"no parameters", nil, nil, "custom"},
		{"layout alone", rules, rules, "custom"},
		{"content comes", rules, pass, ""},
		{"content goes", pass, nil, ""},
		{"content is replaced", pass, pass, ""},
	} {
		if got := contentAfter(c.old, c.next, "custom"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
