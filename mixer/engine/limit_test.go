package engine

import (
	"testing"
	"time"

	"braid/media"
	"braid/mixer/wire"
)

// TestManyRelays: one worker makes the sound of all single-stream relays, of
// which an application may have 200.
func TestManyRelays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for id := uint32(1); id <= 200; id++ {
		r.send(&wire.OpenInput{Input: id, Codec: media.Opus},
			&wire.OpenTranscode{Output: id, Input: id, Encode: wire.Encode{SampleRate: 48000, Channels: 2, AudioKbps: 128}})
	}
	r.send(&wire.OpenMix{Output: 9999}) // refused: when its answer is here, so are all others
	r.wait("answer", func() bool { return len(r.failed) > 0 && r.failed[len(r.failed)-1].Output == 9999 })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.failed[:len(r.failed)-1] {
		t.Errorf("refused: %+v", f)
	}
}

// TestSlowInputAsksForKey: frames that find a full queue are missed by those that
// follow, even if a key frame stands in the queue before the gap.
func TestSlowInputAsksForKey(t *testing.T) {
	in := &input{codec: media.H264, queue: make(chan *wire.Media, 2)}
	in.deliver(&wire.Media{})
	in.deliver(&wire.Media{Key: true})
	in.deliver(&wire.Media{}) // dropped
	<-in.queue
	<-in.queue
	in.deliver(&wire.Media{})
	in.deliver(&wire.Media{})
	select {
	case m := <-in.queue:
		if !m.Lost {
			t.Error("the frame after the gap does not say that frames are missing")
		}
	default:
		t.Fatal("the frame after the gap never comes, so nobody asks for a key frame")
	}
	if m := <-in.queue; m.Lost {
		t.Error("a frame that follows its predecessor says that frames are missing")
	}
}

// TestFirstPlan: a mix shows nothing before it knows what; its first picture is
// that of its first plan.
func TestFirstPlan(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.send(&wire.OpenMix{Output: 1, Encode: wire.Encode{Width: 320, Height: 180, FPS: 30, GOP: 60, SampleRate: 48000, Channels: 2}})
	r.until(1, media.AAC, r.now()+300*time.Millisecond)
	if early := r.of(1, media.H264); len(early) > 0 {
		t.Errorf("%d pictures before the first plan", len(early))
	}
	r.send(&wire.Layout{Output: 1, Revision: 7})
	r.until(1, media.H264, r.now()+100*time.Millisecond)
	if first := r.of(1, media.H264)[0]; first.Revision != 7 || !first.Key {
		t.Errorf("the first picture: revision %d, key %v; want 7, true", first.Revision, first.Key)
	}
}
