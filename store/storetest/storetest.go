// Package storetest gives tests a store: an empty one of their own, on SQLite
// or on both engines. PostgreSQL is started once for a test program, from
// Debian's package, on a socket in a temporary directory.
package storetest

import (
	"testing"

	"braid/store"
)

// Open gives an empty SQLite store that is closed at the end of the test.
func Open(t testing.TB) *store.DB {
	t.Helper()
	return open(t, store.Config{Dir: t.TempDir()})
}

func open(t testing.TB, c store.Config) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return db
}
