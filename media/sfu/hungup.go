package sfu

import (
	"slices"
	"sync"

	"braid/event"
)

// hungUp is why a session ends whose client has closed its connection.
const hungUp = "the connection is closed"

// goodbyes are the sessions, the newest 256, that ended because their clients
// closed the connection and have not said so over HTTP yet: OBS and whip-whep
// close first and send their DELETE then. And as many that somebody else has ended,
// whose clients see no more than that the connection is gone.
type goodbyes struct {
	mu   sync.Mutex
	ids  [256]string
	next int

	away     [256]sentAway
	nextAway int
}

type sentAway struct {
	id  string
	why event.Reason
}

// add takes a session that has ended.
func (g *goodbyes) add(s *Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case s.Reason() == hungUp:
		g.ids[g.next%len(g.ids)] = s.id
		g.next++
	case s.participant == nil && s.sentAway() != 0: // participants are told on their socket
		g.away[g.nextAway%len(g.away)] = sentAway{s.id, s.why}
		g.nextAway++
	}
}

// HungUp tells, once, whether the session of this id has ended because its
// client closed the connection. Only the last 256 of those are known.
func (s *Server) HungUp(id string) bool {
	g := &s.goodbyes
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.ids[:], id)
	if id == "" || i < 0 {
		return false
	}
	g.ids[i] = ""
	return true
}

// SentAway tells why the session of this id was ended by somebody else:
// event.Replaced, Kicked or Dismissed; 0 for one that lives, ended otherwise or is
// not known. Only the last 256 of those are known.
func (s *Server) SentAway(id string) event.Reason {
	if sess, ok := s.Session(id); ok {
		return sess.sentAway()
	}
	g := &s.goodbyes
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.away[:], func(a sentAway) bool { return a.id == id })
	if id == "" || i < 0 {
		return 0
	}
	return g.away[i].why
}

// sentAway is Server.SentAway of a session that may still be ending.
func (s *Session) sentAway() event.Reason {
	if s.stopped() && (s.why == event.Replaced || s.why == event.Kicked || s.why == event.Dismissed) {
		return s.why
	}
	return 0
}
