package origin

import "time"

// Change says that a stream has gone on air, or that it has ended. A publisher
// who goes and comes back in time makes none.
type Change struct {
	Domain, App, Name string
	On                bool
	Time              time.Time
	Remote            string // of the publisher, the last one when the stream has ended
	Source            string // Publisher.Source
}

// noteLocked queues a change; tell hands it on when the locks are gone.
func (h *Hub) noteLocked(s *stream, on bool) {
	if h.changed != nil {
		h.changes = append(h.changes, Change{Domain: s.domain, App: s.app, Name: s.name, On: on, Time: time.Now(), Remote: s.remote, Source: s.source})
	}
}

// tell hands queued changes on, without a lock held. One goroutine does so at a
// time, so that they arrive in order; the others leave theirs to it.
func (h *Hub) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.telling {
		return
	}
	h.telling = true
	for len(h.changes) > 0 {
		changes := h.changes
		h.changes = nil
		h.mu.Unlock()
		for _, c := range changes {
			h.changed(c)
		}
		h.mu.Lock()
	}
	h.telling = false
}
