package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
	"braid/mixer"
	"braid/store"
	"braid/store/storetest"
)

// rooms is a directory of channels whose users publish nothing: enough to see
// what the service decides.
type rooms struct {
	mu      sync.Mutex
	users   map[string][]*media.User
	changed chan struct{}
}

type room struct {
	*rooms
	users []*media.User
}

func (r *rooms) set(channel string, users ...string) {
	var all []*media.User
	for _, u := range users {
		all = append(all, &media.User{ID: u})
	}
	r.publish(channel, all...)
}

// publish sets who is in a channel and what they send; without users it closes.
func (r *rooms) publish(channel string, users ...*media.User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.users, channel)
	if len(users) > 0 {
		r.users[channel] = users
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// linger leaves a channel open with nobody in it.
func (r *rooms) linger(channel string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users[channel] = nil
}

func (r *rooms) Channel(_, channel string) (media.Channel, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	users, ok := r.users[channel]
	return room{r, users}, ok
}

func (r *rooms) ChannelsChanged() <-chan struct{} { return r.Changed() }

func (r *rooms) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r room) Users() []*media.User { return r.users }

func newRooms() *rooms {
	return &rooms{users: make(map[string][]*media.User), changed: make(chan struct{})}
}

// newStore is a store with the application "app".
func newStore(t *testing.T) *store.DB {
	db := storetest.Open(t)
	update(t, db, func(tx *store.Tx) error {
		return tx.CreateApplication(&store.Application{ID: "app", Name: "app", Key: store.Secret{Current: "k"}, Signing: store.Secret{Current: "s"}})
	})
	return db
}

func update(t *testing.T, db *store.DB, f func(*store.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

func newService(t *testing.T) (*Service, *rooms) {
	r := newRooms()
	return openService(t, r, newStore(t)), r
}

func openService(t *testing.T, r *rooms, db *store.DB) *Service {
	log := slog.New(slog.DiscardHandler)
	noImage := func(context.Context, string) ([]byte, error) { return nil, media.ErrNotFound }
	pool := mixer.NewPool(mixer.Config{Program: "/nonexistent", Fetch: noImage, Log: log})
	s := New(Config{Channels: r, Open: r.open, Mixer: pool, Store: db, Origin: "rtmp://127.0.0.1:1", Log: log})
	t.Cleanup(func() {
		s.Close()
		pool.Close()
	})
	return s
}

// open lists the channels; the fake has one application.
func (r *rooms) open(string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.users))
}

func single1(task, url string) *Spec {
	return &Spec{App: "app", Channel: "room", Task: task, Mode: Single, URLs: []string{url}, From: UserRef{User: "ann"}}
}

