package console

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"braid/media"
	"braid/signaling"
	"braid/store"
)

// The names of the cookie. __Host- makes browsers take it from this very host
// by HTTPS alone (RFC 6265bis section 4.1.3.2).
const (
	plainCookie  = "braid"
	secureCookie = "__Host-braid"
)

func (a *Accounts) cookieName(r *http.Request) string {
	if a.secure(r) {
		return secureCookie
	}
	return plainCookie
}

// setCookie gives the browser a login, or takes it back when value is "".
func (a *Accounts) setCookie(w http.ResponseWriter, r *http.Request, value string) {
	age := int(Holds / time.Second)
	if value == "" {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{Name: a.cookieName(r), Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: a.secure(r), SameSite: http.SameSiteStrictMode})
}

// HasCookie tells whether a request claims to have a login.
func (a *Accounts) HasCookie(r *http.Request) bool {
	_, err := r.Cookie(a.cookieName(r))
	return err == nil
}

// Who tells whose login a request's cookie is, and lengthens it: w may get the
// cookie anew. A request that another site's page may have sent is refused, if
// it can change something. Errors: of signaling.Unauthorized and Forbidden.
func (a *Accounts) Who(w http.ResponseWriter, r *http.Request) (store.Login, store.Administrator, error) {
	if err := a.sameOrigin(r); err != nil {
		return store.Login{}, store.Administrator{}, err
	}
	var none store.Administrator
	cookie, err := r.Cookie(a.cookieName(r))
	if err != nil {
		return store.Login{}, none, signaling.Unauthorized("nobody is signed in")
	}
	var l store.Login
	var who store.Administrator
	err = a.cfg.Store.View(r.Context(), func(tx *store.Tx) (err error) {
		l, who, err = tx.Login(loginID(cookie.Value))
		return err
	})
	switch {
	case errors.Is(err, media.ErrNotFound):
		return l, none, signaling.Unauthorized("the sign-in has ended: sign in again")
	case err != nil:
		return l, none, err
	}
	now := a.now()
	if now.Sub(l.Used) < noteEvery {
		return l, who, nil
	}
	l.Used, l.Expires = now, until(l.Created, now)
	err = a.cfg.Store.Update(r.Context(), func(tx *store.Tx) error { return tx.UseLogin(l.ID, l.Used, l.Expires) })
	if err == nil && w != nil {
		a.setCookie(w, r, cookie.Value)
	}
	return l, who, err
}

// Holds tells whether a login that Who gave still does: it was not ended, and
// its administrator may still do the same.
func (a *Accounts) Holds(ctx context.Context, l store.Login, role store.Role) bool {
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		_, who, err := tx.Login(l.ID)
		if err == nil && who.Role != role {
			return media.ErrNotFound
		}
		return err
	})
	return err == nil
}

// sameOrigin refuses what another site's page sends.
func (a *Accounts) sameOrigin(r *http.Request) error {
	if a.origins.Check(r) != nil {
		return signaling.Forbidden("another site's page sent this (Origin %q): it may not act for whoever is signed in here", r.Header.Get("Origin"))
	}
	return nil
}

// until is up to when a login holds that is used now.
func until(created, now time.Time) time.Time {
	if t := created.Add(HoldsEver); t.Before(now.Add(Holds)) {
		return t
	}
	return now.Add(Holds)
}

// begin makes a login; its cookie is set by the caller once it is kept.
func (a *Accounts) begin(tx *store.Tx, name string, r *http.Request) (store.Login, string, error) {
	cookie, now := secret(), a.now()
	l := store.Login{ID: loginID(cookie), Name: name, Address: a.Address(r).String(), Agent: agent(r), Created: now, Used: now, Expires: now.Add(Holds)}
	return l, cookie, tx.CreateLogin(l, mostLogins)
}

// agent is the browser's own name, made fit for the store and a screen.
func agent(r *http.Request) string {
	s := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, strings.ToValidUTF8(r.UserAgent(), "?"))
	if runes := []rune(s); len(runes) > 200 {
		s = string(runes[:200])
	}
	return s
}

// note writes to the audit log what somebody did here.
func note(tx *store.Tx, name string, from netip.Addr, action string, result int) error {
	_, err := tx.AppendAudit(store.AuditEntry{Kind: "console", Who: name, Address: from.String(), Action: action,
		Object: "administrators/" + name, Result: result})
	return err
}
