package store_test

import (
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

// An answer can be given again for a day, and its id used anew after that.
func TestAnswers(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		var now atomic.Int64
		start := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
		c.Now = func() time.Time { return start.Add(time.Duration(now.Load())) }
		db := storetest.OpenConfig(t, c)
		keep := func(a store.Answer) error {
			return db.Update(t.Context(), func(tx *store.Tx) error { return tx.KeepAnswer(a) })
		}
		read := func() (a store.Answer, err error) {
			err = db.View(t.Context(), func(tx *store.Tx) error {
				a, err = tx.Answer("id")
				return err
			})
			return a, err
		}
		if _, err := read(); !errors.Is(err, media.ErrNotFound) {
			t.Errorf("before: got %v, want media.ErrNotFound", err)
		}
		want := store.Answer{ID: "id", Request: "hash", Status: 201, Version: 3, Location: "/v1/x", Body: []byte(`{"é":"\u0000"}`)}
		if err := keep(want); err != nil {
			t.Fatal(err)
		}
		if err := keep(want); err == nil {
			t.Error("an answer was written over")
		}
		want.Created = start
		now.Store(int64(store.AnswerKept - time.Millisecond))
		if got, err := read(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("at the last moment: got %+v, %v, want %+v", got, err, want)
		}
		now.Store(int64(store.AnswerKept))
		if _, err := read(); !errors.Is(err, media.ErrNotFound) {
			t.Errorf("a day later: got %v, want media.ErrNotFound", err)
		}
		want.Request = "another"
		if err := keep(want); err != nil {
			t.Errorf("a day later, its id again: %v", err)
		}
	})
}
