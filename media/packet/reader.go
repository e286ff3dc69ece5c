package packet

import (
	"context"
	"time"

	"braid/media"
)

// Bounds of a Reader.
const (
	reorderWait = 120 * time.Millisecond // a NACK's round trip fits twice
	reorderMax  = 512                    // packets: a key frame at 1 Mbit each 200 ms
	queueMax    = 1024                   // packets between the track's goroutine and ours
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
	// Emit gets every frame in order, from Run's goroutine, and what its packets
	// said beside the media: loss before it, loudness.
	Emit func(au *media.AccessUnit, f *Frame)

	queue   chan *media.Packet // sent by the track, never blocking; read by Run; not closed
	lastKey time.Time
	asked   time.Time
}

// Receive takes a packet from the track. A full queue drops it, which Run sees
// as a loss.
func (r *Reader) Receive(p *media.Packet) {
	select {
	case r.queue <- p:
	default:
	}
}

// Run reads until ctx ends or the track does.
func (r *Reader) Run(ctx context.Context) {
	r.queue = make(chan *media.Packet, queueMax)
	detach := r.Track.Attach(r)
	defer detach()
	defer r.Clock.Remove()

	buf := NewBuffer(reorderWait, reorderMax)
	asm := NewAssembler(r.Track.Codec())
	r.lastKey = time.Now()
	r.Track.RequestKeyFrame()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.Track.Done():
			return
		case p := <-r.queue:
			buf.Push(p)
		case <-timer.C:
		case now := <-tick.C:
			r.askKey(now, asm.NeedKey())
		}
		now := time.Now()
		for p, gap := buf.Pop(now); p != nil; p, gap = buf.Pop(now) {
			for _, f := range asm.Push(p, gap) {
				r.emit(&f)
			}
		}
		if at, ok := buf.Deadline(); ok {
			timer.Reset(max(time.Until(at), time.Millisecond))
		}
	}
}

func (r *Reader) askKey(now time.Time, needed bool) {
	if !r.Track.Codec().Video() || now.Sub(r.asked) < askKeyEvery {
		return
	}
	due := r.KeyEvery > 0 && now.Sub(r.lastKey) >= r.KeyEvery
	if needed || due {
		r.asked = now
		r.Track.RequestKeyFrame()
	}
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
