package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgres is a PostgreSQL database. The writer's connection holds an advisory
// lock, so a server that lost its connection to another one cannot write: it
// must get the lock back first. Session locks do not pass through a pooler in
// transaction mode; the DSN must lead to the database itself.
type postgres struct {
	db   *sql.DB
	name string // host and database, for errors
}

const (
	postgresLock = 0x6272616964 // "braid"
	// postgresPatience is how long a writer waits for the lock: the server may
	// take a moment to see that the process before this one is gone.
	postgresPatience = 3 * time.Second
)

// errOther says that another server has the lock.
var errOther = errors.New("one server for one database")

func openPostgres(dsn string) (engine, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("the DSN of PostgreSQL: %w", err) // pgx leaves the password out
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "braid"
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 10 * time.Second
	}
	return &postgres{db: stdlib.OpenDB(*c), name: fmt.Sprintf("database %s on %s", c.Database, c.Host)}, nil
}

func (e *postgres) writer(ctx context.Context) (*session, error) {
	s, err := e.session(ctx, sql.TxOptions{})
	if err != nil {
		return nil, err
	}
	// A commit must be on disk when it is acknowledged, whatever the database's default is.
	_, err = s.conn.ExecContext(ctx, `SELECT set_config('synchronous_commit', 'on', false)
		WHERE current_setting('synchronous_commit') = 'off'`)
	if err == nil {
		err = e.lock(ctx, s.conn)
	}
	if err != nil {
		s.discard()
		return nil, err
	}
	return s, nil
}

// lock takes the lock that one server has.
func (e *postgres) lock(ctx context.Context, conn *sql.Conn) error {
	deadline := time.Now().Add(postgresPatience)
	for {
		var got bool
		if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", int64(postgresLock)).Scan(&got); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if got {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("another braid is using the %s: %w", e.name, errOther)
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("another braid is using the %s", e.name), ctx.Err())
		case <-time.After(postgresPatience / 30):
		}
	}
}

func (e *postgres) reader(ctx context.Context) (*session, error) {
	return e.session(ctx, sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
}

func (e *postgres) session(ctx context.Context, begin sql.TxOptions) (*session, error) {
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	return &session{conn: conn, begin: begin, bind: dollars, stmts: map[string]*sql.Stmt{}}, nil
}

func (e *postgres) dialect() map[string]string {
	// Text is compared byte by byte, as SQLite does.
	return map[string]string{"{{serial}}": "BIGSERIAL PRIMARY KEY", "{{blob}}": "BYTEA", "{{text}}": `TEXT COLLATE "C"`}
}

func (e *postgres) close() error { return e.db.Close() }
