package store

import (
	"errors"

	"braid/media"
)

// Meta reads a value kept under a name; "" when there is none.
func (tx *Tx) Meta(key string) (string, error) {
	var value string
	err := tx.queryRow("SELECT value FROM meta WHERE name = ?", key).Scan(&value)
	if errors.Is(err, errNoRows) {
		return "", nil
	}
	return value, err
}

// SetMeta keeps a value under a name.
func (tx *Tx) SetMeta(key, value string) error {
	if key == "" {
		return errors.Join(errors.New("the name of a value is empty"), media.ErrInvalid)
	}
	_, err := tx.exec("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", key, value)
	return err
}
