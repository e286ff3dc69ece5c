package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"braid/event"
	"braid/store"
	"braid/store/storetest"
)

// failing is a store that fails for some time, as one with a full disk does.
type failing struct {
	*store.DB
	tries chan struct{} // one for each failure
	again chan struct{} // closed when it works again
}

func (f *failing) Update(ctx context.Context, do func(*store.Tx) error) error {
	select {
	case <-f.again:
		return f.DB.Update(ctx, do)
	default:
		f.tries <- struct{}{}
		return errors.New("the disk is full")
	}
}

// What waits for a store that fails is not given up when the server is told to
// end, and its order holds.
func TestRecorderKeepsWhatWaits(t *testing.T) {
	db := storetest.Open(t)
	f := &failing{DB: db, tries: make(chan struct{}, 1000), again: make(chan struct{})}
	r := &recorder{db: f, log: slog.New(slog.DiscardHandler)}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); r.run(ctx) }()
	tried := func() {
		t.Helper()
		select {
		case <-f.tries:
		case <-time.After(10 * time.Second):
			t.Fatal("the recorder does not try")
		}
	}
	r.queue.Put(event.Event{Type: event.ChannelOpen, App: "a", Channel: "c"})
	tried()
	r.queue.Put(event.Event{Type: event.ChannelClose, App: "a", Channel: "c"})
	end()
	tried()
	close(f.again)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the recorder does not end")
	}
	err := db.View(context.Background(), func(tx *store.Tx) error {
		all, err := tx.Events("a", 0, 10)
		if err == nil && (len(all) != 2 || all[0].Type != event.ChannelOpen || all[1].Type != event.ChannelClose) {
			t.Errorf("got %v, want the channel's open and close", all)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// One event that the store can never take does not hold up those behind it.
func TestRecorderLeavesOutWhatIsNoEvent(t *testing.T) {
	db := storetest.Open(t)
	r := &recorder{db: db, log: slog.New(slog.DiscardHandler)}
	r.queue.Put(event.Event{Type: event.ChannelOpen, App: "a", Channel: "c"}, event.Event{Type: event.UserJoin, App: "a", Channel: "c"},
		event.Event{Type: event.ChannelClose, App: "a", Channel: "c"})
	ctx, end := context.WithCancel(context.Background())
	end()
	r.run(ctx)
	err := db.View(context.Background(), func(tx *store.Tx) error {
		all, err := tx.Events("a", 0, 10)
		if err == nil && (len(all) != 2 || all[1].Type != event.ChannelClose) {
			t.Errorf("got %v, want the channel's open and close", all)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
