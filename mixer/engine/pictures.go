package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"braid/media/codec"
)

// picture is a decoded picture that an input and several mixes hold at once.
type picture struct {
	*codec.Decoded
	pts  time.Duration
	key  bool // made of a key frame; of inputs with a rendition
	refs atomic.Int32
}

func newPicture(d *codec.Decoded, pts time.Duration) *picture {
	p := &picture{Decoded: d, pts: pts}
	p.refs.Store(1)
	return p
}

func (p *picture) retain() *picture { p.refs.Add(1); return p }

func (p *picture) release() {
	if p.refs.Add(-1) == 0 {
		p.Free()
	}
}

// maxPictures bounds what one input keeps decoded: the longest delay and some of
// the latest a mix may be, at 30 fps. Usually there are three or four. A 720p
// picture is 1.4 MB.
const maxPictures = 14

// pictures is what an input has to show, oldest first. The newest due picture
// stays until another is due: an input without news keeps its last picture.
type pictures struct {
	mu   sync.Mutex
	list []*picture // owned by mu
}

// push takes over the caller's reference to p. Pictures that were followed by
// another one at or before due are let go.
func (ps *pictures) push(p *picture, due time.Duration) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if n := len(ps.list); n > 0 && p.pts <= ps.list[n-1].pts {
		// The timeline went back: what is there would hide the new picture.
		ps.dropLocked(0, n)
	}
	ps.list = append(ps.list, p)
	old := 0
	for old+1 < len(ps.list) && ps.list[old+1].pts <= due {
		old++
	}
	ps.dropLocked(0, old)
	if len(ps.list) > maxPictures {
		i := crowded(ps.list)
		ps.dropLocked(i, i+1)
	}
}

// crowded is the inner picture whose neighbours are closest: without it the
// motion stays as even as it can.
func crowded(list []*picture) int {
	best := 1
	for i := 1; i < len(list)-1; i++ {
		if list[i+1].pts-list[i-1].pts < list[best+1].pts-list[best-1].pts {
			best = i
		}
	}
	return best
}

// pick is the newest picture not after t, else the oldest there is; nil when
// there is none. The caller releases it.
func (ps *pictures) pick(t time.Duration) *picture {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if len(ps.list) == 0 {
		return nil
	}
	best := ps.list[0]
	for _, p := range ps.list[1:] {
		if p.pts <= t {
			best = p
		}
	}
	return best.retain()
}

func (ps *pictures) empty() bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return len(ps.list) == 0
}

func (ps *pictures) clear() {
	ps.mu.Lock()
	ps.dropLocked(0, len(ps.list))
	ps.mu.Unlock()
}

func (ps *pictures) dropLocked(from, to int) {
	for _, p := range ps.list[from:to] {
		p.release()
	}
	ps.list = slices.Delete(ps.list, from, to)
}
