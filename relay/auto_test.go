package relay

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
	"braid/store"
)

// streams lists the automatic streams that run, by name.
func streams(s *Service) []string {
	synctest.Wait()
	var names []string
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if spec, _ := t.desired(); spec.Auto != nil {
			names = append(names, spec.URLs[0][strings.LastIndexByte(spec.URLs[0], '/')+1:])
		}
	}
	slices.Sort(names)
	return names
}

func wantStreams(t *testing.T, s *Service, want ...string) {
	t.Helper()
	if got := streams(s); !reflect.DeepEqual(got, want) {
		t.Errorf("streams: got %q, want %q", got, want)
	}
}

func setRelay(t *testing.T, db *store.DB, settings store.RelaySettings) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error {
		a, err := tx.Application("app")
		if err != nil {
			return err
		}
		a.Relay = settings
		return tx.UpdateApplication(&a)
	})
}

// autoTest runs a service with the automatic relay in synctest's time.
func autoTest(t *testing.T, settings store.RelaySettings, f func(t *testing.T, s *Service, db *store.DB, r *rooms)) {
	synctest.Test(t, func(t *testing.T) {
		db, r := newStore(t), newRooms()
		setRelay(t, db, settings)
		s := openService(t, r, db)
		resume(t, s)
		f(t, s, db, r)
	})
}

var bothWays = store.RelaySettings{Enabled: true, Single: true, Mix: true}

func TestAutoFollowsStreams(t *testing.T) {
	autoTest(t, bothWays, func(t *testing.T, s *Service, db *store.DB, r *rooms) {
		wantStreams(t, s)
		r.publish("room", who("ann:-")...)
		wantStreams(t, s)
		r.publish("room", who("ann:a")...)
		time.Sleep(settleAuto - time.Millisecond) // in synctest's time
		wantStreams(t, s)
		time.Sleep(time.Millisecond)
		wantStreams(t, s, "app_room_ann_audio", "app_room_mix")
		r.publish("room", who("ann:ca", "bob:s")...)
		wantStreams(t, s, "app_room_ann_audio", "app_room_ann_camera", "app_room_bob_shareScreen", "app_room_mix")
		time.Sleep(settleAuto)
		wantStreams(t, s, "app_room_ann_camera", "app_room_bob_shareScreen", "app_room_mix")
		r.publish("room", who("ann:a", "bob:s")...) // the camera is off for a moment
		time.Sleep(settleAuto - time.Millisecond)
		r.publish("room", who("ann:ca", "bob:s")...)
		time.Sleep(time.Minute)
		wantStreams(t, s, "app_room_ann_camera", "app_room_bob_shareScreen", "app_room_mix")
		r.publish("two", who("cat:c")...)
		wantStreams(t, s, "app_room_ann_camera", "app_room_bob_shareScreen", "app_room_mix", "app_two_cat_camera", "app_two_mix")
		if n := len(s.automatic(place{"app", "room"})); n != 3 {
			t.Errorf("%d automatic tasks in the room, want 3", n)
		}
		if len(s.List("app", "", 1, 100)) != 0 || len(s.List("app", "mix_room", 1, 100)) != 0 {
			t.Error("automatic tasks are listed")
		}
		r.publish("room")
		r.publish("two")
		wantStreams(t, s)
		if len(s.autos) != 0 {
			t.Errorf("automatic tasks that have ended are kept: %v", s.autos)
		}
		var ends []string
		for _, e := range told(t, db) {
			if kind, rest, _ := strings.Cut(e, " "); kind == "Stopped" {
				ends = append(ends, rest[:4]+rest[len(rest)-3:])
			}
		}
		slices.Sort(ends[1:])
		if want := []string{"aud_105", "cam_102", "cam_102", "mix_102", "mix_102", "scr_102"}; !reflect.DeepEqual(ends, want) {
			t.Errorf("ends: got %q, want %q", ends, want)
		}
	})
}

// A microphone whose camera comes a moment later makes one task, which then is
// not changed.
func TestAutoMixWaitsForTheCamera(t *testing.T) {
	autoTest(t, store.RelaySettings{Enabled: true, Mix: true}, func(t *testing.T, s *Service, db *store.DB, r *rooms) {
		r.publish("room", who("ann:a")...)
		time.Sleep(300 * time.Millisecond)
		r.publish("room", who("ann:ca")...)
		time.Sleep(5 * time.Second)
		wantStreams(t, s, "app_room_mix")
		wantTold(t, db, "Started mix_room")
	})
}

