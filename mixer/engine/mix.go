package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"braid/media"
	"braid/mixer/wire"
)

// mix makes one picture and one sound of many, by the clock. One goroutine
// owns it all; the engine's reader swaps the plan and asks for key frames.
type mix struct {
	id     uint32
	e      *engine
	encode wire.Encode
	plan   atomic.Pointer[plan]
	key    atomic.Bool

	picture *pictureMix // nil: no video; owned by run
	sound   *soundMix   // nil: no audio; owned by run

	stop context.CancelFunc
	done chan struct{}
}

// stall is how far the sound may fall behind before it is let go: up to there it
// is mixed late, but whole.
const stall = 2 * time.Second

func newMix(e *engine, m *wire.OpenMix) (*mix, error) {
	x := &mix{id: m.Output, e: e, encode: m.Encode, done: make(chan struct{})}
	x.plan.Store(new(plan))
	if m.Encode.Width == 0 && m.Encode.SampleRate == 0 {
		return nil, fmt.Errorf("neither video nor audio: %w", media.ErrInvalid)
	}
	if m.Encode.Width != 0 {
		picture, err := newPictureMix(e, m.Encode)
		if err != nil {
			return nil, err
		}
		x.picture = picture
	}
	if m.Encode.SampleRate != 0 {
		sound, err := newSoundMix(e, m.Encode)
		if err != nil {
			x.free()
			return nil, err
		}
		x.sound = sound
	}
	return x, nil
}

func (x *mix) start() {
	ctx, stop := context.WithCancel(x.e.ctx)
	x.stop = stop
	x.e.mixes.Add(1)
	x.e.start(func() {
		defer close(x.done)
		defer x.e.mixes.Add(-1)
		defer x.free()
		x.run(ctx)
	})
}

func (x *mix) free() {
	if x.picture != nil {
		x.picture.free()
	}
	if x.sound != nil {
		x.sound.free()
	}
}

func (x *mix) requestKey() { x.key.Store(true) }

func (x *mix) close() {
	x.stop()
	<-x.done
}

func (x *mix) run(ctx context.Context) {
	now := x.e.clock.now()
	tick := int64(0) // the next
	if x.picture != nil {
		tick = tickAt(now, x.encode.FPS) + 1
	}
	if x.sound != nil {
		x.sound.begin(now)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(x.due(tick) - x.e.clock.now())
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := x.e.clock.now()
		if err := x.listen(now); err != nil {
			x.fail(err)
			return
		}
		if x.picture != nil && tickTime(tick, x.encode.FPS) <= now {
			tick = tickAt(now, x.encode.FPS) // late: skip, never burst
			if err := x.show(tick); err != nil {
				x.fail(err)
				return
			}
			tick++
		}
	}
}

// due is when there is something to do again. Sound of a mix with pictures is
// mixed with them, up to each tick.
func (x *mix) due(tick int64) time.Duration {
	if x.picture == nil {
		return x.sound.due()
	}
	t := tickTime(tick, x.encode.FPS)
	if x.sound != nil {
		t = min(t, x.sound.due())
	}
	return t
}

// listen mixes the sound up to now.
func (x *mix) listen(now time.Duration) error {
	s := x.sound
	if s == nil {
		return nil
	}
	if now-s.due() > stall {
		s.begin(now)
	}
	for s.due() <= now {
		if err := s.mix(x.plan.Load().Audio, x.emitSound); err != nil {
			return err
		}
	}
	return nil
}

func (x *mix) emitSound(frame []byte, pts time.Duration) {
	x.e.write(&wire.Output{Output: x.id, Codec: media.AAC, PTS: pts, Key: true, Units: [][]byte{frame}})
}

// show composes, codes and sends the picture of a tick.
func (x *mix) show(tick int64) error {
	p := x.plan.Load()
	t := tickTime(tick, x.encode.FPS)
	x.picture.draw(p, t)
	units, key, err := x.picture.enc.Encode(x.picture.canvas, x.key.Swap(false))
	if err != nil {
		return err
	}
	out := &wire.Output{Output: x.id, Codec: media.H264, PTS: t, Key: key, Revision: p.Revision, Units: units}
	if x.sound != nil {
		out.Levels = x.sound.levels(p.Audio)
	}
	x.e.write(out)
	return nil
}

func (x *mix) fail(err error) {
	x.e.failed(&wire.Failed{Output: x.id, Reason: err.Error()})
}
