package sfu

import (
	"sync"
	"sync/atomic"
	"time"

	"braid/media"
	"braid/media/udp"
)

// follower takes one stream out of a track's layers: it goes from layer to layer
// at key frames, and what it passes on has neither holes nor steps back in its
// numbers, its time and, with VP8, its picture ids. The frame numbers of dependency
// descriptors have no leaps.
//
//	aim ──→ next ── key frame ──→ now ── aim ──→ next …
//	                               └──── until then it goes on with now
type follower struct {
	track  *track
	socket *udp.Conn // that to writes to, if any
	staged bool      // it leaves out what is backstage
	to     passer

	begun atomic.Pointer[beginning] // newest one

	mu       sync.Mutex // owns all that follows; taken for each packet
	over     bool       // it follows nobody any more
	now      *leg       // passed on; nil before the first key frame and in pauses
	next     *leg       // awaited; nil: nobody
	any      bool       // something was passed on
	left     bool       // something was left out
	settling int        // packets for which the newest beginning is not settled
	last     uint16     // highest number passed on
	lastTime uint32     // highest timestamp passed on
	pictures vp8Pictures
	frames   frameNumbers
}

// passer is what a follower is made for. pass is told of the next packet and of
// the beginning that it belongs to; what it refuses (false) counts as never sent.
// All are called with mu held.
type passer interface {
	ready() bool
	pass(p *media.Packet, b *beginning) bool
	passed(p *media.Packet) // once last counts it
}

// beginning is what is passed on from a key frame on.
type beginning struct {
	layer *layer
	first uint16    // the layer's number of its first packet
	at    time.Time // when that arrived
	shift uint16    // added to the layer's numbers
	delay uint32    // added to the track's time
	vp8   vp8Shift
	frame uint16     // added to the frame numbers of dependency descriptors
	prior *beginning // the one before, whose packets may still be asked for; it has none

	settled atomic.Bool // it is so long ago that numbers before first are not of before it
}

const (
	// settlingFor is how many packets a beginning takes to be settled: with the holes
	// between them their numbers do not go half around.
	settlingFor = 1 << 14
	// A step in numbers that is larger than leap, or further back than packets come
	// late, is made small: publishers may count as they like, and SRTP counts with us.
	leap = farthestLeap
)

// before tells whether a number, as the layer has it, is of before the beginning.
func (b *beginning) before(seq uint16) bool { return !b.settled.Load() && int16(seq-b.first) < 0 }

// leg is a follower's place at a layer.
type leg struct {
	*follower
	layer  *layer
	detach func()
}

// aim makes a layer the one to follow, nil for none: a pause. What is followed
// goes on until the layer's next key frame.
func (f *follower) aim(l *layer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next != nil && f.next.layer != l {
		f.next.leave()
		f.next = nil
	}
	switch {
	case l == nil:
		if f.now != nil {
			f.now.leave()
			f.now = nil
		}
	case f.over || f.now != nil && f.now.layer == l || f.next != nil:
	default:
		f.next = &leg{follower: f, layer: l}
		l.takers.Add(1)
		f.next.detach = l.attach(f.next)
		l.requestKeyFrame()
	}
}

// end is aim at nothing, for good.
func (f *follower) end() {
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	f.aim(nil)
}

// aimAt aims at the last of some layers, the smallest picture first. While nothing
// is passed on, one that rests is not waited for: it takes its time to come.
func (f *follower) aimAt(all []*layer) {
	f.mu.Lock()
	blank := f.now == nil
	f.mu.Unlock()
	best := len(all) - 1
	for blank && best > 0 && all[best].resting.Load() {
		best--
	}
	f.aim(all[best])
}

// leave is called with mu held.
func (g *leg) leave() {
	g.detach()
	g.layer.takers.Add(-1)
}

// aimed is the layer that is followed, or will be.
func (f *follower) aimed() *layer {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.next != nil:
		return f.next.layer
	case f.now != nil:
		return f.now.layer
	}
	return nil
}

