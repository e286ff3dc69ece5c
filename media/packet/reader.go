package packet

import (
	"context"
	"sync"
	"time"

	"braid/media"
)

// Bounds of a Reader.
const (
	reorderWait = 120 * time.Millisecond // a NACK's round trip fits twice
	reorderMax  = 512                    // packets: a key frame at 1 Mbit each 200 ms
	askKeyEvery = 500 * time.Millisecond // while frames are held back
)

// Reader turns a track's packets into timed access units: it reorders, joins
// frames, asks for a key frame after a loss, and puts each frame on the local
// time axis.
type Reader struct {
	Track media.Track
	Clock *media.TrackClock
	Zero  time.Time // PTS counts from here
	// KeyEvery asks the publisher for a key frame when none came for so long;
	// zero: only when one is needed to decode.
	KeyEvery time.Duration
	// Want is the size in pixels that a picture is needed in, as media.Layered has
	// it; nil: the largest.
	Want func() (width, height int)
	// Emit gets every frame in order, and what its packets said beside the media:
	// loss before it, loudness. It is called from the track's goroutine or Run's,
	// one at a time, and must not block nor call the Reader.
	Emit func(au *media.AccessUnit, f *Frame)

	mu      sync.Mutex
	buf     *Buffer
	asm     *Assembler
	due     *time.Timer // fires when a hole has been waited for long enough
	lastKey time.Time
	asked   time.Time
}

// Receive takes a packet from the track and emits the frame that it completes
// right there: a wake-up of another goroutine would cost more than the work.
func (r *Reader) Receive(p *media.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf.Push(p)
	r.drainLocked()
	if r.asm.NeedKey() && r.askLocked(p.Arrival) {
		r.Track.RequestKeyFrame()
	}
}

// Run reads until ctx ends or the track does. After it returned, Emit is not
// called any more.
func (r *Reader) Run(ctx context.Context) {
	r.buf, r.asm = NewBuffer(reorderWait, reorderMax), NewAssembler(r.Track.Codec())
	r.due = time.NewTimer(time.Hour)
	defer r.due.Stop()
	r.lastKey = time.Now()
	defer r.end(r.attach())
	r.Track.RequestKeyFrame()
	tick := time.NewTicker(askKeyEvery)
	defer tick.Stop()
	if !r.Track.Codec().Video() {
		tick.Stop()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.Track.Done():
			return
		case <-r.due.C:
			r.mu.Lock()
			r.drainLocked()
			r.mu.Unlock()
		case now := <-tick.C: // no packets may come, and no key frame either
			r.mu.Lock()
			ask := r.askLocked(now)
			r.mu.Unlock()
			if ask {
				r.Track.RequestKeyFrame()
			}
		}
	}
}

func (r *Reader) attach() (detach func()) {
	if t, ok := r.Track.(media.Layered); ok && r.Want != nil {
		return t.AttachAs(r, r.Want)
	}
	return r.Track.Attach(r)
}

// end waits for a Receive under way; a late one finds nothing to emit.
func (r *Reader) end(detach func()) {
	detach()
	r.Clock.Remove()
	r.mu.Lock()
	r.Emit = func(*media.AccessUnit, *Frame) {}
	r.mu.Unlock()
}

func (r *Reader) drainLocked() {
	now := time.Now()
	for p, gap := r.buf.Pop(now); p != nil; p, gap = r.buf.Pop(now) {
		for _, f := range r.asm.Push(p, gap) {
			r.emit(&f)
		}
	}
	if at, ok := r.buf.Deadline(); ok {
		r.due.Reset(max(at.Sub(now), time.Millisecond))
	}
}

// askLocked tells whether a key frame should be asked for.
func (r *Reader) askLocked(now time.Time) bool {
	if now.Sub(r.asked) < askKeyEvery {
		return false
	}
	if r.asm.NeedKey() || r.KeyEvery > 0 && now.Sub(r.lastKey) >= r.KeyEvery {
		r.asked = now
		return true
	}
	return false
}

func (r *Reader) emit(f *Frame) {
	if f.Key {
		r.lastKey = time.Now()
	}
	at := r.Clock.Time(f.Timestamp, f.Arrival)
	r.Emit(&media.AccessUnit{
		Codec: r.Track.Codec(), PTS: at.Sub(r.Zero), Key: f.Key, Units: f.Units,
	}, f)
}
