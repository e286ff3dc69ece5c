package rtc

import "time"

// endings are the sessions that somebody else has ended lately. Their users may not
// know it, for their socket was broken: who resumes is told, instead of being let in
// again as if nothing had been. A join without resume is another matter.
type endings struct {
	known map[string]ending // by session
	order []string          // of those, the oldest first
}

type ending struct {
	reason string
	until  time.Time
}

// keep remembers a session for the time in which its user may try to resume it. That
// time is the same for all.
func (e *endings) keep(id, reason string, now time.Time, grace time.Duration) {
	for len(e.order) > 0 && now.After(e.known[e.order[0]].until) {
		delete(e.known, e.order[0])
		e.order = e.order[1:]
	}
	switch reason {
	case "kicked", "dismissed", "replaced":
		if e.known == nil {
			e.known = map[string]ending{}
		}
		e.known[id] = ending{reason, now.Add(grace)}
		e.order = append(e.order, id)
	}
}

// ending is why a session was ended by somebody else; "" when it was not, or long
// ago.
func (s *Server) ending(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.endings.known[id]
	if time.Now().After(e.until) {
		return ""
	}
	return e.reason
}
