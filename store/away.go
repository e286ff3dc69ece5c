package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
)

// ErrAway says that the database cannot be asked now: it is not reached, is starting or
// ending, has no room, or does not answer. The same call may do later.
var ErrAway = errors.New("the database is away")

// away marks an error of the database with ErrAway when that is what it means. caller
// is who asked: when he has gone, it says nothing of the database.
func (db *DB) away(caller context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, ErrAway) || caller.Err() != nil:
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), db.engine.away(err):
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	return err
}

// away tells the errors that pass: all of the network, and the classes of SQLSTATE that
// say that the server, not the statement, is the reason (PostgreSQL, appendix A).
func (e *postgres) away(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		for _, class := range []string{
			"08",    // connection exception
			"25006", // read-only: the server has become a standby
			"53",    // insufficient resources: the disk is full, too many connections
			"57P",   // operator intervention: the server is shut down or starts
			"58",    // system error: I/O
			"XX",    // internal error: damaged data
		} {
			if strings.HasPrefix(said.Code, class) {
				return true
			}
		}
		return false
	}
	var reached *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &reached) || errors.As(err, &network) || errors.Is(err, net.ErrClosed) || pgconn.Timeout(err) ||
		errors.Is(err, errOther) || errors.Is(err, io.ErrUnexpectedEOF)
}

// away tells the errors that pass: the file is in use, cannot be read or written, or the
// disk is full (sqlite.org/rescode.html; the low byte is the primary code).
func (e *sqlite) away(err error) bool {
	var said *sqlitedriver.Error
	if !errors.As(err, &said) {
		return false
	}
	switch said.Code() & 0xff {
	case 5, 6, 8, 10, 13, 14: // BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN
		return true
	}
	return false
}
