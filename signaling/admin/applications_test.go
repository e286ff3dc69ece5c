package admin

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/event"
	"braid/media/sfu"
	"braid/store"
)

func TestApplication(t *testing.T) {
	s := start(t)
	a := s.do("POST", "/v1/applications", `{"name":"Voice chat"}`).expect(201)
	id, key := a.str("id"), a.str("keys.app_key.current")
	if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(id) || len(key) != 40 || !strings.HasPrefix(a.str("keys.signing_key.current"), "whsec_") {
		t.Errorf("got id %q and keys %v", id, a.at("keys"))
	}
	path := a.header.Get("Location")
	if path != "/v1/applications/"+id || a.etag() != `"1"` {
		t.Errorf("got Location %q, ETag %s", path, a.etag())
	}
	for _, list := range []string{path, "/v1/applications"} {
		if got := s.do("GET", list, nil).expect(200); strings.Contains(got.text, key) || strings.Contains(got.text, "key") {
			t.Errorf("GET %s shows a key: %s", list, got.text)
		}
	}
	if got := s.do("GET", path+"/key", nil).expect(200); got.str("app_key.current") != key || got.at("app_key.previous") != nil {
		t.Errorf("keys: got %s", got.text)
	}

	s.advance(time.Minute)
	s.do("PATCH", path, `{"name":"Another"}`).expect(428, "If-Match is needed")
	s.do("PATCH", path, `{"name":"Another"}`, "If-Match", `"2"`).expect(412, `the version is \"1\" now`)
	s.do("PATCH", path, `{"name":"Another"}`, "If-Match", `W/"1"`).expect(412)
	s.do("PATCH", path, `{"tokens":"none"}`, "If-Match", `"1"`).field("tokens", "any, jwt")
	s.do("PATCH", path, `{"disabled":1}`, "If-Match", `"1"`).field("disabled", "true or false")
	s.do("PATCH", path, `{"id":"b"}`, "If-Match", `"1"`).field("id", "no such field")
	a = s.do("PATCH", path, `{"name":"Another","tokens":"jwt"}`, "If-Match", `"7", "1"`).expect(200)
	if a.str("name") != "Another" || a.str("tokens") != "jwt" || a.etag() != `"2"` || a.str("updated") != "2026-11-22T13:01:00Z" || a.str("created") != "2026-11-22T13:00:00Z" {
		t.Errorf("got %s with ETag %s", a.text, a.etag())
	}
	s.do("PATCH", path, `{"tokens":"any"}`, "If-Match", a.etag()).expect(200, `"tokens":"any"`)
	if told := s.tasks.told(); len(told) != 0 {
		t.Errorf("the relay was told %v, and nothing of it has changed", told)
	}
	s.do("DELETE", path, nil, "If-Match", `"1"`).expect(412)
	s.do("DELETE", path, nil).expect(204)
	s.do("GET", path, nil).expect(404)
	s.do("DELETE", path, nil).expect(404)
}

func TestDisableAndDeleteEndWhatRuns(t *testing.T) {
	s := start(t)
	for _, id := range []string{"app1", "app2"} {
		s.app(id)
		s.update(func(tx *store.Tx) error {
			return tx.CreateTask(&store.Task{App: id, ID: "t1", Channel: "ch1", Spec: []byte(`{"Mode":1,"URLs":["rtmp://h/live/a"]}`)})
		})
	}
	s.rooms.open = []sfu.ChannelInfo{room("app1", "ch1", "u1"), room("app1", "ch2"), room("app2", "ch1", "u1")}

	s.do("PATCH", "/v1/applications/app1", `{"disabled":true}`, "If-Match", "*").expect(200, `"disabled":true`)
	if got, want := s.tasks.told(), []string{"changed app1", "stop all of app1"}; !slices.Equal(got, want) {
		t.Errorf("disabled: the relay was told %v, want %v", got, want)
	}
	if got, want := s.rooms.did, []string{"dismiss app1/ch1", "dismiss app1/ch2"}; !slices.Equal(got, want) {
		t.Errorf("disabled: got %v, want %v", got, want)
	}
	s.do("PATCH", "/v1/applications/app1", `{"disabled":false}`, "If-Match", "*").expect(200)
	if got, want := s.tasks.told(), []string{"changed app1"}; !slices.Equal(got, want) {
		t.Errorf("enabled: the relay was told %v, want %v", got, want)
	}

	s.rooms.open = append(s.rooms.open, room("app1", "ch3", "u1"))
	s.do("POST", "/v1/applications/app1/callbacks", `{"kind":"room","url":"http://h/","events":["UserEvent"]}`).expect(201)
	s.update(func(tx *store.Tx) error {
		return tx.CreateAddress(&store.Address{ID: "secret", Kind: store.WHIPAddress, App: "app1", Channel: "c", User: "u", Expires: s.clock().Add(time.Hour)})
	})
	s.do("DELETE", "/v1/applications/app1", nil).expect(204)
	if got := s.tasks.told(); !slices.Contains(got, "stop all of app1") {
		t.Errorf("deleted: the relay was told %v", got)
	}
	if got := s.rooms.did[2:]; !slices.Equal(got, []string{"dismiss app1/ch3"}) {
		t.Errorf("deleted: got %v, want channel ch3 to be dismissed", got)
	}
	s.update(func(tx *store.Tx) error {
		all, err := tx.Tasks()
		if len(all) != 1 || all[0].App != "app2" {
			t.Errorf("tasks after the delete: %v", all)
		}
		if _, err := tx.Address("secret"); !isNotFound(err) {
			t.Errorf("the address: got %v, want it to be gone", err)
		}
		if subs, _ := tx.Subscriptions("app1", store.Room); len(subs) != 0 {
			t.Errorf("subscriptions after the delete: %v", subs)
		}
		return err
	})
	if len(s.rooms.open) != 1 {
		t.Errorf("open channels: %v, want that of app2", s.rooms.open)
	}
}