func TestAutoMixFollowsPeople(t *testing.T) {
	autoTest(t, store.RelaySettings{Enabled: true, Mix: true, SEIInterval: time.Second}, func(t *testing.T, s *Service, db *store.DB, r *rooms) {
		mix := func() *Spec {
			synctest.Wait()
			for _, task := range s.automatic(place{"app", "room"}) {
				spec, _ := task.desired()
				return spec
			}
			t.Fatal("there is no mix")
			return nil
		}
		for _, people := range [][]string{{"ann"}, {"ann", "bob"}, {"ann", "bob", "cat:cs"}, {"bob"}} {
			r.publish("room", who(people...)...)
			if got, want := drawing(mix().Panes), drawing(autoPanes(who(people...))); got != want {
				t.Errorf("%q: got\n%s\nwant\n%s", people, got, want)
			}
		}
		if got := mix(); got.Task != "mix_room" || got.Encode != autoEncode || got.SEI.Layout.Interval != time.Second || got.Mode != Mix {
			t.Errorf("got %+v", got)
		}
		wantTold(t, db, "Started mix_room", "Updated mix_room", "Updated mix_room", "Updated mix_room")
		r.publish("room", who("ann:-")...) // somebody watches, nobody publishes
		time.Sleep(defaultIdle - time.Second)
		wantStreams(t, s, "app_room_mix")
		time.Sleep(time.Second)
		wantStreams(t, s)
		r.publish("room", who("ann")...)
		wantStreams(t, s, "app_room_mix")
	})
}

// From UpdateLiveMPUTask on an automatic mix is the caller's, and it stays so over
// a restart.
func TestAutoMixOfTheCaller(t *testing.T) {
	autoTest(t, store.RelaySettings{Enabled: true, Mix: true}, func(t *testing.T, s *Service, db *store.DB, r *rooms) {
		r.publish("room", who("ann", "bob")...)
		synctest.Wait()
		mine := mixTask("mix_room", "rtmp://127.0.0.1:1/live/app_room_mix")
		mine.Users, mine.SEI = nil, nil
		if err := s.Update(context.Background(), mine); err != nil {
			t.Fatal(err)
		}
		check := func(s *Service) {
			t.Helper()
			wantStreams(t, s, "app_room_mix")
			for _, task := range s.automatic(place{"app", "room"}) {
				spec, _ := task.desired()
				if !spec.Auto.Custom || drawing(spec.Panes) != drawing(mine.Panes) || spec.Encode != mine.Encode {
					t.Errorf("got %+v", spec)
				}
			}
		}
		r.publish("room", who("ann", "bob", "cat")...)
		check(s)
		s.Close()
		r.publish("room")
		again := openService(t, r, db)
		resume(t, again)
		check(again)
		time.Sleep(time.Minute)
		r.publish("room", who("ann")...)
		check(again)
		r.publish("room")
		wantStreams(t, again)
		r.publish("room", who("ann")...)
		synctest.Wait()
		for _, task := range again.automatic(place{"app", "room"}) {
			if spec, _ := task.desired(); spec.Auto.Custom {
				t.Error("the channel has closed, and its mix is still the caller's")
			}
		}
	})
}

// What StopLiveMPUTask has stopped stays so until the channel closes.
func TestAutoStaysStopped(t *testing.T) {
	autoTest(t, bothWays, func(t *testing.T, s *Service, db *store.DB, r *rooms) {
		r.publish("room", who("ann")...)
		wantStreams(t, s, "app_room_ann_camera", "app_room_mix")
		if err := s.Stop(context.Background(), "app", "mix_room"); err != nil {
			t.Fatal(err)
		}
		r.publish("room", who("ann", "bob")...)
		time.Sleep(time.Minute)
		wantStreams(t, s, "app_room_ann_camera", "app_room_bob_camera")
		r.publish("room")
		wantStreams(t, s)
		r.publish("room", who("ann")...)
		wantStreams(t, s, "app_room_ann_camera", "app_room_mix")
	})
}

