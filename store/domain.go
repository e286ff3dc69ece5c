package store

import (
	"errors"
	"fmt"

	"braid/media"
)

const domainColumns = "name, ingest, play, auth_key, validity, rts2, version, created, updated"

// CreateDomain adds a domain and fills in its Version (1), Updated and, when it
// is zero, Created. media.ErrExists when the name is taken.
func (tx *Tx) CreateDomain(d *Domain) error {
	if d.Name == "" {
		return fmt.Errorf("the domain's name is empty: %w", media.ErrInvalid)
	}
	next := *d
	next.Version, next.Updated = 1, tx.now()
	if next.Created.IsZero() {
		next.Created = next.Updated
	}
	n, err := tx.exec("INSERT INTO domains ("+domainColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		d.Name, d.Ingest, d.Play, d.AuthKey, d.Validity.Milliseconds(), d.RTS2, next.Version, next.Created, next.Updated)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("domain %q: %w", d.Name, media.ErrExists)
	}
	*d = next
	return nil
}

// Domain finds a domain; media.ErrNotFound.
func (tx *Tx) Domain(name string) (Domain, error) {
	return one(tx, scanDomain, fmt.Sprintf("domain %q", name), "SELECT "+domainColumns+" FROM domains WHERE name = ?", name)
}

// UpdateDomain writes a domain over the one with its name; see UpdateApplication
// for Version. Validity is kept in whole milliseconds.
func (tx *Tx) UpdateDomain(d *Domain) error {
	now := tx.now()
	n, err := tx.exec(`UPDATE domains SET ingest = ?, play = ?, auth_key = ?, validity = ?, rts2 = ?,
		version = version + 1, updated = ? WHERE name = ? AND version = ?`,
		d.Ingest, d.Play, d.AuthKey, d.Validity.Milliseconds(), d.RTS2, now, d.Name, d.Version)
	if err != nil {
		return err
	}
	if n == 0 {
		if _, err := tx.Domain(d.Name); err != nil {
			return err
		}
		return fmt.Errorf("domain %q: %w", d.Name, ErrStale)
	}
	d.Version++
	d.Updated = now
	return nil
}

// DeleteDomain deletes a domain. ErrInUse while the relay settings of an
// application, or a template, name it, switched on or not; media.ErrNotFound.
func (tx *Tx) DeleteDomain(name string) error {
	var user, template string
	err := tx.queryRow("SELECT id FROM applications WHERE relay_domain = ? ORDER BY id LIMIT 1", name).Scan(&user)
	switch {
	case err == nil && name != "":
		return fmt.Errorf("domain %q: application %q relays to it: %w", name, user, ErrInUse)
	case err != nil && !errors.Is(err, errNoRows):
		return err
	}
	err = tx.queryRow("SELECT app, id FROM templates WHERE domain = ? ORDER BY app, id LIMIT 1", name).Scan(&user, &template)
	switch {
	case err == nil && name != "":
		return fmt.Errorf("domain %q: template %q of application %q is for it: %w", name, template, user, ErrInUse)
	case err != nil && !errors.Is(err, errNoRows):
		return err
	}
	n, err := tx.exec("DELETE FROM domains WHERE name = ?", name)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("domain %q: %w", name, media.ErrNotFound)
	}
	return nil
}

// Domains lists up to limit domains by name, those after the name given.
func (tx *Tx) Domains(after string, limit int) ([]Domain, error) {
	if limit < 1 {
		return nil, fmt.Errorf("limit is %d, not 1 or more: %w", limit, media.ErrInvalid)
	}
	return list(tx, scanDomain, "SELECT "+domainColumns+" FROM domains WHERE name > ? ORDER BY name LIMIT ?", after, limit)
}

func scanDomain(r scanner) (d Domain, err error) {
	err = r.Scan(&d.Name, &d.Ingest, &d.Play, &d.AuthKey, inMillis(&d.Validity), &d.RTS2, &d.Version, at(&d.Created), at(&d.Updated))
	return d, err
}
