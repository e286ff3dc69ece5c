// Package relay runs stream relay tasks: it takes one user's stream (MixMode 0)
// or a mix of a channel (MixMode 1), writes SEI into its pictures, and pushes
// it over RTMP to every URL of the task, whatever happens to users, workers or
// origins meanwhile. It decodes nothing itself: workers of the mixer do.
//
// A task is desired state in the store. What changes it is durable, together with
// the event that tells of it, before anything is done; Resume runs what the store
// holds. Applications whose settings ask for it have tasks without being asked:
// see auto.
//
// Goroutines: one for each task, one for each push, for MixMode 0 one for each
// track read; one writes events, one follows the applications' settings and one
// each of their channels. Close returns when all have ended.
package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"braid/event"
	"braid/media"
	"braid/mixer"
	"braid/store"
)

// Quotas of an application (artc-api.md section 4.1). Automatic tasks do not count.
const (
	MaxSingle = 200
	MaxMix    = 40

	urlRest = 10 * time.Second // an ingest URL may not be used again sooner after a stop
)

// Config is what a Service needs.
type Config struct {
	Channels media.Channels
	// Open lists the ids of an application's open channels; they change when
	// Channels.ChannelsChanged says so. nil: there is no automatic relay.
	Open  func(app string) []string
	Mixer *mixer.Pool
	Store *store.DB
	// Control sees each address that is to be dialled, after name resolution; its
	// error refuses it (net.Dialer.Control). nil: every address is fine.
	Control func(network, address string, c syscall.RawConn) error
	// TLS is how rtmps origins are spoken to; nil: they are trusted as the system says.
	TLS *tls.Config
	// Origin is where automatic tasks push to when no streaming domain is named,
	// without a path: rtmp://127.0.0.1:1935.
	Origin string
	// Cores is how much of the machine mixes may take together, by estimate; 0: any.
	// What runs already, also from before a restart, goes on whatever it takes.
	Cores float64
	// OriginKey signs pushes to Origin as SignURL does, unless a domain's key or the
	// task's own URL does; "": they are not signed.
	OriginKey string
	Log       *slog.Logger
}

// Service keeps the tasks. All methods may be called from many goroutines. When
// the store fails, methods answer its error and nothing has changed.
type Service struct {
	cfg     Config
	journal *journal
	auto    *auto
	totals  *totals
	ctx     context.Context // of the writer and of what follows channels
	cancel  context.CancelFunc
	wg      sync.WaitGroup // the writer
	follows sync.WaitGroup // auto

	changing sync.Mutex // held over each change of a task: its checks, its transaction, its effect

	mu     sync.Mutex // never held while the store is asked
	tasks  map[id]*task
	autos  map[place][]*task    // the automatic ones of tasks, by channel
	gone   chan struct{}        // closed when an automatic task has ended
	rest   map[string]time.Time // by streamAt: when a stopped task's URL may be used again; a restart forgets it
	closed bool
	run    sync.WaitGroup // tasks
}

type id struct{ app, task string }

// New makes a Service without tasks.
func New(cfg Config) *Service {
	s := &Service{
		cfg: cfg, tasks: make(map[id]*task), autos: make(map[place][]*task), gone: make(chan struct{}), rest: make(map[string]time.Time),
	}
	s.journal = &journal{db: cfg.Store, log: cfg.Log}
	s.auto, s.totals = newAuto(s), newTotals()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(func() { s.journal.run(s.ctx) })
	return s
}

// Start begins a task. It fails with media.ErrNotFound when nobody is in the
// channel, media.ErrExists when the task id is live, media.ErrLimit over the
// quota or when the machine has no room, and media.ErrInvalid when a URL is in use or cannot be used, or the
// application is disabled.
func (s *Service) Start(ctx context.Context, spec *Spec) error {
	given := *spec
	given.Auto = nil
	return s.begin(ctx, &given)
}

