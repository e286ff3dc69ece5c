package callback

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"braid/event"
	"braid/media"
	"braid/store"
)

func ids(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("id%d", i))
	}
	return all
}

// checks are subscriptions that are right (want is "") or what the error names.
var checks = []struct {
	name string
	sub  store.Subscription
	want string
}{
	{"channel", store.Subscription{Kind: store.Room, URL: "https://h/cb?a=1&b=2", Channels: []string{"c"}, Events: []string{"UserEvent", "ChannelEvent"}, Users: ids(30)}, ""},
	{"port", store.Subscription{Kind: store.Room, URL: "http://127.0.0.1:9/cb", Channels: []string{"c"}, Events: []string{"UserEvent"}}, ""},
	{"IPv6", store.Subscription{Kind: store.Room, URL: "http://[::1]:9/cb", Channels: []string{"c"}, Events: []string{"UserEvent"}}, ""},
	{"star", store.Subscription{Kind: store.Room, URL: "http://h", Channels: []string{"*"}, Events: []string{"UserEvent"}}, ""},
	{"no URL", store.Subscription{Kind: store.Room, Events: []string{"UserEvent"}}, "CallbackUrl: it has 0"},
	{"long URL", store.Subscription{Kind: store.Room, URL: "http://h/" + strings.Repeat("a", 2040), Events: []string{"UserEvent"}}, "CallbackUrl: it has 2049 characters, not 1 to 2048"},
	{"scheme", store.Subscription{Kind: store.Room, URL: "ftp://h/", Events: []string{"UserEvent"}}, "CallbackUrl: it does not begin"},
	{"relative", store.Subscription{Kind: store.Room, URL: "//h/cb", Events: []string{"UserEvent"}}, "CallbackUrl: it does not begin"},
	{"no host", store.Subscription{Kind: store.Room, URL: "http:///cb", Events: []string{"UserEvent"}}, "CallbackUrl: it has no host"},
	{"opaque", store.Subscription{Kind: store.Room, URL: "http:h/cb", Events: []string{"UserEvent"}}, "CallbackUrl: it has no host"},
	{"user", store.Subscription{Kind: store.Room, URL: "http://u:p@h/", Events: []string{"UserEvent"}}, "CallbackUrl: it has a user name"},
	{"fragment", store.Subscription{Kind: store.Room, URL: "http://h/#x", Events: []string{"UserEvent"}}, "CallbackUrl: it has a fragment"},
	{"empty fragment", store.Subscription{Kind: store.Room, URL: "http://h/#", Events: []string{"UserEvent"}}, "CallbackUrl: it has a fragment"},
	{"control", store.Subscription{Kind: store.Room, URL: "http://h/\n", Events: []string{"UserEvent"}}, "CallbackUrl: it has a character"},
	{"bad port", store.Subscription{Kind: store.Room, URL: "http://h:x/", Events: []string{"UserEvent"}}, "CallbackUrl: invalid port"},
	{"no events", store.Subscription{Kind: store.Room, URL: "http://h"}, "Events: 0 items"},
	{"other event", store.Subscription{Kind: store.Room, URL: "http://h", Events: []string{"RoomEvent"}}, `Events: "RoomEvent"`},
	{"event twice", store.Subscription{Kind: store.Room, URL: "http://h", Events: []string{"UserEvent", "UserEvent"}}, "Events: UserEvent is given twice"},
	{"6 events", store.Subscription{Kind: store.Room, URL: "http://h", Events: ids(6)}, "Events: 6 items are given, not 1 to 5"},
	{"2 channels", store.Subscription{Kind: store.Room, URL: "http://h", Channels: ids(2), Events: []string{"UserEvent"}}, "ChannelId: 2 channels"},
	{"channel form", store.Subscription{Kind: store.Room, URL: "http://h", Channels: []string{"a b"}, Events: []string{"UserEvent"}}, `ChannelId: "a b"`},
	{"31 users", store.Subscription{Kind: store.Room, URL: "http://h", Channels: ids(1), Users: ids(31), Events: []string{"UserEvent"}}, "Users: 31 are given, 30"},
	{"users of all", store.Subscription{Kind: store.Room, URL: "http://h", Channels: []string{"*"}, Users: ids(1), Events: []string{"UserEvent"}}, "ChannelId: it must be given together with Users"},
	{"user form", store.Subscription{Kind: store.Room, URL: "http://h", Channels: ids(1), Users: []string{"a,b"}, Events: []string{"UserEvent"}}, `Users: "a,b"`},

	{"MPU", store.Subscription{Kind: store.MPU, URL: "https://h:1/cb?a=1&b=%20+x", Channels: ids(20)}, ""},
	{"MPU all", store.Subscription{Kind: store.MPU, URL: "http://h"}, ""},
	{"MPU long URL", store.Subscription{Kind: store.MPU, URL: "http://h/" + strings.Repeat("a", 2075)}, "CallbackUrl: it has 2084 characters, not 1 to 2083"},
	{"MPU characters", store.Subscription{Kind: store.MPU, URL: "http://h/~"}, "CallbackUrl: it has characters"},
	{"MPU 21 channels", store.Subscription{Kind: store.MPU, URL: "http://h", Channels: ids(21)}, "ChannelIds: 21 are given, 20"},
	{"MPU channel twice", store.Subscription{Kind: store.MPU, URL: "http://h", Channels: []string{"a", "b", "a"}}, "ChannelIds: one is given twice"},
	{"MPU channel form", store.Subscription{Kind: store.MPU, URL: "http://h", Channels: []string{"a", "*"}}, `ChannelIds: "*"`},
	{"MPU events", store.Subscription{Kind: store.MPU, URL: "http://h", Events: []string{"UserEvent"}}, "no Events"},

	{"streams", store.Subscription{Kind: store.Streams, URL: "http://h/~?a=b", Channels: []string{"*"}, Events: []string{"StreamStarted", "SnapshotTaken"}}, ""},
	{"streams channel", store.Subscription{Kind: store.Streams, URL: "http://h", Channels: ids(1), Events: []string{"StreamStarted"}}, "ChannelIds: a subscription to stream events"},
	{"streams users", store.Subscription{Kind: store.Streams, URL: "http://h", Users: ids(1), Events: []string{"StreamStarted"}}, "Users: a subscription to stream events"},
	{"streams no events", store.Subscription{Kind: store.Streams, URL: "http://h"}, "Events: 0 items are given, not 1 to 7"},
	{"streams other event", store.Subscription{Kind: store.Streams, URL: "http://h", Events: []string{"UserEvent"}}, `Events: "UserEvent" is not one of [StreamStarted`},
	{"streams event twice", store.Subscription{Kind: store.Streams, URL: "http://h", Events: []string{"RecordFile", "RecordFile"}}, "Events: RecordFile is given twice"},
	{"streams URL", store.Subscription{Kind: store.Streams, URL: "h", Events: []string{"RecordFile"}}, "CallbackUrl: it does not begin"},
	{"kind", store.Subscription{URL: "http://h"}, "kind"},
}

