package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

// terminate ends the connections of all others to a database.
func terminate(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		t.Fatal(err)
	}
}

func TestLostConnectionsAreOpenedAgain(t *testing.T) {
	dsn := storetest.Postgres(t)
	db := storetest.OpenConfig(t, store.Config{DSN: dsn})
	update(t, db, func(tx *store.Tx) error { return tx.SetMeta("k", "before") })
	if got := meta(t, db, "k"); got != "before" {
		t.Fatalf("got %q", got)
	}
	terminate(t, dsn)
	if got := meta(t, db, "k"); got != "before" {
		t.Errorf("a view after the loss: got %q", got)
	}
	update(t, db, func(tx *store.Tx) error { return tx.SetMeta("k", "after") })

	// In the middle of a transaction it is lost with it.
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.SetMeta("k", "torn"); err != nil {
			return err
		}
		terminate(t, dsn)
		return nil
	})
	if err == nil {
		t.Error("a transaction without a connection was committed")
	}
	if got := meta(t, db, "k"); got != "after" {
		t.Errorf("after a torn transaction: got %q, want after", got)
	}
}

// A server that lost its connection, and the database to another server, does
// not write any more until that one is gone.
func TestNoTwoWriters(t *testing.T) {
	dsn := storetest.Postgres(t)
	first := storetest.OpenConfig(t, store.Config{DSN: dsn})
	terminate(t, dsn)
	second := storetest.OpenConfig(t, store.Config{DSN: dsn})
	update(t, second, func(tx *store.Tx) error { return tx.SetMeta("k", "second") })
	err := first.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("k", "first") })
	if err == nil || !strings.Contains(err.Error(), "another braid is using") {
		t.Errorf("the first server's update: got error %v, want that another one has the database", err)
	}
	if got := meta(t, first, "k"); got != "second" {
		t.Errorf("the first server reads %q, want second", got)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	update(t, first, func(tx *store.Tx) error { return tx.SetMeta("k", "first") })
}

func TestBadDSN(t *testing.T) {
	_, err := store.Open(t.Context(), store.Config{DSN: "postgres://braid:hush@127.0.0.1:x/db"})
	if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "DSN") {
		t.Errorf("got error %v, want one about the DSN that keeps the password", err)
	}
}

// A database that is away is told apart from what is wrong with a call, and the same
// call does when it is back.
func TestAway(t *testing.T) {
	g := storetest.NewGate(t, storetest.Postgres(t))
	db := storetest.OpenConfig(t, store.Config{DSN: g.DSN})
	write := func(tx *store.Tx) error { return tx.SetMeta("k", "v") }
	read := func(tx *store.Tx) error { _, err := tx.Meta("k"); return err }
	unknown := func(tx *store.Tx) error { _, err := tx.Application("nobody"); return err }
	update(t, db, write)
	if err := db.View(t.Context(), unknown); !errors.Is(err, media.ErrNotFound) || errors.Is(err, store.ErrAway) {
		t.Errorf("what is not there: got %v", err)
	}
	err := db.Update(t.Context(), func(tx *store.Tx) error { // in the middle of a transaction
		if err := write(tx); err != nil {
			return err
		}
		g.Shut()
		if err := write(tx); err == nil {
			t.Error("a statement without a connection does")
		}
		return errors.New("in other words")
	})
	if !errors.Is(err, store.ErrAway) || !strings.Contains(err.Error(), "in other words") {
		t.Errorf("a transaction whose connection is lost: got %v, want ErrAway", err)
	}
	for i := range 2 { // by the connections of before, then by new ones
		for name, err := range map[string]error{"read": db.View(t.Context(), read), "write": db.Update(t.Context(), write)} {
			if !errors.Is(err, store.ErrAway) {
				t.Errorf("try %d to %s: got %v, want ErrAway", i, name, err)
			}
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.View(gone, read); err == nil || errors.Is(err, store.ErrAway) {
		t.Errorf("a caller who has gone is told %v", err)
	}
	g.Open()
	update(t, db, write)
	if got := meta(t, db, "k"); got != "v" {
		t.Errorf("when it is back: got %q", got)
	}
}

// A server that has lost the database to another is away too.
func TestAwayForAnother(t *testing.T) {
	dsn := storetest.Postgres(t)
	first := storetest.OpenConfig(t, store.Config{DSN: dsn})
	terminate(t, dsn)
	storetest.OpenConfig(t, store.Config{DSN: dsn})
	if err := first.Update(t.Context(), func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrAway) {
		t.Errorf("got %v, want ErrAway", err)
	}
}
