package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"braid/callback"
	"braid/event"
	"braid/store"
)

func TestCallbacks(t *testing.T) {
	s := start(t)
	s.app("app1")
	s.app("app2")
	const path = "/v1/applications/app1/callbacks"
	for _, c := range []struct{ field, body, words string }{
		{"kind", `{"url":"http://h/"}`, "is missing"},
		{"kind", `{"kind":"all","url":"http://h/"}`, "room, mpu"},
		{"url", `{"kind":"mpu"}`, "is missing"},
		{"url", `{"kind":"mpu","url":"ftp://h/"}`, "http"},
		{"url", `{"kind":"room","url":"http://h/#a","events":["UserEvent"]}`, "fragment"},
		{"channels", `{"kind":"room","url":"http://h/","events":["UserEvent"],"channels":["a","b"]}`, "one is the most"},
		{"channels", `{"kind":"room","url":"http://h/","events":["UserEvent"],"users":["u"]}`, "together with"},
		{"channels[1]", `{"kind":"room","url":"http://h/","channels":["a",1]}`, "not a string"},
		{"channels", `{"kind":"room","url":"http://h/","channels":"a"}`, "not a list"},
		{"events", `{"kind":"room","url":"http://h/"}`, "1 to 5"},
		{"events", `{"kind":"room","url":"http://h/","events":["AllEvents"]}`, "AllEvents"},
		{"users", `{"kind":"room","url":"http://h/","channels":["a"],"events":["UserEvent"],"users":["u v"]}`, "u v"},
		{"secret", `{"kind":"mpu","url":"http://h/","secret":"x"}`, "no such field"},
	} {
		s.do("POST", path, c.body).field(c.field, c.words)
	}
	room := s.do("POST", path, `{"kind":"room","url":"http://h/a","channels":["ch1"],"events":["ChannelEvent","UserEvent"],"users":["u1"]}`).expect(201)
	mpu := s.do("POST", path, `{"kind":"mpu","url":"http://h/b"}`).expect(201, `"channels":[]`)
	s.do("POST", path, `{"kind":"mpu","url":"http://h/c"}`).expect(409)
	s.do("POST", path, `{"kind":"room","url":"http://h/c","events":["UserEvent"]}`).expect(201)
	s.do("POST", path, `{"kind":"room","url":"http://h/d","events":["UserEvent"]}`).expect(409, "channels: ")
	for i := range 18 {
		s.do("POST", path, fmt.Sprintf(`{"kind":"room","url":"http://h/","channels":["c%d"],"events":["UserEvent"]}`, i)).expect(201)
	}
	s.do("POST", path, `{"kind":"room","url":"http://h/","channels":["x"],"events":["UserEvent"]}`).expect(409, "20 subscriptions")
	if got := s.do("GET", path, nil).expect(200).ids("id"); len(got) != 21 {
		t.Errorf("got %d callbacks, want 21", len(got))
	}
	if got := s.do("GET", path+"?kind=mpu", nil).expect(200).ids("id"); !slices.Equal(got, []string{mpu.str("id")}) {
		t.Errorf("of kind mpu: got %v", got)
	}
	at := room.header.Get("Location")
	if got := s.do("GET", at, nil).expect(200); got.text != room.text || at != path+"/"+room.str("id") {
		t.Errorf("at %s: got %s, want %s", at, got.text, room.text)
	}
	s.do("GET", strings.Replace(at, "app1", "app2", 1), nil).expect(404)

	s.advance(time.Minute)
	s.do("PUT", at, `{"url":"http://h/","kind":"mpu","events":["UserEvent"]}`).field("kind", "no such field")
	s.do("PUT", at, `{"url":"http://h/new","events":["UserEvent"]}`).expect(409, "channels: ")
	a := s.do("PUT", at, `{"url":"http://h/new","channels":["ch2"],"events":["UserEvent"]}`).expect(200)
	if a.str("url") != "http://h/new" || len(a.at("users").([]any)) != 0 || a.str("created") != room.str("created") || a.str("updated") == room.str("updated") {
		t.Errorf("got %s", a.text)
	}
	s.do("DELETE", strings.Replace(at, "app1", "app2", 1), nil).expect(404)
	s.do("DELETE", at, nil).expect(204)
	s.do("DELETE", at, nil).expect(404)
	s.do("DELETE", path+"/"+mpu.str("id"), nil).expect(204)
}

