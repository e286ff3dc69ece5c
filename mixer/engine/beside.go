package engine

import (
	"slices"
	"sync"
	"time"
)

// besideQueue is how many pictures wait for one encoder while the others code: one
// that takes a little longer than the rest, for a key frame, does not hold them up.
const besideQueue = 4

// beside codes the pictures of one transcode in a goroutine of its own, so that
// several transcodes of one input use several cores. Nothing is dropped: a full
// queue holds up the input, and who feeds that sees how late it is.
type beside struct {
	queue chan *picture // sent by the input's goroutine, never closed
	stop  chan struct{} // closed by close
	ended chan struct{}
	once  sync.Once
}

func newBeside(t *transcode) *beside {
	b := &beside{queue: make(chan *picture, besideQueue), stop: make(chan struct{}), ended: make(chan struct{})}
	t.e.start(func() {
		b.run(t)
		close(b.ended)
		b.drain()
	})
	return b
}

func (b *beside) run(t *transcode) {
	for {
		select {
		case <-t.e.ctx.Done():
			return
		case <-b.stop:
			return
		case p := <-b.queue:
			t.code(p)
			p.release()
		}
	}
}

// put waits for room.
func (b *beside) put(p *picture) {
	p.retain()
	select {
	case b.queue <- p:
		select {
		case <-b.ended: // nobody takes it out any more
			b.drain()
		default:
		}
	case <-b.ended:
		p.release()
	}
}

// close returns when nothing is coded any more.
func (b *beside) close() {
	b.once.Do(func() { close(b.stop) })
	<-b.ended
}

func (b *beside) drain() {
	for {
		select {
		case p := <-b.queue:
			p.release()
		default:
			return
		}
	}
}

// keyTimes are the times of key frames whose pictures have not come out of the
// decoder yet; it may put pictures into another order.
type keyTimes []time.Duration

const keyTimesMax = 16

func (k *keyTimes) add(pts time.Duration) {
	if len(*k) == keyTimesMax { // of pictures that were damaged
		*k = slices.Delete(*k, 0, 1)
	}
	*k = append(*k, pts)
}

// take tells whether the picture of that time is a key frame's, and forgets it.
func (k *keyTimes) take(pts time.Duration) bool {
	i := slices.Index(*k, pts)
	if i < 0 {
		return false
	}
	*k = slices.Delete(*k, 0, i+1)
	return true
}
