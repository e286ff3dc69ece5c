package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"braid/callback"
	"braid/media"
	"braid/signaling/token"
	"braid/store"
)

// registry answers who may sign, and which applications there are. Access keys
// come from the config, applications from the store.
type registry struct {
	db      *store.DB
	log     *slog.Logger
	secrets map[string]string

	mu   sync.Mutex
	last map[string]store.Application // as last read
}

// readWithin is how long a request waits for the store to say who its
// application is.
const readWithin = 5 * time.Second

func newRegistry(db *store.DB, keys []accessKey, log *slog.Logger) *registry {
	r := &registry{db: db, log: log, secrets: make(map[string]string), last: make(map[string]store.Application)}
	for _, k := range keys {
		r.secrets[k.ID] = k.Secret
	}
	return r
}

// Secret is the secret of an access key.
func (r *registry) Secret(id string) (string, bool) { s, ok := r.secrets[id]; return s, ok }

// Exists tells whether there is such an application, disabled ones included.
func (r *registry) Exists(id string) bool { _, ok := r.application(id); return ok }

// Application is what join tokens are checked with.
func (r *registry) Application(id string) (token.App, bool) {
	a, ok := r.application(id)
	if !ok {
		return token.App{}, false
	}
	return token.App{Keys: a.Key.Valid(time.Now()), JWTOnly: a.Tokens == store.TokensJWT, Disabled: a.Disabled}, true
}

// application reads an application. While the store does not answer it is what
// was read last: people go on joining, and nobody is told that an application is
// not there because its database is away.
func (r *registry) application(id string) (a store.Application, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	err := r.db.View(ctx, func(tx *store.Tx) (err error) {
		a, err = tx.Application(id)
		return err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.last[id] = a
		return a, true
	case errors.Is(err, media.ErrNotFound):
		delete(r.last, id)
		return a, false
	}
	r.log.Error("read an application", "app", id, "error", err)
	a, ok = r.last[id]
	return a, ok
}

// address finds a publish address. One that has expired, or whose application
// is disabled, comes with an error that wraps media.ErrNotFound.
func (r *registry) address(ctx context.Context, id string) (a store.Address, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		found, err := tx.Address(id)
		if err != nil {
			return err
		}
		a = found
		app, err := tx.Application(a.App)
		if err != nil {
			return err
		}
		if app.Disabled || !time.Now().Before(a.Expires) {
			return fmt.Errorf("the address has expired or its application is disabled: %w", media.ErrNotFound)
		}
		return nil
	})
	return a, err
}

// seed brings the applications of the config file, or of a first start, into the
// store. What the config file says holds at each start; what a first start made
// is brought in once, and belongs to the API from then on, as does what has been
// taken out of the file.
func seed(ctx context.Context, db *store.DB, c *config, log *slog.Logger) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		named := make(map[string]bool)
		for _, a := range c.Applications {
			named[a.ID] = !c.firstStart
			if err := seedOne(tx, a, !c.firstStart); err != nil {
				return fmt.Errorf("applications: %s: %w", a.ID, err)
			}
		}
		return release(tx, named, log)
	})
}

// release hands the applications that the config file no longer names to the
// API, as they are: to delete one for a missing line would be too much.
func release(tx *store.Tx, named map[string]bool, log *slog.Logger) error {
	for after := ""; ; {
		page, err := tx.Applications(after, 100)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, a := range page {
			after = a.Cursor()
			if !a.Config || named[a.ID] {
				continue
			}
			a.Config = false
			if err := tx.UpdateApplication(&a); err != nil {
				return fmt.Errorf("applications: %s: %w", a.ID, err)
			}
			log.Warn("an application is not in the config file any more; it goes on, and belongs to the REST API now", "app", a.ID)
		}
	}
}

func seedOne(tx *store.Tx, a application, fixed bool) error {
	mark := "seeded application " + a.ID
	if !fixed {
		done, err := tx.Meta(mark)
		if err != nil || done != "" {
			return err
		}
		if err := tx.SetMeta(mark, "yes"); err != nil {
			return err
		}
	}
	old, err := tx.Application(a.ID)
	switch {
	case errors.Is(err, media.ErrNotFound):
		return tx.CreateApplication(&store.Application{
			ID: a.ID, Name: a.Name, Key: store.Secret{Current: a.Key}, Signing: store.Secret{Current: callback.NewSecret()}, Config: fixed,
		})
	case err != nil:
		return err
	case !fixed || old.Config && old.Name == a.Name && old.Key.Current == a.Key:
		return nil
	}
	old.Name, old.Config = a.Name, true
	if old.Key.Current != a.Key {
		old.Key = store.Secret{Current: a.Key}
	}
	return tx.UpdateApplication(&old)
}
