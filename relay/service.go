// Package relay runs stream relay tasks: it takes one user's stream (MixMode 0)
// or a mix of a channel (MixMode 1), writes SEI into its pictures, and pushes
// it over RTMP to every URL of the task, whatever happens to users, workers or
// origins meanwhile. It decodes nothing itself: workers of the mixer do.
//
// Goroutines: one for each task, one for each push, and for MixMode 0 one for
// each track read. Close returns when all have ended.
package relay

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"braid/media"
	"braid/mixer"
)

// Quotas of an application (artc-api.md section 4.1).
const (
	MaxSingle = 200
	MaxMix    = 40

	urlRest     = 10 * time.Second // an ingest URL may not be used again sooner after a stop
	defaultIdle = 2 * time.Minute
)

// Config is what a Service needs.
type Config struct {
	Channels media.Channels
	Mixer    *mixer.Pool
	Log      *slog.Logger
}

// Service keeps the tasks. All methods may be called from many goroutines.
type Service struct {
	cfg Config

	mu     sync.Mutex
	tasks  map[id]*task
	rest   map[string]time.Time // when a stopped task's URL may be used again
	closed bool
	wg     sync.WaitGroup
}

type id struct{ app, task string }

// New makes a Service without tasks.
func New(cfg Config) *Service {
	return &Service{cfg: cfg, tasks: make(map[id]*task), rest: make(map[string]time.Time)}
}

// Start begins a task. It fails with media.ErrNotFound when nobody is in the
// channel, media.ErrExists when the task id is live, media.ErrLimit over the
// quota and media.ErrInvalid when a URL is in use.
func (s *Service) Start(_ context.Context, spec *Spec) error {
	if _, ok := s.cfg.Channels.Channel(spec.App, spec.Channel); !ok {
		return fmt.Errorf("channel %q does not exist: nobody is in it: %w", spec.Channel, media.ErrNotFound)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := id{spec.App, spec.Task}
	switch {
	case s.closed:
		return media.ErrClosed
	case s.tasks[key] != nil:
		return fmt.Errorf("task %q is running already: %w", spec.Task, media.ErrExists)
	}
	if err := s.quotaLocked(spec); err != nil {
		return err
	}
	if err := s.urlsFreeLocked(spec, nil); err != nil {
		return err
	}
	t := newTask(s.cfg, spec)
	s.tasks[key] = t
	s.wg.Go(func() {
		defer close(t.ended)
		t.run()
		s.forget(key, t)
	})
	return nil
}

func (s *Service) quotaLocked(spec *Spec) error {
	n, most := 0, MaxSingle
	if spec.Mode == Mix {
		most = MaxMix
	}
	for key, t := range s.tasks {
		if key.app == spec.App && t.mode == spec.Mode {
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
		if until, ok := s.rest[url]; ok {
			return fmt.Errorf("StreamURL: it was in use until now, wait %v: %w", until.Sub(now).Round(time.Second), media.ErrInvalid)
		}
		for key, t := range s.tasks {
			if t != but && slices.Contains(t.desired().URLs, url) {
				return fmt.Errorf("StreamURL: task %q of application %q pushes there: %w", key.task, key.app, media.ErrInvalid)
			}
		}
	}
	return nil
}

// Update replaces a task's parameters; MaxIdle and the SEI payload type stay.
// Layout and encoding change at a frame border, without a restart.
func (s *Service) Update(_ context.Context, spec *Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.findLocked(spec.App, spec.Task)
	if err != nil {
		return err
	}
	old := t.desired()
	switch {
	case spec.Channel != old.Channel:
		return fmt.Errorf("ChannelId: a task cannot move from %q to %q: %w", old.Channel, spec.Channel, media.ErrInvalid)
	case spec.Mode != old.Mode:
		return fmt.Errorf("MixMode: a task cannot change from %d to %d: %w", old.Mode, spec.Mode, media.ErrInvalid)
	}
	if err := s.urlsFreeLocked(spec, t); err != nil {
		return err
	}
	next := *spec
	next.MaxIdle = old.MaxIdle
	if next.SEI != nil && old.SEI != nil {
		kept := *next.SEI
		kept.PayloadType = old.SEI.PayloadType
		next.SEI = &kept
	}
	for _, url := range old.URLs {
		if !slices.Contains(next.URLs, url) {
			s.rest[url] = time.Now().Add(urlRest)
		}
	}
	t.update(&next)
	return nil
}

// Stop ends a task and returns when its origins have been told.
func (s *Service) Stop(ctx context.Context, app, name string) error {
	s.mu.Lock()
	t, err := s.findLocked(app, name)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	t.stop()
	select {
	case <-t.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SetSEI writes content into the task's pictures from the next one on.
func (s *Service) SetSEI(_ context.Context, app, name, content string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.findLocked(app, name)
	if err != nil {
		return err
	}
	t.custom(content)
	return nil
}

// List gives the tasks of an application, the newest change first: one by its
// name, or page (from 1) of size.
func (s *Service) List(app, name string, page, size int) []*Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*task
	for key, t := range s.tasks {
		if key.app == app && (name == "" || key.task == name) {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b *task) int { return cmp.Compare(b.changed(), a.changed()) })
	if name == "" {
		from := min(max(page-1, 0)*size, len(found))
		found = found[from:min(from+size, len(found))]
	}
	specs := make([]*Spec, len(found))
	for i, t := range found {
		specs[i] = t.desired()
	}
	return specs
}

// Close stops all tasks and waits for them.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	for _, t := range s.tasks {
		t.stop()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Service) findLocked(app, name string) (*task, error) {
	t := s.tasks[id{app, name}]
	if t == nil {
		return nil, fmt.Errorf("task %q does not run: %w", name, media.ErrNotFound)
	}
	return t, nil
}

func (s *Service) forget(key id, t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tasks, key)
	for _, url := range t.desired().URLs {
		s.rest[url] = time.Now().Add(urlRest)
	}
}
