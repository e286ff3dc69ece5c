package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"braid/event"
	"braid/media"
	"braid/store"
)

// told lists the relay events of the log, as "Started t1".
func told(t *testing.T, db *store.DB) []string {
	t.Helper()
	var words []string
	for _, e := range events(t, db) {
		w := strings.TrimPrefix(string(e.Type), "Relay") + " " + e.Relay.Task
		if e.Relay.Code != 0 {
			w += fmt.Sprint(" ", e.Relay.Code)
		}
		words = append(words, w)
	}
	return words
}

// toldOf is told of one task.
func toldOf(t *testing.T, db *store.DB, task string) []string {
	t.Helper()
	return slices.DeleteFunc(told(t, db), func(w string) bool { return !strings.Contains(w, task) })
}

func events(t *testing.T, db *store.DB) (all []event.Event) {
	t.Helper()
	err := db.View(context.Background(), func(tx *store.Tx) (err error) {
		all, err = tx.Events("", 0, 1000)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func rows(t *testing.T, db *store.DB) (all []store.Task) {
	t.Helper()
	err := db.View(context.Background(), func(tx *store.Tx) (err error) {
		all, err = tx.Tasks()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantTold(t *testing.T, db *store.DB, want ...string) {
	t.Helper()
	if got := told(t, db); !reflect.DeepEqual(got, want) {
		t.Errorf("events: got %q, want %q", got, want)
	}
}

func resume(t *testing.T, s *Service) {
	t.Helper()
	if err := s.Resume(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// mixTask is a mix that somebody has ordered.
func mixTask(task, url string) *Spec {
	s := full()
	s.Task, s.URLs, s.Auto, s.From, s.MaxIdle = task, []string{url}, nil, UserRef{}, 0
	s.SEI.PassThrough, s.SEI.Key, s.SEI.Content = nil, "", ""
	return s
}

// A service that follows another over one store goes on with its tasks as they
// were, and a graceful end tells nobody that they have stopped.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		db, r := newStore(t), newRooms()
		r.set("room", "ann", "bob")
		s := openService(t, r, db)
		task := mixTask("t1", "rtmp://127.0.0.1:1/a/1")
		for _, spec := range []*Spec{task, single1("t2", "rtmp://127.0.0.1:1/a/2"), single1("t3", "rtmp://127.0.0.1:1/a/3")} {
			if err := s.Start(ctx, spec); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Millisecond) // in synctest's time: what follows is later
		next := mixTask("t1", "rtmp://127.0.0.1:1/a/new")
		next.Panes = next.Panes[1:]
		if err := s.Update(ctx, next); err != nil {
			t.Fatal(err)
		}
		if err := s.SetSEI(ctx, "app", "t1", `{"custom":1}`); err != nil {
			t.Fatal(err)
		}
		if err := s.Update(ctx, next); err != nil { // it says nothing about content
			t.Fatal(err)
		}
		if err := s.Stop(ctx, "app", "t3"); err != nil {
			t.Fatal(err)
		}
		s.Close()
		before := []string{"Started t1", "Started t2", "Started t3", "Updated t1", "Updated t1", "Stopped t3"}
		wantTold(t, db, before...)
		if got := len(rows(t, db)); got != 2 {
			t.Fatalf("%d tasks are left in the store, want 2", got)
		}

		r.set("room")
		again := openService(t, r, db)
		resume(t, again)
		list := again.List("app", "", 1, 10)
		if len(list) != 2 || !reflect.DeepEqual(list[0], next) {
			t.Errorf("got %d tasks, the first %+v; want %+v", len(list), list[0], next)
		}
		if err := again.Start(ctx, single1("t2", "rtmp://127.0.0.1:1/a/9")); !errors.Is(err, media.ErrNotFound) {
			t.Errorf("nobody in the channel: got %v", err)
		}
		r.set("room", "zed")
		if err := again.Start(ctx, single1("t2", "rtmp://127.0.0.1:1/a/9")); !errors.Is(err, media.ErrExists) {
			t.Errorf("a task id of before: got %v, want ErrExists", err)
		}
		if err := again.Start(ctx, single1("t9", "rtmp://127.0.0.1:1/a/2")); !errors.Is(err, media.ErrInvalid) {
			t.Errorf("a URL of before: got %v, want ErrInvalid", err)
		}
		mine, err := again.find("app", "t1")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		mine.out.mu.Lock()
		content := mine.out.content
		mine.out.mu.Unlock()
		if content != `{"custom":1}` {
			t.Errorf("custom SEI: %q", content)
		}
		wantTold(t, db, before...)
	})
}

// After a restart a channel has two minutes to come back.
func TestResumeWaitsForTheChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		db, r := newStore(t), newRooms()
		r.set("room", "ann")
		r.set("other", "ann")
		s := openService(t, r, db)
		there, gone := single1("t1", "rtmp://127.0.0.1:1/a/1"), single1("t2", "rtmp://127.0.0.1:1/a/2")
		gone.Channel = "other"
		for _, spec := range []*Spec{there, gone} {
			if err := s.Start(ctx, spec); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
		r.set("room")
		r.set("other")
		again := openService(t, r, db)
		resume(t, again)
		time.Sleep(comeBack - time.Second) // in synctest's time
		synctest.Wait()
		if n := len(again.List("app", "", 1, 10)); n != 2 {
			t.Fatalf("%d tasks run before the two minutes are over, want 2", n)
		}
		r.set("room", "ann")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if list := again.List("app", "", 1, 10); len(list) != 1 || list[0].Task != "t1" {
			t.Fatalf("after two minutes: %d tasks", len(list))
		}
		r.set("room")
		synctest.Wait()
		if n := len(again.List("app", "", 1, 10)); n != 0 {
			t.Errorf("%d tasks run although the channel has closed", n)
		}
		wantTold(t, db, "Started t1", "Started t2", "Stopped t2 102", "Stopped t1 102")
		if n := len(rows(t, db)); n != 0 {
			t.Errorf("%d tasks are left in the store", n)
		}
	})
}

// What cannot be read stays where it is and stops nobody; tasks of an
// application that was disabled meanwhile end.
func TestResumeLeavesWhatItCannotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, r := newStore(t), newRooms()
		r.set("room", "ann")
		update(t, db, func(tx *store.Tx) error {
			off := &store.Application{ID: "off", Name: "off", Key: store.Secret{Current: "k"}, Signing: store.Secret{Current: "s"}, Disabled: true}
			if err := tx.CreateApplication(off); err != nil {
				return err
			}
			for _, spec := range []*Spec{single1("bad", "rtmp://127.0.0.1:1/a/1"), single1("good", "rtmp://127.0.0.1:1/a/2"), single1("old", "rtmp://127.0.0.1:1/a/3")} {
				if spec.Task == "old" {
					spec.App = "off"
				}
				row, err := spec.row("", time.Time{}, time.Now())
				if err != nil {
					return err
				}
				if spec.Task == "bad" {
					row.Spec = []byte(`{"App":`)
				}
				if err := tx.CreateTask(row); err != nil {
					return err
				}
			}
			return nil
		})
		s := openService(t, r, db)
		resume(t, s)
		synctest.Wait()
		if list := s.List("app", "", 1, 10); len(list) != 1 || list[0].Task != "good" {
			t.Errorf("%d tasks run, want the good one", len(list))
		}
		var left []string
		for _, row := range rows(t, db) {
			left = append(left, row.ID)
		}
		if !reflect.DeepEqual(left, []string{"bad", "good"}) {
			t.Errorf("in the store: %q", left)
		}
		wantTold(t, db, "Stopped old 103")
		// Its id can be used again: nobody could stop it.
		if err := s.Start(context.Background(), single1("bad", "rtmp://127.0.0.1:1/a/1")); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows(t, db) {
			if _, err := readSpec(&row); err != nil {
				t.Errorf("task %s: %v", row.ID, err)
			}
		}
		wantTold(t, db, "Stopped old 103", "Started bad")
	})
}

