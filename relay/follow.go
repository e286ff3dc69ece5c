package relay

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"braid/media"
)

// settleAuto is how long a stream has to be gone before its automatic task
// ends, and sound to be alone before it gets a stream of its own or begins a mix:
// publishers add and change their tracks one after the other. A mix that nobody
// publishes into ends after defaultIdle.
const (
	settleAuto  = 2 * time.Second
	followRetry = 500 * time.Millisecond // after a task could not be started, changed or ended
)

// follower keeps the automatic tasks of one open channel what the settings and
// the users ask for. It ends when the channel does; the tasks then end by
// themselves.
type follower struct {
	auto   *auto
	at     place
	wish   atomic.Pointer[wish]
	wake   chan struct{} // capacity 1
	cancel context.CancelFunc
	ended  chan struct{}

	// owned by run
	alone    map[string]time.Time // by user: since when it sends sound without a camera
	unwanted map[string]time.Time // by task: since when nobody wants it
	waiting  map[string]int       // by task: the code by which it was said to wait
	said     string               // the last error, so that it is logged once
}

func startFollower(a *auto, at place, w *wish) *follower {
	ctx, cancel := context.WithCancel(a.ctx)
	f := &follower{
		auto: a, at: at, wake: make(chan struct{}, 1), cancel: cancel, ended: make(chan struct{}),
		alone: make(map[string]time.Time), unwanted: make(map[string]time.Time), waiting: make(map[string]int),
	}
	f.wish.Store(w)
	go f.run(ctx)
	return f
}

func (f *follower) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *follower) run(ctx context.Context) {
	defer f.auto.poke() // the channel may be open again
	defer close(f.ended)
	defer f.cancel()
	channels := f.auto.s.cfg.Channels
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		all := channels.ChannelsChanged()
		c, ok := channels.Channel(f.at.app, f.at.channel)
		if !ok {
			f.auto.channelGone(f.at)
			return
		}
		users, gone := c.Changed(), f.auto.s.autoGone()
		timer.Reset(cmp.Or(f.look(ctx, c.Users(), time.Now()), time.Hour))
		select {
		case <-ctx.Done():
			return
		case <-all:
		case <-users:
		case <-gone: // a task that was ending when its channel opened again may be wanted
		case <-f.wake:
		case <-timer.C:
		}
	}
}

// look starts, changes and ends tasks, and says in how long to look again (0:
// when something changes).
func (f *follower) look(ctx context.Context, users []*media.User, now time.Time) (again time.Duration) {
	soon := func(d time.Duration) {
		if again == 0 || d < again {
			again = max(d, time.Millisecond)
		}
	}
	s, w := f.auto.s, f.wish.Load()
	want := make(map[string]*Spec)
	alone := f.settled(users, now, soon)
	for _, spec := range w.specs(f.at.channel, users, alone) {
		if !f.auto.isStopped(spec.App, spec.Task) {
			want[spec.Task] = spec
		}
	}
	for _, t := range s.automatic(f.at) {
		have, _ := t.desired()
		spec := want[have.Task]
		delete(want, have.Task)
		var err error
		switch {
		case t.mustEnd() != 0 || t.ctx.Err() != nil:
			soon(followRetry) // it is about to end; then it may be wanted again
		case spec != nil:
			delete(f.unwanted, have.Task)
			t.seen()
			err = f.adapt(ctx, t, have, spec)
		default:
			err = f.expire(ctx, t, have, w, now, soon)
		}
		f.failed(err, soon)
	}
	f.forget(want)
	for _, spec := range want {
		if spec.Mode == Mix && !complete(users, alone) {
			continue
		}
		err := s.begin(ctx, spec)
		if f.waits(spec, err) {
			soon(roomRetry)
			continue
		}
		f.failed(err, soon)
	}
	return again
}

// complete tells whether a mix that begins now shows what is meant: not when all
// there is is a microphone whose camera may come in a moment.
func complete(users []*media.User, alone func(user string) bool) bool {
	return slices.ContainsFunc(users, func(u *media.User) bool {
		return u.Video != nil || u.Screen != nil || u.ScreenAudio != nil || u.Audio != nil && alone(u.ID)
	})
}

// settled notes who sends sound alone, and tells who has for long enough.
func (f *follower) settled(users []*media.User, now time.Time, soon func(time.Duration)) func(user string) bool {
	alone := make(map[string]time.Time)
	for _, u := range users {
		if u.Audio == nil || u.Video != nil {
			continue
		}
		since, ok := f.alone[u.ID]
		if !ok {
			since = now
		}
		alone[u.ID] = since
		if left := settleAuto - now.Sub(since); left > 0 {
			soon(left)
		}
	}
	f.alone = alone
	return func(user string) bool { return now.Sub(alone[user]) >= settleAuto }
}

// adapt makes a running task what is wanted, unless it is the caller's.
func (f *follower) adapt(ctx context.Context, t *task, have, want *Spec) error {
	if have.Auto.Custom || reflect.DeepEqual(have, want) {
		return nil
	}
	s := f.auto.s
	s.changing.Lock()
	defer s.changing.Unlock()
	if have, _ = t.desired(); t.over || have.Auto.Custom {
		return nil
	}
	return s.updateLocked(ctx, t, want)
}

// expire ends a task that is not wanted any more: at once when the settings say
// so, else when that has lasted.
func (f *follower) expire(ctx context.Context, t *task, have *Spec, w *wish, now time.Time, soon func(time.Duration)) error {
	limit, code := settleAuto, CodeUnpublished
	switch {
	case have.Mode == Mix && !w.settings.Mix, have.Mode == Single && !w.settings.Single:
		limit, code = 0, CodeSettings
	case have.Mode == Mix && have.Auto.Custom:
		return nil // until the channel closes
	case have.Mode == Mix:
		limit = defaultIdle
	case t.resumed():
		limit = comeBack
	}
	since, ok := f.unwanted[have.Task]
	if !ok {
		since = now
		f.unwanted[have.Task] = now
	}
	if left := limit - now.Sub(since); left > 0 {
		soon(left)
		return nil
	}
	delete(f.unwanted, have.Task)
	return f.auto.s.end(ctx, t, code)
}

// failed logs an error that was not the last one, and looks again.
func (f *follower) failed(err error, soon func(time.Duration)) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, media.ErrClosed) {
		return
	}
	soon(followRetry)
	if err.Error() != f.said {
		f.said = err.Error()
		f.auto.s.cfg.Log.Warn("automatic relay", "app", f.at.app, "channel", f.at.channel, "error", err)
	}
}
