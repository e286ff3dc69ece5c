package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"braid/event"
	"braid/origin"
	"braid/store"
)

// studio looks after the streams of the origin: it tells the applications that
// they concern, and runs one job for each template that a stream matches.
//
//	origin ── changed ──→ changes ─┐
//	REST ── TemplatesChanged ──────┼─→ run ─→ store: who, which templates
//	                               │    ├─→ tell: StreamStarted, StreamEnded
//	                               │    └─→ job, job, …: each in a goroutine of its own
//
// What the origin tells is only noted: the store is asked by run, so a slow disk
// holds up no stream. What could not be read is read again at the next tick.
type studio struct {
	db   viewer
	jobs map[store.TemplateKind]jobFunc // kinds that are not there are left alone
	tell func(...event.Event)
	log  *slog.Logger

	wake chan struct{} // holds one: changes or stale have something

	mu      sync.Mutex
	origin  streamLister
	changes []origin.Change
	stale   bool // templates, or who is told, have changed
	air     map[streamName]*airing
	rates   map[streamName]rate

	working sync.WaitGroup // jobs
}

// viewer is what the studio needs of a *store.DB.
type viewer interface {
	View(context.Context, func(*store.Tx) error) error
}

// streamLister is what it needs of an *origin.Origin.
type streamLister interface{ Streams() []origin.StreamInfo }

type streamName struct{ app, name string }

// airing is a stream while it is on air; all but jobs is owned by run.
type airing struct {
	origin.Change              // that put it there
	asked         bool         // the store has answered at least once
	known         bool         // and since the last change
	told          []string     // applications that know of its start
	jobs          map[own]*job // changed with studio.mu held
}

// own names a template.
type own struct{ app, id string }

func newStudio(db viewer, tell func(...event.Event), log *slog.Logger) *studio {
	return &studio{db: db, jobs: make(map[store.TemplateKind]jobFunc), tell: tell, log: log, wake: make(chan struct{}, 1),
		air: make(map[streamName]*airing), rates: make(map[streamName]rate)}
}

// changed is origin.Config.Changed; it never blocks.
func (s *studio) changed(c origin.Change) {
	s.mu.Lock()
	s.changes = append(s.changes, c)
	s.mu.Unlock()
	s.poke()
}

// TemplatesChanged makes the jobs follow the store; it never blocks.
func (s *studio) TemplatesChanged() {
	s.mu.Lock()
	s.stale = true
	s.mu.Unlock()
	s.poke()
}

func (s *studio) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// studioTick is how often bitrates are measured, and what failed to be read from
// the store is read again.
const studioTick = 2 * time.Second

// run works until ctx ends and all jobs have: those get jobGrace to finish what
// they have begun.
func (s *studio) run(ctx context.Context) {
	tick := time.NewTicker(studioTick)
	defer tick.Stop()
	for {
		select {
		case <-s.wake:
		case <-tick.C:
			s.measure(time.Now())
		case <-ctx.Done():
			s.look(context.WithoutCancel(ctx))
			for k, a := range s.snapshot() {
				s.end(k, a, time.Now())
			}
			s.working.Wait()
			return
		}
		s.look(ctx)
	}
}

// look does what is to be done: first what the origin told, in its order.
func (s *studio) look(ctx context.Context) {
	s.mu.Lock()
	changes, stale := s.changes, s.stale
	s.changes, s.stale = nil, false
	s.mu.Unlock()
	for _, c := range changes {
		s.follow(ctx, c)
	}
	missed, why := 0, error(nil)
	for _, a := range s.snapshot() {
		if a.known && !stale {
			continue
		}
		if err := s.reconcile(ctx, a); err != nil {
			missed, why = missed+1, err
		}
	}
	if missed > 0 {
		s.log.Error("the templates of streams cannot be read, will try again", "streams", missed, "error", why)
	}
}

func (s *studio) follow(ctx context.Context, c origin.Change) {
	k := streamName{c.App, c.Name}
	s.mu.Lock()
	old := s.air[k]
	s.mu.Unlock()
	if old != nil {
		s.end(k, old, c.Time)
	}
	if !c.On {
		return
	}
	a := &airing{Change: c, jobs: make(map[own]*job)}
	s.mu.Lock()
	s.air[k] = a
	s.mu.Unlock()
	_ = s.reconcile(ctx, a) // look tries again, and says so
}

// reconcile tells whom a stream concerns that it is on air, and makes its jobs
// those of its templates. Renditions are left alone: they are made of a stream
// that was told.
func (s *studio) reconcile(ctx context.Context, a *airing) error {
	if a.Source != "" {
		a.known = true
		return nil
	}
	a.known = false
	var apps []string
	var templates []store.Template
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		if templates, err = tx.TemplatesFor(a.Domain, a.App); err != nil {
			return err
		}
		apps, err = tx.StreamApps(a.Domain, a.App)
		return err
	})
	if err != nil {
		return err
	}
	s.announce(a, apps)
	s.assign(a, templates)
	a.asked, a.known = true, true
	return nil
}

// snapshot copies what is on air, for run, which alone changes it.
func (s *studio) snapshot() map[streamName]*airing {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[streamName]*airing, len(s.air))
	for k, a := range s.air {
		all[k] = a
	}
	return all
}
