package main

import (
	"context"
	"log/slog"
	"testing"

	"braid/callback"
	"braid/store"
	"braid/store/storetest"
)

// What the config file says of applications holds at each start; one that it no
// longer names goes on with its key, and can be rotated and deleted.
func TestSeed(t *testing.T) {
	db := storetest.Open(t)
	start := func(firstStart bool, apps ...application) {
		t.Helper()
		c := config{Applications: apps, firstStart: firstStart}
		if err := seed(context.Background(), db, &c, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(id, name, key string, fixed bool) {
		t.Helper()
		err := db.View(context.Background(), func(tx *store.Tx) error {
			a, err := tx.Application(id)
			if err == nil && (a.Name != name || a.Key.Current != key || a.Config != fixed) {
				t.Errorf("%s: got name %q, key %q, config %v; want %q, %q, %v", id, a.Name, a.Key.Current, a.Config, name, key, fixed)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	start(false, application{ID: "a", Key: "ka", Name: "one"}, application{ID: "b", Key: "kb", Name: "two"})
	check("a", "one", "ka", true)
	check("b", "two", "kb", true)

	start(false, application{ID: "a", Key: "ka2", Name: "one"})
	check("a", "one", "ka2", true)
	check("b", "two", "kb", false)

	start(true, application{ID: "first", Key: "kf", Name: "default"}, application{ID: "b", Key: "other", Name: "default"})
	check("a", "one", "ka2", false)
	check("b", "two", "kb", false)
	check("first", "default", "kf", false)

	start(false, application{ID: "b", Key: "kb2", Name: "back"})
	check("b", "back", "kb2", true)
	check("first", "default", "kf", false)
}

// A store that is away is not taken for an application that is not there.
func TestRegistryWithoutStore(t *testing.T) {
	db := storetest.Open(t)
	r := newRegistry(db, nil, slog.New(slog.DiscardHandler))
	app := store.Application{ID: "a", Name: "a", Key: store.Secret{Current: "key"}, Signing: store.Secret{Current: callback.NewSecret()}}
	if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateApplication(&app) }); err != nil {
		t.Fatal(err)
	}
	if !r.Exists("a") || r.Exists("b") {
		t.Fatal("with the store: want a, and no b")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got, ok := r.Application("a"); !ok || len(got.Keys) != 1 || got.Keys[0] != "key" {
		t.Errorf("without the store: got %+v, %v; want a with its key", got, ok)
	}
	if r.Exists("b") {
		t.Error("without the store: there is an application b")
	}
}
