package relay

import (
	"slices"
	"sync"
	"time"

	"braid/event"
)

// A URL that could not be reached for unreachable has failed; media that flow for
// mended after the worker's last complaint flow again.
const (
	unreachable = 30 * time.Second
	mended      = 30 * time.Second
	mostShort   = 2
)

// standing is how one URL of a task does.
//
//	trying ──media──→ playing ⇄ reconnecting
//	   └─ refused by word, or unreachable ──→ failing ──media──→ playing
type standing int

const (
	trying standing = iota
	playing
	reconnecting
	failing
)

// destination is one URL of a task. A push that begins anew because the stream's
// form has changed goes on with it.
type destination struct {
	standing
	since time.Time // of the first try without media, or of the end of a session that had none
	tried time.Time // when the newest try began
	live  time.Time // since when media flow; zero: they do not
	short int       // sessions in a row whose media did not flow for healthyAfter
}

// next is the destination after its push has said s, and the event that this is:
// "" none. Each change is told once. An origin that takes a stream and then closes,
// time and again, as some do with a stream that they deny, plays twice; from then
// on only what has held counts as playing.
func (d destination) next(s PushState) (destination, event.Type) {
	code, _ := codeOf(s.Reason)
	final := code == CodeRejected || code == CodeTaken || code == CodeForbidden || code == CodeURL
	switch s.Phase {
	case PhaseConnecting:
		d.tried = s.Since
	case PhaseWaiting:
		switch lasted := s.Since.Sub(d.live); {
		case d.live.IsZero():
		case lasted < healthyAfter:
			d.short++
		default:
			d.short = 0
		}
		d.live = time.Time{}
		if d.standing != playing && !s.Reached.Before(d.tried) && s.Since.Sub(s.Reached) >= healthyAfter {
			d.since = s.Since // it was there until now, with nothing to send
		}
	}
	switch {
	case s.Phase == PhaseLive && !s.Held && d.short >= mostShort:
		d.live = s.Since
	case s.Phase == PhaseLive && d.standing != playing:
		return destination{standing: playing, live: s.Since, short: d.short}, event.RelayPlaying
	case s.Phase == PhaseLive && d.live.IsZero(): // of another form
		d.live = s.Since
	case s.Phase == PhaseConnecting && d.standing == trying && d.since.IsZero():
		d.since = s.Since
	case s.Phase == PhaseClosed && code == CodeURL && d.standing != failing:
		d.standing = failing
		return d, event.RelayFailed
	case s.Phase == PhaseClosed:
		d.live = time.Time{}
	case s.Phase != PhaseWaiting || d.standing == failing:
	case d.standing == playing:
		d.standing, d.since = reconnecting, s.Since
		return d, event.RelayReconnecting
	case final || s.Since.Sub(d.since) >= unreachable:
		d.standing = failing
		return d, event.RelayFailed
	}
	return d, ""
}

// report turns what pushes and workers of one task say into events. Its methods
// never block and may be called from any goroutine.
type report struct {
	tell func(typ event.Type, url string, code int, detail string) event.Event
	to   *event.Queue

	mu     sync.Mutex
	urls   map[string]destination
	broken time.Time // when the worker last complained; zero: all is well
	holds  bool      // a change of the task is being written: what happens now comes after it
	held   []event.Event
	closed bool
}

func (r *report) put(e event.Event) {
	if r.holds {
		r.held = append(r.held, e)
	} else {
		r.to.Put(e)
	}
}

// push is told each state of the push to a URL.
func (r *report) push(url string, s PushState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.urls[url]
	if !ok || r.closed {
		return // the task has given the URL up
	}
	next, typ := d.next(s)
	r.urls[url] = next
	if typ != "" {
		code, detail := codeOf(s.Reason)
		if typ == event.RelayPlaying {
			code, detail = CodeOK, ""
		}
		r.put(r.tell(typ, url, code, detail))
	}
}

// worker is told that the stream cannot be made.
func (r *report) worker(reason string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.broken.IsZero()
	r.broken = now
	if first && !r.closed {
		r.put(r.tell(event.RelayFailed, "", CodeMedia, reason))
	}
}

// flows is told, after a worker's complaint, that media came; it is true when
// that has held for long enough, and the complaint is over.
func (r *report) flows(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.broken) < mended {
		return false
	}
	r.broken = time.Time{}
	for url, d := range r.urls {
		if d.standing == playing && !r.closed {
			r.put(r.tell(event.RelayPlaying, url, CodeOK, ""))
		}
	}
	return true
}

// hold keeps events back until follow or end.
func (r *report) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds = true
}

// follow sets the task's URLs and lets the events go that are about one of them.
func (r *report) follow(urls []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for url := range r.urls {
		if !slices.Contains(urls, url) {
			delete(r.urls, url)
		}
	}
	for _, url := range urls {
		if _, ok := r.urls[url]; !ok {
			r.urls[url] = destination{}
		}
	}
	held := r.held
	r.holds, r.held = false, nil
	for _, e := range held {
		if e.Relay.URL == "" || slices.Contains(urls, e.Relay.URL) {
			r.to.Put(e)
		}
	}
}

// end says that nothing more is told: the task's last event is written.
func (r *report) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.holds, r.held = true, false, nil
}