// When the store fails, the answer is its error and nothing has changed.
func TestStoreFails(t *testing.T) {
	db, r := newStore(t), newRooms()
	r.set("room", "ann")
	s := openService(t, r, db)
	ctx := context.Background()
	if err := s.Start(ctx, single1("t1", "rtmp://127.0.0.1:1/a/1")); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel() // no transaction begins
	for name, do := range map[string]func() error{
		"Start":  func() error { return s.Start(gone, single1("t2", "rtmp://127.0.0.1:1/a/2")) },
		"Update": func() error { return s.Update(gone, single1("t1", "rtmp://127.0.0.1:1/a/9")) },
		"SetSEI": func() error { return s.SetSEI(gone, "app", "t1", "x") },
		"Stop":   func() error { return s.Stop(gone, "app", "t1") },
	} {
		if err := do(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	list := s.List("app", "", 1, 10)
	if len(list) != 1 || list[0].URLs[0] != "rtmp://127.0.0.1:1/a/1" {
		t.Errorf("tasks: %+v", list)
	}
	if _, content := s.tasks[id{"app", "t1"}].desired(); content != "" {
		t.Errorf("content: %q", content)
	}
	wantTold(t, db, "Started t1")
	if err := s.Update(ctx, single1("t1", "rtmp://127.0.0.1:1/a/9")); err != nil { // the URL of the update that failed is free
		t.Fatal(err)
	}
	if err := s.Stop(ctx, "app", "t1"); err != nil {
		t.Fatal(err)
	}
	wantTold(t, db, "Started t1", "Updated t1", "Stopped t1")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(ctx, single1("t3", "rtmp://127.0.0.1:1/a/3")); !errors.Is(err, media.ErrClosed) {
		t.Errorf("the store is closed: got %v", err)
	}
}

// A task that is to end by itself does so when the store can take it again.
func TestEndWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, r := newStore(t), newRooms()
		r.set("room", "ann")
		s := openService(t, r, db)
		if err := s.Start(context.Background(), single1("t1", "rtmp://127.0.0.1:1/a/1")); err != nil {
			t.Fatal(err)
		}
		real := s.journal.db
		broken := storeThatIsClosed(t)
		s.journal.mu.Lock()
		s.journal.db = broken
		s.journal.mu.Unlock()
		r.set("room")
		time.Sleep(3500 * time.Millisecond) // in synctest's time
		synctest.Wait()
		if n := len(s.List("app", "", 1, 10)); n != 1 {
			t.Fatalf("%d tasks run while the store fails, want 1", n)
		}
		s.journal.mu.Lock()
		s.journal.db = real
		s.journal.mu.Unlock()
		time.Sleep(endRetry)
		synctest.Wait()
		if n := len(s.List("app", "", 1, 10)); n != 0 {
			t.Errorf("%d tasks run, want none", n)
		}
		wantTold(t, db, "Started t1", "Stopped t1 102")
	})
}