func TestRotation(t *testing.T) {
	s := start(t)
	first := s.app("app1")
	for _, c := range []struct{ path, key string }{{"rotate-key", "app_key"}, {"rotate-signing-key", "signing_key"}} {
		t.Run(c.path, func(t *testing.T) {
			s.in(t)
			path := "/v1/applications/app1/" + c.path
			old := first.str("keys." + c.key + ".current")
			s.do("POST", path, `{}`).field("keep_previous_seconds", "is missing")
			s.do("POST", path, `{"keep_previous_seconds":-1}`).field("keep_previous_seconds", "0 to 86400")
			s.do("POST", path, `{"keep_previous_seconds":86401}`).field("keep_previous_seconds", "0 to 86400")
			s.do("POST", path, `{"keep_previous_seconds":1.5}`).field("keep_previous_seconds", "whole number")
			s.do("POST", path, `{"keep_previous_seconds":60}`, "If-Match", `"99"`).expect(412)
			a := s.do("POST", path, `{"keep_previous_seconds":60}`).expect(200)
			until := s.clock().Add(time.Minute).UTC().Format(time.RFC3339)
			if a.str(c.key+".current") == old || a.str(c.key+".previous") != old || a.str(c.key+".previous_until") != until {
				t.Errorf("got %s, want %s to be the previous until %s", a.text, old, until)
			}
			s.advance(time.Minute)
			if got := s.do("GET", "/v1/applications/app1/key", nil); got.at(c.key+".previous") != nil {
				t.Errorf("a minute later: got %s, want no previous", got.text)
			}
			a = s.do("POST", path, `{"keep_previous_seconds":0}`).expect(200)
			if a.at(c.key+".previous") != nil {
				t.Errorf("kept for 0 s: got %s", a.text)
			}
		})
	}
}

func TestConfigApplication(t *testing.T) {
	s := start(t)
	s.update(func(tx *store.Tx) error {
		return tx.CreateApplication(&store.Application{ID: "fixed", Name: "from the file", Config: true,
			Key: store.Secret{Current: "k"}, Signing: store.Secret{Current: "whsec_eA=="}})
	})
	const path = "/v1/applications/fixed"
	s.do("GET", path, nil).expect(200, `"config":true`)
	s.do("PATCH", path, `{"name":"other"}`, "If-Match", "*").expect(409, "config file")
	s.do("DELETE", path, nil).expect(409, "config file")
	s.do("POST", path+"/rotate-key", `{"keep_previous_seconds":0}`).expect(409, "config file")
	s.do("PATCH", path, `{"name":"from the file","disabled":true}`, "If-Match", "*").expect(200)
	s.do("POST", path+"/rotate-signing-key", `{"keep_previous_seconds":0}`).expect(200)
	if a := s.do("GET", path, nil).expect(200); a.str("name") != "from the file" || a.at("disabled") != true {
		t.Errorf("got %s", a.text)
	}
}

