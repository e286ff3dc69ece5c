package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"braid/event"
	"braid/signaling/admin"
	"braid/store"
)

const (
	// jobGrace is how long a job may go on after its stream has ended: its viewer
	// has some seconds of media at most, which are to be written or encoded.
	jobGrace = 10 * time.Second

	jobRetry = time.Second // after the first failure; it doubles
	jobSlow  = time.Minute // up to this
)

// jobFunc does what a template asks for to one stream. It returns nil when the
// stream or ctx has ended, and what it started has ended with it; an error makes
// it be called again after a while.
type jobFunc func(ctx context.Context, w *work) error

// work is what a job is about.
type work struct {
	Domain, App, Name string // the stream
	Since             time.Time
	Template          store.Template
	Gone              <-chan struct{} // closed when the stream has ended

	gone    context.Context
	tell    func(...event.Event)
	trouble func(reason string)
}

// Tell makes an event of the stream, for the template's application.
func (w *work) Tell(t event.Type, file *event.File, reason string) {
	w.tell(event.Event{App: w.Template.App, Type: t, Time: time.Now(), Stream: &event.Stream{
		Domain: w.Domain, App: w.App, Name: w.Name, Since: w.Since, Template: w.Template.ID, File: file, Reason: reason}})
}

// Trouble says what goes wrong while the job goes on; "" that nothing does any more.
func (w *work) Trouble(reason string) { w.trouble(reason) }

// job is the work of one template on one stream.
//
//	running ─ failed ─→ waiting ─→ running …
//	   └── its stream, its template or the server ends ──→ ending ─→ done
type job struct {
	cancel  context.CancelFunc
	of      edition            // of the template
	stopped bool               // cancelled by run, which owns this
	done    chan struct{}      // closed when nothing of it runs
	leave   context.CancelFunc // says that the stream has ended

	show admin.Job // guarded by studio.mu
}

// edition tells a template from what it was before: it may have been changed, or
// deleted and made anew under the same id.
type edition struct {
	version int64
	created int64 // Unix milliseconds
}

func editionOf(t store.Template) edition { return edition{t.Version, t.Created.UnixMilli()} }

// announce tells applications that do not know yet that a stream is on air.
func (s *studio) announce(a *airing, apps []string) {
	for _, app := range apps {
		if slices.Contains(a.told, app) {
			continue
		}
		at := a.Time
		if a.asked { // it concerns them only now
			at = time.Now()
		}
		s.tell(event.Event{App: app, Type: event.StreamStarted, Time: at,
			Stream: &event.Stream{Domain: a.Domain, App: a.App, Name: a.Name, Since: a.Time, Remote: a.Remote}})
	}
	for _, app := range apps {
		if !slices.Contains(a.told, app) {
			a.told = append(a.told, app)
		}
	}
}

// assign makes a stream's jobs those of the templates: one that has changed is
// begun anew when the old one has ended, since both would write the same names.
func (s *studio) assign(a *airing, templates []store.Template) {
	want := make(map[own]store.Template)
	for _, t := range templates {
		if s.jobs[t.Kind] != nil {
			want[own{t.App, t.ID}] = t
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, j := range a.jobs {
		if t, ok := want[k]; !j.stopped && (!ok || editionOf(t) != j.of) {
			j.stopped = true
			j.cancel()
			s.stateLocked(j, "ending")
		}
	}
	for k, t := range want {
		if old := a.jobs[k]; old == nil || old.stopped {
			a.jobs[k] = s.startLocked(a, t, old)
		}
	}
}

// startLocked starts a job, after another has ended when there is one.
func (s *studio) startLocked(a *airing, t store.Template, after *job) *job {
	ctx, cancel := context.WithCancel(context.Background())
	gone, leave := context.WithCancel(context.Background())
	j := &job{cancel: cancel, of: editionOf(t), done: make(chan struct{}), leave: leave}
	j.show = admin.Job{Application: t.App, Template: t.ID, Kind: t.Kind, State: "running", Since: time.Now().UTC()}
	if after != nil {
		j.show.State = "waiting"
	}
	w := &work{Domain: a.Domain, App: a.App, Name: a.Name, Since: a.Time, Template: t, Gone: gone.Done(), gone: gone, tell: s.tell,
		trouble: func(reason string) { s.trouble(j, reason) }}
	s.working.Go(func() {
		if after != nil {
			<-after.done
			s.setState(j, "running")
		}
		if ctx.Err() == nil && gone.Err() == nil {
			s.work(ctx, j, w)
		}
		close(j.done)
		cancel()
		leave()
		s.forget(a, own{t.App, t.ID}, j)
	})
	return j
}

// work runs a job again and again until its stream or ctx has ended.
func (s *studio) work(ctx context.Context, j *job, w *work) {
	log := s.log.With("app", w.App, "stream", w.Name, "application", w.Template.App, "template", w.Template.ID, "kind", w.Template.Kind)
	for failures := 0; ; {
		began := time.Now()
		err := s.jobs[w.Template.Kind](ctx, w)
		if ctx.Err() != nil || w.gone.Err() != nil {
			if err != nil && ctx.Err() == nil {
				log.Warn("a job failed at its stream's end", "error", err)
			}
			return
		}
		if err == nil || time.Since(began) > jobSlow { // it ended before its stream, or had gone well
			failures = 0
		}
		if err != nil {
			failures++
			log.Warn("a job failed, will try again", "error", err, "failures", failures)
		}
		s.failed(j, failures, err)
		wait := min(jobRetry<<min(failures, 10), 2*jobSlow) / 2
		wait += time.Duration((rand.Float64() - 0.5) * 0.4 * float64(wait)) // so that many do not try at once
		select {
		case <-time.After(wait):
		case <-w.Gone:
			return
		case <-ctx.Done():
			return
		}
		s.setState(j, "running")
	}
}

// end lets a stream's jobs finish, and tells who knew of its start.
func (s *studio) end(k streamName, a *airing, at time.Time) {
	s.mu.Lock()
	delete(s.air, k)
	for _, j := range a.jobs {
		j.leave()
		s.stateLocked(j, "ending")
		time.AfterFunc(jobGrace, j.cancel)
	}
	s.mu.Unlock()
	for _, app := range a.told {
		s.tell(event.Event{App: app, Type: event.StreamEnded, Time: at,
			Stream: &event.Stream{Domain: a.Domain, App: a.App, Name: a.Name, Since: a.Time}})
	}
}

// forget takes a job that is done out of what is shown.
func (s *studio) forget(a *airing, k own, j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.jobs[k] == j {
		delete(a.jobs, k)
	}
}

func (s *studio) setState(j *job, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stateLocked(j, state)
}

// stateLocked shows a state; from "ending" there is no way back.
func (s *studio) stateLocked(j *job, state string) {
	if j.show.State != state && j.show.State != "ending" {
		j.show.State, j.show.Since = state, time.Now().UTC()
	}
}

// failed shows that a job waits to be tried again.
func (s *studio) failed(j *job, failures int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stateLocked(j, "waiting")
	j.show.Failures = failures
	if err != nil {
		now := time.Now().UTC()
		j.show.Error, j.show.Failed = err.Error(), &now
	}
}

// trouble shows what goes wrong while a job goes on.
func (s *studio) trouble(j *job, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.show.Error, j.show.Failed = reason, nil
	if reason != "" {
		now := time.Now().UTC()
		j.show.Failed = &now
	}
}
