// Package storetest gives tests a store: an empty one of their own, on SQLite
// or on both engines. PostgreSQL comes from Debian's package and is started once
// for a test program, on a socket in a temporary directory; see postgres.go.
package storetest

import (
	"testing"

	"braid/store"
)

// Open gives an empty SQLite store that is closed at the end of the test.
func Open(t testing.TB) *store.DB {
	t.Helper()
	return OpenConfig(t, store.Config{Dir: t.TempDir()})
}

// Engines runs a test on an empty store of each engine. open opens that store:
// again too, after a Close, to see what a restart finds. What is open at the end
// of the test is closed.
func Engines(t *testing.T, f func(t *testing.T, open func() *store.DB)) {
	Configs(t, func(t *testing.T, c store.Config) {
		f(t, func() *store.DB {
			t.Helper()
			return OpenConfig(t, c)
		})
	})
}

// Configs runs a test with the Config of an empty store of each engine, for
// those that set more of it.
func Configs(t *testing.T, f func(t *testing.T, c store.Config)) {
	t.Run("sqlite", func(t *testing.T) { f(t, store.Config{Dir: t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) { f(t, store.Config{DSN: Postgres(t)}) })
}

// OpenConfig opens a store that is closed at the end of the test.
func OpenConfig(t testing.TB, c store.Config) *store.DB {
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
