package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"braid/event"
	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

func update(t testing.TB, db *store.DB, f func(tx *store.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), f); err != nil {
		t.Fatalf("update: %v", err)
	}
}

func view(t testing.TB, db *store.DB, f func(tx *store.Tx) error) {
	t.Helper()
	if err := db.View(t.Context(), f); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// meta reads a value in a View of its own.
func meta(t testing.TB, db *store.DB, key string) (value string) {
	t.Helper()
	view(t, db, func(tx *store.Tx) (err error) {
		value, err = tx.Meta(key)
		return err
	})
	return value
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func TestUpdateRollsBack(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		fault := errors.New("fault")
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			return errors.Join(tx.SetMeta("k", "error"), fault)
		})
		wantErr(t, "update", err, fault)

		func() {
			defer func() {
				if r := recover(); r != "oh" {
					t.Errorf("got panic %v, want the function's own", r)
				}
			}()
			db.Update(t.Context(), func(tx *store.Tx) error {
				tx.SetMeta("k", "panic")
				panic("oh")
			})
		}()

		// A statement that failed cannot be passed over in silence.
		err = db.Update(t.Context(), func(tx *store.Tx) error {
			tx.Exec("INSERT INTO nowhere VALUES (1)")
			tx.SetMeta("k", "after a failed statement")
			return nil
		})
		if err == nil {
			t.Error("an update with a failed statement gave no error")
		}

		ctx, cancel := context.WithCancel(t.Context())
		err = db.Update(ctx, func(tx *store.Tx) error {
			err := tx.SetMeta("k", "cancelled")
			cancel()
			return err
		})
		wantErr(t, "update that was cancelled", err, context.Canceled)

		if got := meta(t, db, "k"); got != "" {
			t.Errorf("what was rolled back is there: %q", got)
		}
		update(t, db, func(tx *store.Tx) error { return tx.SetMeta("k", "v") })
		if got := meta(t, db, "k"); got != "v" {
			t.Errorf("after a good update: got %q, want v", got)
		}
	})
}

func TestViewCannotWrite(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		if err := db.View(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("k", "v") }); err == nil {
			t.Error("a view has written")
		}
		if got := meta(t, db, "k"); got != "" {
			t.Errorf("a view has written %q", got)
		}
	})
}

func TestText(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		good := "Zürich ' \" \\ ? $1 ;\n 会议 \U0001F600"
		update(t, db, func(tx *store.Tx) error { return tx.SetMeta("k", good) })
		if got := meta(t, db, "k"); got != good {
			t.Errorf("got %q, want %q", got, good)
		}
		for _, bad := range []string{"a\x00b", "\xff"} {
			err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("k", bad) })
			wantErr(t, fmt.Sprintf("%q", bad), err, media.ErrInvalid)
		}
	})
}

func TestUpdatesOneAfterTheOther(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		const writers, each = 8, 10
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					err := db.Update(t.Context(), func(tx *store.Tx) error {
						v, err := tx.Meta("n")
						if err != nil {
							return err
						}
						n := 0
						fmt.Sscan(v, &n)
						return tx.SetMeta("n", fmt.Sprint(n+1))
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got, want := meta(t, db, "n"), fmt.Sprint(writers*each); got != want {
			t.Errorf("after %s additions of 1: got %s", want, got)
		}
	})
}

func TestViewIsASnapshot(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		update(t, db, func(tx *store.Tx) error { return tx.SetMeta("k", "old") })
		read := func(tx *store.Tx) string {
			v, err := tx.Meta("k")
			if err != nil {
				t.Error(err)
			}
			return v
		}
		// While one view is open, an update writes; while the update is open, another
		// view reads.
		started, written := make(chan struct{}), make(chan struct{})
		go func() {
			<-started
			defer close(written)
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				err := tx.SetMeta("k", "new")
				view(t, db, func(tx *store.Tx) error {
					if got := read(tx); got != "old" {
						t.Errorf("a view beside an open update: got %q, want old", got)
					}
					return nil
				})
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}()
		view(t, db, func(tx *store.Tx) error {
			first := read(tx)
			close(started)
			<-written
			if second := read(tx); first != "old" || second != "old" {
				t.Errorf("in one view: first %q, then %q, want old twice", first, second)
			}
			return nil
		})
		if got := meta(t, db, "k"); got != "new" {
			t.Errorf("a view after the update: got %q, want new", got)
		}
	})
}

func TestAppended(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		appended := db.Appended()
		update(t, db, func(tx *store.Tx) error { return tx.SetMeta("k", "v") })
		db.Update(t.Context(), func(tx *store.Tx) error {
			tx.Append(event.Event{App: "a", Channel: "c", Type: event.ChannelOpen})
			return errors.New("rolled back")
		})
		select {
		case <-appended:
			t.Error("closed though nothing was appended")
		default:
		}
		update(t, db, func(tx *store.Tx) error {
			return tx.Append(event.Event{App: "a", Channel: "c", Type: event.ChannelOpen})
		})
		select {
		case <-appended:
		default:
			t.Error("not closed though an event was committed")
		}
		select {
		case <-db.Appended():
			t.Error("the next one is closed already")
		default:
		}
	})
}

func TestSecondServerIsRefused(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		first := storetest.OpenConfig(t, c)
		if second, err := store.Open(t.Context(), c); err == nil {
			second.Close()
			t.Error("two servers have one store open")
		} else if !strings.Contains(err.Error(), "another braid is using") {
			t.Errorf("the error does not say why: %v", err)
		}
		if err := first.Close(); err != nil {
			t.Error(err)
		}
		storetest.OpenConfig(t, c)
	})
}

func TestClose(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		nothing := func(*store.Tx) error { return nil }
		update(t, db, nothing)
		view(t, db, nothing)
		for range 2 {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
		wantErr(t, "update", db.Update(t.Context(), nothing), media.ErrClosed)
		wantErr(t, "view", db.View(t.Context(), nothing), media.ErrClosed)
	})
}

func TestFileModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data ?#%")
	db := storetest.OpenConfig(t, store.Config{Dir: dir})
	update(t, db, func(tx *store.Tx) error { return tx.SetMeta("k", "v") })
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("mode of the directory: got %o, want 700", got)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("mode of %s: got %o, want 600", f.Name(), got)
		}
		names += f.Name() + " "
	}
	if !strings.Contains(names, "braid.db ") || !strings.Contains(names, "braid.db-wal ") {
		t.Errorf("files: got %s, want braid.db and its log among them", names)
	}
}
