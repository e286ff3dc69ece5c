package sfu

import (
	"slices"
	"sync"
)

// hungUp is why a session ends whose client has closed its connection.
const hungUp = "the connection is closed"

// goodbyes are the sessions, the newest 256, that ended because their clients
// closed the connection and have not said so over HTTP yet: OBS and whip-whep
// close first and send their DELETE then.
type goodbyes struct {
	mu   sync.Mutex
	ids  [256]string
	next int
}

func (g *goodbyes) add(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ids[g.next%len(g.ids)] = id
	g.next++
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
