package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"braid/store"
	"braid/store/storetest"
)

// BenchmarkBacklog takes eight messages at a time from backlogs of a hundred thousand
// and of a million: what is next, the messages, that they are delivered, and
// their records. The cost is to be the same.
func BenchmarkBacklog(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		for _, rows := range []int{100_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", engine, rows), func(b *testing.B) {
				c := store.Config{Dir: b.TempDir()}
				if engine == "postgres" {
					c = store.Config{DSN: storetest.Postgres(b)}
				}
				db := storetest.OpenConfig(b, c)
				backlog(b, db, rows)
				b.ReportAllocs()
				for b.Loop() {
					if n := take(b, db); n != 8 {
						b.Fatalf("%d messages were next, want 8", n)
					}
				}
			})
		}
	}
}

func take(b *testing.B, db *store.DB) int {
	var done []store.Outcome
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		lanes, err := tx.NextLanes("sub", 8)
		if err != nil {
			return err
		}
		var ids []int64
		for _, l := range lanes[:min(8, len(lanes))] {
			ids = append(ids, l.ID)
		}
		heads, err := tx.Heads(ids)
		if err != nil {
			return err
		}
		for _, h := range heads {
			r := h.Record()
			r.Code, r.Time = 200, time.Now()
			done = append(done, store.Outcome{Head: h, Record: r, Delivered: true})
		}
		return tx.Finish(done)
	})
	if err != nil {
		b.Fatal(err)
	}
	return len(done)
}

// backlog fills the outbox of one subscription with 1,000 lanes.
func backlog(b *testing.B, db *store.DB, rows int) {
	b.Helper()
	const lanes = 1000
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		if err := tx.CreateApplication(&store.Application{ID: "app"}); err != nil {
			return err
		}
		return tx.CreateSubscription(&store.Subscription{App: "app", ID: "sub", Kind: store.Room, URL: "http://h/", Events: []string{"UserEvent"}})
	})
	if err != nil {
		b.Fatal(err)
	}
	const count = `WITH RECURSIVE n (i) AS (SELECT CAST(? AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < ?) `
	exec := func(query string, args ...any) {
		if err := db.Update(context.Background(), func(tx *store.Tx) error { _, err := tx.Exec(query, args...); return err }); err != nil {
			b.Fatal(err)
		}
	}
	exec(count+`INSERT INTO lanes (sub, channel, waiting, state, due, fails, since, tried)
		SELECT 'sub', 'room' || CAST(i AS TEXT), ?, 0, 1700000000000 + i, 0, 0, 0 FROM n`, 1, lanes, rows/lanes)
	for from := 1; from <= rows; from += 10_000 {
		exec(count+`INSERT INTO deliveries (lane, sub, msg, seq, event, payload, attempts, refused, first, created)
			SELECT i % 1000 + 1, 'sub', 'message-' || CAST(i AS TEXT), i, ?, '', 0, 0, 0, 1700000000000 FROM n`,
			from, from+9_999, []byte(`{"id":"e","app":"app","channel":"room","type":"ChannelOpen","time":"2023-10-17T12:26:31Z"}`))
	}
}
