package callback

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"braid/event"
	"braid/internal/testkit"
	"braid/store"
	"braid/store/storetest"
)

// onAir is a stream event.
func onAir(typ event.Type, name string) event.Event {
	return event.Event{App: testApp, Type: typ, Stream: &event.Stream{App: "live", Name: name}}
}

// TestStreamEvents: a task of kind stream gets the events that it chose, signed,
// again after a refusal, in the order of each stream; the records show them, and
// what was delivered can be sent again in the same words.
func TestStreamEvents(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		app := newApp(t, db, testApp)
		r := &receiver{respond: eachOnceRefused()}
		url := r.listen(t)
		s, _ := start(t, db, Config{FirstRetry: time.Millisecond, MaxRetry: 4 * time.Millisecond})
		sub := store.Subscription{App: testApp, Kind: store.Streams, URL: url, Events: []string{"StreamStarted", "RecordFile", "StreamEnded"}}
		if err := s.Create(t.Context(), &sub); err != nil {
			t.Fatal(err)
		}
		room := subscribe(t, s, testApp, "http://127.0.0.1:1/never") // gets none of it
		types := []event.Type{event.StreamStarted, event.RecordStarted, event.SnapshotTaken, event.RecordFile, event.StreamEnded}
		for _, typ := range types {
			add(t, db, onAir(typ, "a"), onAir(typ, "b"))
		}
		testkit.Eventually(t, "six messages", func() bool { return r.count() >= 6 })
		got := map[string][]event.Type{}
		for _, m := range r.messages() {
			b := readStream(t, m)
			if !verified(t, m, app.Signing.Current) {
				t.Errorf("signature is %q", m.header.Get("webhook-signature"))
			}
			if b.Callback != sub.ID || b.App != testApp || b.MsgID != m.header.Get("webhook-id") || b.Event.Seq == 0 || b.Event.Channel != "" {
				t.Errorf("got %s", m.body)
			}
			got[b.Event.Stream.Name] = append(got[b.Event.Stream.Name], b.Event.Type)
		}
		want := []event.Type{event.StreamStarted, event.RecordFile, event.StreamEnded}
		if !slices.Equal(got["a"], want) || !slices.Equal(got["b"], want) {
			t.Errorf("got %v, want %v of each stream", got, want)
		}
		if n := len(records(t, s, store.RecordQuery{Sub: room.ID})); n != 0 {
			t.Errorf("the task for channels got %d", n)
		}
		testkit.Eventually(t, "records of both attempts of each", func() bool {
			return len(records(t, s, store.RecordQuery{Kind: store.Streams})) == 12
		})
		f := store.RecordFilter{Channel: "live/a", Result: "ok"}
		f.App = testApp
		of, err := s.RecordsBefore(t.Context(), f, 0, 100)
		if err != nil || len(of) != 3 || of[0].Type != event.StreamEnded || of[0].Kind != store.Streams {
			t.Fatalf("records of live/a: %+v, %v", of, err)
		}
		f = store.RecordFilter{}
		f.App = testApp
		if all, err := s.RecordsBefore(t.Context(), f, 0, 100); err != nil || len(all) != 12 {
			t.Errorf("records of every kind: got %d, want 12; %v", len(all), err)
		}
		if err := s.Resend(t.Context(), testApp, of[0].MsgID); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the seventh message", func() bool { return r.count() == 7 })
		if again := r.messages()[6]; string(again.body) != of[0].Payload || again.header.Get("webhook-id") != of[0].MsgID {
			t.Errorf("sent again: %s, want %s", again.body, of[0].Payload)
		}
	})
}

func readStream(t *testing.T, m message) (b streamMessage) {
	t.Helper()
	if err := json.Unmarshal(m.body, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPicturesNobodyAskedFor are not kept in the log: there may be one each second.
func TestPicturesNobodyAskedFor(t *testing.T) {
	db := open(t)
	s := New(Config{Store: db})
	logged := func() (n int) {
		add(t, db, onAir(event.SnapshotTaken, "a"), onAir(event.RecordFile, "a"))
		err := db.View(t.Context(), func(tx *store.Tx) error {
			all, err := tx.Events(testApp, 0, 100)
			n = len(all)
			if n > 0 && all[n-1].Seq != int64(n) {
				t.Errorf("the last of %d events has number %d", n, all[n-1].Seq)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := logged(); n != 1 {
		t.Errorf("got %d events, want the file alone", n)
	}
	sub := store.Subscription{App: testApp, Kind: store.Streams, URL: "http://h", Events: []string{"SnapshotTaken"}}
	if err := s.Create(t.Context(), &sub); err != nil {
		t.Fatal(err)
	}
	if n := logged(); n != 3 {
		t.Errorf("when it was asked for: got %d events, want 3", n)
	}
}

// TestStreamLimits: 20 tasks for an application, each kind counted alone.
func TestStreamLimits(t *testing.T) {
	s := New(Config{Store: open(t)})
	for i := range maxStreams + 1 {
		sub := store.Subscription{App: testApp, Kind: store.Streams, URL: "http://h", Events: []string{"RecordFile"}}
		if err := s.Create(t.Context(), &sub); (err != nil) != (i == maxStreams) {
			t.Fatalf("number %d: %v", i+1, err)
		}
	}
	subscribe(t, s, testApp, "http://h")
}
