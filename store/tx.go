package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"braid/media"
)

// Tx is one transaction: what Update and View hand to their function. It ends
// when the function returns and belongs to its goroutine.
type Tx struct {
	ctx      context.Context
	caller   context.Context // of who asked; ctx is bounded besides
	db       *DB
	session  *session
	failed   error // the first error of a statement
	broken   bool  // the session cannot be used any more
	lost     bool  // it was found to be so before anything ran
	appended bool  // there are events to tell of
}

// session is one connection and the statements prepared on it. It has one user
// at a time.
type session struct {
	conn  *sql.Conn
	begin sql.TxOptions
	bind  func(query string) string // to the engine's placeholders
	stmts map[string]*sql.Stmt
}

// statements is how many prepared statements a session keeps. braid has fewer;
// the bound is for queries whose text depends on the length of a list.
const statements = 256

// close may be called on nil.
func (s *session) close() {
	if s == nil {
		return
	}
	for _, stmt := range s.stmts {
		stmt.Close()
	}
	s.discard()
}

// discard ends the connection itself: what a session has set must not outlive it.
func (s *session) discard() {
	s.conn.Raw(func(any) error { return driver.ErrBadConn })
	s.conn.Close()
}

// prepare gives the statement of a query; done must be called after its use.
func (s *session) prepare(ctx context.Context, query string) (stmt *sql.Stmt, done func(), err error) {
	if stmt := s.stmts[query]; stmt != nil {
		return stmt, func() {}, nil
	}
	stmt, err = s.conn.PrepareContext(ctx, s.bind(query))
	if err != nil {
		return nil, nil, fmt.Errorf("%w in %q", err, query)
	}
	if len(s.stmts) >= statements {
		return stmt, func() { stmt.Close() }, nil
	}
	s.stmts[query] = stmt
	return stmt, func() {}, nil
}

// run runs f between begin and commit. stop is asked before the commit.
func (tx *Tx) run(f func(*Tx) error, stop func() error) (err error) {
	begun, err := tx.session.conn.BeginTx(tx.ctx, &tx.session.begin)
	if err != nil {
		tx.broken, tx.lost = true, tx.ctx.Err() == nil
		return fmt.Errorf("store: begin: %w", tx.db.away(tx.caller, err))
	}
	done := false
	defer func() { // also when f panics
		if done {
			return
		}
		if e := begun.Rollback(); e != nil {
			tx.broken = true
		}
	}()
	if err = f(tx); err != nil {
		if why := tx.db.away(tx.caller, tx.failed); errors.Is(why, ErrAway) && !errors.Is(err, ErrAway) {
			return fmt.Errorf("%w: %w", ErrAway, err) // whatever f makes of it
		}
		return err
	}
	// PostgreSQL gives up a transaction at its first failed statement; so that
	// both engines mean the same, the store does.
	if tx.failed != nil {
		return fmt.Errorf("store: %w", tx.db.away(tx.caller, tx.failed))
	}
	if stop != nil {
		if err = stop(); err != nil {
			return err
		}
	}
	done = true
	began := time.Now()
	if err = begun.Commit(); err != nil {
		tx.broken = true
		return fmt.Errorf("store: commit: %w", tx.db.away(tx.caller, err))
	}
	if stop != nil { // a change, not a read
		tx.db.timing.commit.Observe(time.Since(began))
	}
	return nil
}

// now is the time for Created and Updated: UTC, in whole milliseconds as stored.
func (tx *Tx) now() time.Time { return time.UnixMilli(tx.db.now().UnixMilli()).UTC() }

// exec runs a statement with ? for each argument and gives the number of rows
// that it changed. Arguments are strings, integers, bools (kept as 0 and 1),
// []byte and time.Time (kept as Unix milliseconds, the zero time as 0). A
// string must be UTF-8 without a zero byte, which PostgreSQL does not keep.
//
// A statement that fails makes the whole transaction fail.
func (tx *Tx) exec(query string, args ...any) (int64, error) {
	if err := bindable(args); err != nil {
		return 0, err
	}
	stmt, done, err := tx.session.prepare(tx.ctx, query)
	if err != nil {
		return 0, tx.fail(err)
	}
	defer done()
	r, err := stmt.ExecContext(tx.ctx, args...)
	if err != nil {
		return 0, tx.fail(err)
	}
	n, err := r.RowsAffected()
	return n, tx.fail(err)
}

// query runs a query; see exec. The rows must be closed before the next
// statement of the transaction.
func (tx *Tx) query(query string, args ...any) (*rows, error) {
	if err := bindable(args); err != nil {
		return nil, err
	}
	stmt, done, err := tx.session.prepare(tx.ctx, query)
	if err != nil {
		return nil, tx.fail(err)
	}
	r, err := stmt.QueryContext(tx.ctx, args...)
	if err != nil {
		done()
		return nil, tx.fail(err)
	}
	return &rows{Rows: r, tx: tx, done: done}, nil
}

// rows are sql.Rows whose errors the transaction gets to know.
type rows struct {
	*sql.Rows
	tx   *Tx
	done func()
}

func (r *rows) Scan(dest ...any) error { return r.tx.fail(r.Rows.Scan(dest...)) }

func (r *rows) Err() error { return r.tx.fail(r.Rows.Err()) }

// Close may be called more than once.
func (r *rows) Close() error {
	err := r.Rows.Close()
	r.tx.fail(r.Rows.Err())
	r.done()
	return r.tx.fail(err)
}

// queryRow runs a query of which the first row counts; see exec.
func (tx *Tx) queryRow(query string, args ...any) row {
	r, err := tx.query(query, args...)
	return row{r, err}
}

type row struct {
	rows *rows
	err  error
}

// Scan reads the row; errNoRows when there is none, which does not make the
// transaction fail.
func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return errNoRows
	}
	return r.rows.Scan(dest...)
}

// errNoRows says that a query gave nothing.
var errNoRows = sql.ErrNoRows

// scanner is a row to read.
type scanner interface{ Scan(dest ...any) error }

// list reads all rows of a query.
func list[T any](tx *Tx, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	r, err := tx.query(query, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var all []T
	for r.Next() {
		v, err := scan(r)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, r.Err()
}

// one reads the row of a query; media.ErrNotFound with the words of what when
// there is none.
func one[T any](tx *Tx, scan func(scanner) (T, error), what, query string, args ...any) (T, error) {
	v, err := scan(tx.queryRow(query, args...))
	if errors.Is(err, errNoRows) {
		return v, fmt.Errorf("%s: %w", what, media.ErrNotFound)
	}
	return v, err
}

// fail notes a statement's error.
func (tx *Tx) fail(err error) error {
	if err != nil && tx.failed == nil {
		tx.failed = err
	}
	return err
}
