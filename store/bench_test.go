package store_test

import (
	"fmt"
	"testing"

	"braid/event"
	"braid/store"
	"braid/store/storetest"
)

// A commit is a state and its events, durable when Update comes back.
func BenchmarkCommit(b *testing.B) {
	for _, engine := range []struct {
		name   string
		config func(b *testing.B) store.Config
	}{
		{"sqlite", func(b *testing.B) store.Config { return store.Config{Dir: b.TempDir()} }},
		{"postgres", func(b *testing.B) store.Config { return store.Config{DSN: storetest.Postgres(b)} }},
	} {
		for _, size := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/events=%d", engine.name, size), func(b *testing.B) {
				db := storetest.OpenConfig(b, engine.config(b))
				events := make([]event.Event, size)
				for i := range events {
					events[i] = userEvent(event.PublishAudio, "s", event.Audio)
				}
				update(b, db, func(tx *store.Tx) error {
					return tx.Append(channelEvent(event.ChannelOpen), userEvent(event.UserJoin, "s"))
				})
				b.ReportAllocs()
				for b.Loop() {
					update(b, db, func(tx *store.Tx) error {
						return both(tx.SetMeta("k", "v"), tx.Append(events...))
					})
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
				b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}
