package admin

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"braid/media"
)

// Pictures is where small pictures of what is live come from. Its methods are
// called from many goroutines, wait for a picture that is on its way for as long as
// ctx allows, and fail with media.ErrNotFound when there is none. The files are
// JPEG, immutable.
type Pictures interface {
	// User is what a user's camera or screen shows, at most width pixels wide, and
	// when it was taken.
	User(ctx context.Context, app, channel, user string, source media.Source, width int) (file []byte, taken time.Time, err error)
	// Task is what a relay task sends.
	Task(ctx context.Context, app, task string, width int) (file []byte, taken time.Time, err error)
}

// Widths that can be asked for, in pixels. Pictures are made in a few of them.
const (
	minThumbnail, maxThumbnail = 80, 1280
	defaultThumbnail           = 320
)

// getThumbnail shows what a user sends.
func (h *Handler) getThumbnail(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	source := media.Camera
	if q.oneOf("source", "camera", "screen") == "screen" {
		source = media.ShareScreen
	}
	width := q.int("width", defaultThumbnail, minThumbnail, maxThumbnail)
	if err := q.done(); err != nil {
		return nil, err
	}
	if _, err := h.application(c); err != nil {
		return nil, err
	}
	return h.picture(func(p Pictures) ([]byte, time.Time, error) {
		return p.User(c.r.Context(), c.params["app"], c.params["channel"], c.params["user"], source, width)
	})
}

// getPicture shows what a relay task sends.
func (h *Handler) getPicture(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	width := q.int("width", defaultThumbnail, minThumbnail, maxThumbnail)
	if err := q.done(); err != nil {
		return nil, err
	}
	if _, err := h.application(c); err != nil {
		return nil, err
	}
	return h.picture(func(p Pictures) ([]byte, time.Time, error) {
		return p.Task(c.r.Context(), c.params["app"], c.params["task"], width)
	})
}

func (h *Handler) picture(get func(Pictures) ([]byte, time.Time, error)) (*reply, error) {
	if h.pictures == nil {
		return nil, fmt.Errorf("this server makes no pictures: %w", media.ErrNotFound)
	}
	file, taken, err := get(h.pictures)
	if err != nil {
		return nil, err
	}
	return jpeg(file, taken), nil
}

// jpeg answers with a picture.
func jpeg(file []byte, taken time.Time) *reply {
	return &reply{stream: func(w http.ResponseWriter) error {
		w.Header().Set("Content-Type", "image/jpeg")
		// The header of ServeContent, without its ranges: nobody reads half a picture.
		w.Header().Set("Last-Modified", taken.UTC().Format(http.TimeFormat))
		_, _ = bytes.NewReader(file).WriteTo(w) // a client that has gone needs no answer
		return nil
	}}
}
