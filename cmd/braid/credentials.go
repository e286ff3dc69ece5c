package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// credentials are what a first start makes when the config names none.
type credentials struct {
	AccessKeys   []accessKey   `json:"access_keys"`
	Applications []application `json:"applications"`
	AdminTokens  []string      `json:"admin_tokens"`
}

// loadCredentials fills what the config leaves out from the data directory, and
// makes what is not there either: both on the first start. It returns what it
// has just made and kept; empty otherwise.
func loadCredentials(c *config) (made credentials, err error) {
	if len(c.AccessKeys) > 0 && len(c.Applications) > 0 && len(c.AdminTokens) > 0 {
		return made, nil
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return made, fmt.Errorf("data_dir: %w", err)
	}
	name := filepath.Join(c.DataDir, "credentials.json")
	var kept credentials
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return made, fmt.Errorf("data_dir: %s: %w", name, err)
	}
	if len(c.AccessKeys) == 0 {
		if len(kept.AccessKeys) == 0 {
			made.AccessKeys = []accessKey{{ID: "braid-" + secret(6), Secret: secret(20)}}
			kept.AccessKeys = made.AccessKeys
		}
		c.AccessKeys = kept.AccessKeys
	}
	if len(c.Applications) == 0 {
		if len(kept.Applications) == 0 {
			made.Applications = []application{{ID: secret(8), Key: secret(20), Name: "default"}}
			kept.Applications = made.Applications
		}
		c.Applications, c.firstStart = kept.Applications, true
	}
	if len(c.AdminTokens) == 0 {
		if len(kept.AdminTokens) == 0 {
			made.AdminTokens = []string{secret(20)}
			kept.AdminTokens = made.AdminTokens
		}
		c.AdminTokens = kept.AdminTokens
	}
	if err := c.check(); err != nil { // the file may have been edited
		return made, fmt.Errorf("data_dir: %s: %w", name, err)
	}
	if made.empty() {
		return made, nil
	}
	return made, writeFile(name, kept)
}

// secret is random, in hexadecimal.
func secret(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

func (c credentials) empty() bool {
	return len(c.AccessKeys) == 0 && len(c.Applications) == 0 && len(c.AdminTokens) == 0
}

// show tells the secrets to the person who started the server, and only where
// they are kept when that is no person.
func (c credentials) show(w io.Writer, dataDir string) {
	name := filepath.Join(dataDir, "credentials.json")
	switch {
	case c.empty():
		return
	case recorded(w):
		fmt.Fprintf(w, "First start: an application, an access key or an admin token was made for you and is kept in %s.\n\n", name)
		return
	}
	fmt.Fprintf(w, "First start: these were made for you and are kept in %s.\n", name)
	fmt.Fprintf(w, "They are shown only this once.\n\n")
	for _, a := range c.Applications {
		fmt.Fprintf(w, "  application  AppID %s  AppKey %s\n", a.ID, a.Key)
	}
	for _, k := range c.AccessKeys {
		fmt.Fprintf(w, "  access key   id %s  secret %s\n", k.ID, k.Secret)
	}
	for _, t := range c.AdminTokens {
		fmt.Fprintf(w, "  admin token for /v1/  %s\n", t)
	}
	fmt.Fprintln(w)
}

// recorded tells whether what is written to w stays somewhere, as it does in a
// file or in a container's log: secrets are for terminals.
func recorded(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err != nil || info.Mode()&fs.ModeCharDevice == 0
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