// A channel that has closed while the relay was switched off is a new one.
func TestAutoStoppedAndSwitchedOff(t *testing.T) {
	settings := store.RelaySettings{Enabled: true, Mix: true}
	autoTest(t, settings, func(t *testing.T, s *Service, db *store.DB, r *rooms) {
		set := func(settings store.RelaySettings) {
			setRelay(t, db, settings)
			s.SettingsChanged("app")
			synctest.Wait()
		}
		r.publish("room", who("ann")...)
		wantStreams(t, s, "app_room_mix")
		if err := s.Stop(context.Background(), "app", "mix_room"); err != nil {
			t.Fatal(err)
		}
		set(store.RelaySettings{})
		set(settings)
		wantStreams(t, s) // the channel was open all the time
		set(store.RelaySettings{})
		r.publish("room")
		synctest.Wait()
		r.publish("room", who("ann")...)
		set(settings)
		wantStreams(t, s, "app_room_mix")
	})
}

// Settings apply while people are there.
func TestAutoSettings(t *testing.T) {
	autoTest(t, store.RelaySettings{}, func(t *testing.T, s *Service, db *store.DB, r *rooms) {
		set := func(settings store.RelaySettings) {
			setRelay(t, db, settings)
			s.SettingsChanged("app")
		}
		r.publish("room", who("ann:cs")...)
		wantStreams(t, s)
		set(store.RelaySettings{Enabled: true, Single: true})
		wantStreams(t, s, "app_room_ann_camera", "app_room_ann_shareScreen")
		set(store.RelaySettings{Enabled: true, Mix: true})
		wantStreams(t, s, "app_room_mix")
		set(store.RelaySettings{Enabled: true, Mix: true, AppName: "show", SEIFollowIDR: true})
		wantStreams(t, s, "app_room_mix")
		for _, task := range s.automatic(place{"app", "room"}) {
			if spec, _ := task.desired(); spec.URLs[0] != "rtmp://127.0.0.1:1/show/app_room_mix" || !spec.SEI.Layout.FollowIDR {
				t.Errorf("got %q, %+v", spec.URLs, spec.SEI)
			}
		}
		set(store.RelaySettings{Enabled: false, Mix: true})
		wantStreams(t, s)
		set(bothWays)
		time.Sleep(followRetry) // what has just ended may still say goodbye
		wantStreams(t, s, "app_room_ann_camera", "app_room_ann_shareScreen", "app_room_mix")
		update(t, db, func(tx *store.Tx) error {
			a, err := tx.Application("app")
			if err != nil {
				return err
			}
			a.Disabled = true
			return tx.UpdateApplication(&a)
		})
		s.StopApp("app")
		wantStreams(t, s)
		r.publish("room", who("ann:cs", "bob")...)
		time.Sleep(time.Minute)
		wantStreams(t, s)
		if n := len(rows(t, db)); n != 0 {
			t.Errorf("%d tasks are left in the store", n)
		}
	})
}

// After a restart an automatic task goes on when its stream is back, and ends when
// that is not so after two minutes, or when nobody wants it any more.
func TestAutoResume(t *testing.T) {
	autoTest(t, bothWays, func(t *testing.T, s *Service, db *store.DB, r *rooms) {
		r.publish("room", who("ann", "bob")...)
		wantStreams(t, s, "app_room_ann_camera", "app_room_bob_camera", "app_room_mix")
		s.Close()
		r.publish("room")
		again := openService(t, r, db)
		resume(t, again)
		time.Sleep(30 * time.Second)
		r.publish("room", who("ann")...)
		time.Sleep(30 * time.Second)
		wantStreams(t, again, "app_room_ann_camera", "app_room_bob_camera", "app_room_mix")
		time.Sleep(comeBack)
		wantStreams(t, again, "app_room_ann_camera", "app_room_mix")
		started := 0
		for _, e := range told(t, db) {
			if strings.HasPrefix(e, "Started") {
				started++
			}
		}
		if started != 3 {
			t.Errorf("%d tasks were started in all, want 3", started)
		}
		again.Close()
		setRelay(t, db, store.RelaySettings{})
		third := openService(t, r, db)
		resume(t, third)
		wantStreams(t, third)
		if n := len(rows(t, db)); n != 0 {
			t.Errorf("%d tasks are left in the store", n)
		}
	})
}

// The quota of the owner's tasks and the automatic ones do not touch each other.
func TestAutoBesideQuota(t *testing.T) {
	autoTest(t, store.RelaySettings{Enabled: true, Mix: true}, func(t *testing.T, s *Service, db *store.DB, r *rooms) {
		r.publish("one", who("ann")...)
		r.publish("room", who("ann:-")...)
		wantStreams(t, s, "app_one_mix")
		for i := range MaxMix {
			spec := mixTask(fmt.Sprint("t", i), fmt.Sprint("rtmp://127.0.0.1:1/a/", i))
			if err := s.Start(context.Background(), spec); err != nil {
				t.Fatalf("task %d: %v", i, err)
			}
		}
		r.publish("room", who("ann")...)
		wantStreams(t, s, "app_one_mix", "app_room_mix")
	})
}