// Pages stay right while applications are added and deleted between them.
func TestApplicationPages(t *testing.T) {
	s := start(t)
	for i := range 20 {
		s.app(fmt.Sprintf("a%02d", 19-i)) // the order is that of creation, not of names
		if i%3 == 0 {
			s.advance(time.Millisecond)
		}
	}
	s.do("GET", "/v1/applications?limit=0", nil).field("limit", "1 to 200")
	s.do("GET", "/v1/applications?limit=201", nil).field("limit", "1 to 200")
	s.do("GET", "/v1/applications?limit=x", nil).field("limit", "whole number")
	s.do("GET", "/v1/applications?limit=1&limit=2", nil).field("limit", "2 times")
	s.do("GET", "/v1/applications?cursor=x", nil).field("cursor", "not a cursor")
	s.do("GET", "/v1/applications?cursor=", nil).field("cursor", "not a cursor")
	s.do("GET", "/v1/applications?cursor="+writeCursor("domains", "1.a"), nil).field("cursor", "not a cursor")
	s.do("GET", "/v1/applications?cursor="+writeCursor("applications", "1"), nil).expect(400)
	if got := s.do("GET", "/v1/applications?limit=200", nil); len(got.ids("id")) != 20 || got.next() != "" {
		t.Errorf("one page of all: got %d and next %q", len(got.ids("id")), got.next())
	}

	seen := map[string]int{}
	a := s.do("GET", "/v1/applications?limit=3", nil).expect(200)
	for n := 0; ; n++ {
		ids := a.ids("id")
		for _, id := range ids {
			seen[id]++
		}
		if a.next() == "" {
			break
		}
		s.advance(time.Millisecond)
		s.app(fmt.Sprintf("new%d", n))
		// The last row of the page is where the cursor points: it may go.
		last := ids[len(ids)-1]
		s.do("DELETE", "/v1/applications/"+last, nil).expect(204)
		if n == 0 {
			s.do("DELETE", "/v1/applications/a03", nil).expect(204) // not seen yet
			seen["a03"]++
		}
		if n > 20 {
			break // each page adds one and would go on for ever
		}
		a = s.do("GET", "/v1/applications?limit=3"+a.next(), nil).expect(200)
	}
	for i := range 20 {
		if id := fmt.Sprintf("a%02d", i); seen[id] != 1 {
			t.Errorf("%s was seen %d times, want once", id, seen[id])
		}
	}
}

func TestEvents(t *testing.T) {
	s := start(t)
	if a := s.do("GET", "/v1/events", nil).expect(200); len(a.ids("seq")) != 0 || a.at("next") != 0.0 || a.at("more") != false {
		t.Errorf("an empty log: got %s", a.text)
	}
	join := func(app, user string) event.Event {
		return event.Event{App: app, Channel: "ch1", Type: event.UserJoin,
			User: &event.User{ID: user, Session: "s", Role: event.Streamer, Reason: event.Normal, Client: event.RTMP}}
	}
	s.update(func(tx *store.Tx) error {
		return tx.Append(event.Event{App: "app1", Channel: "ch1", Type: event.ChannelOpen}, join("app1", "u1"), join("app2", "u1"), join("app1", "u2"),
			event.Event{App: "app1", Channel: "ch1", Type: event.RelayStarted, Relay: &event.Relay{Task: "t1"}})
	})
	a := s.do("GET", "/v1/events?limit=2", nil).expect(200, `"more":true`, `"next":2`, `"app":"app1"`)
	if got := a.ids("seq"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("first page: got %v", got)
	}
	a = s.do("GET", "/v1/events?after=2", nil).expect(200, `"more":false`, `"next":5`)
	if got := a.ids("seq"); !slices.Equal(got, []string{"3", "4", "5"}) {
		t.Errorf("second page: got %v", got)
	}
	if a = s.do("GET", "/v1/events?after=5", nil).expect(200); len(a.ids("seq")) != 0 || a.at("next") != 5.0 {
		t.Errorf("at the end: got %s, want nothing and the same place", a.text)
	}
	s.update(func(tx *store.Tx) error { return tx.Append(join("app1", "u3")) })
	if got := s.do("GET", "/v1/events?after=5", nil).ids("seq"); !slices.Equal(got, []string{"6"}) {
		t.Errorf("later: got %v, want the new one", got)
	}
	if got := s.do("GET", "/v1/events?app=app2", nil).ids("seq"); !slices.Equal(got, []string{"3"}) {
		t.Errorf("of app2: got %v, want 3", got)
	}
	s.update(func(tx *store.Tx) error {
		many := make([]event.Event, mostScanned)
		for i := range many {
			many[i] = event.Event{App: "app1", Channel: "busy", Type: event.ChannelOpen}
		}
		return tx.Append(append(many, event.Event{App: "app1", Channel: "ch1", Type: event.RelayStopped, Relay: &event.Relay{Task: "t1"}})...)
	})
	a = s.do("GET", "/v1/events?app=app1&task=t1", nil).expect(200, `"more":true`)
	if got := a.ids("seq"); !slices.Equal(got, []string{"5"}) {
		t.Errorf("of task t1: got %v, want 5", got)
	}
	a = s.do("GET", fmt.Sprintf("/v1/events?app=app1&task=t1&after=%.0f", a.at("next")), nil).expect(200, `"more":false`)
	if got := a.ids("type"); !slices.Equal(got, []string{"RelayStopped"}) {
		t.Errorf("then: got %v, want RelayStopped", got)
	}
	a = s.do("GET", "/v1/events?channel=ch1&limit=3", nil).expect(200, `"more":true`, `"next":3`)
	if got := a.ids("seq"); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("of ch1: got %v, want the first three", got)
	}
	s.do("GET", "/v1/events?after=x", nil).field("after", "whole number")
	s.do("GET", "/v1/events?after=-1", nil).field("after")
	s.do("GET", "/v1/events?limit=201", nil).field("limit")
}