func (s *Service) begin(ctx context.Context, spec *Spec) error {
	if err := spec.check(); err != nil {
		return err
	}
	if c, ok := s.cfg.Channels.Channel(spec.App, spec.Channel); !ok || len(c.Users()) == 0 { // it may linger
		return fmt.Errorf("channel %q does not exist: nobody is in it: %w", spec.Channel, media.ErrNotFound)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.admit(spec); err != nil {
		return err
	}
	row, err := spec.row("", time.Time{}, time.Now())
	if err != nil {
		return err
	}
	started := event.Event{
		App: spec.App, Channel: spec.Channel, Type: event.RelayStarted, Time: time.Now(),
		Relay: relayed(spec.Task, "", CodeOK, ""),
	}
	err = s.journal.change(ctx, func(tx *store.Tx) error {
		if err := enabled(tx, spec.App); err != nil {
			return err
		}
		if err := s.create(tx, row); err != nil {
			return err
		}
		return tx.Append(started)
	})
	if err != nil {
		return fmt.Errorf("start task %q: %w", spec.Task, err)
	}
	s.launch(newTask(s, spec, row, false))
	return nil
}

// create adds a task that does not run. A row of its id that is there all the
// same could not be read by Resume, and nobody else can take it away.
func (s *Service) create(tx *store.Tx, row *store.Task) error {
	err := tx.CreateTask(row)
	if !errors.Is(err, media.ErrExists) {
		return err
	}
	s.cfg.Log.Warn("a new relay task replaces one of the store that cannot be read", "app", row.App, "task", row.ID)
	if err := tx.DeleteTask(row.App, row.ID); err != nil {
		return err
	}
	return tx.CreateTask(row)
}

// enabled fails with media.ErrInvalid when no task may run for an application.
func enabled(tx *store.Tx, app string) error {
	a, err := tx.Application(app)
	switch {
	case errors.Is(err, media.ErrNotFound):
		return fmt.Errorf("application %q does not exist: %w", app, media.ErrInvalid)
	case err != nil:
		return err
	case a.Disabled:
		return fmt.Errorf("application %q is disabled: %w", app, media.ErrInvalid)
	}
	return nil
}

// admit tells whether a new task would break a rule.
func (s *Service) admit(spec *Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return media.ErrClosed
	case s.tasks[id{spec.App, spec.Task}] != nil:
		return fmt.Errorf("task %q is running already: %w", spec.Task, media.ErrExists)
	}
	if spec.Auto == nil {
		if err := s.quotaLocked(spec); err != nil {
			return err
		}
	}
	if err := s.roomLocked(spec); err != nil {
		return err
	}
	return s.urlsFreeLocked(spec, nil)
}

func (s *Service) quotaLocked(spec *Spec) error {
	n, most := 0, MaxSingle
	if spec.Mode == Mix {
		most = MaxMix
	}
	for key, t := range s.tasks {
		if key.app == spec.App && t.mode == spec.Mode && !t.isAuto() {
			n++
		}
	}
	if n >= most {
		return fmt.Errorf("the application runs %d tasks of MixMode %d, the most: %w", n, spec.Mode, media.ErrLimit)
	}
	return nil
}

func (s *Service) urlsFreeLocked(spec *Spec, but *task) error {
	now := time.Now()
	for url, until := range s.rest {
		if now.After(until) {
			delete(s.rest, url)
		}
	}
	for _, url := range spec.URLs {
		own := spec.Auto != nil && spec.Auto.URL == url // a stream that comes back keeps its name
		name := streamAt(url, s.cfg.Origin)
		if until, ok := s.rest[name]; ok && !own {
			return fmt.Errorf("StreamURL: it was in use until now, wait %v: %w", until.Sub(now).Round(time.Second), media.ErrInvalid)
		}
		for key, t := range s.tasks {
			if running, _ := t.desired(); t != but && slices.ContainsFunc(running.URLs, func(u string) bool { return streamAt(u, s.cfg.Origin) == name }) {
				return fmt.Errorf("StreamURL: task %q of application %q pushes there: %w", key.task, key.app, errTaken)
			}
		}
	}
	return nil
}

