package relay

import (
	"cmp"
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"braid/media"
)

// task is one running relay task.
//
//	source (single or mixed) ── access units ──→ outlet: SEI ──→ Push, one for each URL
type task struct {
	cfg    Config
	mode   MixMode
	log    *slog.Logger
	ctx    context.Context
	stop   context.CancelFunc
	ended  chan struct{} // closed by the Service when it has forgotten the task
	wake   chan struct{} // capacity 1: the spec has changed
	out    *outlet
	source source // owned by run

	mu      sync.Mutex
	spec    *Spec // immutable, swapped whole
	updated time.Time
}

// source is where a task's media come from. Its methods are called from the
// task's goroutine; media go to the outlet it was made with.
type source interface {
	// apply makes the source what the spec asks for, with the users that are
	// there now, and says what form its media have.
	apply(spec *Spec) form
	// keyFrame asks for one soon; called from any goroutine.
	keyFrame()
	close()
}

// form is what a push must know before its first byte.
type form struct {
	video          bool
	rate, channels int // of the sound; 0: none
}

func newTask(cfg Config, spec *Spec) *task {
	t := &task{
		cfg: cfg, mode: spec.Mode, spec: spec, updated: time.Now(),
		log:   cfg.Log.With("app", spec.App, "channel", spec.Channel, "task", spec.Task),
		ended: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.out = newOutlet(t.log)
	if spec.Mode == Mix {
		t.source = &mixed{cfg: cfg, out: t.out}
	} else {
		t.source = &single{cfg: cfg, out: t.out}
	}
	return t
}

func (t *task) run() {
	defer t.out.close()
	defer t.source.close()
	t.log.Info("relay task started", "mode", t.mode, "urls", len(t.desired().URLs))
	idle := time.NewTimer(time.Hour)
	defer idle.Stop()
	var since time.Time // nobody has been there
	for {
		spec := t.desired()
		changes, present := t.look(spec)
		f := t.source.apply(spec)
		t.out.set(spec, f, t.source.keyFrame)

		if present {
			since = time.Time{}
		} else if since.IsZero() {
			since = time.Now()
			idle.Reset(idleLimit(spec))
		}
		switch t.wait(idle.C, changes) {
		case waitStop:
			t.log.Info("relay task stopped")
			return
		case waitIdle:
			if !since.IsZero() && time.Since(since) >= idleLimit(spec) {
				t.log.Info("relay task ended: nobody there", "for", idleLimit(spec))
				return
			}
		}
	}
}

// What wait says; more is a change.
const (
	waitStop = iota
	waitIdle
)

// wait returns when there is something to do.
func (t *task) wait(idle <-chan time.Time, changes []<-chan struct{}) int {
	cases := []reflect.SelectCase{
		waitStop: {Dir: reflect.SelectRecv, Chan: reflect.ValueOf(t.ctx.Done())},
		waitIdle: {Dir: reflect.SelectRecv, Chan: reflect.ValueOf(idle)},
	}
	for _, c := range append(changes, t.wake) {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)})
	}
	i, _, _ := reflect.Select(cases)
	return i
}

// look tells whether a user of the task is in its channel, and what to wait for.
func (t *task) look(spec *Spec) (changes []<-chan struct{}, present bool) {
	changes = append(changes, t.cfg.Channels.ChannelsChanged())
	for _, name := range spec.channels() {
		c, ok := t.cfg.Channels.Channel(spec.App, name)
		if !ok {
			continue
		}
		changes = append(changes, c.Changed())
		present = present || slices.ContainsFunc(c.Users(), func(u *media.User) bool { return spec.wants(name, u.ID) })
	}
	return changes, present
}

// channels are those that the task takes media from, its own first.
func (s *Spec) channels() []string {
	names := []string{s.Channel}
	for _, ref := range s.Users {
		if ref.Channel != "" && !slices.Contains(names, ref.Channel) {
			names = append(names, ref.Channel)
		}
	}
	return names
}

// wants tells whether the task takes media from a user of a channel.
func (s *Spec) wants(channel, user string) bool {
	if s.Mode == Single {
		return channel == s.Channel && s.From.User == user
	}
	for _, ref := range s.Users {
		if ref.User == user && cmp.Or(ref.Channel, s.Channel) == channel {
			return true
		}
	}
	return len(s.Users) == 0
}

func idleLimit(s *Spec) time.Duration {
	if s.MaxIdle > 0 {
		return s.MaxIdle
	}
	return defaultIdle
}

func (t *task) desired() *Spec {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spec
}

func (t *task) update(spec *Spec) {
	t.mu.Lock()
	t.spec, t.updated = spec, time.Now()
	t.mu.Unlock()
	t.poke()
}

// custom sets the content of SetLiveMpuTaskSei.
func (t *task) custom(content string) {
	t.mu.Lock()
	t.updated = time.Now()
	t.mu.Unlock()
	t.out.custom(content)
}

func (t *task) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// changed orders tasks by their last change.
func (t *task) changed() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.updated.UnixNano()
}

var _ media.Sink = (*Push)(nil)
