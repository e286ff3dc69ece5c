package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"braid/event"
	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

// attempt is the outcome of an attempt of which only the record matters.
func attempt(n int, at time.Time) store.Outcome {
	r := store.Record{App: fmt.Sprintf("app%d", n%2), Kind: store.Room, Sub: fmt.Sprintf("sub%d-%d", n%2, n%3), MsgID: fmt.Sprintf("msg%d", n/2),
		Event: int64(n), Type: event.UserJoin, Channel: fmt.Sprintf("room%d", n%7), User: "u", URL: "http://h/", Payload: "{}", Code: 200, Attempt: 1, Time: at}
	if n%5 == 0 {
		r.Kind, r.Sub, r.Task, r.Type = store.MPU, fmt.Sprintf("Sub-%d", n%2), fmt.Sprintf("task%d", n%4), event.RelayStarted
	}
	if n%11 == 0 {
		r.Code, r.Failure = 500, "status"
	}
	return store.Outcome{Delivered: true, Record: r}
}

func addRecords(t testing.TB, db *store.DB, n, batch int, at func(i int) time.Time) {
	t.Helper()
	for i := 0; i < n; i += batch {
		var all []store.Outcome
		for j := i; j < min(n, i+batch); j++ {
			all = append(all, attempt(j, at(j)))
		}
		if err := db.Update(context.Background(), func(tx *store.Tx) error { return tx.Finish(all) }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecordLists compares pages and cursors, for many filters, with what a walk
// over all records gives.
func TestRecordLists(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		base := time.UnixMilli(1_700_000_000_000).UTC()
		const n = 600
		// several in one millisecond, and a clock that is set back once
		at := func(i int) time.Time {
			if i == 300 {
				return base
			}
			return base.Add(time.Duration(i/3) * time.Millisecond)
		}
		addRecords(t, db, n, 37, at)
		var all []store.Record // newest first
		for i := n - 1; i >= 0; i-- {
			r := attempt(i, at(i)).Record
			if i == 300 {
				r.Time = at(299)
			}
			all = append(all, r)
		}
		for _, f := range []store.RecordFilter{
			{RecordQuery: store.RecordQuery{App: "app0", Kind: store.Room}},
			{RecordQuery: store.RecordQuery{App: "app1", Kind: store.MPU}},
			{RecordQuery: store.RecordQuery{App: "app0", Kind: store.Room, Sub: "sub0-1"}},
			{RecordQuery: store.RecordQuery{App: "app0", Kind: store.Room, Sub: "sub1-1"}}, // of another application
			{RecordQuery: store.RecordQuery{App: "app0", Kind: store.Room, From: base.Add(20 * time.Millisecond), To: base.Add(90 * time.Millisecond)}},
			{RecordQuery: store.RecordQuery{App: "app0", Kind: store.Room, From: base.Add(time.Hour)}},
			{RecordQuery: store.RecordQuery{App: "app0", Kind: store.Room, To: base}},
			{RecordQuery: store.RecordQuery{App: "none", Kind: store.Room}},
			{RecordQuery: store.RecordQuery{App: "app0"}},
			{RecordQuery: store.RecordQuery{App: "app0", From: base.Add(20 * time.Millisecond), To: base.Add(90 * time.Millisecond)}, Result: "failed"},
			{RecordQuery: store.RecordQuery{App: "app1"}, Result: "ok"},
			{RecordQuery: store.RecordQuery{App: "app1"}, Channel: "room3"},
			{RecordQuery: store.RecordQuery{App: "app1", Sub: "sub1-0", Kind: store.Room}, Channel: "room3"},
			{RecordQuery: store.RecordQuery{App: "app1"}, Task: "task1"},
			{RecordQuery: store.RecordQuery{App: "app1"}, MsgID: "msg7"},
			{RecordQuery: store.RecordQuery{App: "app1"}, Type: event.RelayStarted, Result: "failed"},
		} {
			var want []int64
			for _, r := range all {
				if matches(f, r) {
					want = append(want, r.Event)
				}
			}
			if got := byCursor(t, db, f); !slices.Equal(got, want) {
				t.Errorf("%+v by cursor: got %d records, want %d", f, len(got), len(want))
			}
			if f != (store.RecordFilter{RecordQuery: f.RecordQuery}) || f.Kind == "" {
				continue // pages have no such filters
			}
			if got := byPage(t, db, f.RecordQuery); !slices.Equal(got, want) {
				t.Errorf("%+v by page: got %v, want %v", f, got, want)
			}
		}
		bad := map[string]func(tx *store.Tx) error{
			"page":      func(tx *store.Tx) error { _, _, err := tx.RecordPage(store.RecordQuery{}, 0, 1); return err },
			"page size": func(tx *store.Tx) error { _, _, err := tx.RecordPage(store.RecordQuery{}, 1, 101); return err },
			"limit":     func(tx *store.Tx) error { _, err := tx.RecordsBefore(store.RecordFilter{}, 0, 0); return err },
			"result": func(tx *store.Tx) error {
				_, err := tx.RecordsBefore(store.RecordFilter{Result: "x"}, 0, 1)
				return err
			},
		}
		for name, f := range bad {
			if err := db.View(t.Context(), f); !errors.Is(err, media.ErrInvalid) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	})
}

func matches(f store.RecordFilter, r store.Record) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return r.App == f.App && is(string(f.Kind), string(r.Kind)) && is(f.Sub, r.Sub) && is(f.Channel, r.Channel) && is(string(f.Type), string(r.Type)) &&
		is(f.Task, r.Task) && is(f.MsgID, r.MsgID) && !r.Time.Before(f.From) && (f.To.IsZero() || r.Time.Before(f.To)) &&
		(f.Result == "" || (f.Result == "failed") == (r.Failure != ""))
}

func byCursor(t *testing.T, db *store.DB, f store.RecordFilter) (seqs []int64) {
	t.Helper()
	for before := int64(0); ; {
		var some []store.Record
		err := db.View(t.Context(), func(tx *store.Tx) (err error) {
			some, err = tx.RecordsBefore(f, before, 7)
			return err
		})
		if err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		for _, r := range some {
			seqs, before = append(seqs, r.Event), r.ID
		}
		if len(some) < 7 {
			return seqs
		}
	}
}

func byPage(t *testing.T, db *store.DB, q store.RecordQuery) (seqs []int64) {
	t.Helper()
	for page, more := 1, true; more; page++ {
		err := db.View(t.Context(), func(tx *store.Tx) (err error) {
			var some []store.Record
			some, more, err = tx.RecordPage(q, page, 7)
			for _, r := range some {
				seqs = append(seqs, r.Event)
			}
			return err
		})
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
	}
	return seqs
}

// TestPurgeCallbacks: what is over 7 days goes, from the oldest on, and lists and
// numbers stay right; what belonged to a deleted subscription or application goes.
func TestPurgeCallbacks(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		now := time.UnixMilli(1_700_000_000_000)
		c.Now = func() time.Time { return now }
		db := storetest.OpenConfig(t, c)
		do := func(f func(tx *store.Tx) error) {
			t.Helper()
			if err := db.Update(t.Context(), f); err != nil {
				t.Fatal(err)
			}
		}
		do(func(tx *store.Tx) error {
			for _, app := range []string{"app0", "app1"} {
				if err := tx.CreateApplication(&store.Application{ID: app}); err != nil {
					return err
				}
				for i := range 2 {
					s := store.Subscription{App: app, ID: fmt.Sprint(app, i), Kind: store.Room, URL: "http://h/", Events: []string{"UserEvent"}}
					if err := tx.CreateSubscription(&s); err != nil {
						return err
					}
				}
				for i := range 50 {
					e := event.Event{App: app, Channel: fmt.Sprint("c", i%5), Type: event.UserJoin, User: &event.User{ID: "u"}}
					if err := tx.Append(e); err != nil {
						return err
					}
				}
			}
			return nil
		})
		addRecords(t, db, 400, 50, func(i int) time.Time { return now.Add(time.Duration(i-400) * 24 * time.Hour / 20) }) // 20 a day

		if err := db.Purge(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		want := []int64{}
		for i := 399; i > 260; i-- { // attempt 260 is exactly 7 days old
			if r := attempt(i, now).Record; r.App == "app0" && r.Kind == store.Room {
				want = append(want, r.Event)
			}
		}
		if got := byPage(t, db, store.RecordQuery{App: "app0", Kind: store.Room}); !slices.Equal(got, want) {
			t.Errorf("after 7 days: got %v, want %v", got, want)
		}
		if got := byPage(t, db, store.RecordQuery{App: "app0", Kind: store.Room, From: now.Add(-8 * 24 * time.Hour)}); !slices.Equal(got, want) {
			t.Errorf("in a range that begins before: got %v", got)
		}

		do(func(tx *store.Tx) error { return tx.DeleteSubscription("app0", "app00") })
		do(func(tx *store.Tx) error { return tx.DeleteApplication("app1") })
		if err := db.Purge(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		do(func(tx *store.Tx) error {
			for query, want := range map[string]int64{
				"SELECT COUNT(*) FROM deliveries":                     50,
				"SELECT COUNT(*) FROM deliveries WHERE sub = 'app01'": 50,
				"SELECT COUNT(*) FROM lanes":                          5,
				"SELECT COUNT(*) FROM subscriptions":                  1,
				"SELECT COUNT(*) FROM records WHERE app = 'app1'":     0,
			} {
				if got, err := tx.Count(query); err != nil || got != want {
					t.Errorf("%s: got %d, want %d, %v", query, got, want, err)
				}
			}
			return nil
		})
		for _, days := range []int{6, 100} {
			if err := db.Purge(t.Context(), now.Add(time.Duration(days)*24*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if got := byPage(t, db, store.RecordQuery{App: "app0", Kind: store.Room}); got != nil {
			t.Errorf("at last: got %v", got)
		}
		addRecords(t, db, 10, 10, func(int) time.Time { return now }) // numbers begin anew
		if got := byPage(t, db, store.RecordQuery{App: "app0", Kind: store.Room}); len(got) != 4 {
			t.Errorf("in an empty table: got %v", got)
		}
	})
}

// BenchmarkRecordList reads pages of 1,000,000 records of one subscription, all
// within one hour, and reports the median and the 99th percentile in ms: page 1,
// pages anywhere, and pages anywhere in a range of time.
func BenchmarkRecordList(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		b.Run(engine, func(b *testing.B) {
			c := store.Config{}
			if engine == "postgres" {
				c.DSN = storetest.Postgres(b)
			} else {
				c.Dir = b.TempDir()
			}
			db := storetest.OpenConfig(b, c)
			base := time.UnixMilli(1_700_000_000_000)
			million(b, db, base)
			q := store.RecordQuery{App: "app", Kind: store.Room, Sub: "sub"}
			ranged := q
			ranged.From, ranged.To = base.Add(time.Minute), base.Add(50*time.Minute)
			all := store.RecordQuery{App: "app", Kind: store.Room}
			const size = 100
			for _, list := range []struct {
				name string
				read func(tx *store.Tx) ([]store.Record, error)
			}{
				{"first", func(tx *store.Tx) ([]store.Record, error) { r, _, err := tx.RecordPage(q, 1, size); return r, err }},
				{"random", func(tx *store.Tx) ([]store.Record, error) {
					r, _, err := tx.RecordPage(q, 1+rand.IntN(10_000), size)
					return r, err
				}},
				{"random-all", func(tx *store.Tx) ([]store.Record, error) {
					r, _, err := tx.RecordPage(all, 1+rand.IntN(10_000), size)
					return r, err
				}},
				{"random-range", func(tx *store.Tx) ([]store.Record, error) {
					r, _, err := tx.RecordPage(ranged, 1+rand.IntN(8_000), size)
					return r, err
				}},
				{"cursor", func(tx *store.Tx) ([]store.Record, error) {
					return tx.RecordsBefore(store.RecordFilter{RecordQuery: ranged}, 1+rand.Int64N(900_000)+50_000, size)
				}},
				{"channel", func(tx *store.Tx) ([]store.Record, error) {
					return tx.RecordsBefore(store.RecordFilter{RecordQuery: ranged, Channel: fmt.Sprint("room", rand.IntN(1000))}, rand.Int64N(1_000_000), size)
				}},
				{"failed", func(tx *store.Tx) ([]store.Record, error) {
					return tx.RecordsBefore(store.RecordFilter{RecordQuery: ranged, Result: "failed"}, rand.Int64N(1_000_000), size)
				}},
			} {
				b.Run(list.name, func(b *testing.B) { percentiles(b, db, list.read) })
			}
		})
	}
}

func percentiles(b *testing.B, db *store.DB, read func(*store.Tx) ([]store.Record, error)) {
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		var got []store.Record
		err := db.View(context.Background(), func(tx *store.Tx) (err error) { got, err = read(tx); return err })
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		_ = got
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "p99-ms")
}

func million(b *testing.B, db *store.DB, base time.Time) {
	b.Helper()
	payload := `{"MsgId":"01890a5d-ac96-774b-bcce-b302099a8057","MsgTimestamp":1697545591,"SubscribeId":"sub","AppId":"app","ChannelId":"room1","Contents":[{"Event":"UserEvent","UserEvent":{"UserId":"u1","EventTag":"Leave","SessionId":"0123456789abcdef","Timestamp":1697545591,"ChannelProfile":"interactive_live","US":1697545591123000,"Reason":6,"Role":1,"CurrentMedias":"1,3","TerminalType":6,"UserType":2}}]}`
	const n, batch = 1_000_000, 5000
	for i := 0; i < n; i += batch {
		var all []store.Outcome
		for j := i; j < i+batch; j++ {
			r := store.Record{App: "app", Kind: store.Room, Sub: "sub", MsgID: fmt.Sprintf("%036d", j), Event: int64(j), Type: event.UserJoin,
				Channel: fmt.Sprint("room", j%1000), User: "u1", URL: "https://business.example/callbacks", Payload: payload, Code: 200, Attempt: 1,
				Cost: 12 * time.Millisecond, Time: base.Add(time.Duration(j) * time.Hour / n)}
			if j%100 == 0 {
				r.Code, r.Failure = 500, "status"
			}
			all = append(all, store.Outcome{Delivered: true, Record: r})
		}
		if err := db.Update(context.Background(), func(tx *store.Tx) error { return tx.Finish(all) }); err != nil {
			b.Fatal(err)
		}
	}
}
