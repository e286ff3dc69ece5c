package store

import (
	"time"

	"braid/media/tally"
)

// Stats is how long a store took since it was opened.
type Stats struct {
	Wait   tally.Distribution // of Updates for those before them
	Commit tally.Distribution // until what an Update wrote was durable
}

// Stats may be called at any time, after Close too.
func (db *DB) Stats() Stats { return Stats{db.timing.wait.Look(), db.timing.commit.Look()} }

type timing struct{ wait, commit *tally.Histogram }

func newTiming() timing {
	const ms = time.Millisecond
	bounds := []time.Duration{ms / 2, ms, 2 * ms, 5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms, time.Second, 5 * time.Second, 30 * time.Second}
	return timing{tally.New(bounds...), tally.New(bounds...)}
}
