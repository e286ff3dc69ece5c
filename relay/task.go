package relay

import (
	"cmp"
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"braid/event"
	"braid/media"
	"braid/media/rtmp"
	"braid/store"
)

// endRetry is how long a task that is to end by itself waits when the store
// could not write that down.
const endRetry = time.Second

// task is one running relay task.
//
//	source (single or mixed) ── access units ──→ outlet: SEI ──→ Push, one for each URL
type task struct {
	s      *Service
	name   string
	mode   MixMode
	log    *slog.Logger
	ctx    context.Context
	stop   context.CancelFunc
	ended  chan struct{} // closed by the Service when it has forgotten the task
	wake   chan struct{} // capacity 1: the desired state has changed
	out    *outlet
	report *report
	source source // owned by run
	life   life   // owned by run

	created time.Time
	over    bool // its end is durable; guarded by Service.changing

	mu      sync.Mutex
	spec    *Spec // immutable, swapped whole
	content string
	updated time.Time
	must    int  // the code for which it has to end; 0: it need not
	back    bool // resumed, and its stream has not been seen yet; of automatic tasks
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

// newTask makes the task of a row, which resumed tells to be from before the
// server's start.
func newTask(s *Service, spec *Spec, row *store.Task, resumed bool) *task {
	t := &task{
		s: s, name: spec.Task, mode: spec.Mode, spec: spec, content: row.Content, created: row.Created, updated: row.Updated,
		log:   s.cfg.Log.With("app", spec.App, "channel", spec.Channel, "task", spec.Task),
		ended: make(chan struct{}), wake: make(chan struct{}, 1),
		life: life{resumed: resumed}, back: resumed,
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.report = &report{tell: t.event, to: &s.journal.queue, urls: make(map[string]destination)}
	t.report.follow(spec.URLs)
	t.out = newOutlet(t.log)
	t.out.dial, t.out.sign, t.out.report = rtmp.Options{Control: s.cfg.Control, TLS: s.cfg.TLS}, t.sign, t.report
	t.out.totals = s.totals
	t.out.zero = birth(row.Created, s.cfg.Mixer.Zero(), time.Now())
	if spec.Mode == Mix {
		t.source = &mixed{cfg: s.cfg, out: t.out}
	} else {
		t.source = &single{cfg: s.cfg, out: t.out, wake: t.poke}
	}
	return t
}

// birth is the PTS at which the task's timestamps are 0: the moment it was created
// at, so that a timestamp is the task's age and a server's restart does not set it
// back. zero is the moment of PTS 0. created comes from the store and is a time of
// day, which may have been set since zero: only now's is compared with it.
func birth(created, zero, now time.Time) time.Duration {
	age := max(now.Round(0).Sub(created.Round(0)), 0)
	return now.Sub(zero) - age
}

// event is one of the task.
func (t *task) event(typ event.Type, url string, code int, detail string) event.Event {
	spec, _ := t.desired()
	return event.Event{
		App: spec.App, Channel: spec.Channel, Type: typ, Time: time.Now(),
		Relay: relayed(spec.Task, url, code, detail),
	}
}

// sign makes the URL that is dialled.
func (t *task) sign(url string) string {
	spec, _ := t.desired()
	if spec.Auto != nil && spec.Auto.URL == url {
		if key := t.s.auto.key(spec.Auto.Domain); key != "" {
			return SignURL(url, key, time.Now())
		}
	}
	if strings.HasPrefix(url, t.s.cfg.Origin+"/") && !strings.Contains(url, "auth_key=") {
		return SignURL(url, t.s.cfg.OriginKey, time.Now())
	}
	return url
}

func (t *task) run() {
	defer t.out.close()
	defer t.source.close()
	spec, _ := t.desired()
	t.log.Info("relay task runs", "mode", t.mode, "urls", len(spec.URLs), "resumed", t.life.resumed)
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		spec, content := t.desired()
		changes, channel, present := t.look(spec)
		f := t.source.apply(spec)
		t.out.set(spec, content, f, t.source.keyFrame)

		code, wait := t.life.next(time.Now(), spec.MaxIdle, channel, present)
		if must := t.mustEnd(); must != 0 {
			code = must
		}
		if code != 0 {
			err := t.s.end(t.ctx, t, code)
			if err == nil {
				return
			}
			if t.ctx.Err() == nil {
				t.log.Error("relay task should end and the store does not take it, will try again", "error", err)
			}
			wait = endRetry
		}
		again.Reset(cmp.Or(wait, time.Hour))
		if !t.wait(again.C, changes) {
			return
		}
	}
}

// wait returns when there is something to do; false when that is to end.
func (t *task) wait(again <-chan time.Time, changes []<-chan struct{}) bool {
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(t.ctx.Done())},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(again)},
	}
	for _, c := range append(changes, t.wake) {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)})
	}
	i, _, _ := reflect.Select(cases)
	return i != 0
}

// look tells whether the task's channel is there and one of its users in it or
// in another that it takes media from, and what to wait for.
func (t *task) look(spec *Spec) (changes []<-chan struct{}, channel, present bool) {
	channels := t.s.cfg.Channels
	changes = append(changes, channels.ChannelsChanged())
	for _, name := range spec.channels() {
		c, ok := channels.Channel(spec.App, name)
		if !ok {
			continue
		}
		channel = channel || name == spec.Channel
		changes = append(changes, c.Changed())
		present = present || slices.ContainsFunc(c.Users(), func(u *media.User) bool { return spec.wants(name, u.ID) })
	}
	return changes, channel, present
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

// desired is what the task is to be: its parameters, and the content of
// SetLiveMpuTaskSei ("": none).
func (t *task) desired() (spec *Spec, content string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spec, t.content
}

func (t *task) isAuto() bool {
	spec, _ := t.desired()
	return spec.Auto != nil
}

func (t *task) update(spec *Spec, content string) {
	t.mu.Lock()
	t.spec, t.content, t.updated = spec, content, time.Now()
	t.mu.Unlock()
	t.poke()
}

// quit makes the task end for a reason as soon as the store has taken that.
func (t *task) quit(code int) {
	t.mu.Lock()
	t.must = code
	t.mu.Unlock()
	t.poke()
}

func (t *task) mustEnd() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.must
}

// resumed tells whether the task is from before the server's start and waits
// for its stream; seen says that it has come.
func (t *task) resumed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.back
}

func (t *task) seen() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.back = false
}

func (t *task) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// changed orders tasks by their last change.
func (t *task) changed() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.updated
}

var _ media.Sink = (*Push)(nil)
