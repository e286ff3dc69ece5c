package callback

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"braid/event"
	"braid/internal/testkit"
	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

// recorded is a stream event of a cloud recording.
func recorded(typ event.Type, task, user string) event.Event {
	e := event.Event{App: testApp, Type: typ, Stream: &event.Stream{App: "rtc-recording", Name: task + "." + user},
		Recording: &event.Recording{Task: task, Channel: "room", User: user, Stream: "Single::" + user + "::AV::C", Format: "HLS"}}
	if typ == event.RecordFile {
		e.Stream.File = &event.File{Name: "a/" + task + "/x.m3u8", Format: "hls", Size: 7, Start: time.UnixMilli(1700000000000), Duration: 3000, URL: "/v1/recordings/f/content"}
	}
	if typ == event.RecordFailed {
		e.Stream.Reason = "the disk is full"
	}
	return e
}

func stopped(task string) event.Event {
	return event.Event{App: testApp, Channel: "room", Type: event.RecordStopped, Recording: &event.Recording{Task: task, Channel: "room"}}
}

// TestRecordingEvents: what happens to a cloud recording goes to its own URL alone,
// in one order for all of its streams though each is refused once, signed with its
// own key or not at all; the records tell of it, and it can be sent again.
func TestRecordingEvents(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		app := newApp(t, db, testApp)
		signed, bare, streams := &receiver{respond: eachOnceRefused()}, &receiver{}, &receiver{}
		s, _ := start(t, db, Config{FirstRetry: time.Millisecond, MaxRetry: 4 * time.Millisecond})
		const key = "abcdefghijklmnop" // it is base64, too, and is not to be taken for it
		own := store.Subscription{App: testApp, Kind: store.Recordings, URL: signed.listen(t), Channels: []string{"rec1"}, Secret: key}
		for _, sub := range []*store.Subscription{&own,
			{App: testApp, Kind: store.Recordings, URL: bare.listen(t), Channels: []string{"rec2"}},
			{App: testApp, Kind: store.Streams, URL: streams.listen(t), Events: []string{"RecordFile"}}} {
			if err := s.Create(t.Context(), sub); err != nil {
				t.Fatal(err)
			}
		}
		room := subscribe(t, s, testApp, "http://127.0.0.1:1/never") // gets none of it
		add(t, db, recorded(event.RecordStarted, "rec1", "ann"), recorded(event.RecordStarted, "rec1", "bob"), onAir(event.RecordFile, "other"),
			recorded(event.RecordFailed, "rec1", "bob"), recorded(event.RecordFile, "rec1", "ann"), recorded(event.RecordFile, "rec2", "ann"), stopped("rec1"))
		testkit.Eventually(t, "the messages", func() bool { return signed.count() >= 5 && bare.count() >= 1 && streams.count() >= 3 })
		var got []string
		for _, m := range signed.messages() {
			var b recordingMessage
			if err := json.Unmarshal(m.body, &b); err != nil {
				t.Fatal(err)
			}
			got = append(got, b.Event+" "+b.Payload.Stream)
			if b.TaskId != "rec1" || b.ChannelId != "room" || b.AppId != testApp || b.MsgId != m.header.Get("webhook-id") || b.CallbackTs == 0 || b.Payload.EventTs == 0 {
				t.Errorf("got %s", m.body)
			}
			if f := b.Payload.File; (b.Event == "RecordFileUploaded") != (f != nil) || f != nil && (f.Name != "a/rec1/x.m3u8" || f.Size != 7 || f.StartTs != 1700000000000 || f.Duration != 3000) {
				t.Errorf("got %s", m.body)
			}
			if b.Event == "RecordFailed" && b.Payload.Reason != "the disk is full" {
				t.Errorf("got %s", m.body)
			}
			if !verified(t, m, base64.StdEncoding.EncodeToString([]byte(key))) || verified(t, m, app.Signing.Current) {
				t.Errorf("signature is %q", m.header.Get("Ali-Rtc-Signature"))
			}
		}
		want := "RecordStarted Single::ann::AV::C, RecordStarted Single::bob::AV::C, RecordFailed Single::bob::AV::C, RecordFileUploaded Single::ann::AV::C, RecordStopped "
		if strings.Join(got, ", ") != want {
			t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
		}
		if m := bare.messages()[0]; m.header.Get("Webhook-Signature") != "" || m.header.Get("Ali-Rtc-Signature") != "" || m.header.Get("Webhook-Id") == "" {
			t.Errorf("without a key the headers are %v", m.header)
		}
		var of []store.Record
		testkit.Eventually(t, "the records", func() bool {
			var err error
			of, err = s.RecordsBefore(t.Context(), store.RecordFilter{RecordQuery: store.RecordQuery{App: testApp}, Task: "rec1"}, 0, 100)
			return err == nil && len(of) == 10
		})
		if r := of[0]; r.Kind != store.Recordings || r.Type != event.RecordStopped || r.Channel != "room" || r.Code != 200 || r.Attempt != 2 {
			t.Errorf("the newest record: %+v", r)
		}
		if r := of[9]; r.User != "ann" || r.Code != 503 || r.Attempt != 1 {
			t.Errorf("the oldest record: %+v", r)
		}
		before := signed.messages()[4]
		if err := s.Resend(t.Context(), testApp, of[0].MsgID); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "it comes again", func() bool { return signed.count() >= 6 })
		if m := signed.messages()[5]; string(m.body) != string(before.body) {
			t.Errorf("sent again:\n%s\nwant\n%s", m.body, before.body)
		}
		if n := len(records(t, s, store.RecordQuery{Sub: room.ID})); n != 0 {
			t.Errorf("the subscription to channels got %d", n)
		}
		if err := s.Delete(t.Context(), testApp, store.Recordings, own.ID); err != nil {
			t.Error(err)
		}
	})
}

func TestRecordingSubscriptionRefused(t *testing.T) {
	s := New(Config{Store: open(t)})
	for name, sub := range map[string]store.Subscription{
		"NotifyUrl":     {URL: "ftp://h/", Channels: []string{"rec"}},
		"NotifyAuthKey": {URL: "http://h/", Channels: []string{"rec"}, Secret: "short"},
		"its task":      {URL: "http://h/"},
	} {
		sub.App, sub.Kind = testApp, store.Recordings
		if err := s.Create(t.Context(), &sub); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
