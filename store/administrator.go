package store

import (
	"fmt"
	"time"

	"braid/media"
)

// Role is what an administrator may do.
type Role string

const (
	Admin  Role = "admin"
	Viewer Role = "viewer" // reads everything but secrets, and changes nothing
)

// Administrator is a person who signs in to the console.
type Administrator struct {
	Name     string // 1 to 64 of A-Za-z0-9._@-
	Role     Role
	Password string // its hash
	Disabled bool   // cannot sign in
	Version  int64  // counts changes, from 1; for If-Match
	Created  time.Time
	Updated  time.Time
}

// Login is one stay of an administrator: from signing in to signing out. It
// holds until Expires unless it is ended before.
type Login struct {
	ID      string // a hash of the secret that its browser holds
	Name    string // of the administrator
	Address string // where it was begun from
	Agent   string // the browser's own name, as it said then
	Created time.Time
	Used    time.Time // last; behind by some minutes
	Expires time.Time
}

const administratorColumns = "name, role, password, disabled, version, created, updated"

// CreateAdministrator adds an administrator and fills in its Version (1),
// Created and Updated. media.ErrExists when the name is taken.
func (tx *Tx) CreateAdministrator(a *Administrator) error {
	if err := a.check(); err != nil {
		return err
	}
	now := tx.now()
	n, err := tx.exec("INSERT INTO administrators ("+administratorColumns+") VALUES (?, ?, ?, ?, 1, ?, ?) ON CONFLICT DO NOTHING",
		a.Name, a.Role, a.Password, a.Disabled, now, now)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("administrator %q: %w", a.Name, media.ErrExists)
	}
	a.Version, a.Created, a.Updated = 1, now, now
	return nil
}

func (a *Administrator) check() error {
	switch {
	case a.Name == "":
		return fmt.Errorf("the administrator's name is empty: %w", media.ErrInvalid)
	case a.Role != Admin && a.Role != Viewer:
		return fmt.Errorf("administrator %q: role is %q, not admin or viewer: %w", a.Name, a.Role, media.ErrInvalid)
	}
	return nil
}

// Administrator finds an administrator; media.ErrNotFound.
func (tx *Tx) Administrator(name string) (Administrator, error) {
	return one(tx, scanAdministrator, fmt.Sprintf("administrator %q", name),
		"SELECT "+administratorColumns+" FROM administrators WHERE name = ?", name)
}

// UpdateAdministrator writes an administrator over the one with its name. Its
// Version must be the one that is stored, else ErrStale; then Version and
// Updated are set to the new ones. Created stays as it was.
func (tx *Tx) UpdateAdministrator(a *Administrator) error {
	if err := a.check(); err != nil {
		return err
	}
	now := tx.now()
	n, err := tx.exec("UPDATE administrators SET role = ?, password = ?, disabled = ?, version = version + 1, updated = ? WHERE name = ? AND version = ?",
		a.Role, a.Password, a.Disabled, now, a.Name, a.Version)
	if err != nil {
		return err
	}
	if n == 0 {
		if _, err := tx.Administrator(a.Name); err != nil {
			return err
		}
		return fmt.Errorf("administrator %q: %w", a.Name, ErrStale)
	}
	a.Version++
	a.Updated = now
	return nil
}

// DeleteAdministrator deletes an administrator and its logins; media.ErrNotFound.
func (tx *Tx) DeleteAdministrator(name string) error {
	n, err := tx.exec("DELETE FROM administrators WHERE name = ?", name)
	if err == nil && n == 0 {
		return fmt.Errorf("administrator %q: %w", name, media.ErrNotFound)
	}
	return err
}

// Administrators lists up to limit administrators by name, those after a name.
func (tx *Tx) Administrators(after string, limit int) ([]Administrator, error) {
	if limit < 1 {
		return nil, fmt.Errorf("limit is %d, not 1 or more: %w", limit, media.ErrInvalid)
	}
	return list(tx, scanAdministrator, "SELECT "+administratorColumns+" FROM administrators WHERE name > ? ORDER BY name LIMIT ?", after, limit)
}

// Admins counts those who may change things: of role Admin, and not disabled.
func (tx *Tx) Admins() (n int, err error) {
	err = tx.queryRow("SELECT COUNT(*) FROM administrators WHERE role = ? AND disabled = 0", Admin).Scan(&n)
	return n, err
}

func scanAdministrator(r scanner) (a Administrator, err error) {
	err = r.Scan(&a.Name, &a.Role, &a.Password, &a.Disabled, &a.Version, at(&a.Created), at(&a.Updated))
	return a, err
}

const loginColumns = "id, name, address, agent, created, used, expires"

// CreateLogin adds a login of an administrator that is there. Of more than most
// of one administrator the oldest end.
func (tx *Tx) CreateLogin(l Login, most int) error {
	_, err := tx.exec("INSERT INTO logins ("+loginColumns+") VALUES (?, ?, ?, ?, ?, ?, ?)",
		l.ID, l.Name, l.Address, l.Agent, l.Created, l.Used, l.Expires)
	if err != nil {
		return err
	}
	_, err = tx.exec("DELETE FROM logins WHERE name = ? AND id NOT IN (SELECT id FROM logins WHERE name = ? ORDER BY created DESC, id LIMIT ?)",
		l.Name, l.Name, most)
	return err
}

// Login finds a login that has not expired and its administrator, who is not
// disabled; media.ErrNotFound.
func (tx *Tx) Login(id string) (l Login, a Administrator, err error) {
	l, err = one(tx, scanLogin, "login", "SELECT "+loginColumns+" FROM logins WHERE id = ? AND expires > ?", id, tx.now())
	if err != nil {
		return l, a, err
	}
	a, err = tx.Administrator(l.Name)
	if err == nil && a.Disabled {
		err = fmt.Errorf("administrator %q is disabled: %w", a.Name, media.ErrNotFound)
	}
	return l, a, err
}

// UseLogin moves a login's Used and Expires; it does nothing when it has ended.
func (tx *Tx) UseLogin(id string, used, expires time.Time) error {
	_, err := tx.exec("UPDATE logins SET used = ?, expires = ? WHERE id = ?", used, expires, id)
	return err
}

// Logins lists an administrator's logins that have not expired, the newest first.
func (tx *Tx) Logins(name string) ([]Login, error) {
	return list(tx, scanLogin, "SELECT "+loginColumns+" FROM logins WHERE name = ? AND expires > ? ORDER BY created DESC, id", name, tx.now())
}

// EndLogin ends a login of an administrator; media.ErrNotFound.
func (tx *Tx) EndLogin(name, id string) error {
	n, err := tx.exec("DELETE FROM logins WHERE name = ? AND id = ?", name, id)
	if err == nil && n == 0 {
		return fmt.Errorf("login %q: %w", id, media.ErrNotFound)
	}
	return err
}

// EndLogins ends an administrator's logins but one, all with "".
func (tx *Tx) EndLogins(name, but string) error {
	_, err := tx.exec("DELETE FROM logins WHERE name = ? AND id <> ?", name, but)
	return err
}

func scanLogin(r scanner) (l Login, err error) {
	err = r.Scan(&l.ID, &l.Name, &l.Address, &l.Agent, at(&l.Created), at(&l.Used), at(&l.Expires))
	return l, err
}
