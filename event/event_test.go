package event

import (
	"slices"
	"strconv"
	"sync"
	"testing"
)

// TestQueue puts from two goroutines while one takes: nothing is lost, and each
// writer's order holds.
func TestQueue(t *testing.T) {
	const writers, each = 2, 1000
	var q Queue
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				q.Put(Event{App: strconv.Itoa(w), ID: strconv.Itoa(i)})
			}
		})
	}
	next := make([]int, writers)
	for n := 0; n < writers*each; {
		<-q.Ready()
		for _, e := range q.Take() {
			w, _ := strconv.Atoi(e.App)
			if want := strconv.Itoa(next[w]); e.ID != want {
				t.Fatalf("writer %d: got event %s, want %s", w, e.ID, want)
			}
			next[w]++
			n++
		}
	}
	wg.Wait()
	if rest := q.Take(); rest != nil {
		t.Fatalf("%d events are left", len(rest))
	}
}

func TestTypes(t *testing.T) {
	all := []Type{ChannelOpen, ChannelClose, UserJoin, UserLeave, UserRole, PublishAudio, PublishVideo, PublishScreen,
		UnpublishAudio, UnpublishVideo, UnpublishScreen, RelayStarted, RelayPlaying, RelayUpdated, RelayReconnecting, RelayFailed, RelayStopped}
	for _, typ := range append(all, StreamTypes()...) {
		if is := []bool{typ.Channel(), typ.User(), typ.Relay(), typ.Stream()}; len(slices.DeleteFunc(is, func(b bool) bool { return !b })) != 1 {
			t.Errorf("%s is not of exactly one family", typ)
		}
	}
}

// TestSubject: no stream's subject can be a channel's id, which has no slash.
func TestSubject(t *testing.T) {
	for want, e := range map[string]Event{
		"room1":     {Channel: "room1", Type: UserJoin, User: &User{ID: "u"}},
		"live/cam1": {Type: StreamStarted, Stream: &Stream{Domain: "play.example.com", App: "live", Name: "cam1"}},
	} {
		if got := e.Subject(); got != want {
			t.Errorf("%s: got subject %q, want %q", e.Type, got, want)
		}
	}
}
