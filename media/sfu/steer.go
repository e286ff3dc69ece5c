package sfu

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"braid/media"
)

// How often layers are looked at and viewers given those that fit, and how soon
// again when a path is full.
const (
	steerEvery = 200 * time.Millisecond
	steerSoon  = 50 * time.Millisecond
)

// hurry asks for a look before its time.
func (s *Server) hurry() {
	select {
	case s.hurried <- struct{}{}:
	default:
	}
}

// clock is the time since the server's start, as estimators have it.
func (s *Server) clock(now time.Time) time.Duration { return now.Sub(s.started) }

// age is the clock's time now, for half of what time.Now costs.
func (s *Server) age() time.Duration { return time.Since(s.started) }

// steer runs until stop is closed. It looks at what publishers send, then moves
// viewers, insiders and publishers to what is wanted.
func (s *Server) steer(stop <-chan struct{}) {
	next := time.NewTimer(steerEvery)
	defer next.Stop()
	var all []*Session
	for looked := time.Now(); ; {
		select {
		case <-stop:
			return
		case <-s.hurried:
			next.Reset(max(0, steerSoon-time.Since(looked)))
			continue
		case looked = <-next.C:
		}
		next.Reset(steerEvery)
		all = s.dir.appendSessions(all[:0])
		for _, o := range all {
			o.steerTracks(looked)
		}
		for _, o := range all {
			o.steerViews(looked)
		}
		clear(all)
	}
}

// appendSessions lists the sessions of those who are in a channel.
func (d *directory) appendSessions(all []*Session) []*Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.channels {
		for _, m := range c.members {
			all = append(all, m.sessions...)
		}
	}
	return all
}

// steerTracks looks at what a session publishes.
func (s *Session) steerTracks(now time.Time) {
	if s.pub != nil {
		s.pub.audio.steer(now)
		s.pub.video.steer(now)
	}
	if s.participant != nil {
		s.participant.steerUp(now)
	}
}

// steerViews moves what a session watches.
func (s *Session) steerViews(now time.Time) {
	if s.participant != nil {
		s.participant.steerDown(now)
		return
	}
	w := s.wire
	if w == nil {
		return
	}
	w.shows = w.shows[:0]
	sound := 0.0
	for _, f := range s.sends {
		if f.track.codec.name.Video() {
			w.shows = append(w.shows, show{forward: f, rank: rankOther})
		} else {
			sound += f.sound()
		}
	}
	w.share(now, w.shows, sound)
}

// pace measures a layer. It is owned by Server.steer, but rate.
type pace struct {
	at     time.Time
	octets uint64
	rate   atomic.Uint64 // float64 bits of bits a second, over the last second or so
}

// measure takes note of what has come; a layer that rests keeps its rate, as what
// to expect of it.
func (p *pace) measure(l *layer, now time.Time) {
	got := l.octets.Load()
	span := now.Sub(p.at).Seconds()
	if p.at.IsZero() || span <= 0 {
		p.at, p.octets = now, got
		return
	}
	if l.flows() {
		fresh := float64(got-p.octets) * 8 / span
		old := math.Float64frombits(p.rate.Load())
		if old == 0 {
			old = fresh
		}
		p.rate.Store(math.Float64bits(old + (fresh-old)*min(1, span)))
	}
	p.at, p.octets = now, got
}

// bitrate is what a layer takes, in bits a second of payload; 0 unknown.
func (l *layer) bitrate() float64 { return math.Float64frombits(l.pace.rate.Load()) }

// stale is how much longer than its track a layer may be silent before nobody
// counts on it.
const stale = time.Second

// flows tells whether the layer keeps up with its track: a still screen is silent
// in all layers, a layer that its publisher has given up is so alone.
func (l *layer) flows() bool {
	mine := l.newest.Load()
	if mine == nil || !l.aligned.Load() {
		return false
	}
	for _, o := range l.track.layers {
		if p := o.newest.Load(); p != nil && p.Arrival.Sub(mine.Arrival) > stale {
			return false
		}
	}
	return true
}

// steer looks at a track's layers, and moves the insiders.
func (t *track) steer(now time.Time) {
	if t == nil {
		return
	}
	for _, l := range t.layers {
		l.pace.measure(l, now)
	}
	if len(t.layers) == 1 {
		return
	}
	t.mu.Lock()
	insiders := t.insiders
	t.mu.Unlock()
	for _, p := range insiders {
		p.steer()
	}
}

// ordered lists the layers, the smallest picture first, in room.
func (t *track) ordered(room *[maxLayers]*layer) []*layer {
	all := room[:copy(room[:], t.layers)]
	slices.SortStableFunc(all, func(a, b *layer) int {
		wa, ha := a.size()
		wb, hb := b.size()
		if wa == 0 || wb == 0 {
			return 0
		}
		return cmp.Compare(wa*ha, wb*hb)
	})
	return all
}

// smallest is the layer of the smallest picture.
func (t *track) smallest() *layer {
	var room [maxLayers]*layer
	return t.ordered(&room)[0]
}

// options lists the layers that a viewer may get, the smallest picture first, up
// to the one that fits an element of some pixels: the smallest that fills it. 0 are
// as many as there are. There is one at least.
func (t *track) options(all []*layer, width, height int) []*layer {
	if len(t.layers) == 1 {
		return append(all, t.layers[0])
	}
	var room [maxLayers]*layer
	for _, l := range t.ordered(&room) {
		if !l.flows() && !l.resting.Load() {
			continue
		}
		all = append(all, l)
		if w, h := l.size(); w > 0 && (width > 0 || height > 0) && fills(w, width) && fills(h, height) {
			break
		}
	}
	if len(all) == 0 {
		return append(all, t.layers[0])
	}
	return all
}

// fills allows for an eighth of enlarging, which nobody sees.
func fills(has, want int) bool { return has*9 >= want*8 }

// insider attaches a receiver inside the server.
func (t *track) insider(r media.Receiver, want func() (width, height int)) (detach func()) {
	p := &insider{follower: follower{track: t}, receiver: r, want: want}
	p.to = p
	t.mu.Lock()
	t.insiders = append(slices.Clip(t.insiders), p)
	t.mu.Unlock()
	p.steer()
	return func() {
		t.mu.Lock()
		t.insiders = slices.DeleteFunc(slices.Clone(t.insiders), func(o *insider) bool { return o == p })
		t.mu.Unlock()
		p.end()
	}
}

func (i *insider) steer() {
	var room [maxLayers]*layer
	width, height := i.want()
	i.aimAt(i.track.options(room[:0], width, height))
}
