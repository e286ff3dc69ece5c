package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one numbered step of the schema. A step that has been released
// is never changed: the next one follows.
type migration struct {
	version int // from 1, without gaps
	name    string
	sql     string
}

// migrations reads the steps, in order.
func migrations() ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for i, name := range names { // sorted
		b, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		short := strings.TrimPrefix(name, "migrations/")
		if !strings.HasPrefix(short, fmt.Sprintf("%03d_", i+1)) {
			return nil, fmt.Errorf("migration %s is not number %d", short, i+1)
		}
		all = append(all, migration{version: i + 1, name: short, sql: string(b)})
	}
	return all, nil
}

// migrate brings the schema up to date, one transaction for each step. The
// caller owns the writer, so no other process does the same.
func (db *DB) migrate(ctx context.Context) error {
	all, err := migrations()
	if err != nil {
		return err
	}
	var have int
	_, err = db.write(ctx, migrateLimit, func(tx *Tx) error {
		_, err := tx.exec("CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied BIGINT NOT NULL)")
		if err != nil {
			return err
		}
		return tx.queryRow("SELECT COALESCE(MAX(version), 0) FROM migrations").Scan(&have)
	})
	if err != nil {
		return err
	}
	if have > len(all) {
		return fmt.Errorf("the database was written by a newer braid: its schema is number %d, this program knows up to %d; use the newer program or restore a backup", have, len(all))
	}
	for _, m := range all[have:] {
		if err := db.step(ctx, m); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
		db.log.Info("store: schema changed", "migration", m.name)
	}
	return nil
}

func (db *DB) step(ctx context.Context, m migration) error {
	sql := m.sql
	for token, text := range db.engine.dialect() {
		sql = strings.ReplaceAll(sql, token, text)
	}
	_, err := db.write(ctx, migrateLimit, func(tx *Tx) error {
		for stmt := range strings.SplitSeq(sql, ";\n") {
			if strings.TrimSpace(stmt) == "" {
				continue
			}
			// Not prepared: a step runs once.
			if _, err := tx.session.conn.ExecContext(tx.ctx, stmt); err != nil {
				return fmt.Errorf("%w in %q", err, strings.TrimSpace(stmt))
			}
		}
		_, err := tx.exec("INSERT INTO migrations (version, name, applied) VALUES (?, ?, ?)", m.version, m.name, tx.now())
		return err
	})
	return err
}
