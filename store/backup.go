package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"braid/media"
)

// Backup writes the SQLite database of a directory, as of one moment, into a file
// that is not there yet. Another process may have it open and go on writing: what
// was committed before is in the copy, whole, with nothing of what came later. The
// copy has been checked and is on the disk when Backup returns; after an error it
// is not there.
//
// media.ErrNotFound: there is no database in dir. media.ErrExists: the file is there.
func Backup(ctx context.Context, dir, to string) (err error) {
	from, err := filepath.Abs(filepath.Join(dir, "braid.db"))
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: backup: %s: %w", from, media.ErrNotFound)
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // SQLite takes an empty file
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("store: backup: %s: %w", to, media.ErrExists)
	case err != nil:
		return fmt.Errorf("store: backup: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(fmt.Errorf("store: backup: %w", err), os.Remove(to))
		}
	}()
	db, err := sql.Open("sqlite", sqliteURI(from, "deferred", []string{"busy_timeout(10000)"}))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return err
	}
	if err := checkCopy(ctx, to); err != nil {
		return err
	}
	return f.Sync()
}

// checkCopy reads all of a database.
func checkCopy(ctx context.Context, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", sqliteURI(file, "deferred", []string{"query_only(1)"}))
	if err != nil {
		return err
	}
	defer db.Close()
	var found string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&found); err != nil {
		return err
	}
	if found != "ok" {
		return fmt.Errorf("the copy is not whole: %s", found)
	}
	return nil
}
