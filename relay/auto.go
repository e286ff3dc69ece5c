package relay

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"braid/store"
)

const (
	autoRetry = 2 * time.Second // after a failure of the store
	pageSize  = 100
)

// auto is the automatic relay (the console's global stream relay, artc-api.md
// section 8, method 2): it keeps the tasks that the settings of an application
// ask for, in each open channel.
//
//	settings, domains ──┐
//	open channels ──────┴→ run ──→ follower, one for each channel ──→ tasks
type auto struct {
	s      *Service
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // capacity 1
	keys   atomic.Pointer[map[string]string]

	mu      sync.Mutex
	dirty   bool          // settings or domains have changed
	stopped map[id]string // automatic tasks that somebody has stopped, and their channel

	// Owned by run; Resume has filled wanted before.
	wanted    map[string]*wish // by application: the settings in force
	followers map[place]*follower
}

type place struct{ app, channel string }

// wish is what an application asks for. It is immutable.
type wish struct {
	app      string
	settings store.RelaySettings
	base     string // rtmp://host/AppName
}

func newAuto(s *Service) *auto {
	a := &auto{
		s: s, wake: make(chan struct{}, 1), stopped: make(map[id]string),
		wanted: make(map[string]*wish), followers: make(map[place]*follower),
	}
	a.keys.Store(&map[string]string{})
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// key is the secret by which a domain's URLs are signed, "" when they are not.
func (a *auto) key(domain string) string { return (*a.keys.Load())[domain] }

// changed makes run read the settings anew.
func (a *auto) changed() {
	a.mu.Lock()
	a.dirty = true
	a.mu.Unlock()
	a.poke()
}

func (a *auto) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// keepStopped makes a task stay stopped until its channel closes.
func (a *auto) keepStopped(spec *Spec) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped[id{spec.App, spec.Task}] = spec.Channel
}

func (a *auto) mayStart(app, task string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.stopped, id{app, task})
}

func (a *auto) isStopped(app, task string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, stopped := a.stopped[id{app, task}]
	return stopped
}

// channelGone lets what was stopped in a channel start when it opens again.
func (a *auto) channelGone(at place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, channel := range a.stopped {
		if key.app == at.app && channel == at.channel {
			delete(a.stopped, key)
		}
	}
}

// unwatched does the same for channels that nobody follows, because their
// application does not want the automatic relay now. run calls it.
func (a *auto) unwatched() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, channel := range a.stopped {
		if a.wanted[key.app] != nil {
			continue
		}
		if _, open := a.s.cfg.Channels.Channel(key.app, channel); !open {
			delete(a.stopped, key)
		}
	}
}

// load reads all settings and domains.
func (a *auto) load(ctx context.Context) error {
	var apps []store.Application
	domains := make(map[string]store.Domain)
	err := a.s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		apps, err = pages(tx.Applications, (*store.Application).Cursor)
		if err != nil {
			return err
		}
		all, err := pages(tx.Domains, func(d *store.Domain) string { return d.Name })
		for _, d := range all {
			domains[d.Name] = d
		}
		return err
	})
	if err != nil {
		return err
	}
	keys := make(map[string]string)
	for name, d := range domains {
		keys[name] = d.AuthKey
	}
	a.keys.Store(&keys)
	clear(a.wanted)
	for _, app := range apps {
		w, err := wishOf(&app, domains, a.s.cfg.Origin)
		if err != nil {
			a.s.cfg.Log.Error("there is no automatic relay", "app", app.ID, "error", err)
		}
		if w != nil {
			a.wanted[app.ID] = w
		}
	}
	return nil
}

// pages reads a list of the store to its end; place is what a row is continued after.
func pages[T any](read func(after string, limit int) ([]T, error), place func(*T) string) (all []T, err error) {
	for after := ""; ; after = place(&all[len(all)-1]) {
		page, err := read(after, pageSize)
		all = append(all, page...)
		if err != nil || len(page) < pageSize {
			return all, err
		}
	}
}

// wishOf is what an application asks for, nil when that is nothing.
func wishOf(app *store.Application, domains map[string]store.Domain, origin string) (*wish, error) {
	r := app.Relay
	if app.Disabled || !r.Enabled || !r.Single && !r.Mix {
		return nil, nil
	}
	if r.Domain != "" {
		d, ok := domains[r.Domain]
		if !ok {
			return nil, fmt.Errorf("streaming domain %q does not exist", r.Domain)
		}
		origin = d.Ingest
	}
	return &wish{app: app.ID, settings: r, base: streamBase(origin, r.AppName)}, nil
}

// run follows settings and channels until the service closes.
func (a *auto) run() {
	defer a.end()
	for {
		channels := a.s.cfg.Channels.ChannelsChanged()
		retry := time.NewTimer(time.Hour)
		if err := a.refresh(); err != nil && a.ctx.Err() == nil {
			a.s.cfg.Log.Error("the settings of the automatic relay cannot be read, will try again", "error", err)
			retry.Reset(autoRetry)
		}
		a.follow()
		a.drop()
		a.unwatched()
		select {
		case <-a.ctx.Done():
			retry.Stop()
			return
		case <-channels:
		case <-a.wake:
		case <-retry.C:
		}
		retry.Stop()
	}
}

// refresh reads what has changed.
func (a *auto) refresh() error {
	a.mu.Lock()
	dirty := a.dirty
	a.dirty = false
	a.mu.Unlock()
	if !dirty {
		return nil
	}
	err := a.load(a.ctx)
	if err != nil {
		a.mu.Lock()
		a.dirty = true
		a.mu.Unlock()
	}
	return err
}

// follow starts followers where they are missing, and hands the settings on.
func (a *auto) follow() {
	for at, f := range a.followers {
		select {
		case <-f.ended:
			delete(a.followers, at)
			continue
		default:
		}
		if w := a.wanted[at.app]; w == nil {
			f.cancel()
			<-f.ended
			delete(a.followers, at)
		} else if f.wish.Swap(w) != w {
			f.poke()
		}
	}
	if a.s.cfg.Open == nil {
		return
	}
	for app, w := range a.wanted {
		for _, channel := range a.s.cfg.Open(app) {
			at := place{app, channel}
			if _, there := a.s.cfg.Channels.Channel(app, channel); there && a.followers[at] == nil {
				a.followers[at] = startFollower(a, at, w)
			}
		}
	}
}

// drop ends the automatic tasks of applications that do not want any.
func (a *auto) drop() {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	for at, tasks := range a.s.autos {
		for _, t := range tasks {
			if a.wanted[at.app] == nil {
				t.quit(CodeSettings)
			}
		}
	}
}

func (a *auto) end() {
	for _, f := range a.followers {
		f.cancel()
	}
	for _, f := range a.followers {
		<-f.ended
	}
}

// automatic lists the automatic tasks that run in a channel.
func (s *Service) automatic(at place) []*task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.autos[at])
}

// autoGone is closed at the next end of an automatic task. Take it before automatic.
func (s *Service) autoGone() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}
