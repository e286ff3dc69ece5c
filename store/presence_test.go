package store_test

import (
	"reflect"
	"testing"
	"time"

	"braid/event"
	"braid/store"
	"braid/store/storetest"
)

func presence(t testing.TB, db *store.DB) (all []store.Present) {
	t.Helper()
	view(t, db, func(tx *store.Tx) (err error) {
		all, err = tx.Presence()
		return err
	})
	return all
}

// user is what presence says of a user that userEvent is about.
func user(session string, medias ...event.Media) event.User {
	return event.User{ID: "u", Session: session, Role: event.Streamer, Client: event.WebRTC, Medias: medias}
}

func TestPresenceFollowsTheLog(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		viewer := userEvent(event.UserRole, "1", event.Audio)
		viewer.User.Role = event.Viewer
		asViewer := user("1", event.Audio)
		asViewer.Role = event.Viewer
		none := []event.User(nil)
		for i, step := range []struct {
			events []event.Event
			want   []event.User // nil: no channel, when channel is false
			open   bool
		}{
			{[]event.Event{channelEvent(event.ChannelOpen)}, none, true},
			{[]event.Event{userEvent(event.UserJoin, "1")}, []event.User{user("1")}, true},
			{[]event.Event{userEvent(event.PublishAudio, "1", event.Audio)}, []event.User{user("1", event.Audio)}, true},
			{[]event.Event{userEvent(event.PublishScreen, "1", event.Audio, event.Screen)}, []event.User{user("1", event.Audio, event.Screen)}, true},
			{[]event.Event{userEvent(event.UnpublishScreen, "1", event.Audio), viewer}, []event.User{asViewer}, true},
			// The user's next session replaces this one, in either order.
			{[]event.Event{userEvent(event.UserJoin, "2"), userEvent(event.UserLeave, "1")}, []event.User{user("2")}, true},
			{[]event.Event{userEvent(event.UserLeave, "2"), userEvent(event.UserJoin, "3")}, []event.User{user("3")}, true},
			// What comes late does not bring anyone back.
			{[]event.Event{userEvent(event.PublishAudio, "2", event.Audio)}, []event.User{user("3")}, true},
			{[]event.Event{{App: "a", Channel: "c", Type: event.RelayStarted, Relay: &event.Relay{Task: "t"}}}, []event.User{user("3")}, true},
			{[]event.Event{userEvent(event.UserLeave, "3")}, none, true},
			{[]event.Event{channelEvent(event.ChannelClose)}, none, false},
			{[]event.Event{userEvent(event.UserJoin, "4")}, []event.User{user("4")}, true}, // nobody told that it opened
			{[]event.Event{channelEvent(event.ChannelClose)}, none, false},                 // nor that the user left
		} {
			update(t, db, func(tx *store.Tx) error { return tx.Append(step.events...) })
			var want []store.Present
			if step.open {
				want = []store.Present{{App: "a", Channel: "c", Opened: clock.at, Users: step.want}}
			}
			if got := presence(t, db); !reflect.DeepEqual(got, want) {
				t.Errorf("step %d, %v: got %+v\nwant %+v", i, step.events, got, want)
			}
		}
	})
}

func TestPresenceKeepsChannelsApart(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		at := func(app, channel string, e event.Event) event.Event {
			e.App, e.Channel = app, channel
			return e
		}
		update(t, db, func(tx *store.Tx) error {
			return tx.Append(at("b", "c", channelEvent(event.ChannelOpen)), at("a", "z", channelEvent(event.ChannelOpen)),
				at("a", "z", userEvent(event.UserJoin, "1")), at("b", "c", userEvent(event.UserJoin, "2")),
				at("a", "c", userEvent(event.UserJoin, "3")))
		})
		got := presence(t, db)
		for i := range got {
			got[i].Opened = time.Time{}
		}
		want := []store.Present{{App: "b", Channel: "c", Users: []event.User{user("2")}},
			{App: "a", Channel: "z", Users: []event.User{user("1")}}, {App: "a", Channel: "c", Users: []event.User{user("3")}}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	})
}

func TestDepart(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		if err := db.Depart(t.Context()); err != nil { // nobody is there
			t.Fatal(err)
		}
		other := channelEvent(event.ChannelOpen)
		other.Channel = "lingering"
		update(t, db, func(tx *store.Tx) error {
			return tx.Append(channelEvent(event.ChannelOpen), userEvent(event.UserJoin, "1"), other,
				userEvent(event.PublishScreen, "1", event.Audio, event.Video, event.Screen), userEvent(event.UserJoin, "2"))
		})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}

		clock.at = clock.at.Add(time.Minute)
		db = storetest.OpenConfig(t, c)
		if err := db.Depart(t.Context()); err != nil {
			t.Fatal(err)
		}
		left := func(session string) event.Event {
			e := userEvent(event.UserLeave, session)
			e.User.Reason = event.TimedOut
			return e
		}
		want := []event.Event{userEvent(event.UnpublishAudio, "1", event.Video, event.Screen),
			userEvent(event.UnpublishVideo, "1", event.Screen), userEvent(event.UnpublishScreen, "1"), left("1"), left("2"),
			channelEvent(event.ChannelClose), channelEvent(event.ChannelClose)}
		want[6].Channel = "lingering"
		var got []event.Event
		view(t, db, func(tx *store.Tx) (err error) {
			got, err = tx.Events("", 5, 100)
			return err
		})
		for i := range got {
			if !got[i].Time.Equal(clock.at) || got[i].ID == "" {
				t.Errorf("event %d: at %v, id %q, want the time of the start and an id", i, got[i].Time, got[i].ID)
			}
			got[i].Seq, got[i].ID, got[i].Time = 0, "", time.Time{}
			if got[i].User != nil && len(got[i].User.Medias) == 0 {
				got[i].User.Medias = nil
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
		if p := presence(t, db); len(p) != 0 {
			t.Errorf("someone is still there: %+v", p)
		}
		if err := db.Depart(t.Context()); err != nil {
			t.Fatal(err)
		}
		view(t, db, func(tx *store.Tx) error {
			n, err := tx.Count("SELECT COUNT(*) FROM events")
			if n != 12 {
				t.Errorf("after a second departure: got %d events, want 12", n)
			}
			return err
		})
	})
}