func storeThatIsClosed(t *testing.T) *store.DB {
	db := newStore(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return db
}

// Nothing starts for an application that is disabled or not there, and what
// runs ends.
func TestStopApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		db, r := newStore(t), newRooms()
		r.set("room", "ann")
		s := openService(t, r, db)
		if err := s.Start(ctx, single1("t1", "rtmp://127.0.0.1:1/a/1")); err != nil {
			t.Fatal(err)
		}
		disable := func(off bool) {
			update(t, db, func(tx *store.Tx) error {
				a, err := tx.Application("app")
				if err != nil {
					return err
				}
				a.Disabled = off
				return tx.UpdateApplication(&a)
			})
		}
		disable(true)
		s.StopApp("app")
		s.StopApp("unknown")
		synctest.Wait()
		if n := len(s.List("app", "", 1, 10)); n != 0 {
			t.Errorf("%d tasks run for a disabled application", n)
		}
		err := s.Start(ctx, single1("t2", "rtmp://127.0.0.1:1/a/2"))
		if !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), `"app"`) {
			t.Errorf("disabled: got %v", err)
		}
		other := single1("t2", "rtmp://127.0.0.1:1/a/2")
		other.App = "nobody"
		if err := s.Start(ctx, other); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), `"nobody"`) {
			t.Errorf("no such application: got %v", err)
		}
		disable(false)
		if err := s.Start(ctx, single1("t2", "rtmp://127.0.0.1:1/a/2")); err != nil {
			t.Fatal(err)
		}
		wantTold(t, db, "Started t1", "Stopped t1 103", "Started t2")
		update(t, db, func(tx *store.Tx) error { return tx.DeleteApplication("app") })
		s.StopApp("app")
		synctest.Wait()
		if n := len(s.List("app", "", 1, 10)); n != 0 {
			t.Errorf("%d tasks run for a deleted application", n)
		}
		wantTold(t, db) // it took its log along, and nobody is left who wants to know
	})
}

