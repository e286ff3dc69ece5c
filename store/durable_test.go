package store_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"braid/store"
	"braid/store/storetest"
)

// A kill of the process does not show whether a commit waits for the disk; the
// engines' own settings do.
func TestSQLiteWaitsForTheDisk(t *testing.T) {
	db := storetest.Open(t)
	update(t, db, func(tx *store.Tx) error {
		for pragma, want := range map[string]int64{"synchronous": 2, "foreign_keys": 1} {
			got, err := tx.Count("PRAGMA " + pragma)
			if got != want || err != nil {
				t.Errorf("%s: got %d, %v, want %d", pragma, got, err, want)
			}
		}
		wal, err := tx.Count("SELECT journal_mode = 'wal' FROM pragma_journal_mode")
		if wal != 1 || err != nil {
			t.Errorf("journal_mode: not wal (%v)", err)
		}
		return nil
	})
}

func TestPostgresWaitsForTheDisk(t *testing.T) {
	dsn := storetest.Postgres(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "ALTER ROLE braid SET synchronous_commit = off"); err != nil {
		t.Fatal(err)
	}
	defer conn.Exec(t.Context(), "ALTER ROLE braid RESET synchronous_commit")
	db := storetest.OpenConfig(t, store.Config{DSN: dsn})
	update(t, db, func(tx *store.Tx) error {
		on, err := tx.Count("SELECT CAST(current_setting('synchronous_commit') = 'on' AS INT)")
		if on != 1 || err != nil {
			t.Errorf("synchronous_commit is off as the role has it (%v)", err)
		}
		return nil
	})
}
