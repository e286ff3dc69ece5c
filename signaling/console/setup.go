package console

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"

	"braid/signaling"
	"braid/store"
)

// NeedsSetup tells that nobody can sign in and change things yet.
func (a *Accounts) NeedsSetup(ctx context.Context) (needs bool, err error) {
	err = a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		n, err := tx.Admins()
		needs = n == 0
		return err
	})
	return needs, err
}

// SetupToken makes a token for POST /console/setup: 256 bits, in memory alone,
// good once and for 30 minutes. One that was made before ends. An error of
// signaling.Conflict when there is an administrator.
func (a *Accounts) SetupToken(ctx context.Context) (token string, expires time.Time, err error) {
	needs, err := a.NeedsSetup(ctx)
	if err != nil {
		return "", expires, err
	}
	if !needs {
		return "", expires, signaling.Conflict("there is an administrator already")
	}
	token, expires = secret(), a.now().Add(setupHolds)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setup = setup{sha256.Sum256([]byte(token)), expires}
	return token, expires, nil
}

// setUp makes the first administrator.
func (a *Accounts) setUp(w http.ResponseWriter, r *http.Request) error {
	if !a.cfg.RemoteSetup && !a.near(r) {
		return signaling.Forbidden("the set-up link works on the server's own machine alone, and this comes from %s; `console: {remote_setup: true}` in the config opens it", a.Address(r))
	}
	var token, name, password string
	if err := read(w, r, map[string]*string{"token": &token, "name": &name, "password": &password}); err != nil {
		return err
	}
	if err := a.tooOften(w, r, ""); err != nil {
		return err
	}
	a.mu.Lock() // until the end: the link is good once
	defer a.mu.Unlock()
	if !a.setup.valid(token, a.now()) {
		return signaling.Forbidden("the set-up link is not valid any more: it works once, for 30 minutes, until the server is started again; `braid admin setup-link` gives a new one")
	}
	var wrong signaling.Invalid
	if !ValidName(name) {
		wrong = append(wrong, signaling.FieldError{Field: "name", Detail: "is not 1 to 64 characters of A-Za-z0-9._@-"})
	}
	if bad := wrongPassword(password, name); bad != "" {
		wrong = append(wrong, signaling.FieldError{Field: "password", Detail: bad})
	}
	if len(wrong) > 0 {
		return wrong
	}
	hash, err := a.hasher.hash(r.Context(), password)
	if err != nil {
		return err
	}
	who := store.Administrator{Name: name, Role: store.Admin, Password: hash}
	var l store.Login
	var cookie string
	err = a.cfg.Store.Update(r.Context(), func(tx *store.Tx) error {
		if n, err := tx.Admins(); err != nil || n > 0 {
			if err == nil {
				err = signaling.Conflict("there is an administrator already")
			}
			return err
		}
		if err := tx.CreateAdministrator(&who); err != nil {
			return err
		}
		if l, cookie, err = a.begin(tx, name, r); err != nil {
			return err
		}
		return note(tx, name, a.Address(r), "setup", http.StatusCreated)
	})
	if err != nil {
		return fmt.Errorf("set up %q: %w", name, err)
	}
	a.setup = setup{}
	a.log.Info("console: the first administrator was made", "name", name)
	a.setCookie(w, r, cookie)
	return answer(w, http.StatusCreated, a.session(r, l, who))
}
