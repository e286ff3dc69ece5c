package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// credentials are what a first start makes when the config names none.
type credentials struct {
	AccessKeys   []accessKey   `json:"access_keys"`
	Applications []application `json:"applications"`
}

// loadCredentials fills what the config leaves out from the data directory,
// making it on the first start. made tells that it was just made.
func loadCredentials(c *config) (made bool, err error) {
	if len(c.AccessKeys) > 0 && len(c.Applications) > 0 {
		return false, nil
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return false, fmt.Errorf("data_dir: %w", err)
	}
	name := filepath.Join(c.DataDir, "credentials.json")
	var kept credentials
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kept, made = newCredentials(), true
		if err := writeFile(name, kept); err != nil {
			return false, err
		}
	case err != nil:
		return false, fmt.Errorf("data_dir: %w", err)
	default:
		if err := json.Unmarshal(b, &kept); err != nil {
			return false, fmt.Errorf("data_dir: %s: %w", name, err)
		}
	}
	if len(c.AccessKeys) == 0 {
		c.AccessKeys = kept.AccessKeys
	}
	if len(c.Applications) == 0 {
		c.Applications = kept.Applications
	}
	return made, nil
}

func newCredentials() credentials {
	secret := func(bytes int) string {
		b := make([]byte, bytes)
		rand.Read(b) // never fails (crypto/rand)
		return hex.EncodeToString(b)
	}
	return credentials{
		AccessKeys:   []accessKey{{ID: "braid-" + secret(6), Secret: secret(20)}},
		Applications: []application{{ID: secret(8), Key: secret(20), Name: "default"}},
	}
}

// writeFile writes whole or not at all, readable by the owner alone.
func writeFile(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	return os.Rename(f.Name(), name)
}