func TestStartRefuses(t *testing.T) {
	s, r := newService(t)
	ctx := context.Background()
	if err := s.Start(ctx, single1("t1", "rtmp://127.0.0.1:1/a/1")); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("nobody in the channel: got %v, want ErrNotFound", err)
	}
	r.linger("room")
	if err := s.Start(ctx, single1("t1", "rtmp://127.0.0.1:1/a/1")); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("nobody in the channel any more: got %v, want ErrNotFound", err)
	}
	r.set("room", "ann")
	if err := s.Start(ctx, single1("t1", "rtmp://127.0.0.1:1/a/1")); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(ctx, single1("t1", "rtmp://127.0.0.1:1/a/2")); !errors.Is(err, media.ErrExists) {
		t.Errorf("task id in use: got %v, want ErrExists", err)
	}
	if err := s.Start(ctx, single1("t2", "rtmp://127.0.0.1:1/a/1")); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("URL in use: got %v, want ErrInvalid", err)
	}
	if err := s.Stop(ctx, "app", "t1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(ctx, "app", "t1"); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("stopped twice: got %v, want ErrNotFound", err)
	}
	if err := s.Start(ctx, single1("t1", "rtmp://127.0.0.1:1/a/1")); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("URL used until just now: got %v, want ErrInvalid", err)
	}
	for i := range MaxSingle {
		if err := s.Start(ctx, single1(fmt.Sprint("q", i), fmt.Sprint("rtmp://127.0.0.1:1/q/", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Start(ctx, single1("over", "rtmp://127.0.0.1:1/q/over")); !errors.Is(err, media.ErrLimit) {
		t.Errorf("task %d: got %v, want ErrLimit", MaxSingle+1, err)
	}
}

func TestUpdateAndList(t *testing.T) {
	s, r := newService(t)
	ctx := context.Background()
	r.set("room", "ann", "bob")
	for i := range 3 {
		if err := s.Start(ctx, single1(fmt.Sprint("t", i), fmt.Sprint("rtmp://127.0.0.1:1/a/", i))); err != nil {
			t.Fatal(err)
		}
	}
	next := single1("t0", "rtmp://127.0.0.1:1/a/new")
	next.From.User = "bob"
	if err := s.Update(ctx, next); err != nil {
		t.Fatal(err)
	}
	page := s.List("app", "", 1, 2)
	if len(page) != 2 || page[0].Task != "t0" || page[0].From.User != "bob" {
		t.Errorf("the newest change is not first: %+v", page)
	}
	if rest := s.List("app", "", 2, 2); len(rest) != 1 {
		t.Errorf("page 2 has %d tasks, want 1", len(rest))
	}
	if other := s.List("other", "", 1, 10); len(other) != 0 {
		t.Errorf("another application sees %d tasks", len(other))
	}
	moved := single1("t0", "rtmp://127.0.0.1:1/a/new")
	moved.Channel = "elsewhere"
	if err := s.Update(ctx, moved); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("moved to another channel: got %v, want ErrInvalid", err)
	}
	if err := s.Update(ctx, single1("none", "rtmp://127.0.0.1:1/a/z")); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("no such task: got %v, want ErrNotFound", err)
	}
}

// A task whose users have left ends after its idle time, not before; one that
// comes back keeps it alive.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newService(t)
		r.set("room", "ann")
		spec := single1("t1", "rtmp://127.0.0.1:1/a/1")
		spec.MaxIdle = 30 * time.Second
		if err := s.Start(context.Background(), spec); err != nil {
			t.Fatal(err)
		}
		runs := func() bool { synctest.Wait(); return len(s.List("app", "t1", 0, 0)) == 1 }
		r.set("room", "bob")
		time.Sleep(29 * time.Second) // in synctest's time
		if !runs() {
			t.Fatal("ended before MaxIdle")
		}
		r.set("room", "bob", "ann")
		time.Sleep(time.Minute)
		if !runs() {
			t.Fatal("ended although its user came back")
		}
		r.set("room")
		time.Sleep(31 * time.Second)
		if runs() {
			t.Fatal("still runs after MaxIdle without its user")
		}
	})
}

// Once Stop has returned, the task's name is free.
func TestStopThenStart(t *testing.T) {
	s, r := newService(t)
	ctx := context.Background()
	r.set("room", "ann")
	for i := range 300 {
		if err := s.Start(ctx, single1("t1", fmt.Sprint("rtmp://127.0.0.1:1/a/", i))); err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
		if err := s.Stop(ctx, "app", "t1"); err != nil {
			t.Fatalf("stop %d: %v", i, err)
		}
	}
}

// The users of a task keep it alive wherever they are, and nobody else does.
func TestIdleAcrossChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newService(t)
		r.set("room", "ann")
		r.set("other", "bob")
		spec := &Spec{App: "app", Channel: "room", Task: "t1", Mode: Mix, URLs: []string{"rtmp://127.0.0.1:1/a/1"}, MaxIdle: 30 * time.Second,
			Users: []UserRef{{User: "ann"}, {User: "bob", Channel: "other"}}}
		if err := s.Start(context.Background(), spec); err != nil {
			t.Fatal(err)
		}
		runs := func() bool { synctest.Wait(); return len(s.List("app", "t1", 0, 0)) == 1 }
		r.set("room")
		time.Sleep(time.Minute) // in synctest's time
		if !runs() {
			t.Fatal("ended although bob is in his channel")
		}
		r.set("room", "zed")
		r.set("other", "ann")
		time.Sleep(31 * time.Second)
		if runs() {
			t.Fatal("still runs for people who do not take part in it")
		}
	})
}