// requestKeyFrame is for those who cannot show what they got.
func (f *follower) requestKeyFrame() {
	if l := f.aimed(); l != nil {
		l.requestKeyFrame()
	}
}

// Receive implements media.Receiver.
func (g *leg) Receive(p *media.Packet) {
	f := g.follower
	f.mu.Lock()
	defer f.mu.Unlock()
	if g != f.now && g != f.next || !f.to.ready() {
		return
	}
	if f.staged && f.track.backstage.Load() {
		f.left = true
		return
	}
	if g == f.next && !f.arrive(p) {
		return
	}
	if f.left {
		f.begin(g.layer, p)
	}
	b := f.begun.Load()
	if ahead := int16(p.Seq + b.shift - f.last); f.any && (ahead > leap || ahead < -window) {
		f.last++ // a hole: whoever decodes has to know
		f.begin(g.layer, p)
		b = f.begun.Load()
	}
	if b.before(p.Seq) {
		return
	}
	if f.settling > 0 {
		f.settling--
		b.settled.Store(f.settling == 0)
	}
	if !f.to.pass(p, b) {
		return
	}
	if seq := p.Seq + b.shift; !f.any || int16(seq-f.last) > 0 {
		f.last = seq
	}
	if at := p.Timestamp + b.delay; !f.any || int32(at-f.lastTime) > 0 {
		f.lastTime = at
	}
	if f.track.codec.name == media.VP8 && len(f.track.layers) > 1 {
		f.pictures.see(p.Payload, b.vp8)
	}
	if p.Dependencies != nil {
		f.frames.see(p.Dependencies, b.frame)
	}
	f.any = true
	f.to.passed(p)
}

// arrive begins with the awaited layer, at a key frame.
func (f *follower) arrive(p *media.Packet) bool {
	c := f.track.codec.name
	if c.Video() && !keyFrameStart(c, p.Payload) {
		f.next.layer.requestKeyFrame()
		return false
	}
	f.begin(f.next.layer, p)
	if f.now != nil {
		f.now.leave()
	}
	f.now, f.next = f.next, nil
	return true
}

// begin lets a packet follow what was passed on before, whatever that was.
func (f *follower) begin(l *layer, p *media.Packet) {
	b := &beginning{layer: l, first: p.Seq, at: p.Arrival}
	if f.any {
		b.shift = f.last + 1 - p.Seq
		// The same picture in two layers has one time: the second is made younger.
		if behind := int32(f.lastTime - p.Timestamp); behind >= 0 {
			b.delay = uint32(behind) + 1
		}
		b.vp8 = f.pictures.after(p.Payload)
		if prior := f.begun.Load(); prior != nil {
			b.frame = f.frames.after(p.Dependencies, prior.frame)
			b.prior = &beginning{layer: prior.layer, first: prior.first, at: prior.at, shift: prior.shift, delay: prior.delay, vp8: prior.vp8, frame: prior.frame}
			b.prior.settled.Store(prior.settled.Load())
		}
	}
	f.begun.Store(b)
	f.settling, f.left = settlingFor, false
}

// sent finds a packet by the number under which it was passed on, with its
// beginning; nil when it is not kept any more or never was passed on.
func (f *follower) sent(seq uint16) (*media.Packet, *beginning) {
	b := f.begun.Load()
	for ; b != nil && b.before(seq-b.shift); b = b.prior {
	}
	if b == nil {
		return nil, nil
	}
	if p := b.layer.history.get(seq - b.shift); p != nil && !p.Arrival.Before(b.at) {
		return p, b
	}
	return nil, nil
}

// insider is a receiver inside the server (a mixer, a relay) of a track with layers.
type insider struct {
	follower
	receiver media.Receiver
	want     func() (width, height int)
}

func (i *insider) ready() bool          { return true }
func (i *insider) passed(*media.Packet) {}

func (i *insider) pass(p *media.Packet, b *beginning) bool {
	if b.shift != 0 || b.delay != 0 {
		q := *p
		q.Seq += b.shift
		q.Timestamp += b.delay
		p = &q
	}
	i.receiver.Receive(p)
	return true
}