var _ media.Track = (*silent)(nil)

// There may be more applications and domains than one page of the store holds.
func TestAutoOfManyApplications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, r := newStore(t), newRooms()
		update(t, db, func(tx *store.Tx) error {
			for i := range 2 * pageSize {
				d := &store.Domain{Name: fmt.Sprintf("d%03d.example.com", i), Ingest: fmt.Sprint("rtmp://127.0.0.1:", 1+i)}
				if err := tx.CreateDomain(d); err != nil {
					return err
				}
				a := &store.Application{
					ID: fmt.Sprint("app", i), Name: "n", Key: store.Secret{Current: "k"}, Signing: store.Secret{Current: "s"},
					Relay: store.RelaySettings{Enabled: true, Mix: true, Domain: d.Name},
				}
				if err := tx.CreateApplication(a); err != nil {
					return err
				}
			}
			return nil
		})
		s := openService(t, r, db)
		resume(t, s)
		synctest.Wait()
		if n := len(s.auto.wanted); n != 2*pageSize {
			t.Errorf("the settings of %d applications are in force, want %d", n, 2*pageSize)
		}
	})
}

// A channel that opens again while its mix is being ended gets another.
func TestAutoChannelOpensAgainAtOnce(t *testing.T) {
	autoTest(t, store.RelaySettings{Enabled: true, Mix: true}, func(t *testing.T, s *Service, db *store.DB, r *rooms) {
		r.publish("room", who("ann")...)
		wantStreams(t, s, "app_room_mix")
		busy := make(chan struct{})
		go db.Update(context.Background(), func(*store.Tx) error { <-busy; return nil })
		synctest.Wait()
		r.publish("room")
		synctest.Wait() // the mix waits for the store, to end
		r.publish("room", who("ann")...)
		synctest.Wait()
		close(busy)
		wantStreams(t, s, "app_room_mix")
		wantTold(t, db, "Started mix_room", "Stopped mix_room 102", "Started mix_room")
	})
}

// A mix that the machine has no room for is refused when it is asked for; an automatic one
// says so once, waits, and begins when there is room.
func TestAutoMixWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, r := newStore(t), newRooms()
		setRelay(t, db, store.RelaySettings{Enabled: true, Mix: true})
		s := openService(t, r, db)
		s.cfg.Cores = 0.5 // two automatic mixes
		resume(t, s)
		r.publish("one", who("ann:c")...)
		r.publish("two", who("bob:c")...)
		synctest.Wait()
		wantStreams(t, s, "app_one_mix", "app_two_mix")
		r.publish("room", who("eve:c")...)
		time.Sleep(time.Minute) // in synctest's time
		wantStreams(t, s, "app_one_mix", "app_two_mix")
		err := s.Start(t.Context(), mixTask("asked", "rtmp://127.0.0.1:1/a/asked"))
		if !errors.Is(err, media.ErrLimit) || !strings.Contains(err.Error(), "2 mixes take 0.47 of the 0.5") {
			t.Errorf("a mix that is asked for: got %v", err)
		}
		if err := s.Start(t.Context(), single1("small", "rtmp://127.0.0.1:1/a/small")); err != nil && !errors.Is(err, media.ErrNotFound) {
			t.Errorf("a single stream: got %v", err)
		}
		if got := toldOf(t, db, "mix_room"); !reflect.DeepEqual(got, []string{"Failed mix_room 302"}) {
			t.Errorf("told of the one that waits: %q", got)
		}
		if err := s.Stop(t.Context(), "app", "mix_one"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(roomRetry + followRetry)
		wantStreams(t, s, "app_room_mix", "app_two_mix")
		if got := toldOf(t, db, "mix_room"); !reflect.DeepEqual(got, []string{"Failed mix_room 302", "Started mix_room"}) {
			t.Errorf("told of the one that has begun: %q", got)
		}
	})
}

// One mix alone is begun however small the machine is.
func TestFirstMixHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newService(t)
		s.cfg.Cores = 0.01
		r.set("room", "ann")
		if err := s.Start(t.Context(), mixTask("one", "rtmp://127.0.0.1:1/a/1")); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context(), mixTask("two", "rtmp://127.0.0.1:1/a/2")); !errors.Is(err, media.ErrLimit) {
			t.Errorf("a second one: got %v", err)
		}
	})
}