// A message is tried, given up, seen, sent again and delivered, by the real dispatcher.
func TestRecordsAndResend(t *testing.T) {
	s := startWith(t, true, callback.Config{FirstRetry: time.Millisecond, MaxRetry: 5 * time.Millisecond, KeepTrying: 30 * time.Millisecond})
	s.app("app1")
	s.app("app2")
	var works atomic.Bool
	got := make(chan string, 64)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !works.Load() {
			w.WriteHeader(500)
			return
		}
		got <- r.Header.Get("webhook-id")
	}))
	defer receiver.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.callbacks.Run(ctx) }()
	defer func() { cancel(); <-done }()

	const path = "/v1/applications/app1"
	sub := s.do("POST", path+"/callbacks", `{"kind":"room","url":"`+receiver.URL+`/cb","events":["UserEvent"]}`).expect(201).str("id")
	s.update(func(tx *store.Tx) error {
		return tx.Append(event.Event{App: "app1", Channel: "ch1", Type: event.UserJoin,
			User: &event.User{ID: "u1", Session: "s", Role: event.Streamer, Reason: event.Normal, Client: event.WebRTC}})
	})
	failed := s.until(path+"/deliveries?state=failed", func(a answer) bool { return len(a.ids("id")) == 1 })
	msg := failed.str("items.0.message")
	if failed.str("items.0.state") != "failed" || failed.str("items.0.event.user.id") != "u1" || failed.str("items.0.callback") != sub || failed.str("items.0.failed_at") == "" {
		t.Errorf("given up: got %s", failed.text)
	}
	if a := s.do("GET", path+"/deliveries", nil).expect(200); len(a.ids("id")) != 0 {
		t.Errorf("pending: got %s, want nothing", a.text)
	}
	a := s.do("GET", path+"/callback-records?limit=1", nil).expect(200, `"code":500`, `"type":"UserJoin"`, `"user":"u1"`, receiver.URL+"/cb")
	if a.str("items.0.message") != msg || a.str("items.0.failure") == "" || a.next() == "" {
		t.Errorf("records: got %s", a.text)
	}
	attempts := s.pages(path + "/callback-records?limit=1")
	if n := len(attempts); n < 2 || !slices.IsSortedFunc(attempts, func(a, b string) int { return strings.Compare(pad(b), pad(a)) }) {
		t.Errorf("attempts: got %v, want several, the newest first", attempts)
	}

	s.do("POST", "/v1/applications/app2/messages/"+msg+"/resend", nil).expect(404)
	works.Store(true)
	s.do("POST", path+"/messages/"+msg+"/resend", nil).expect(202)
	select {
	case id := <-got:
		if id != msg {
			t.Errorf("sent again as %s, want %s", id, msg)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it was not sent again within 10 s")
	}
	a = s.until(path+"/callback-records?result=ok&message="+msg+"&callback="+sub+"&channel=ch1&type=UserJoin&kind=room&from=2020-01-01T00:00:00Z",
		func(a answer) bool { return len(a.ids("id")) == 1 })
	if a.at("items.0.code") != 200.0 || a.at("items.0.failure") != nil {
		t.Errorf("delivered: got %s", a.text)
	}
	s.do("GET", path+"/callback-records?kind=mpu", nil).expect(200, `"items":[]`)
	s.do("GET", path+"/callback-records?task=t1", nil).expect(200, `"items":[]`)
	s.do("GET", path+"/callback-records?to=2020-01-01T00:00:00Z", nil).expect(200, `"items":[]`)
	s.do("GET", "/v1/applications/app2/callback-records", nil).expect(200, `"items":[]`)
	s.do("GET", path+"/callback-records?result=good", nil).field("result", "ok, failed")
	s.do("GET", path+"/callback-records?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", nil).field("from", "not before")
	s.do("GET", path+"/callback-records?cursor="+writeCursor("records", "x"), nil).field("cursor")
	s.do("GET", path+"/deliveries?state=done", nil).field("state", "pending, failed")
	s.do("GET", path+"/deliveries?state=failed&cursor="+writeCursor("pending", "1"), nil).field("cursor")
	s.do("POST", path+"/messages/nothing/resend", nil).expect(404)
}

