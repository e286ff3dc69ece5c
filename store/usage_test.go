package store_test

import (
	"reflect"
	"testing"
	"time"

	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

func TestUsage(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		use := func(app, class string, after, d time.Duration) store.Usage {
			return store.Usage{App: app, Kind: store.CallUsage, Class: class, Start: noon.Add(after), Time: d}
		}
		update(t, db, func(tx *store.Tx) error {
			return tx.AddUsage(
				use("a", "audio", 0, time.Minute),
				use("a", "audio", 4*time.Minute+59*time.Second, 1500*time.Millisecond), // the same span
				use("a", "audio", 5*time.Minute, time.Second),
				use("a", "720p", 0, time.Hour),
				use("b", "audio", 70*time.Minute, time.Second),
				use("a", "audio", 2*time.Hour, time.Second),
				store.Usage{App: "a", Kind: store.RelayUsage, Class: "audio", Start: noon, Time: time.Second})
		})
		update(t, db, func(tx *store.Tx) error { return tx.AddUsage(use("a", "audio", 0, time.Millisecond)) })

		for _, c := range []struct {
			name     string
			apps     []string
			kind     store.UsageKind
			from, to time.Duration
			interval time.Duration
			want     []store.Usage
		}{
			{"spans", []string{"a"}, store.CallUsage, 0, 10 * time.Minute, 5 * time.Minute, []store.Usage{
				use("a", "720p", 0, time.Hour), use("a", "audio", 0, 61501*time.Millisecond),
				use("a", "audio", 5*time.Minute, time.Second)}},
			{"without the end", nil, store.CallUsage, 0, 5 * time.Minute, 5 * time.Minute, []store.Usage{
				use("a", "720p", 0, time.Hour), use("a", "audio", 0, 61501*time.Millisecond)}},
			{"hours from the time given", nil, store.CallUsage, 5 * time.Minute, 2 * time.Hour, time.Hour, []store.Usage{
				use("a", "audio", 5*time.Minute, time.Second), use("b", "audio", 65*time.Minute, time.Second)}},
			{"all in a day", []string{"b", "a", "b"}, store.CallUsage, -time.Hour, 23 * time.Hour, 24 * time.Hour, []store.Usage{
				use("a", "720p", -time.Hour, time.Hour), use("a", "audio", -time.Hour, 63501*time.Millisecond),
				use("b", "audio", -time.Hour, time.Second)}},
			{"relay", nil, store.RelayUsage, 0, time.Hour, time.Hour, []store.Usage{
				{App: "a", Kind: store.RelayUsage, Class: "audio", Start: noon, Time: time.Second}}},
			{"no application", []string{}, store.CallUsage, 0, time.Hour, time.Hour, nil},
			{"one without usage", []string{"c"}, store.CallUsage, 0, time.Hour, time.Hour, nil},
		} {
			view(t, db, func(tx *store.Tx) error {
				got, err := tx.Usage(c.apps, c.kind, noon.Add(c.from), noon.Add(c.to), c.interval)
				if !reflect.DeepEqual(got, c.want) {
					t.Errorf("%s: got %+v\nwant %+v", c.name, got, c.want)
				}
				return err
			})
		}
		view(t, db, func(tx *store.Tx) error {
			_, err := tx.Usage(nil, store.CallUsage, noon, noon.Add(time.Hour), 7*time.Minute)
			wantErr(t, "interval of 7 minutes", err, media.ErrInvalid)
			return nil
		})
		err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.AddUsage(use("a", "audio", 0, -time.Second)) })
		wantErr(t, "a time below 0", err, media.ErrInvalid)
	})
}
