package origin

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestChanged: what goes on air and ends is told in order, with the grace time
// between; a callee may use the hub.
func TestChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		var h *Hub
		h = newHub(func(c Change) {
			v, err := h.Tap(c.App, c.Name)
			if err == nil {
				v.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s/%s/%s %v on air %v by %s of %q at %v", c.Domain, c.App, c.Name, c.On, err == nil, c.Remote, c.Source, c.Time.Second()))
		})
		put := func(p Publisher) *Ingest {
			in, err := h.PublishAs(p)
			if err != nil {
				t.Fatal(err)
			}
			return in
		}
		cam := Publisher{Domain: "d", App: "live", Name: "cam", Remote: "a"}
		put(cam).Close()
		time.Sleep(graceTime - time.Second)
		put(cam).Close() // back in time: no change
		time.Sleep(graceTime - time.Second)
		cam.Domain, cam.Remote = "e", "b"
		put(cam) // another domain's: the old stream ends
		put(Publisher{App: "live", Name: "cam_s", Source: "cam", Remote: "c"}).Close()
		time.Sleep(graceTime + time.Second)
		h.Close()
		got := strings.Join(told, "\n")
		want := strings.Join([]string{
			`d/live/cam true on air true by a of "" at 0`,
			`d/live/cam false on air true by a of "" at 8`,
			`e/live/cam true on air true by b of "" at 8`,
			`/live/cam_s true on air true by c of "cam" at 8`,
			`/live/cam_s false on air false by c of "cam" at 13`,
			`e/live/cam false on air false by b of "" at 14`,
		}, "\n")
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// Changes that many goroutines make at once are told one at a time, each stream's
// in order.
func TestChangedAtOnce(t *testing.T) {
	on := map[string]int{}
	var h *Hub
	h = newHub(func(c Change) { // the race detector sees two at once
		if c.On != (on[c.Name]%2 == 0) {
			t.Errorf("%s: change %d is %v", c.Name, on[c.Name], c.On)
		}
		on[c.Name]++
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for domain := range 50 { // each ends the one before
				in, err := h.PublishAs(Publisher{Domain: fmt.Sprint(domain), App: "live", Name: fmt.Sprint(i)})
				if err != nil {
					t.Error(err)
					return
				}
				in.Close()
			}
		})
	}
	wg.Wait()
	h.Close()
	for name, n := range on {
		if n != 100 {
			t.Errorf("%s: %d changes, want 100", name, n)
		}
	}
}