// Records are listed in pages of up to 200, though the store gives 100 at once,
// and new ones move nothing.
func TestRecordPages(t *testing.T) {
	s := start(t)
	s.app("app1")
	sub := store.Subscription{App: "app1", Kind: store.Room, URL: "http://h/", Events: []string{"UserEvent"}}
	if err := s.callbacks.Create(t.Context(), &sub); err != nil {
		t.Fatal(err)
	}
	tried := func(n int) {
		t.Helper()
		s.update(func(tx *store.Tx) error {
			var out []store.Outcome
			for i := range n {
				out = append(out, store.Outcome{Record: store.Record{App: "app1", Sub: sub.ID, Kind: store.Room, MsgID: fmt.Sprint(i),
					Event: 1, Type: event.UserJoin, Channel: "ch1", User: "u1", URL: "http://h/", Payload: "{}", Code: 200, Attempt: 1, Time: s.clock()}})
			}
			return tx.Finish(out)
		})
	}
	tried(450)
	a := s.do("GET", "/v1/applications/app1/callback-records?limit=200", nil).expect(200)
	all := a.ids("id")
	for a.next() != "" {
		tried(3)
		a = s.do("GET", "/v1/applications/app1/callback-records?limit=200"+a.next(), nil).expect(200)
		all = append(all, a.ids("id")...)
	}
	if len(all) != 450 || len(slices.Compact(slices.Sorted(slices.Values(all)))) != 450 {
		t.Errorf("got %d records, want each of 450 once", len(all))
	}
}

// What waits is listed in the order in which it happened, while more is added.
func TestPendingDeliveries(t *testing.T) {
	s := start(t)
	s.app("app1")
	s.do("POST", "/v1/applications/app1/callbacks", `{"kind":"room","url":"http://h/","events":["UserEvent","ChannelEvent"]}`).expect(201)
	add := func(channel string) {
		s.update(func(tx *store.Tx) error {
			return tx.Append(event.Event{App: "app1", Channel: channel, Type: event.ChannelOpen})
		})
	}
	for i := range 5 {
		add(fmt.Sprintf("ch%d", i%2))
	}
	a := s.do("GET", "/v1/applications/app1/deliveries?state=pending&limit=2", nil).expect(200, `"state":"pending"`, `"type":"ChannelOpen"`)
	if a.at("items.0.next_at") == nil || a.at("items.0.attempts") != 0.0 {
		t.Errorf("the head of a channel: got %s", a.text)
	}
	all := a.ids("message")
	for n := 0; a.next() != ""; n++ {
		if n == 0 {
			add("ch0")
		}
		a = s.do("GET", "/v1/applications/app1/deliveries?state=pending&limit=2"+a.next(), nil).expect(200)
		all = append(all, a.ids("message")...)
	}
	if len(all) != 6 || len(slices.Compact(slices.Sorted(slices.Values(all)))) != 6 {
		t.Errorf("got %v, want each of 6 messages once", all)
	}
}

// until asks again until an answer is right.
func (s *server) until(path string, right func(answer) bool) answer {
	s.t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		a := s.do("GET", path, nil).expect(200)
		if right(a) {
			return a
		}
		select {
		case <-deadline:
			s.t.Fatalf("GET %s: after 10 s still %s", path, a.text)
		case <-tick.C:
		}
	}
}

// pages are the ids of all pages.
func (s *server) pages(path string) []string {
	s.t.Helper()
	a := s.do("GET", path, nil).expect(200)
	ids := a.ids("id")
	for a.next() != "" {
		a = s.do("GET", path+a.next(), nil).expect(200)
		ids = append(ids, a.ids("id")...)
	}
	return ids
}

func pad(number string) string { return fmt.Sprintf("%20s", number) }
