package mixer

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
	"braid/mixer/wire"
)

// TestSkippingAsksForKey: whoever loses frames on the way to the worker asks for
// a key frame until one comes, since browsers send none by themselves.
func TestSkippingAsksForKey(t *testing.T) {
	asked := 0
	w := &worker{count: newCounts(), inputs: make(map[uint32]*input), gather: pictureGather, flush: time.NewTimer(0), up: true}
	in := w.openInput(wire.OpenInput{Group: 1, Codec: media.H264}, func() { asked++ })
	frame := &media.AccessUnit{Codec: media.H264, Units: [][]byte{{1}}}
	for range mediaMax + 1 {
		w.media(in, frame, false)
	}
	w.queue, w.frames = nil, 0 // the worker catches up
	w.media(in, frame, false)
	if len(w.queue) != 0 {
		t.Fatal("a frame after the gap was sent although it cannot be decoded")
	}
	if asked == 0 {
		t.Error("frames are skipped up to a key frame that nobody asked for")
	}
	w.replay() // another process; its request may be lost on the way to the publisher
	asked = 0
	w.media(in, frame, false)
	if asked == 0 {
		t.Error("after a restart frames are skipped up to a key frame that nobody asks for again")
	}
	w.queue = nil
	w.media(in, &media.AccessUnit{Codec: media.H264, Key: true, Units: [][]byte{{1}}}, false)
	asked = 0
	w.media(in, frame, false)
	if len(w.queue) != 2 || asked != 0 {
		t.Errorf("after the key frame: %d messages, asked %d times; want 2, 0", len(w.queue), asked)
	}
}

// An output that failed is opened again, once for many complaints, with its layout.
func TestFailedOutputIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &worker{count: newCounts(), outputs: make(map[uint32]*output), gather: pictureGather, flush: time.NewTimer(0), up: true}
		told := 0
		id := w.openOutput(func(id uint32) any { return &wire.OpenMix{Output: id} }, nil, func(string) { told++ })
		w.setLayout(&wire.Layout{Output: id, Revision: 1})
		w.queue = nil
		for range 3 {
			w.fail(&wire.Failed{Output: id, Reason: "no memory"})
		}
		time.Sleep(brokenWait + time.Second)
		synctest.Wait()
		want := []any{&wire.CloseOutput{Output: id}, &wire.OpenMix{Output: id}, &wire.Layout{Output: id, Revision: 1}}
		if told != 1 || !reflect.DeepEqual(w.queue, want) {
			t.Errorf("told %d times, sent %+v; want once, and %+v", told, w.queue, want)
		}
		w.fail(&wire.Failed{Output: id})
		w.closeOutput(id)
		w.queue = nil
		time.Sleep(brokenWait + time.Second)
		synctest.Wait()
		if len(w.queue) != 0 {
			t.Errorf("a closed output was opened again: %+v", w.queue)
		}
	})
}