func TestCheck(t *testing.T) {
	for _, test := range checks {
		t.Run(test.name, func(t *testing.T) {
			err := check(&test.sub)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (!errors.Is(err, media.ErrInvalid) || !strings.HasPrefix(err.Error(), test.want) && !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want one that names %s", err, test.want)
			}
		})
	}
}

// FuzzURL: what is let through is absolute, http or https, and has neither user nor fragment.
func FuzzURL(f *testing.F) {
	for _, c := range checks {
		f.Add(c.sub.URL)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if checkURL("CallbackUrl", raw, maxMPUURL) != nil {
			return
		}
		if !strings.HasPrefix(strings.ToLower(raw), "http") || strings.ContainsAny(raw, "#\n\r ") || len(raw) > maxMPUURL {
			t.Errorf("%q was let through", raw)
		}
	})
}

func TestLimits(t *testing.T) {
	db := open(t)
	newApp(t, db, "other")
	s := New(Config{Store: db})
	ctx := t.Context()
	room := func(app string, channels ...string) *store.Subscription {
		return &store.Subscription{App: app, Kind: store.Room, URL: "http://h/", Channels: channels, Events: []string{"UserEvent"}}
	}
	if err := s.Create(ctx, room("nobody")); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("of an application that is not there: %v", err)
	}
	all := room(testApp, "*")
	if err := s.Create(ctx, all); err != nil || all.ID == "" || all.Channels != nil || all.Created.IsZero() {
		t.Fatalf("got %+v, %v", all, err)
	}
	if err := s.Create(ctx, room(testApp)); !errors.Is(err, media.ErrExists) || !strings.Contains(err.Error(), "ChannelId") {
		t.Errorf("a second one for all channels: %v", err)
	}
	if err := s.Create(ctx, room("other")); err != nil {
		t.Errorf("one for all channels of another application: %v", err)
	}
	var last *store.Subscription
	for i := range 19 {
		last = room(testApp, fmt.Sprintf("c%d", i))
		if err := s.Create(ctx, last); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Create(ctx, room(testApp, "c")); !errors.Is(err, media.ErrLimit) || !strings.Contains(err.Error(), "20") {
		t.Errorf("the 21st: %v", err)
	}
	if err := s.Update(ctx, all); err != nil {
		t.Errorf("update the one for all channels: %v", err)
	}
	last.Channels = nil
	if err := s.Update(ctx, last); !errors.Is(err, media.ErrExists) {
		t.Errorf("make another one for all channels: %v", err)
	}
	if list, err := s.List(ctx, testApp, store.Room); err != nil || len(list) != 20 || list[0].ID != all.ID {
		t.Errorf("got %d subscriptions, %v", len(list), err)
	}

	mpu := &store.Subscription{App: testApp, Kind: store.MPU, URL: "http://h/", Channels: ids(20)}
	if _, err := s.MPU(ctx, testApp); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("before it is made: %v", err)
	}
	if err := s.Create(ctx, mpu); err != nil || !strings.HasPrefix(mpu.ID, "Sub-") {
		t.Fatalf("got %+v, %v", mpu, err)
	}
	if err := s.Create(ctx, mpu); !errors.Is(err, media.ErrExists) {
		t.Errorf("a second one to relay events: %v", err)
	}
	if got, err := s.MPU(ctx, testApp); err != nil || got.ID != mpu.ID || len(got.Channels) != 20 {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, err := range map[string]error{
		"other kind": s.Delete(ctx, testApp, store.Room, mpu.ID), "other application": s.Delete(ctx, "other", store.MPU, mpu.ID),
		"update of another's": s.Update(ctx, &store.Subscription{App: "other", ID: last.ID, Kind: store.Room, URL: "http://h", Channels: []string{"c"}, Events: []string{"UserEvent"}}),
	} {
		if !errors.Is(err, media.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Delete(ctx, testApp, store.MPU, mpu.ID); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(ctx, testApp, store.MPU, mpu.ID); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("after its deletion: %v", err)
	}
}

// TestScope: who gets which events.
func TestScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t)
		r := &receiver{}
		network := newPipes(t, r)
		s, _ := start(t, db, Config{Dial: network.dial})
		names := map[string]string{} // by id
		for name, sub := range map[string]store.Subscription{
			"all":      {Events: []string{"ChannelEvent", "UserEvent"}},
			"channels": {Events: []string{"ChannelEvent"}, Channels: []string{"c"}},
			"u1":       {Events: []string{"ChannelEvent", "UserEvent"}, Channels: []string{"c"}, Users: []string{"u1"}},
			"d":        {Events: []string{"UserEvent"}, Channels: []string{"d"}},
		} {
			sub.App, sub.Kind, sub.URL = testApp, store.Room, "http://h/"
			if err := s.Create(t.Context(), &sub); err != nil {
				t.Fatal(err)
			}
			names[sub.ID] = name
		}
		mpu := store.Subscription{App: testApp, Kind: store.MPU, URL: "http://h/", Channels: []string{"x", "c"}}
		if err := s.Create(t.Context(), &mpu); err != nil {
			t.Fatal(err)
		}
		relay := func(channel string) event.Event {
			return event.Event{App: testApp, Channel: channel, Type: event.RelayStarted, Relay: &event.Relay{Task: "t"}}
		}
		add(t, db, event.Event{App: testApp, Channel: "c", Type: event.ChannelOpen}, role("c", 1), role("c", 2), role("d", 1), relay("c"), relay("d"))
		time.Sleep(time.Second)
		got := map[string]int{}
		for _, m := range r.messages() {
			if m.SubscribeId != "" {
				got[names[m.SubscribeId]]++
			} else {
				got["mpu"]++
			}
		}
		if want := map[string]int{"all": 4, "channels": 1, "u1": 2, "d": 1, "mpu": 1}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if n := len(records(t, s, store.RecordQuery{Kind: store.MPU})); n != 1 {
			t.Errorf("%d records of relay events", n)
		}
	})
}
