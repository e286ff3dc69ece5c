package console

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"braid/media"
	"braid/store"
)

var hashes = []string{
	"$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=64,t=0,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	"$argon2i$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$", "$2a$10$x", "", "$$$$$",
}

func TestHashForm(t *testing.T) {
	for i, text := range hashes {
		if _, _, _, err := decodeHash(text); (err == nil) != (i == 0) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func FuzzHashForm(f *testing.F) {
	for _, text := range hashes {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, salt, key, err := decodeHash(text)
		if err == nil && (encodeHash(c, salt, key) != text || c.MemoryKiB > maxMemoryKiB || c.Passes > maxPasses) {
			t.Errorf("%q was read as %+v", text, c)
		}
	})
}

// A password that was hashed at another cost is hashed anew when it is next used.
func TestStaleHash(t *testing.T) {
	s := start(t, nil)
	s.user("anna", store.Admin)
	s.accounts.hasher = newHasher(Cost{MemoryKiB: 128, Passes: 2})
	for range 2 {
		s.in("anna")
	}
	s.update(func(tx *store.Tx) error {
		a, err := tx.Administrator("anna")
		if c, _, _, e := decodeHash(a.Password); e != nil || c != (Cost{128, 2}) || a.Version != 2 {
			t.Errorf("got %q, version %d, %v; want it written anew once", a.Password, a.Version, e)
		}
		return err
	})
}

// However many sign in at once, few passwords are hashed at the same time, and
// a bounded number waits.
func TestHashingIsBounded(t *testing.T) {
	h := newHasher(Cost{MemoryKiB: 64, Passes: 1})
	hold := make(chan struct{})
	began := make(chan struct{}, 100)
	var wg sync.WaitGroup
	for range hashing + queuing {
		wg.Go(func() {
			if err := h.run(context.Background(), func() { began <- struct{}{}; <-hold }); err != nil {
				t.Error(err)
			}
		})
	}
	for range hashing {
		<-began
	}
	for h.waiting.Load() < hashing+queuing { // those that were started and are not there yet
		runtime.Gosched()
	}
	if err := h.run(context.Background(), func() { t.Error("one more ran") }); !errors.Is(err, media.ErrLimit) {
		t.Errorf("one more: got %v, want media.ErrLimit", err)
	}
	select {
	case <-began:
		t.Errorf("more than %d at the same time", hashing)
	default:
	}
	close(hold)
	wg.Wait()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for range hashing {
		h.turn <- struct{}{}
	}
	if err := h.run(ended, func() { t.Error("ran for nobody") }); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that has gone: got %v", err)
	}
}
