package relay

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"braid/event"
	"braid/store"
)

const (
	journalRetry = time.Second     // after a failure of the store
	journalLast  = 3 * time.Second // for what is left when the service closes
	journalHeld  = 1000            // events not yet written; over that they are merged
)

// journal makes what tasks do durable, in one order. What pushes tell waits in
// the queue for the writer; a change of desired state takes all of it along into
// its own transaction, before its own event.
//
//	pushes ──→ queue ──→ taken ──┬─→ one transaction ──→ the store's log
//	Start, Update, Stop, rules ──┘
type journal struct {
	db    *store.DB
	log   *slog.Logger
	queue event.Queue

	mu    sync.Mutex    // held over a transaction: what is told first is written first
	taken []event.Event // not yet written
}

// change runs do in a transaction that first appends what was told before. When
// it fails, nothing has changed, and what was told is kept.
func (j *journal) change(ctx context.Context, do func(*store.Tx) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.taken = append(j.taken, j.queue.Take()...)
	if len(j.taken) > journalHeld {
		all := len(j.taken)
		j.taken = newest(j.taken)
		j.log.Warn("relay events wait for the store, those that were overtaken are left out", "events", all, "kept", len(j.taken))
	}
	if do == nil && len(j.taken) == 0 {
		return nil
	}
	err := j.db.Update(ctx, func(tx *store.Tx) error {
		if len(j.taken) > 0 {
			if err := tx.Append(j.taken...); err != nil {
				return fmt.Errorf("relay: append events: %w", err)
			}
		}
		if do == nil {
			return nil
		}
		return do(tx)
	})
	if err == nil {
		j.taken = nil
	}
	return err
}

// newest leaves the last event of each URL, and of each task as a whole: where it
// stands. So what waits has the bound that tasks have, however long the store
// fails and however often an origin comes and goes meanwhile.
func newest(events []event.Event) (kept []event.Event) {
	type about struct{ app, task, url string }
	seen := make(map[about]bool)
	for _, e := range slices.Backward(events) {
		if a := (about{e.App, e.Relay.Task, e.Relay.URL}); !seen[a] {
			seen[a] = true
			kept = append(kept, e)
		}
	}
	slices.Reverse(kept)
	return kept
}

// run writes what pushes tell until ctx ends, and then what is left.
func (j *journal) run(ctx context.Context) {
	for {
		select {
		case <-j.queue.Ready():
		case <-ctx.Done():
			late, cancel := context.WithTimeout(context.Background(), journalLast)
			defer cancel()
			if err := j.change(late, nil); err != nil {
				j.log.Error("relay events are lost", "events", len(j.taken), "error", err)
			}
			return
		}
		for ctx.Err() == nil {
			err := j.change(context.WithoutCancel(ctx), nil)
			if err == nil {
				break
			}
			j.log.Error("relay events cannot be stored, will try again", "error", err)
			sleep(ctx, journalRetry)
		}
	}
}