// launch runs a task. A closed service leaves it to the next one.
func (s *Service) launch(t *task) {
	spec, _ := t.desired()
	key := id{spec.App, spec.Task}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.tasks[key] = t
	if at := (place{spec.App, spec.Channel}); spec.Auto != nil {
		s.autos[at] = append(s.autos[at], t)
	}
	s.run.Go(func() {
		defer close(t.ended)
		t.run()
		s.forget(key, t)
	})
}

func (s *Service) forget(key id, t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tasks, key)
	spec, _ := t.desired()
	s.restLocked(spec.URLs...)
	at := place{spec.App, spec.Channel}
	s.autos[at] = slices.DeleteFunc(s.autos[at], func(o *task) bool { return o == t })
	if len(s.autos[at]) == 0 {
		delete(s.autos, at)
	}
	if spec.Auto != nil {
		close(s.gone)
		s.gone = make(chan struct{})
	}
}

func (s *Service) restLocked(urls ...string) {
	for _, url := range urls {
		s.rest[streamAt(url, s.cfg.Origin)] = time.Now().Add(urlRest)
	}
}

// Update replaces a task's parameters; MaxIdle and the SEI payload type stay.
// Layout and encoding change at a frame border, without a restart. An automatic
// task is the caller's from then on, until its channel closes.
func (s *Service) Update(ctx context.Context, spec *Spec) error {
	if err := spec.check(); err != nil {
		return err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	t, err := s.find(spec.App, spec.Task)
	if err != nil {
		return err
	}
	old, _ := t.desired()
	next := *spec
	next.Auto = nil
	if old.Auto != nil {
		mine := *old.Auto
		mine.Custom = true
		next.Auto = &mine
	}
	return s.updateLocked(ctx, t, &next)
}

// updateLocked writes down what a task is to be, and makes it so.
func (s *Service) updateLocked(ctx context.Context, t *task, next *Spec) error {
	old, content := t.desired()
	switch {
	case next.Channel != old.Channel:
		return fmt.Errorf("ChannelId: a task cannot move from %q to %q: %w", old.Channel, next.Channel, media.ErrInvalid)
	case next.Mode != old.Mode:
		return fmt.Errorf("MixMode: a task cannot change from %d to %d: %w", old.Mode, next.Mode, media.ErrInvalid)
	}
	s.mu.Lock()
	err := s.urlsFreeLocked(next, t)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	next.MaxIdle = old.MaxIdle
	if next.SEI != nil && old.SEI != nil {
		kept := *next.SEI
		kept.PayloadType = old.SEI.PayloadType
		next.SEI = &kept
	}
	row, err := next.row(contentAfter(old.SEI, next.SEI, content), t.created, time.Now())
	if err != nil {
		return err
	}
	t.report.hold()
	err = s.journal.change(ctx, func(tx *store.Tx) error {
		if err := tx.UpdateTask(row); err != nil {
			return err
		}
		return tx.Append(t.event(event.RelayUpdated, "", CodeOK, ""))
	})
	if err != nil {
		t.report.follow(old.URLs)
		return fmt.Errorf("update task %q: %w", next.Task, err)
	}
	t.report.follow(next.URLs)
	s.mu.Lock()
	for _, url := range old.URLs {
		if !slices.Contains(next.URLs, url) {
			s.restLocked(url)
		}
	}
	s.mu.Unlock()
	t.update(next, row.Content)
	return nil
}

// Stop ends a task and returns when its origins have been told. An automatic
// task stays stopped until its channel closes.
func (s *Service) Stop(ctx context.Context, app, name string) error {
	s.changing.Lock()
	t, err := s.find(app, name)
	s.changing.Unlock()
	if err != nil {
		return err
	}
	if spec, _ := t.desired(); spec.Auto != nil {
		s.auto.keepStopped(spec)
	}
	if err := s.end(ctx, t, CodeOK); err != nil {
		s.auto.mayStart(app, name)
		return fmt.Errorf("stop task %q: %w", name, err)
	}
	select {
	case <-t.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end writes down that a task is no more, and stops it.
func (s *Service) end(ctx context.Context, t *task, code int) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if t.over {
		return nil
	}
	spec, _ := t.desired()
	t.report.hold()
	err := s.journal.change(ctx, func(tx *store.Tx) error {
		err := tx.DeleteTask(spec.App, spec.Task)
		if errors.Is(err, media.ErrNotFound) {
			return nil // it went with its application, and nobody is left who wants to know
		}
		if err != nil {
			return err
		}
		return tx.Append(t.event(event.RelayStopped, "", code, ""))
	})
	if err != nil {
		t.report.follow(spec.URLs)
		return err
	}
	t.report.end()
	t.over = true
	t.stop()
	t.log.Info("relay task ended", "code", code, "why", cmp.Or(words[code], "it was asked to"))
	return nil
}

// SetSEI writes content into the task's pictures from the next one on.
func (s *Service) SetSEI(ctx context.Context, app, name, content string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	t, err := s.find(app, name)
	if err != nil {
		return err
	}
	spec, _ := t.desired()
	row, err := spec.row(content, t.created, time.Now())
	if err != nil {
		return err
	}
	if err := s.journal.change(ctx, func(tx *store.Tx) error { return tx.UpdateTask(row) }); err != nil {
		return fmt.Errorf("set the SEI of task %q: %w", name, err)
	}
	t.update(spec, content)
	t.out.custom(content)
	return nil
}

// List gives the tasks that an application's owner has started, the newest
// change first: one by its name, or page (from 1) of size.
func (s *Service) List(app, name string, page, size int) []*Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*task
	for key, t := range s.tasks {
		if key.app == app && (name == "" || key.task == name) && !t.isAuto() {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b *task) int {
		return cmp.Or(b.changed().Compare(a.changed()), cmp.Compare(a.name, b.name))
	})
	if name == "" {
		from := min(max(page-1, 0)*size, len(found))
		found = found[from:min(from+size, len(found))]
	}
	specs := make([]*Spec, len(found))
	for i, t := range found {
		specs[i], _ = t.desired()
	}
	return specs
}

// MixOf finds what a mix of a channel is to be: the task with that name, or the
// one changed last when name is ""; automatic ones too. media.ErrNotFound when
// there is none.
func (s *Service) MixOf(app, channel, name string) (*Spec, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *task
	var found *Spec
	for key, t := range s.tasks {
		if key.app != app || name != "" && key.task != name || best != nil && best.changed().After(t.changed()) {
			continue
		}
		if spec, _ := t.desired(); spec.Mode == Mix && spec.Channel == channel {
			best, found = t, spec
		}
	}
	if found == nil {
		return nil, fmt.Errorf("channel %q has no mixed stream %q: %w", channel, name, media.ErrNotFound)
	}
	return found, nil
}

// StopApp ends all tasks of an application that was disabled or deleted, each
// as soon as the store has taken that. It does not wait for them, but for a Start
// that has found the application as it was.
func (s *Service) StopApp(app string) {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.mu.Lock()
	for key, t := range s.tasks {
		if key.app == app {
			t.quit(CodeApplication)
		}
	}
	s.mu.Unlock()
	s.SettingsChanged(app)
}

// SettingsChanged tells that an application's relay settings have changed, or a
// streaming domain that it names. It does not wait until that has taken effect.
func (s *Service) SettingsChanged(app string) { s.auto.changed() } // everything is read anew: it is rare

// Close stops all tasks and waits for them. They stay in the store, as running
// ones, for the next Service. It may be called more than once.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	for _, t := range s.tasks {
		t.stop()
	}
	s.mu.Unlock()
	s.auto.cancel()
	s.follows.Wait()
	s.run.Wait()
	s.cancel()
	s.wg.Wait()
}

// find gives a task that has not ended. Service.changing must be held.
func (s *Service) find(app, name string) (*task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[id{app, name}]
	if t == nil || t.over {
		return nil, fmt.Errorf("task %q does not run: %w", name, media.ErrNotFound)
	}
	return t, nil
}
