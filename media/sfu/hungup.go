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
	mu           sync.Mutex
	hungUp, away lately
}

// lately is the newest of some sessions that have ended. The zero value is empty.
type lately struct {
	all  [256]goodbye
	next int
}

type goodbye struct {
	id  string
	why event.Reason
}

func (l *lately) add(s *Session) {
	l.all[l.next%len(l.all)] = goodbye{s.id, s.why}
	l.next++
}

// find gives the session of an id; nil when it is not known.
func (l *lately) find(id string) *goodbye {
	i := slices.IndexFunc(l.all[:], func(g goodbye) bool { return g.id == id })
	if id == "" || i < 0 {
		return nil
	}
	return &l.all[i]
}

// add takes a session that has ended.
func (g *goodbyes) add(s *Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case s.Reason() == hungUp:
		g.hungUp.add(s)
	case s.participant == nil && s.sentAway() != 0: // participants are told on their socket
		g.away.add(s)
	}
}

// HungUp tells, once, whether the session of this id has ended because its
// client closed the connection. Only the last 256 of those are known.
func (s *Server) HungUp(id string) bool {
	g := &s.goodbyes
	g.mu.Lock()
	defer g.mu.Unlock()
	known := g.hungUp.find(id)
	if known == nil {
		return false
	}
	*known = goodbye{}
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
	if known := g.away.find(id); known != nil {
		return known.why
	}
	return 0
}

// sentAway is Server.SentAway of a session that may still be ending.
func (s *Session) sentAway() event.Reason {
	if s.stopped() && (s.why == event.Replaced || s.why == event.Kicked || s.why == event.Dismissed) {
		return s.why
	}
	return 0
}
