// Package live tells the console what happens at this moment, as server-sent
// events: GET /v1/live, whose form is in doc/rest.md.
//
// It starts no goroutine. A stream runs in its request: it looks twice a second
// at one view of everything, which all streams share, and sends what differs
// from what it sent last. So a reader that is slow holds up only itself and
// costs no memory: it gets fewer changes, each of them larger.
package live

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"braid/media"
	"braid/media/sfu"
	"braid/relay"
)

// Times of a stream.
const (
	lookEvery   = 500 * time.Millisecond
	silentFor   = 15 * time.Second // then a comment shows that the stream lives, and its reader is asked for again
	writeLimit  = 10 * time.Second // for one message; a reader that takes longer is let go
	mostReaders = 100
)

// Rooms is what is shown of the SFU. Its methods are called from many goroutines.
type Rooms interface {
	Snapshot() []sfu.ChannelInfo
	Live() []sfu.ChannelLive
	// Watch has everything measured until stop is called.
	Watch() (stop func())
}

// Tasks is what is shown of the stream relay.
type Tasks interface {
	States() []relay.TaskState
}

// Live serves streams of what happens.
type Live struct {
	rooms   Rooms
	tasks   Tasks
	silent  time.Duration // silentFor
	limit   time.Duration // writeLimit
	readers atomic.Int32

	mu  sync.Mutex // held while a view is made
	now *view      // immutable
	at  time.Time
}

// New makes a Live.
func New(rooms Rooms, tasks Tasks) *Live {
	return &Live{rooms: rooms, tasks: tasks, silent: silentFor, limit: writeLimit}
}

// Filter narrows a stream; zero fields do not.
type Filter struct{ App, Channel string }

func (f Filter) takes(app, channel string) bool {
	return (f.App == "" || f.App == app) && (f.Channel == "" || f.Channel == channel)
}

// Serve sends a stream until the client goes, the server ends, or still says
// that the client may not read any more; it is asked every 15 s. An error comes
// before anything was sent: media.ErrLimit when there are too many streams.
func (l *Live) Serve(w http.ResponseWriter, r *http.Request, f Filter, still func(context.Context) bool) error {
	if l.readers.Add(1) > mostReaders {
		l.readers.Add(-1)
		return fmt.Errorf("live: there are %d readers already: %w", mostReaders, media.ErrLimit)
	}
	defer l.readers.Add(-1)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold it back
	if r.Method == http.MethodHead {
		return nil
	}
	stop := l.rooms.Watch()
	defer stop()
	s := stream{to: w, control: http.NewResponseController(w), filter: f, limit: l.limit}
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	asked := time.Now()
	for {
		if !s.next(l.view()) {
			return nil
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-tick.C:
		}
		if time.Since(asked) < l.silent {
			continue
		}
		asked = time.Now()
		if still != nil && !still(r.Context()) || !s.write(": still here\n\n") {
			return nil
		}
	}
}

// view is everything as it is now, or was less than lookEvery ago.
func (l *Live) view() *view {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A little less, so that a stream whose tick is early does not miss one.
	if now := time.Now(); l.now == nil || now.Sub(l.at) > lookEvery*9/10 {
		l.now, l.at = newView(l.rooms.Snapshot(), l.rooms.Live(), l.tasks.States()), now
	}
	return l.now
}

// stream is one reader. It is owned by its request.
type stream struct {
	to      http.ResponseWriter
	control *http.ResponseController
	filter  Filter
	limit   time.Duration // for one message
	sent    *view         // what the reader knows; nil: nothing
	number  int
}

// next brings the reader to a view; false when it is gone.
func (s *stream) next(v *view) bool {
	v = v.narrow(s.filter)
	old := s.sent
	s.sent = v
	if old == nil {
		return s.event("snapshot", v.all())
	}
	if d, any := v.since(old); any && !s.event("change", d) {
		return false
	}
	if levels := v.heardSince(old); len(levels) > 0 {
		return s.event("levels", map[string]any{"channels": levels})
	}
	return true
}

func (s *stream) event(kind string, data any) bool {
	text, err := json.Marshal(data)
	if err != nil {
		panic("live: a view has only what JSON has, yet: " + err.Error())
	}
	s.number++
	return s.write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", s.number, kind, text))
}

func (s *stream) write(text string) bool {
	_ = s.control.SetWriteDeadline(time.Now().Add(s.limit)) // without one the connection's end is noticed by TCP
	if _, err := s.to.Write([]byte(text)); err != nil {
		return false
	}
	return s.control.Flush() == nil
}
