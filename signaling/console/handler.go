package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"time"

	"braid/media"
	"braid/signaling"
	"braid/store"
)

// maxBody is far over what any request here needs.
const maxBody = 16 << 10

// pagePolicy lets the console's pages load nothing that is not of this server,
// run no script that is not a file, and stand in no frame.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; " +
	"connect-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (a *Accounts) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /console/session", a.api(a.showSession))
	mux.Handle("POST /console/session", a.api(a.signIn))
	mux.Handle("DELETE /console/session", a.api(a.signOut))
	mux.Handle("POST /console/setup", a.api(a.setUp))
	mux.Handle("POST /console/password", a.api(a.changePassword))
	mux.Handle("GET /console/logins", a.api(a.listLogins))
	mux.Handle("DELETE /console/logins/{id}", a.api(a.endLogin))
	mux.HandleFunc("GET /console", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/console/", http.StatusFound)
	})
	pages := a.cfg.Pages
	if pages == nil {
		pages = http.NotFoundHandler()
	}
	mux.Handle("GET /console/", headers(pages))
	return mux
}

// headers sets what every page of the console is served with.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY") // for browsers without frame-ancestors
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// api answers with JSON always.
func (a *Accounts) api(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		err := a.sameOrigin(r)
		if err == nil {
			err = f(w, r)
		}
		if err == nil {
			return
		}
		switch signaling.Status(err) {
		case http.StatusInternalServerError:
			a.log.Error("console: request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		case http.StatusServiceUnavailable:
			a.log.Warn("console: request refused for now", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		signaling.WriteError(w, err)
	})
}

func answer(w http.ResponseWriter, status int, body any) error {
	if body == nil {
		w.WriteHeader(status)
		return nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("console: write the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that has gone needs no answer
	return nil
}

// read reads a body of texts alone, each of which is needed.
func read(w http.ResponseWriter, r *http.Request, fields map[string]*string) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return signaling.MediaType("Content-Type: application/json is needed, not %q", r.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return fmt.Errorf("the body has more than %d bytes: %w", maxBody, err)
		}
		return fmt.Errorf("the body ended early: %w", media.ErrInvalid)
	}
	var given map[string]string
	if err := json.Unmarshal(body, &given); err != nil {
		return fmt.Errorf("the body: a JSON object of strings is needed: %w", media.ErrInvalid)
	}
	var wrong signaling.Invalid
	for name, to := range fields {
		value, ok := given[name]
		if !ok {
			wrong = append(wrong, signaling.FieldError{Field: name, Detail: "is missing"})
		}
		*to = value
		delete(given, name)
	}
	for name := range given {
		if r := []rune(name); len(r) > 64 {
			name = string(r[:64])
		}
		wrong = append(wrong, signaling.FieldError{Field: name, Detail: "there is no such field"})
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

// session is who is signed in, and what the page needs to know before anyone is.
type session struct {
	User    string     `json:"user"`
	Role    store.Role `json:"role"`
	Expires *time.Time `json:"expires,omitempty"`
	Secure  bool       `json:"secure"`
	Setup   bool       `json:"setup"`
}

func (a *Accounts) session(r *http.Request, l store.Login, who store.Administrator) session {
	s := session{User: who.Name, Role: who.Role, Secure: a.mayUseCamera(r)}
	if who.Name != "" {
		at := l.Expires.UTC().Truncate(time.Millisecond)
		s.Expires = &at
	}
	return s
}

func (a *Accounts) showSession(w http.ResponseWriter, r *http.Request) error {
	l, who, err := a.Who(w, r)
	if err != nil && signaling.Status(err) >= http.StatusInternalServerError {
		return err
	}
	s := a.session(r, l, who)
	if who.Name == "" {
		if s.Setup, err = a.NeedsSetup(r.Context()); err != nil {
			return err
		}
	}
	return answer(w, http.StatusOK, s)
}

// tooOften is nil as long as there are tries.
func (a *Accounts) tooOften(w http.ResponseWriter, r *http.Request, name string) error {
	wait := a.limits.try(name, a.Address(r))
	if wait == 0 {
		return nil
	}
	seconds := int(math.Ceil(wait.Seconds()))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	return signaling.TooMany("too many tries: wait for %d seconds", seconds)
}

// signIn takes the same time and says the same whatever is wrong.
func (a *Accounts) signIn(w http.ResponseWriter, r *http.Request) error {
	var name, password string
	if err := read(w, r, map[string]*string{"name": &name, "password": &password}); err != nil {
		return err
	}
	wrong := signaling.Unauthorized("the name or the password is wrong")
	if !ValidName(name) || len(password) > 4*MaxPassword {
		if err := a.tooOften(w, r, ""); err != nil {
			return err
		}
		return wrong
	}
	if err := a.tooOften(w, r, name); err != nil {
		return err
	}
	who, ok, err := a.verify(r, name, password)
	if err != nil {
		return err
	}
	if !ok {
		a.log.Warn("console: a sign-in failed", "name", name, "address", a.Address(r).String())
		if who.Name == "" {
			return wrong // not written down: whoever makes names up could fill the audit log
		}
		err = a.cfg.Store.Update(r.Context(), func(tx *store.Tx) error {
			return note(tx, name, a.Address(r), "login", http.StatusUnauthorized)
		})
		if err != nil {
			return err
		}
		return wrong
	}
	var l store.Login
	var cookie string
	err = a.cfg.Store.Update(r.Context(), func(tx *store.Tx) error {
		now, err := tx.Administrator(name)
		switch {
		case errors.Is(err, media.ErrNotFound), err == nil && (now.Disabled || now.Password != who.Password):
			return wrong // changed while the password was being hashed
		case err != nil:
			return err
		}
		who = now
		if l, cookie, err = a.begin(tx, name, r); err != nil {
			return err
		}
		return note(tx, name, a.Address(r), "login", http.StatusOK)
	})
	if err != nil {
		return err
	}
	a.limits.right(name, a.Address(r))
	a.setCookie(w, r, cookie)
	return answer(w, http.StatusOK, a.session(r, l, who))
}

// verify finds an administrator and looks at the password. who is the zero value
// for a name that is not there.
func (a *Accounts) verify(r *http.Request, name, password string) (who store.Administrator, ok bool, err error) {
	err = a.cfg.Store.View(r.Context(), func(tx *store.Tx) (err error) {
		who, err = tx.Administrator(name)
		return err
	})
	if err != nil && !errors.Is(err, media.ErrNotFound) {
		return who, false, err
	}
	ok, stale, err := a.hasher.matches(r.Context(), password, who.Password)
	if err != nil || !ok || who.Disabled {
		return who, false, err
	}
	if stale {
		err = a.rehash(r, &who, password)
	}
	return who, true, err
}

// rehash brings a password to the present cost.
func (a *Accounts) rehash(r *http.Request, who *store.Administrator, password string) error {
	hash, err := a.hasher.hash(r.Context(), password)
	if err != nil {
		return err
	}
	next := *who
	next.Password = hash
	err = a.cfg.Store.Update(r.Context(), func(tx *store.Tx) error { return tx.UpdateAdministrator(&next) })
	if errors.Is(err, store.ErrStale) {
		return nil // somebody changed it just now; the next time, then
	}
	if err == nil {
		*who = next
	}
	return err
}

func (a *Accounts) signOut(w http.ResponseWriter, r *http.Request) error {
	l, who, err := a.Who(nil, r)
	if err != nil {
		return err
	}
	err = a.cfg.Store.Update(r.Context(), func(tx *store.Tx) error {
		if err := tx.EndLogin(who.Name, l.ID); err != nil {
			return err
		}
		return note(tx, who.Name, a.Address(r), "logout", http.StatusNoContent)
	})
	if err != nil {
		return err
	}
	a.setCookie(w, r, "")
	return answer(w, http.StatusNoContent, nil)
}

// changePassword ends all other logins: who knew the old password is out.
func (a *Accounts) changePassword(w http.ResponseWriter, r *http.Request) error {
	l, who, err := a.Who(w, r)
	if err != nil {
		return err
	}
	var current, next string
	if err := read(w, r, map[string]*string{"current": &current, "new": &next}); err != nil {
		return err
	}
	if err := a.tooOften(w, r, who.Name); err != nil {
		return err
	}
	ok, _, err := a.hasher.matches(r.Context(), current, who.Password)
	if err != nil {
		return err
	}
	if !ok {
		return signaling.Forbidden("the current password is wrong")
	}
	a.limits.right(who.Name, a.Address(r))
	hash, wrong, err := a.Hash(r.Context(), who.Name, next)
	switch {
	case err != nil:
		return err
	case wrong != "":
		return signaling.Invalid{{Field: "new", Detail: wrong}}
	}
	who.Password = hash
	err = a.cfg.Store.Update(r.Context(), func(tx *store.Tx) error {
		if err := tx.UpdateAdministrator(&who); err != nil {
			return err
		}
		if err := tx.EndLogins(who.Name, l.ID); err != nil {
			return err
		}
		return note(tx, who.Name, a.Address(r), "password", http.StatusNoContent)
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusNoContent, nil)
}

// login is a store.Login as its owner sees it.
type login struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used"`
	Expires time.Time `json:"expires"`
	Address string    `json:"address"`
	Agent   string    `json:"agent"`
	Current bool      `json:"current"`
}

func (a *Accounts) listLogins(w http.ResponseWriter, r *http.Request) error {
	mine, who, err := a.Who(w, r)
	if err != nil {
		return err
	}
	var all []store.Login
	err = a.cfg.Store.View(r.Context(), func(tx *store.Tx) (err error) {
		all, err = tx.Logins(who.Name)
		return err
	})
	if err != nil {
		return err
	}
	items := []login{}
	for _, l := range all {
		items = append(items, login{l.ID, l.Created, l.Used, l.Expires, l.Address, l.Agent, l.ID == mine.ID})
	}
	return answer(w, http.StatusOK, map[string]any{"items": items})
}

func (a *Accounts) endLogin(w http.ResponseWriter, r *http.Request) error {
	mine, who, err := a.Who(w, r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	err = a.cfg.Store.Update(r.Context(), func(tx *store.Tx) error {
		if err := tx.EndLogin(who.Name, id); err != nil {
			return err
		}
		return note(tx, who.Name, a.Address(r), "end login", http.StatusNoContent)
	})
	if err != nil {
		return err
	}
	if id == mine.ID {
		a.setCookie(w, r, "")
	}
	return answer(w, http.StatusNoContent, nil)
}
