package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"braid/media"
)

// ErrStale says that what was to be written over has been changed since it was read.
var ErrStale = errors.New("changed by someone else")

// ErrInUse says that something cannot be deleted while something else names it.
var ErrInUse = errors.New("in use")

// Config says where the store is. The zero values of Now and Log are time.Now
// and silence.
type Config struct {
	Dir string // of SQLite's braid.db; made with mode 0700 when it is not there
	DSN string // postgres://user@host/database, one of braid's own; "": SQLite in Dir
	Now func() time.Time
	Log *slog.Logger
	// AuditKept is how long Purge leaves the audit log; 0: the constant AuditKept.
	AuditKept time.Duration
}

const (
	// updateLimit bounds one transaction once it has begun: every other writer
	// waits for it, and a database that does not answer is to be noticed.
	updateLimit = 30 * time.Second
	// viewLimit bounds one read: few can be under way, and a database that does not
	// answer holds them up.
	viewLimit = 30 * time.Second
	// migrateLimit is for a step of the schema that writes a big table anew.
	migrateLimit = time.Hour
	// readers is how many reads run at the same time.
	readers = 4
)

// DB is an open store. Its methods may be called from any goroutine.
type DB struct {
	now    func() time.Time
	log    *slog.Logger
	audit  time.Duration // how long it is kept
	timing timing
	engine engine

	turn   chan struct{} // holds a token; who has taken it owns writer
	writer *session      // nil after its connection was lost

	reads chan *session // each is nil until it is first used

	mu       sync.Mutex
	appended chan struct{}

	closing   chan struct{} // closed by Close
	closeOnce sync.Once
	closeErr  error
}

// engine is what differs between SQLite and PostgreSQL.
type engine interface {
	// writer opens the one session that writes. While it is open no other
	// process can have one on the same data.
	writer(context.Context) (*session, error)
	// reader opens a session that only reads.
	reader(context.Context) (*session, error)
	// dialect fills the tokens in a migration.
	dialect() map[string]string
	// away tells whether an error means that the database cannot be asked now.
	away(error) bool
	close() error
}

// Open opens the store, makes it when it is not there and brings its tables up
// to date. It fails when another process has it open, and when a newer braid
// has written it.
func Open(ctx context.Context, c Config) (*DB, error) {
	db := &DB{now: c.Now, log: c.Log, turn: make(chan struct{}, 1), reads: make(chan *session, readers),
		appended: make(chan struct{}), closing: make(chan struct{}), timing: newTiming()}
	db.audit = cmp.Or(c.AuditKept, AuditKept)
	if db.now == nil {
		db.now = time.Now
	}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if c.DSN != "" {
		db.engine, err = openPostgres(c.DSN)
	} else {
		db.engine, err = openSQLite(c.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err = db.migrate(ctx); err != nil {
		db.writer.close()
		return nil, errors.Join(fmt.Errorf("store: %w", err), db.engine.close())
	}
	db.turn <- struct{}{}
	for range readers {
		db.reads <- nil
	}
	return db, nil
}

// Update runs f in a transaction and makes what it wrote durable. Updates run
// one after the other. When f fails or panics, or a statement failed inside
// it, or ctx has ended before f returns, nothing is changed. f must not call
// Update or View; it may be slow only at everyone's expense, 30 s at most.
//
// ErrAway: the database cannot be asked now. With PostgreSQL an error of a connection
// that is lost at the very commit leaves open whether it took place.
func (db *DB) Update(ctx context.Context, f func(*Tx) error) error {
	select {
	case <-db.closing:
		return fmt.Errorf("store: %w", media.ErrClosed)
	default:
	}
	began := time.Now()
	select {
	case <-db.turn:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closing:
		return fmt.Errorf("store: %w", media.ErrClosed)
	}
	defer func() { db.turn <- struct{}{} }()
	db.timing.wait.Observe(time.Since(began))
	if err := ctx.Err(); err != nil {
		return err
	}
	tx, err := db.write(ctx, updateLimit, f)
	if tx.lost { // the connection, while it was not used
		db.log.Warn("store: the connection was lost, opening another", "error", err)
		tx, err = db.write(ctx, updateLimit, f)
	}
	if err != nil {
		return err
	}
	if tx.appended {
		db.mu.Lock()
		close(db.appended)
		db.appended = make(chan struct{})
		db.mu.Unlock()
	}
	return nil
}

// write runs f on the writer, which the caller owns.
func (db *DB) write(ctx context.Context, limit time.Duration, f func(*Tx) error) (*Tx, error) {
	if db.writer == nil {
		s, err := db.engine.writer(ctx)
		if err != nil {
			return &Tx{}, fmt.Errorf("store: %w", db.away(ctx, err))
		}
		db.writer = s
	}
	// A caller that goes away must not break a connection off in the middle.
	inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	tx := &Tx{ctx: inner, caller: ctx, db: db, session: db.writer}
	defer func() { // also when f panics
		if tx.broken {
			db.writer.close()
			db.writer = nil
		}
	}()
	return tx, tx.run(f, ctx.Err)
}

// View runs f on a consistent state of the store, which f cannot change. It
// does not wait for Updates. f must not call Update or View, and has 30 s. ErrAway: the
// database cannot be asked now.
func (db *DB) View(ctx context.Context, f func(*Tx) error) error {
	select {
	case <-db.closing:
		return fmt.Errorf("store: %w", media.ErrClosed)
	default:
	}
	var s *session
	select {
	case s = <-db.reads:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closing:
		return fmt.Errorf("store: %w", media.ErrClosed)
	}
	defer func() { db.reads <- s }()
	tx, err := db.read(ctx, &s, f)
	if tx.lost {
		_, err = db.read(ctx, &s, f)
	}
	return err
}

// read runs f on a session that the caller owns. It opens one when *s is nil,
// and sets it to nil when the session is lost.
func (db *DB) read(ctx context.Context, s **session, f func(*Tx) error) (*Tx, error) {
	if *s == nil {
		var err error
		if *s, err = db.engine.reader(ctx); err != nil {
			return &Tx{}, fmt.Errorf("store: %w", db.away(ctx, err))
		}
	}
	inner, cancel := context.WithTimeout(ctx, viewLimit)
	defer cancel()
	tx := &Tx{ctx: inner, caller: ctx, db: db, session: *s}
	defer func() { // also when f panics
		if tx.broken {
			(*s).close()
			*s = nil
		}
	}()
	return tx, tx.run(f, nil)
}

// Appended is closed at the next commit of events. Take it before reading them.
func (db *DB) Appended() <-chan struct{} {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.appended
}

// Close waits for what is running and closes the store; what comes later gets
// media.ErrClosed. It may be called more than once.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		close(db.closing)
		<-db.turn
		for range readers {
			s := <-db.reads
			s.close()
		}
		db.writer.close()
		db.closeErr = db.engine.close()
	})
	return db.closeErr
}