// What pushes told while the store failed is written before what comes later, once.
func TestJournalKeepsWhatItCannotWrite(t *testing.T) {
	db := newStore(t)
	j := &journal{db: storeThatIsClosed(t)}
	tell := func(task string) event.Event {
		return event.Event{App: "app", Channel: "room", Type: event.RelayPlaying, Relay: relayed(task, "", CodeOK, "")}
	}
	ctx := context.Background()
	for i := range 3 {
		j.queue.Put(tell(fmt.Sprint("a", i)))
		if err := j.change(ctx, func(*store.Tx) error { return nil }); err == nil {
			t.Fatal("a closed store takes events")
		}
	}
	j.db = db
	if err := j.change(ctx, func(tx *store.Tx) error { return media.ErrLimit }); !errors.Is(err, media.ErrLimit) {
		t.Errorf("got %v", err)
	}
	wantTold(t, db)
	j.queue.Put(tell("b"))
	if err := j.change(ctx, func(tx *store.Tx) error { return tx.Append(tell("c")) }); err != nil {
		t.Fatal(err)
	}
	if err := j.change(ctx, nil); err != nil {
		t.Fatal(err)
	}
	wantTold(t, db, "Playing a0", "Playing a1", "Playing a2", "Playing b", "Playing c")
}

// StopApp meets a task that a Start under way has written down and not run yet.
func TestStopAppWaitsForStart(t *testing.T) {
	r := newRooms()
	r.set("room", "ann")
	s := openService(t, r, newStore(t))
	spec := single1("t1", "rtmp://127.0.0.1:1/a/1")
	row, err := spec.row("", time.Now(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	task := newTask(s, spec, row, false)
	stopped := make(chan struct{})
	s.changing.Lock() // as Start does, from its checks to launch
	go func() {
		defer close(stopped)
		s.StopApp("app")
	}()
	select {
	case <-stopped:
		t.Error("StopApp did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	s.launch(task)
	s.changing.Unlock()
	<-stopped
	if task.mustEnd() != CodeApplication {
		t.Error("the task runs on for a disabled application")
	}
}

// While the store fails for long, what was told keeps its order, and what has
// been overtaken goes.
func TestJournalMergesWhatItCannotWrite(t *testing.T) {
	db := newStore(t)
	j := &journal{db: storeThatIsClosed(t), log: slog.New(slog.DiscardHandler)}
	tell := func(typ event.Type, task, url string) {
		j.queue.Put(event.Event{App: "app", Channel: "room", Type: typ, Relay: relayed(task, url, CodeOK, "")})
	}
	tell(event.RelayFailed, "a", "")
	for range 10 {
		for range journalHeld / 4 {
			tell(event.RelayReconnecting, "a", "u1")
			tell(event.RelayPlaying, "b", "u1")
			tell(event.RelayPlaying, "a", "u1")
		}
		if err := j.change(context.Background(), nil); err == nil {
			t.Fatal("a closed store takes events")
		}
		if len(j.taken) > journalHeld {
			t.Fatalf("%d events are held", len(j.taken))
		}
	}
	tell(event.RelayReconnecting, "b", "u1")
	tell(event.RelayPlaying, "c", "u1")
	for range journalHeld {
		tell(event.RelayPlaying, "a", "u2")
	}
	j.db = db
	if err := j.change(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	wantTold(t, db, "Failed a", "Playing a", "Reconnecting b", "Playing c", "Playing a")
}
