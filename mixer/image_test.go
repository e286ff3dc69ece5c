package mixer

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"braid/media"
	"braid/mixer/wire"
)

// imageMix is a mix whose worker is played by the test.
func imageMix(t *testing.T, fetch func(context.Context, string) ([]byte, error)) *Mix {
	pool := NewPool(Config{Program: "/nonexistent/braid-mixer", Fetch: fetch, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(pool.Close)
	m := pool.NewMix(MixConfig{App: "app", Channel: "room", Channels: newRoom(), Emit: func(*Unit) {}, Failed: func(string) {},
		Plan: Plan{Encode: wire.Encode{Width: 320, Height: 180, FPS: 30}}})
	t.Cleanup(m.Close)
	return m
}

// images waits until the worker has n images, all of which it was shown in turn.
func (m *Mix) images(t *testing.T, n int, what string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		m.mu.Lock()
		newest := m.newest
		m.mu.Unlock()
		m.emit(&wire.Output{Codec: media.H264, Revision: newest})
		m.w.mu.Lock()
		have := len(m.w.images)
		m.w.mu.Unlock()
		if have == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: the worker keeps %d images, want %d", what, have, n)
		}
		<-time.After(time.Millisecond)
	}
}

// A mix that runs for a year and changes its backgrounds keeps those it shows.
func TestImagesAreForgotten(t *testing.T) {
	m := imageMix(t, func(_ context.Context, url string) ([]byte, error) { return []byte(url), nil })
	plan := m.cfg.Plan
	for i := range 5 {
		plan.Background = &Image{URL: fmt.Sprint("http://h/", i)}
		plan.Panes = []Pane{{W: 1, H: 1, Background: fmt.Sprint("http://h/pane", i)}}
		m.Update(plan)
		m.images(t, 2, fmt.Sprint("update ", i))
	}
	plan.Background, plan.Panes = nil, nil
	m.Update(plan)
	m.images(t, 0, "no backgrounds any more")
}

// An image that makes no message is left out and tried again; a worker that
// could not be told of it would be started again for ever.
func TestImageOverTheLimit(t *testing.T) {
	fetched := make(chan struct{})
	m := imageMix(t, func(ctx context.Context, _ string) ([]byte, error) {
		select {
		case fetched <- struct{}{}:
		case <-ctx.Done():
		}
		return make([]byte, wire.MaxImage+1), nil
	})
	plan := m.cfg.Plan
	plan.Background = &Image{URL: "http://h/large"}
	m.Update(plan)
	for i := range 2 {
		select {
		case <-fetched:
		case <-time.After(10 * time.Second):
			t.Fatalf("not fetched for time %d", i+1)
		}
	}
	m.images(t, 0, "too large")
	if _, err := wire.Append(nil, &wire.Image{Data: make([]byte, wire.MaxImage)}); err != nil {
		t.Errorf("an image of the limit cannot be sent: %v", err)
	}
}
