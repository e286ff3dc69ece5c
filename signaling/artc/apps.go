package artc

import (
	"context"
	"errors"

	"braid/media"
	"braid/store"
)

// app reads AppId, the first field of nearly every action.
func (h *Handler) app(c *call) string { return h.appField(c, "AppId") }

func (h *Handler) appField(c *call, field string) string {
	app := c.raw(field)
	if c.fail.err == nil && app == "" {
		c.missing(field)
	}
	if c.fail.err == nil {
		c.fail.err = h.checkApp(c.name(field), app)
	}
	return app
}

func (h *Handler) checkApp(field, app string) *apiError {
	switch {
	case !media.IsID(app, maxID):
		return invalidAppID("%s: %s is not 1 to %d of A-Z a-z 0-9 _ -", field, quote(app), maxID)
	case !h.cfg.Apps.Exists(app):
		return noApp(field, app)
	}
	return nil
}

// enabled fails when the application is disabled: nothing new may start in it.
func (h *Handler) enabled(ctx context.Context, app string) error {
	if h.cfg.Store == nil {
		return nil
	}
	return h.cfg.Store.View(ctx, func(tx *store.Tx) error {
		a, err := tx.Application(app)
		switch {
		case errors.Is(err, media.ErrNotFound):
			return nil // known to Apps all the same
		case err != nil:
			return err
		case a.Disabled:
			return appDisabled(app)
		}
		return nil
	})
}
