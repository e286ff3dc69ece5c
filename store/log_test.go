package store_test

import (
	"fmt"
	"reflect"
	"regexp"
	"testing"
	"time"

	"braid/event"
	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

// userEvent is an event of user u in channel c of application a.
func userEvent(typ event.Type, session string, medias ...event.Media) event.Event {
	return event.Event{App: "a", Channel: "c", Type: typ, User: &event.User{ID: "u", Session: session, Role: event.Streamer,
		Client: event.WebRTC, Medias: medias}}
}

func channelEvent(typ event.Type) event.Event { return event.Event{App: "a", Channel: "c", Type: typ} }

func TestAppendAndRead(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		relay := event.Event{ID: "mine", App: "b", Channel: "c", Type: event.RelayFailed, Time: clock.at.Add(-time.Second),
			Relay: &event.Relay{Task: "t", URL: "rtmp://h/a/k", Code: 7, Message: "no \x00 way"}}
		given := []event.Event{channelEvent(event.ChannelOpen), userEvent(event.UserJoin, "s", event.Audio), relay}
		update(t, db, func(tx *store.Tx) error { return tx.Append(given...) })
		if given[0].ID != "" || given[0].Seq != 0 || !given[0].Time.IsZero() {
			t.Errorf("the caller's event was changed: %+v", given[0])
		}
		// What is rolled back leaves no gap.
		wantErr(t, "a batch with a bad event", db.Update(t.Context(), func(tx *store.Tx) error {
			return tx.Append(channelEvent(event.ChannelClose), event.Event{App: "a", Type: event.ChannelOpen})
		}), media.ErrInvalid)
		update(t, db, func(tx *store.Tx) error { return tx.Append(channelEvent(event.ChannelClose)) })

		read := func(app string, after int64, limit int) (events []event.Event) {
			view(t, db, func(tx *store.Tx) (err error) {
				events, err = tx.Events(app, after, limit)
				return err
			})
			return events
		}
		all := read("", 0, 100)
		if len(all) != 4 {
			t.Fatalf("got %d events, want 4", len(all))
		}
		uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
		for i, want := range append(given, channelEvent(event.ChannelClose)) {
			want.Seq = int64(i + 1)
			if want.ID == "" {
				if want.ID = all[i].ID; !uuid.MatchString(want.ID) {
					t.Errorf("id of event %d: got %q, want a random UUID", i, want.ID)
				}
				want.Time = clock.at
			}
			if !reflect.DeepEqual(all[i], want) {
				t.Errorf("event %d: got %+v\nwant %+v", i, all[i], want)
			}
		}
		if all[0].ID == all[1].ID {
			t.Errorf("two events have the id %s", all[0].ID)
		}
		for _, c := range []struct {
			app   string
			after int64
			limit int
			want  []int64
		}{{"a", 0, 100, []int64{1, 2, 4}}, {"a", 1, 1, []int64{2}}, {"", 2, 1, []int64{3}}, {"b", 3, 9, nil}, {"c", 0, 9, nil}} {
			var got []int64
			for _, e := range read(c.app, c.after, c.limit) {
				got = append(got, e.Seq)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("events of %q after %d, %d at most: got %v, want %v", c.app, c.after, c.limit, got, c.want)
			}
		}
		view(t, db, func(tx *store.Tx) error {
			one, err := tx.Event(3)
			if !reflect.DeepEqual(one, all[2]) {
				t.Errorf("event 3: got %+v, want %+v", one, all[2])
			}
			_, none := tx.Event(9)
			wantErr(t, "read of nothing", none, media.ErrNotFound)
			_, none = tx.Events("", 0, 0)
			wantErr(t, "limit 0", none, media.ErrInvalid)
			return err
		})
	})
}

func TestAppendRefuses(t *testing.T) {
	db := storetest.Open(t)
	user, relay := &event.User{ID: "u"}, &event.Relay{Task: "t"}
	for name, e := range map[string]event.Event{
		"app":     {Channel: "c", Type: event.ChannelOpen},
		"channel": {App: "a", Type: event.UserJoin, User: user},
		"user":    {App: "a", Channel: "c", Type: event.UserJoin, Relay: relay},
		"user id": {App: "a", Channel: "c", Type: event.UserLeave, User: &event.User{}},
		"relay":   {App: "a", Channel: "c", Type: event.RelayStarted, User: user},
		"task":    {App: "a", Channel: "c", Type: event.RelayStarted, Relay: &event.Relay{}},
		"type":    {App: "a", Channel: "c", Type: "Party", User: user, Relay: relay},
	} {
		err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.Append(e) })
		wantErr(t, "an event without "+name, err, media.ErrInvalid)
	}
}

func TestPurge(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		old := clock.at
		add := func() {
			update(t, db, func(tx *store.Tx) error {
				use := store.Usage{App: "a", Kind: store.CallUsage, Class: fmt.Sprint(clock.at.Unix()), Start: clock.at, Time: time.Second}
				if err := tx.AddUsage(use); err != nil {
					return err
				}
				return tx.Append(userEvent(event.UserJoin, "s"), userEvent(event.PublishAudio, "s", event.Audio))
			})
		}
		count := func(table string) (n int64) {
			view(t, db, func(tx *store.Tx) (err error) {
				n, err = tx.Count("SELECT COUNT(*) FROM " + table)
				return err
			})
			return n
		}
		check := func(when string, events, usage int64) {
			t.Helper()
			if got := count("events"); got != events {
				t.Errorf("%s: got %d events, want %d", when, got, events)
			}
			if got := count("used"); got != usage {
				t.Errorf("%s: got %d spans of usage, want %d", when, got, usage)
			}
		}
		purge := func(now time.Time) {
			t.Helper()
			if err := db.Purge(t.Context(), now); err != nil {
				t.Fatal(err)
			}
		}
		add()
		clock.at = old.Add(time.Hour)
		add()
		purge(old.Add(store.LogKept - time.Second))
		check("a second before it is time", 4, 2)
		purge(old.Add(store.LogKept))
		check("when it is time for the older ones", 2, 2)
		purge(old.Add(store.LogKept + time.Hour))
		check("when it is time for all events", 0, 2)
		purge(old.Add(store.UsageKept))
		check("when it is time for the older usage", 0, 1)
		add()
		view(t, db, func(tx *store.Tx) error {
			events, err := tx.Events("", 0, 1)
			if len(events) != 1 || events[0].Seq != 5 {
				t.Errorf("the first event after the purge: got %v, want number 5", events)
			}
			present, err2 := tx.Presence()
			if len(present) != 1 || len(present[0].Users) != 1 {
				t.Errorf("a purge has changed presence: %+v", present)
			}
			if err2 != nil {
				return err2
			}
			return err
		})
	})
}

// A purge of more than one batch ends with nothing left.
func TestPurgeInBatches(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		events := make([]event.Event, 2500)
		for i := range events {
			events[i] = event.Event{App: "a", Channel: "c", Type: event.RelayPlaying, Relay: &event.Relay{Task: "t"}}
		}
		update(t, db, func(tx *store.Tx) error { return tx.Append(events...) })
		if err := db.Purge(t.Context(), clock.at.Add(store.LogKept)); err != nil {
			t.Fatal(err)
		}
		view(t, db, func(tx *store.Tx) error {
			n, err := tx.Count("SELECT COUNT(*) FROM events")
			if n != 0 {
				t.Errorf("%d events are left", n)
			}
			return err
		})
	})
}
