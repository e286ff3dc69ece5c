package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"braid/media"
)

const applicationColumns = `id, name, key_current, key_previous, key_until, signing_current, signing_previous, signing_until,
	tokens, disabled, config, relay, version, created, updated`

// CreateApplication adds an application and fills in its Version (1), Updated
// and, when it is zero, Created. media.ErrExists when the id is taken,
// media.ErrInvalid when Relay names a domain that is not there.
func (tx *Tx) CreateApplication(a *Application) error {
	relay, err := tx.relaySettings(a)
	if err != nil {
		return err
	}
	next := *a
	next.Version, next.Updated = 1, tx.now()
	if next.Created.IsZero() {
		next.Created = next.Updated
	}
	n, err := tx.exec(`INSERT INTO applications (`+applicationColumns+`, relay_domain)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		a.ID, a.Name, a.Key.Current, a.Key.Previous, a.Key.Until, a.Signing.Current, a.Signing.Previous, a.Signing.Until,
		a.Tokens, a.Disabled, a.Config, relay, next.Version, next.Created, next.Updated, a.Relay.Domain)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("application %q: %w", a.ID, media.ErrExists)
	}
	// What Purge has not cleared away yet of one that had the id before.
	for _, table := range []string{"records", "failures"} {
		if _, err := tx.exec("DELETE FROM "+table+" WHERE app = ?", a.ID); err != nil {
			return err
		}
	}
	*a = next
	return nil
}

// Application finds an application; media.ErrNotFound.
func (tx *Tx) Application(id string) (Application, error) {
	return one(tx, scanApplication, fmt.Sprintf("application %q", id),
		"SELECT "+applicationColumns+" FROM applications WHERE id = ?", id)
}

// UpdateApplication writes an application over the one with its id. Its Version
// must be the one that is stored, else ErrStale; then Version and Updated are
// set to the new ones. Created stays as it was.
func (tx *Tx) UpdateApplication(a *Application) error {
	relay, err := tx.relaySettings(a)
	if err != nil {
		return err
	}
	now := tx.now()
	n, err := tx.exec(`UPDATE applications SET name = ?, key_current = ?, key_previous = ?, key_until = ?,
		signing_current = ?, signing_previous = ?, signing_until = ?, tokens = ?, disabled = ?, config = ?,
		relay = ?, relay_domain = ?, version = version + 1, updated = ? WHERE id = ? AND version = ?`,
		a.Name, a.Key.Current, a.Key.Previous, a.Key.Until, a.Signing.Current, a.Signing.Previous, a.Signing.Until,
		a.Tokens, a.Disabled, a.Config, relay, a.Relay.Domain, now, a.ID, a.Version)
	if err != nil {
		return err
	}
	if n == 0 {
		if _, err := tx.Application(a.ID); err != nil {
			return err
		}
		return fmt.Errorf("application %q: %w", a.ID, ErrStale)
	}
	a.Version++
	a.Updated = now
	return nil
}

// DeleteApplication deletes an application and all that is its own: tasks,
// subscriptions, templates, addresses, usage, events and presence. What waits to be
// delivered is not sent any more; Purge clears it away, and the records.
// media.ErrNotFound.
func (tx *Tx) DeleteApplication(id string) error {
	n, err := tx.exec("DELETE FROM applications WHERE id = ?", id) // what refers to it goes with it
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("application %q: %w", id, media.ErrNotFound)
	}
	for _, table := range []string{"events", "present_channels", "present_users", "present_streams", "used"} {
		if _, err := tx.exec("DELETE FROM "+table+" WHERE app = ?", id); err != nil {
			return err
		}
	}
	return nil
}

// Applications lists up to limit applications, the oldest first. after is "" or
// the Cursor of the last one seen: an application that is there all the time is
// then seen exactly once, whatever is created or deleted between the calls.
func (tx *Tx) Applications(after string, limit int) ([]Application, error) {
	if limit < 1 {
		return nil, fmt.Errorf("limit is %d, not 1 or more: %w", limit, media.ErrInvalid)
	}
	created, id := int64(-1<<63), ""
	if after != "" {
		var err error
		if created, id, err = parseCursor(after); err != nil {
			return nil, err
		}
	}
	return list(tx, scanApplication, "SELECT "+applicationColumns+` FROM applications
		WHERE (created, id) > (?, ?) ORDER BY created, id LIMIT ?`, created, id, limit)
}

// Cursor is the application's place in the list of all, for Tx.Applications.
func (a *Application) Cursor() string { return cursor(millis(a.Created), a.ID) }

func cursor(created int64, id string) string { return strconv.FormatInt(created, 10) + "." + id }

func parseCursor(text string) (created int64, id string, err error) {
	ms, id, _ := strings.Cut(text, ".")
	created, err = strconv.ParseInt(ms, 10, 64)
	if err != nil || id == "" || cursor(created, id) != text {
		return 0, "", fmt.Errorf("after is %q, not a cursor of an application: %w", text, media.ErrInvalid)
	}
	return created, id, nil
}

// relaySettings gives the column for a.Relay.
func (tx *Tx) relaySettings(a *Application) (string, error) {
	if a.ID == "" {
		return "", fmt.Errorf("the application's id is empty: %w", media.ErrInvalid)
	}
	if name := a.Relay.Domain; name != "" {
		if _, err := tx.Domain(name); errors.Is(err, media.ErrNotFound) {
			return "", fmt.Errorf("application %q: relay.domain: there is no domain %q: %w", a.ID, name, media.ErrInvalid)
		} else if err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(a.Relay)
	return string(b), err
}

func scanApplication(r scanner) (a Application, err error) {
	var relay string
	err = r.Scan(&a.ID, &a.Name, &a.Key.Current, &a.Key.Previous, at(&a.Key.Until),
		&a.Signing.Current, &a.Signing.Previous, at(&a.Signing.Until),
		&a.Tokens, &a.Disabled, &a.Config, &relay, &a.Version, at(&a.Created), at(&a.Updated))
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal([]byte(relay), &a.Relay); err != nil {
		return a, fmt.Errorf("application %q: relay: %w", a.ID, err)
	}
	return a, nil
}
