package relay

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/rtmp"
	"braid/store"
)

func TestStreamAt(t *testing.T) {
	const origin = "rtmp://127.0.0.1:1935"
	for raw, want := range map[string]string{
		"rtmp://127.0.0.1:1935/live/a":          "origin/live/a",
		"rtmp://localhost/live/a?auth_key=1":    "origin/live/a",
		"rtmp://[::1]:1935/live/a/":             "origin/live/a",
		"rtmp://127.0.0.1:1936/live/a":          "rtmp://127.0.0.1:1936/live/a",
		"rtmps://127.0.0.1/live/a":              "rtmps://127.0.0.1:443/live/a",
		"rtmp://Push.Example/live/a":            "rtmp://push.example:1935/live/a",
		"rtmp://push.example:1935/live/a?key=1": "rtmp://push.example:1935/live/a?key=1",
		"rtmp://push.example/live/a?key=2":      "rtmp://push.example:1935/live/a?key=2",
		"srt://h:9000?streamid=a":               "srt://h:9000?streamid=a",
		"nonsense":                              "nonsense",
	} {
		if got := streamAt(raw, origin); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}

// Of two tasks that want one stream of the origin the first has it: another start is
// refused however it writes the name, an automatic task waits and says so once, and has it
// when it is free.
func TestTasksOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, r := newStore(t), newRooms()
		setRelay(t, db, store.RelaySettings{Enabled: true, Mix: true})
		s := openService(t, r, db)
		resume(t, s)
		r.set("other", "bob")
		first := single1("t1", "rtmp://127.0.0.1:1/live/app_room_mix")
		first.Channel, first.From.User = "other", "bob"
		if err := s.Start(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		second := *first
		second.Task, second.URLs = "t2", []string{"rtmp://LOCALHOST:1/live/app_room_mix?x=1"}
		if err := s.Start(t.Context(), &second); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), `task "t1"`) {
			t.Errorf("a second task of the name: got %v", err)
		}
		r.publish("room", who("ann:c")...)
		time.Sleep(time.Minute) // in synctest's time
		wantStreams(t, s)
		if got := toldOf(t, db, "mix_room"); !reflect.DeepEqual(got, []string{"Failed mix_room 209"}) {
			t.Errorf("told of the automatic task: %q", got)
		}
		if err := s.Stop(t.Context(), "app", "t1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(roomRetry + followRetry)
		wantStreams(t, s, "app_room_mix")
		if got := toldOf(t, db, "mix_room"); len(got) != 2 || got[1] != "Started mix_room" {
			t.Errorf("told of the automatic task when the name is free: %q", got)
		}
	})
}

// A task whose name somebody else publishes has failed, says why, and goes on air when
// the name is free; one that is on air keeps it.
func TestTaskAndPublisherOfOneName(t *testing.T) {
	testkit.NoLeaks(t)
	taken := make(chan struct{})
	o := newStudioOrigin(t, func(string, string, string) error {
		select {
		case <-taken:
			return nil
		default:
			return &rtmp.Refusal{Words: "somebody publishes this stream already", Err: media.ErrExists}
		}
	})
	s := newStudio(t, nil)
	url := o.url + "/live/cam"
	if err := s.Start(context.Background(), videoTask("t1", url)); err != nil {
		t.Fatal(err)
	}
	failed := "Failed " + url + " somebody else publishes a stream of this name: NetStream.Publish.BadName"
	s.wait(t, "Started", failed)
	testkit.Eventually(t, "the task's state", func() bool {
		at := s.States()[0].URLs[0]
		return at.State == "failed" && at.Reason == "rejected (NetStream.Publish.BadName)"
	})
	if e := events(t, s.db)[1]; e.Relay.Code != CodeTaken {
		t.Errorf("code %d, want %d", e.Relay.Code, CodeTaken)
	}
	close(taken)
	s.wait(t, "Started", failed, "Playing "+url)
}
