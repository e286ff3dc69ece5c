package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"braid/store/lockfile"
)

// sqlite is one file, braid.db, in write-ahead mode: readers see the last
// commit and never wait for the writer. A lock on braid.lock keeps other
// processes out.
type sqlite struct {
	lock  *os.File
	write *sql.DB
	read  *sql.DB
}

func openSQLite(dir string) (engine, error) {
	if dir == "" {
		return nil, errors.New("the directory of the database is not given")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	e := &sqlite{}
	if e.lock, err = lockfile.Open(filepath.Join(dir, "braid.lock")); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "braid.db")
	// SQLite gives the files beside it the same mode.
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(err, e.lock.Close())
	}
	f.Close()
	pragmas := []string{"busy_timeout(10000)", "foreign_keys(1)", "journal_mode(WAL)", "synchronous(FULL)"}
	e.write, err = sql.Open("sqlite", sqliteURI(file, "immediate", pragmas))
	if err == nil {
		e.read, err = sql.Open("sqlite", sqliteURI(file, "deferred", []string{"busy_timeout(10000)", "query_only(1)"}))
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func sqliteURI(file, lock string, pragmas []string) string {
	q := url.Values{"_txlock": {lock}, "_pragma": pragmas}
	u := url.URL{Scheme: "file", OmitHost: true, Path: file, RawQuery: q.Encode()}
	return u.String()
}

func (e *sqlite) writer(ctx context.Context) (*session, error) { return sqliteSession(ctx, e.write) }

func (e *sqlite) reader(ctx context.Context) (*session, error) { return sqliteSession(ctx, e.read) }

func sqliteSession(ctx context.Context, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return &session{conn: conn, bind: func(q string) string { return q }, stmts: map[string]*sql.Stmt{}}, nil
}

func (e *sqlite) dialect() map[string]string {
	return map[string]string{"{{serial}}": "INTEGER PRIMARY KEY AUTOINCREMENT", "{{blob}}": "BLOB", "{{text}}": "TEXT"}
}

func (e *sqlite) close() error {
	var errs []error
	if e.read != nil {
		errs = append(errs, e.read.Close())
	}
	if e.write != nil {
		errs = append(errs, e.write.Close())
	}
	return errors.Join(append(errs, e.lock.Close())...)
}
