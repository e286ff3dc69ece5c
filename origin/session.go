package origin

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"braid/media"
	"braid/media/rtmp"
)

// sessionParam is the query parameter that carries a session.
const sessionParam = "braid_session"

const (
	// A session ends when nothing of a stream on air was asked for so long: players
	// ask for the playlist each target duration, and a paused one may begin anew.
	sessionIdle = 5 * time.Minute
	// One that nobody has come back with ends sooner: a client that throws away what
	// it gets, again and again, does not take the others' places.
	sessionUnused = 30 * time.Second
	// Idle ones are looked for so often when there is no place left.
	sessionSweep = time.Second
	// maxSessions bounds what remembering them costs, to some 20 MB.
	maxSessions = 100_000
)

// sessions are the HLS players that were let in by a signature. HLS asks again and
// again by the same address: without them a player would be cut when its address
// expires.
type sessions struct {
	mu   sync.Mutex
	all  map[string]*session
	next time.Time // when idle ones are looked for

	swept time.Time // when they were
}

type session struct {
	app, name string
	master    bool // its renditions, {name}_{rendition}, may be asked for too
	domain    string
	bound     bool // domain is that of the stream; it was not on air before
	used      time.Time
}

// over tells whether a session has ended.
func (s *session) over(now time.Time) bool {
	idle := sessionUnused
	if s.bound {
		idle = sessionIdle
	}
	return now.Sub(s.used) > idle
}

// open makes a session; ok is false when there are too many.
func (s *sessions) open(app, name string, master bool, now time.Time) (id string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.After(s.next) || len(s.all) >= maxSessions && now.Sub(s.swept) >= sessionSweep {
		for id, one := range s.all {
			if one.over(now) {
				delete(s.all, id)
			}
		}
		s.next, s.swept = now.Add(time.Minute), now
	}
	if len(s.all) >= maxSessions {
		return "", false
	}
	if s.all == nil {
		s.all = make(map[string]*session)
	}
	id = rand.Text()
	s.all[id] = &session{app: app, name: name, master: master, used: now}
	return id, true
}

// resume tells whether a session holds for a stream, which is now of the given
// owner when it is on air, and keeps it.
func (s *sessions) resume(id, app, name string, of owner, onAir bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, now := s.all[id], time.Now()
	switch {
	case one == nil || one.over(now):
		return false
	case one.app != app || one.name != name && !(one.master && rendition(one.name, name)):
		return false
	case onAir && one.name != name && of.source != one.name: // it only has such a name
		return false
	case onAir && one.bound && one.domain != of.domain: // somebody else's stream by now
		return false
	}
	if onAir {
		one.domain, one.bound, one.used = of.domain, true, now
	}
	return true
}

// rendition tells whether a stream may be one of the transcoder's of another, by its name.
func rendition(of, name string) bool {
	rest, ok := strings.CutPrefix(name, of+"_")
	return ok && rest != "" && len(rest) <= 16 && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func sessionOf(query string) string {
	q, _ := url.ParseQuery(query)
	return q.Get(sessionParam)
}

// openSession gives a player a session. A master playlist is served under it, as
// its addresses repeat the query; in place of a media playlist the player gets a
// master playlist that leads to it, since a player asks for the former once and for
// the latter again and again. A player who waits for a stream to come gets none:
// it asks again and again by its signature. It reports whether the request is to be served.
func (o *Origin) openSession(w http.ResponseWriter, r *http.Request, app, name string, master bool) bool {
	if _, onAir := o.ownerOf(key{app, name}); !onAir {
		return true // to be told so
	}
	id, ok := o.sessions.open(app, name, master, time.Now())
	if !ok {
		refuse(w, &rtmp.Refusal{Words: "too many players", Err: fmt.Errorf("origin: %d HLS sessions: %w", maxSessions, media.ErrLimit)})
		return false
	}
	q := r.URL.Query()
	next := url.Values{sessionParam: {id}}
	for _, keep := range []string{"onlyaudio", "onlyvideo"} {
		if q.Has(keep) {
			next.Set(keep, q.Get(keep))
		}
	}
	if master {
		r.URL.RawQuery = next.Encode()
		return true
	}
	list := fmt.Sprintf("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-STREAM-INF:BANDWIDTH=%d\n%s?%s\n",
		o.bandwidth(key{app, name}), path.Base(r.URL.EscapedPath()), next.Encode())
	reply(w, "application/vnd.apple.mpegurl", []byte(list))
	return false
}

// bandwidth is what a stream has had on average since its publisher began, in bit/s.
func (h *Hub) bandwidth(k key) int {
	const unknown = 2_000_000
	h.mu.Lock()
	s := h.streams[k]
	h.mu.Unlock()
	if s == nil {
		return unknown
	}
	i := s.info()
	if age := time.Since(i.Since).Seconds(); age > 1 && i.BytesIn > 0 {
		return int(float64(i.BytesIn) * 8 / age)
	}
	return unknown
}
