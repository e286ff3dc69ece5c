package admin

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"braid/media"
	"braid/store"
)

// recheckEvery is how often somebody who watches is looked up again.
const recheckEvery = 15 * time.Second

// watchStream plays a stream of the origin to who may use this API: for pages of the
// console, which reach no other host, whatever the streaming domains say. It ends
// with the login. Who watches is counted as a viewer, as over the origin's own
// addresses.
func (h *Handler) watchStream(c *call) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	if h.watch == nil {
		return nil, fmt.Errorf("this server has no origin: %w", media.ErrNotFound)
	}
	return &reply{stream: func(w http.ResponseWriter) error {
		ctx, end := h.whileSignedIn(c)
		defer end()
		return h.watch(w, c.r.WithContext(ctx), c.params["app_name"], c.params["stream"])
	}}, nil
}

// getSnapshot is the newest picture that a template has had taken of a stream.
func (h *Handler) getSnapshot(c *call) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	if h.snapshot == nil {
		return nil, fmt.Errorf("this server has no origin: %w", media.ErrNotFound)
	}
	file, taken, found := h.snapshot(c.params["app_name"], c.params["stream"])
	if !found {
		return nil, fmt.Errorf("there is no snapshot of the stream: %w", media.ErrNotFound)
	}
	return jpeg(file, taken), nil
}

// stillIn tells whether who made a call may still do what it was let do; nil: it
// needs no login, so nothing ends.
func (h *Handler) stillIn(c *call) func(context.Context) bool {
	if c.who.kind != "console" {
		return nil
	}
	role := store.Admin
	if c.who.viewer {
		role = store.Viewer
	}
	return func(ctx context.Context) bool { return h.accounts.Holds(ctx, c.who.login, role) }
}

// whileSignedIn is the call's context, which ends soon after its login has. end has
// to be called.
func (h *Handler) whileSignedIn(c *call) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(c.r.Context())
	still := h.stillIn(c)
	if still == nil {
		return ctx, cancel
	}
	var asking sync.WaitGroup
	asking.Go(func() {
		tick := time.NewTicker(h.recheck)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if !still(ctx) {
					cancel()
				}
			}
		}
	})
	return ctx, func() {
		cancel()
		asking.Wait()
	}
}
