package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/codec"
	"braid/mixer/wire"
)

// TestHostile has one good input and bad ones: damaged data, lost frames, and
// two that announce gigantic pictures. Each is told, the good one goes on, and a
// bad one that mends is shown again.
func TestHostile(t *testing.T) {
	t.Parallel()
	good := h264Clip(t, 1, 320, 180, 100)
	mended := h264Clip(t, 2, 320, 180, 40)
	hurt := h264Clip(t, 3, 320, 180, 30)
	for i := range hurt.units[15] { // of the SPS nothing is here, it is a P picture
		u := slices.Clone(hurt.units[15][i])
		for k := len(u) / 3; k < len(u); k++ {
			u[k] ^= 0xa5
		}
		hurt.units[15][i] = u
	}
	r := newRig(t)
	start := r.now() + 50*time.Millisecond
	for id := uint32(1); id <= 5; id++ {
		kind := media.H264
		if id == 5 {
			kind = media.VP8
		}
		r.send(&wire.OpenInput{Input: id, Group: id, Codec: kind})
	}
	r.send(&wire.OpenMix{Output: 1, Encode: halfHD}, quarters(1, 1, 1, 2, 3, 4))
	r.feed(1, good.at(start), nil)
	r.feed(2, append(hurt.at(start), mended.at(start+1200*time.Millisecond)...), nil)
	lost := mended.at(start)
	lost[10].Lost = true
	r.feed(3, lost, nil)
	bomb := slices.Clone(mended.units[0])
	bomb[0] = testkit.SPS(1024, 544)
	r.feed(4, []*wire.Media{
		{PTS: start, Key: true, Units: bomb}, {PTS: start + time.Second/30, Key: true, Units: bomb},
		{PTS: start + 2*time.Second, Key: true, Units: mended.units[0]}}, nil)
	r.feed(5, []*wire.Media{{PTS: start, Key: true, Units: [][]byte{{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f, 0, 0, 0, 0}}}}, nil)
	// What names nothing, or twice the same, is refused with words, not fatal.
	r.send(&wire.OpenInput{Input: 1, Codec: media.H264}, &wire.OpenInput{Input: 6, Codec: media.AAC},
		&wire.OpenMix{Output: 1, Encode: halfHD}, &wire.OpenMix{Output: 2}, &wire.OpenTranscode{Output: 3, Input: 77},
		&wire.Layout{Output: 9}, &wire.Layout{Output: 1, Panes: []wire.Pane{{X: 2, W: 640, H: 360}}},
		&wire.Media{Input: 99, Units: [][]byte{{1}}}, &wire.CloseInput{Input: 99}, &wire.CloseOutput{Output: 99})
	r.until(1, media.H264, start+3200*time.Millisecond)

	r.mu.Lock()
	if r.needKey[2] < 1 || r.needKey[2] > 3 || r.needKey[3] < 1 || r.needKey[3] > 4 || r.needKey[1] > 0 {
		t.Errorf("key frames asked %v, want some of inputs 2 and 3 only", r.needKey)
	}
	got := make(map[string]int)
	for _, f := range r.failed {
		got[fmt.Sprint(f.Input, f.Output, strings.Contains(f.Reason, "over the limit"))]++
	}
	r.mu.Unlock()
	for _, want := range []string{"4 0 true", "5 0 true", "1 0 false", "6 0 false", "0 2 false", "0 3 false", "0 9 false"} {
		if got[want] != 1 {
			t.Errorf("refusals %v, want one %q", got, want)
		}
	}
	if got["0 1 false"] != 2 {
		t.Errorf("refusals %v, want two of output 1", got)
	}
	r.checkHostile(t, start)
}

func (r *rig) checkHostile(t *testing.T, start time.Duration) {
	shownGood, last := 0, -1
	var frozen, mendedNumber int
	src := codec.NewPicture(320, 180)
	for _, s := range r.watch(1) {
		if s.PTS < start+400*time.Millisecond {
			continue
		}
		if n := number(pane(s.pic, 0)); n != last {
			shownGood++
			last = n
		}
		second := pane(s.pic, 1)
		n, name := number(second), 3
		if s.PTS > start+1700*time.Millisecond {
			name, mendedNumber = 2, n
		} else if s.PTS < start+1150*time.Millisecond {
			frozen = n
		} else {
			continue
		}
		paint(src, name, n)
		if got := psnr(second, src); got < 25 {
			t.Fatalf("%v: PSNR %.1f dB against frame %d, want 25: a damaged picture is shown", s.PTS, got, n)
		}
		if p := pane(s.pic, 3); s.PTS < start+1900*time.Millisecond && !is(p, 16, 128, 128) {
			t.Fatalf("%v: the refused input's pane is not black", s.PTS)
		} else if s.PTS > start+3000*time.Millisecond && is(p, 16, 128, 128) {
			t.Fatalf("%v: the refused input is not shown when its pictures fit again", s.PTS)
		}
		if n := number(pane(s.pic, 2)); n > 9 {
			t.Fatalf("%v: input 3 shows frame %d, after its loss", s.PTS, n)
		}
	}
	if frozen != 14 {
		t.Errorf("input 2 froze at frame %d, want 14, the last before the damage", frozen)
	}
	if mendedNumber < 5 || shownGood < 15 {
		t.Errorf("input 2 ends at frame %d after mending, the good one showed %d frames", mendedNumber, shownGood)
	}
}

// TestProtocol: nonsense ends the worker with an error, and with nothing running.
func TestProtocol(t *testing.T) {
	for name, msgs := range map[string][]any{
		"no hello":       {&wire.KeyFrame{Output: 1}},
		"other version":  {&wire.Hello{Version: wire.Version + 1}},
		"a worker's own": {&wire.Hello{Version: wire.Version}, &wire.NeedKey{Input: 1}},
	} {
		server, worker := pair(t)
		conn := wire.NewConn(server)
		ran := make(chan error, 1)
		go func() { ran <- Run(t.Context(), worker, testLog(t)) }()
		for _, m := range msgs {
			if err := conn.Write(m); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err := <-ran:
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: still running", name)
		}
		server.Close()
	}
}
