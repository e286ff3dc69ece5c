package store_test

import (
	"strings"
	"testing"

	"braid/store"
	"braid/store/storetest"
)

func TestMigrationsRunOnce(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		var first int64
		for round := range 2 {
			db := open()
			view(t, db, func(tx *store.Tx) error {
				n, err := tx.Count("SELECT COUNT(*) FROM migrations")
				if round == 0 {
					first = n
				}
				if n == 0 || n != first {
					t.Errorf("opened %d times before: %d migrations are noted, want as at first: %d", round, n, first)
				}
				return err
			})
			if round == 1 {
				if got := meta(t, db, "k"); got != "v" {
					t.Errorf("what was written before: got %q, want v", got)
				}
			}
			update(t, db, func(tx *store.Tx) error { return tx.SetMeta("k", "v") })
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestNewerSchemaIsRefused(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		db := storetest.OpenConfig(t, c)
		update(t, db, func(tx *store.Tx) error {
			_, err := tx.Exec("INSERT INTO migrations (version, name, applied) VALUES (1000, 'later', 0)")
			return err
		})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the refusal lets go of the lock
			newer, err := store.Open(t.Context(), c)
			if err == nil {
				newer.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), "newer braid: its schema is number 1000, this program knows up to") {
				t.Errorf("the error does not say why: %v", err)
			}
		}
	})
}
