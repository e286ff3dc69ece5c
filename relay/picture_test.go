package relay

import (
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
)

// A task's picture is its newest key frame; another is asked for when that is old,
// and not more often than it helps.
func TestKeyPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keyPicture
		if !k.ask(time.Now()) {
			t.Error("without a picture none is asked for")
		}
		first := &media.AccessUnit{Key: true}
		k.see(first)
		k.see(&media.AccessUnit{})
		if k.au != first {
			t.Errorf("got %p, want the key frame %p", k.au, first)
		}
		asked := 0
		for range 300 { // half a minute of a page that asks ten times a second
			if k.ask(time.Now()) {
				asked++
			}
			time.Sleep(100 * time.Millisecond) // of synctest's clock
		}
		if asked != 4 { // at 10, 15, 20, 25 s
			t.Errorf("a key frame was asked for %d times in 30 s, want 4", asked)
		}
	})
}
