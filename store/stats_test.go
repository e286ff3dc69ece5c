package store

import (
	"errors"
	"testing"
)

func TestStats(t *testing.T) {
	db, err := Open(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	before := db.Stats()
	for range 3 {
		if err := db.Update(t.Context(), func(tx *Tx) error { return tx.SetMeta("a", "b") }); err != nil {
			t.Fatal(err)
		}
	}
	refused := errors.New("no")
	if err := db.Update(t.Context(), func(*Tx) error { return refused }); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if err := db.View(t.Context(), func(tx *Tx) error { _, err := tx.Meta("a"); return err }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	after := db.Stats()
	if n := after.Commit.Count - before.Commit.Count; n != 3 || after.Commit.Sum <= 0 {
		t.Errorf("got %d commits that took %v, want the 3 of changes: neither the one refused nor the read", n, after.Commit.Sum)
	}
	if n := after.Wait.Count - before.Wait.Count; n != 4 {
		t.Errorf("got %d waits, want those of 4 changes", n)
	}
}
