package rtc

import "time"

// endings are the sessions that somebody else has ended lately. Their users may not
// know it, for their socket was broken: who resumes is told, instead of being let in
// again as if nothing had been. A join without resume is another matter.
type endings map[string]ending

type ending struct {
	reason string
	until  time.Time
}

// keep remembers a session for the time in which its user may try to resume it.
func (e *endings) keep(id, reason string, now time.Time, grace time.Duration) {
	for old, o := range *e {
		if now.After(o.until) {
			delete(*e, old)
		}
	}
	switch reason {
	case "kicked", "dismissed", "replaced":
		if *e == nil {
			*e = endings{}
		}
		(*e)[id] = ending{reason, now.Add(grace)}
	}
}

// ending is why a session was ended by somebody else; "" when it was not, or long
// ago.
func (s *Server) ending(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.endings[id]
	if !ok || time.Now().After(e.until) {
		return ""
	}
	return e.reason
}
