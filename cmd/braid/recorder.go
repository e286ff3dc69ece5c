package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"braid/event"
	"braid/media"
	"braid/store"
)

const (
	recordBatch = 1000                   // events in one transaction
	recordRetry = 200 * time.Millisecond // after a failure of the store, such as a full disk
	recordTell  = 5 * time.Second        // between two lines about that in the log, which may be on the same disk
	recordGrace = 2 * time.Second        // for what is left when the server ends
	purgeEvery  = 5 * time.Minute        // little at a time
)

// recorder makes what happens in channels durable, in its order: from the
// SFU's queue into the store's log, whose readers are the callbacks.
type recorder struct {
	queue event.Queue
	db    recorderStore
	log   *slog.Logger
}

// recorderStore is what the recorder needs of a *store.DB.
type recorderStore interface {
	Update(context.Context, func(*store.Tx) error) error
	Purge(context.Context, time.Time) error
}

// run records until ctx has ended and all is written, or cannot be written
// within recordGrace.
func (r *recorder) run(ctx context.Context) {
	purge := time.NewTicker(purgeEvery)
	defer purge.Stop()
	var held []event.Event // taken from the queue and not written yet
	for {
		select {
		case <-r.queue.Ready():
			held = r.write(ctx, append(held, r.queue.Take()...))
		case <-purge.C:
			r.purge(ctx)
		case <-ctx.Done():
			late, cancel := context.WithTimeout(context.Background(), recordGrace)
			defer cancel()
			if held = r.write(late, append(held, r.queue.Take()...)); len(held) > 0 {
				r.log.Error("events are lost", "events", len(held))
			}
			return
		}
	}
}

// write writes events and returns those that it could not. Only the end of ctx
// makes it give up.
func (r *recorder) write(ctx context.Context, held []event.Event) []event.Event {
	var told time.Time
	most := recordBatch
	for len(held) > 0 {
		batch := held[:min(len(held), most)]
		err := r.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.Append(batch...) })
		if err == nil {
			held = held[len(batch):]
			continue
		}
		if errors.Is(err, media.ErrInvalid) { // cannot happen; yet one such event must not hold up all others
			if most = 1; len(batch) == 1 {
				r.log.Error("an event is left out", "event", batch[0], "error", err)
				held = held[1:]
			}
			continue
		}
		if time.Since(told) >= recordTell {
			r.log.Error("events cannot be stored, will try again", "events", len(held), "error", err)
			told = time.Now()
		}
		select {
		case <-time.After(recordRetry):
		case <-ctx.Done():
			return held
		}
	}
	return nil
}

// purge deletes what has been kept for as long as it is kept.
func (r *recorder) purge(ctx context.Context) {
	if err := r.db.Purge(ctx, time.Now()); err != nil {
		r.log.Error("purge the store", "error", err)
	}
}
