package main

import (
	"context"
	"log/slog"
	"time"

	"braid/event"
	"braid/store"
)

const (
	recordBatch = 1000                   // events in one transaction
	recordRetry = 200 * time.Millisecond // after a failure of the store, such as a full disk
	recordGrace = 2 * time.Second        // for what is left when the server ends
	purgeEvery  = 5 * time.Minute        // little at a time
)

// recorder makes what happens in channels durable, in its order: from the
// SFU's queue into the store's log, whose readers are the callbacks.
type recorder struct {
	queue event.Queue
	db    *store.DB
	log   *slog.Logger
}

// run records until ctx has ended and the queue is empty, or cannot be emptied
// within recordGrace.
func (r *recorder) run(ctx context.Context) {
	purge := time.NewTicker(purgeEvery)
	defer purge.Stop()
	for {
		select {
		case <-r.queue.Ready():
			r.drain(ctx)
		case <-purge.C:
			r.purge(ctx)
		case <-ctx.Done():
			late, cancel := context.WithTimeout(context.Background(), recordGrace)
			defer cancel()
			r.drain(late)
			return
		}
	}
}

// drain writes what the queue holds. Only the end of ctx makes it give up.
func (r *recorder) drain(ctx context.Context) {
	for held := r.queue.Take(); len(held) > 0; {
		batch := held[:min(len(held), recordBatch)]
		err := r.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.Append(batch...) })
		if err == nil {
			held = held[len(batch):]
			continue
		}
		r.log.Error("events cannot be stored, will try again", "events", len(held), "error", err)
		select {
		case <-time.After(recordRetry):
		case <-ctx.Done():
			r.log.Error("events are lost", "events", len(held))
			return
		}
	}
}

// purge deletes what has been kept for as long as it is kept.
func (r *recorder) purge(ctx context.Context) {
	if err := r.db.Purge(ctx, time.Now()); err != nil {
		r.log.Error("purge the store", "error", err)
	}
}
