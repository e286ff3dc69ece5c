package store

import (
	"fmt"

	"braid/media"
)

const addressColumns = "id, kind, app, channel, user_id, display_name, client_token, created, expires"

// CreateAddress adds an address and fills in Created when it is zero.
// media.ErrExists when its id is taken or another one that has not expired has
// its ClientToken; media.ErrNotFound when there is no such application.
func (tx *Tx) CreateAddress(a *Address) error {
	if a.ID == "" {
		return fmt.Errorf("the address's id is empty: %w", media.ErrInvalid)
	}
	if _, err := tx.Application(a.App); err != nil {
		return err
	}
	next := *a
	if next.Created.IsZero() {
		next.Created = tx.now()
	}
	if a.ClientToken != "" {
		_, err := tx.exec("DELETE FROM addresses WHERE app = ? AND kind = ? AND client_token = ? AND expires <= ?",
			a.App, a.Kind, a.ClientToken, tx.now())
		if err != nil {
			return err
		}
	}
	n, err := tx.exec("INSERT INTO addresses ("+addressColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		a.ID, a.Kind, a.App, a.Channel, a.User, a.DisplayName, a.ClientToken, next.Created, a.Expires)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("address of %s/%s/%s: %w", a.App, a.Channel, a.User, media.ErrExists)
	}
	*a = next
	return nil
}

// Address finds an address, also one that has expired and has not been purged
// yet: its session may still be told to end. media.ErrNotFound, which does
// not repeat the id: that is a secret.
func (tx *Tx) Address(id string) (Address, error) {
	return one(tx, scanAddress, "address", "SELECT "+addressColumns+" FROM addresses WHERE id = ?", id)
}

// AddressByToken finds the address that has not expired and was made with a
// client token that is not ""; media.ErrNotFound.
func (tx *Tx) AddressByToken(app string, kind AddressKind, clientToken string) (Address, error) {
	return one(tx, scanAddress, fmt.Sprintf("address of client token %q", clientToken), "SELECT "+addressColumns+` FROM addresses
		WHERE app = ? AND kind = ? AND client_token = ? AND client_token <> '' AND expires > ?`, app, kind, clientToken, tx.now())
}

func scanAddress(r scanner) (a Address, err error) {
	err = r.Scan(&a.ID, &a.Kind, &a.App, &a.Channel, &a.User, &a.DisplayName, &a.ClientToken, at(&a.Created), at(&a.Expires))
	return a, err
}
