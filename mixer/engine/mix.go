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
	plan   *plan                  // on screen; owned by run
	told   bool                   // a plan has come: before it there is nothing to show; owned by run
	next   atomic.Pointer[coming] // takes its place
	key    atomic.Bool
	at     atomic.Int64 // time of the next picture, for the inputs to keep what it shows

	picture *pictureMix // nil: no video; owned by run
	sound   *soundMix   // nil: no audio; owned by run

	stop context.CancelFunc
	done chan struct{}
}

// coming is a plan that waits for the pictures of the inputs it shows, so that
// nobody enters as a black pane; they come with the next key frame. It waits for
// images that are being decoded, too.
type coming struct {
	plan *plan
	at   time.Duration
}

// patience is how long a plan waits at most: longer than a key frame takes to
// come when it is asked for, shorter than people notice.
const patience = 500 * time.Millisecond

// lateMost is how far pictures may fall behind and still all be made, so that a
// machine that stalls for a moment keeps the frame rate; what is later is skipped,
// for a machine that cannot keep up must not try.
const lateMost = 300 * time.Millisecond

// stall is how far the sound may fall behind before it is let go: up to there it
// is mixed late, but whole.
const stall = 2 * time.Second

func newMix(e *engine, m *wire.OpenMix) (*mix, error) {
	x := &mix{id: m.Output, e: e, encode: m.Encode, plan: new(plan), done: make(chan struct{})}
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
	x.at.Store(int64(x.e.clock.now()))
	x.e.mixes.set(x.id, x)
	x.e.start(func() {
		defer close(x.done)
		defer x.e.mixes.remove(x.id, x)
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
		x.turn(now)
		if err := x.listen(now); err != nil {
			x.fail(err)
			return
		}
		if x.picture != nil && tickTime(tick, x.encode.FPS) <= now {
			tick = max(tick, tickAt(now-lateMost, x.encode.FPS))
			if err := x.show(tick); err != nil {
				x.fail(err)
				return
			}
			tick++
			x.at.Store(int64(tickTime(tick, x.encode.FPS)))
		}
	}
}

// turn puts the coming plan on screen when its time has come. The first one
// does not wait for inputs: there is nothing to keep.
func (x *mix) turn(now time.Duration) {
	n := x.next.Load()
	if n == nil {
		return
	}
	first := x.plan.Revision == 0
	if x.picture != nil && now-n.at < patience && (x.e.images.pending() || !first && !x.ready(n.plan)) {
		return
	}
	x.plan, x.told = n.plan, true
	x.next.CompareAndSwap(n, nil)
}

// ready tells whether every open input of a plan has a picture.
func (x *mix) ready(p *plan) bool {
	for _, pane := range p.Panes {
		if in, ok := x.e.inputs.get(pane.Input); ok && in.pictures != nil && in.pictures.empty() {
			return false
		}
	}
	return true
}

// due is when there is something to do again. Sound of a mix with pictures is
// mixed at its ticks: a third of the wake-ups, each of which costs as much as the
// mixing itself.
func (x *mix) due(tick int64) time.Duration {
	if x.picture != nil {
		return tickTime(tick, x.encode.FPS)
	}
	return x.sound.due()
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
		if err := s.mix(x.plan.Audio, x.emitSound); err != nil {
			return err
		}
	}
	return nil
}

func (x *mix) emitSound(frame []byte, pts time.Duration) {
	x.e.write(&wire.Output{Output: x.id, Codec: x.sound.out.codec, PTS: pts, Key: true, Units: [][]byte{frame}})
}

// show composes, codes and sends the picture of a tick. There is none before the
// first plan: a stream that goes on with another encoder would blink.
func (x *mix) show(tick int64) error {
	if !x.told {
		return nil
	}
	p := x.plan
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
