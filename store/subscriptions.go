package store

import (
	"fmt"
	"strings"

	"braid/media"
)

// CreateSubscription adds a subscription; it sets Created and Updated. The
// caller has checked its fields (package callback does). media.ErrExists when
// the id is taken, media.ErrNotFound when there is no such application.
func (tx *Tx) CreateSubscription(s *Subscription) error {
	if _, err := tx.Application(s.App); err != nil {
		return err
	}
	s.Created = tx.now()
	s.Updated = s.Created
	n, err := tx.exec(`INSERT INTO subscriptions (id, app, kind, url, channels, events, users, secret, created, updated)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		s.ID, s.App, s.Kind, s.URL, join(s.Channels), join(s.Events), join(s.Users), s.Secret, s.Created, s.Updated)
	if err == nil && n == 0 {
		err = fmt.Errorf("subscription %s: %w", s.ID, media.ErrExists)
	}
	return err
}

// UpdateSubscription replaces URL, Channels, Events and Users of the
// subscription with this App and ID and sets Updated. What is queued already
// goes to the new URL.
func (tx *Tx) UpdateSubscription(s *Subscription) error {
	s.Updated = tx.now()
	n, err := tx.exec(`UPDATE subscriptions SET url = ?, channels = ?, events = ?, users = ?, updated = ? WHERE id = ? AND app = ?`,
		s.URL, join(s.Channels), join(s.Events), join(s.Users), s.Updated, s.ID, s.App)
	if err == nil && n == 0 {
		err = fmt.Errorf("subscription %s: %w", s.ID, media.ErrNotFound)
	}
	return err
}

// DeleteSubscription deletes a subscription; what is queued for it, and what
// failed, will not be sent any more: Purge clears it away. Its records stay for
// their 7 days.
func (tx *Tx) DeleteSubscription(app, id string) error {
	n, err := tx.exec(`DELETE FROM subscriptions WHERE id = ? AND app = ?`, id, app)
	if err == nil && n == 0 {
		err = fmt.Errorf("subscription %s: %w", id, media.ErrNotFound)
	}
	return err
}

const subscriptionColumns = `id, app, kind, url, channels, events, users, secret, created, updated`

func scanSubscription(r scanner) (s Subscription, err error) {
	var channels, events, users string
	err = r.Scan(&s.ID, &s.App, &s.Kind, &s.URL, &channels, &events, &users, &s.Secret, at(&s.Created), at(&s.Updated))
	s.Channels, s.Events, s.Users = split(channels), split(events), split(users)
	return s, err
}

// Subscription finds one by application and id.
func (tx *Tx) Subscription(app, id string) (Subscription, error) {
	return one(tx, scanSubscription, "subscription "+id,
		`SELECT `+subscriptionColumns+` FROM subscriptions WHERE id = ? AND app = ?`, id, app)
}

// Subscriptions lists those of an application, the oldest first. There are 21
// at most, but of Recordings as many as there were recordings lately.
func (tx *Tx) Subscriptions(app string, kind Kind) ([]Subscription, error) {
	return list(tx, scanSubscription,
		`SELECT `+subscriptionColumns+` FROM subscriptions WHERE app = ? AND kind = ? ORDER BY created, id`, app, kind)
}

// join and split keep a list of ids and event names in one column: none of them
// has a comma.
func join(list []string) string { return strings.Join(list, ",") }

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
