package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"braid/store"
)

// runBackup is `braid backup`: what a braid needs to go on elsewhere, in a new
// folder, while it runs.
func runBackup(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("braid backup", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, `braid backup [--config braid.yaml] FOLDER copies the database and the credentials of a first start into a
folder that is not there yet, while the server runs or not. Recordings, pictures and the configuration are
files: copy them as such. To go back, end the server, remove the files of the data directory whose names begin
with braid.db, and put these in their place.

`)
		flags.PrintDefaults()
	}
	name := flags.String("config", "", "the server's configuration `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("backup: give one folder to make")
	}
	cfg := defaults()
	if *name != "" {
		var err error
		if cfg, err = readConfig(*name); err != nil {
			return err
		}
	}
	if cfg.Store.DSN != "" {
		return errors.New("backup: the database is PostgreSQL: `pg_dump --format=custom` copies it while it runs, pg_restore brings it back")
	}
	to := flags.Arg(0)
	if err := os.Mkdir(to, 0o700); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := backup(ctx, cfg.DataDir, to); err != nil {
		return errors.Join(err, os.RemoveAll(to)) // ours: it was made above
	}
	fmt.Fprintf(stdout, "%s has the database of %s.\n", to, cfg.DataDir)
	return nil
}

// backup fills a folder.
func backup(ctx context.Context, from, to string) error {
	if err := store.Backup(ctx, from, filepath.Join(to, "braid.db")); err != nil {
		return err
	}
	const secrets = "credentials.json"
	b, err := os.ReadFile(filepath.Join(from, secrets))
	if errors.Is(err, fs.ErrNotExist) { // they are in the configuration
		return nil
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(to, secrets), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}
