package sfu

import (
	"slices"
	"sync"
	"time"

	"braid/media"
)

// stage lets the loudest microphones of a channel through to its participants,
// so that in a large channel nobody receives everyone. Who is on it stays until
// somebody else is clearly louder. Mixers, relays and those who watch one user
// (WHEP) hear everyone.
type stage struct {
	places int // 0 or less: as many as there are

	mu     sync.Mutex
	actors []*actor // of the channel's microphones
}

// actor is a microphone in a channel. All but level is owned by stage.mu.
type actor struct {
	track  *track
	detach func()
	stage  *stage
	level  float64   // dBov, smoothed
	heard  time.Time // when its newest packet came
	on     bool
}

const (
	louder   = 3    // dB that it takes to get another's place
	speaks   = -55  // dBov, below which nobody takes a place from another
	unknown  = -30  // dBov, of publishers that do not tell
	silence  = -127 // dBov
	loudUp   = 0.3  // share of a rise that a packet of 20 ms counts for: 60 ms of speech are heard
	loudDown = 0.03 // of a fall: pauses between words do not count

	// Without a packet for so long a microphone is silent, whatever its last one said:
	// it is switched off, or its way is broken. In DTX one comes each 400 ms.
	unheard = time.Second
)

// cast is told of the channel's microphones. It may be called with directory.mu
// held.
func (s *stage) cast(tracks []*track) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.actors = slices.DeleteFunc(s.actors, func(a *actor) bool {
		gone := !slices.Contains(tracks, a.track)
		if gone {
			a.detach()
		}
		return gone
	})
	for _, t := range tracks {
		if !slices.ContainsFunc(s.actors, func(a *actor) bool { return a.track == t }) {
			a := &actor{track: t, stage: s, level: silence}
			a.detach = t.layers[0].attach(a)
			s.actors = append(s.actors, a)
		}
	}
	free := s.places
	for _, a := range s.actors {
		if a.on {
			free--
		}
	}
	for _, a := range s.actors {
		if !a.on {
			a.put(s.places <= 0 || free > 0)
			free--
		}
	}
}

func (a *actor) put(on bool) {
	a.on = on
	a.track.backstage.Store(!on)
}

// Receive implements media.Receiver.
func (a *actor) Receive(p *media.Packet) {
	s := a.stage
	if s.places <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := float64(unknown)
	switch {
	case a.track.muted.Load():
		now = silence
	case p.Level >= 0:
		now = -float64(p.Level)
	}
	if now > a.level {
		a.level += (now - a.level) * loudUp
	} else {
		a.level += (now - a.level) * loudDown
	}
	a.heard = p.Arrival
	if a.on || a.level < speaks {
		return
	}
	var least *actor
	for _, o := range s.actors {
		if p.Arrival.Sub(o.heard) > unheard {
			o.level = silence
		}
		if o.on && (least == nil || o.level < least.level) {
			least = o
		}
	}
	if least != nil && a.level >= least.level+louder {
		least.put(false)
		a.put(true)
	}
}
