package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"braid/media"
)

// TestBackup copies a database that is written to all the time, and opens the
// copy: it has a state that there was.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	write := func(n int) error { // both values or none
		return db.Update(t.Context(), func(tx *Tx) error {
			return errors.Join(tx.SetMeta("a", strconv.Itoa(n)), tx.SetMeta("b", strconv.Itoa(n)))
		})
	}
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		var err error
		for n := 2; ctx.Err() == nil && err == nil; n++ {
			err = write(n)
		}
		done <- err
	}()
	for round := range 5 {
		back := t.TempDir()
		if err := Backup(t.Context(), dir, filepath.Join(back, "braid.db")); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := Backup(t.Context(), dir, filepath.Join(back, "braid.db")); !errors.Is(err, media.ErrExists) {
			t.Fatalf("a second copy in the same place: %v", err)
		}
		if info, err := os.Stat(filepath.Join(back, "braid.db")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the copy has mode %v, %v", info.Mode(), err)
		}
		restored, err := Open(t.Context(), Config{Dir: back})
		if err != nil {
			t.Fatal(err)
		}
		var a, b string
		err = restored.View(t.Context(), func(tx *Tx) (err error) {
			a, err = tx.Meta("a")
			b, _ = tx.Meta("b")
			return err
		})
		if err != nil || a == "" || a != b {
			t.Errorf("round %d: the copy has a=%q and b=%q (%v), want the same", round, a, b, err)
		}
		if err := restored.Close(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("writing was disturbed: %v", err)
	}
}

func TestBackupOfNothing(t *testing.T) {
	to := filepath.Join(t.TempDir(), "braid.db")
	if err := Backup(t.Context(), t.TempDir(), to); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("without a database: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "braid.db"), []byte(fmt.Sprintf("%4096s", "not a database")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Backup(t.Context(), dir, to); err == nil {
		t.Error("a file of something else was copied")
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after an error the copy is there: %v", err)
	}
}
