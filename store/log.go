package store

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"braid/event"
	"braid/media"
)

// LogKept is how long events, and what became of them, are kept.
const LogKept = 7 * 24 * time.Hour

// Append puts events at the end of the log, in order: each gets the next Seq,
// a random UUID as ID when it has none, and now as Time when it has none. It
// brings Presence up to date and hands each event to the subscriptions that ask
// for it. The caller's events stay as they are. media.ErrInvalid for an event
// that lacks what its Type needs. SnapshotTaken is left out where no
// subscription asks for it.
//
// Events of an application that is not in the store are logged like others.
func (tx *Tx) Append(events ...event.Event) error {
	events, err := tx.wanted(events)
	if err != nil || len(events) == 0 {
		return err
	}
	var last int64
	err = tx.queryRow("UPDATE counters SET value = value + ? WHERE name = 'events' RETURNING value", len(events)).Scan(&last)
	if err != nil {
		return err
	}
	for i, e := range events {
		e.Seq = last - int64(len(events)-1-i)
		if err := tx.append(e); err != nil {
			return fmt.Errorf("event %s: %w", e, err)
		}
	}
	tx.appended = true
	return nil
}

func (tx *Tx) append(e event.Event) error {
	if err := whole(e); err != nil {
		return err
	}
	if e.ID == "" {
		e.ID = newUUID()
	}
	if e.Time.IsZero() {
		e.Time = tx.db.now()
	}
	e.Time = time.UnixMilli(e.Time.UnixMilli()).UTC()
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := tx.exec("INSERT INTO events (seq, app, time, body) VALUES (?, ?, ?, ?)", e.Seq, e.App, e.Time, string(body)); err != nil {
		return err
	}
	if err := tx.follow(e); err != nil {
		return err
	}
	return tx.enqueue(e)
}

// whole checks that an event has what its type needs.
func whole(e event.Event) error {
	missing := ""
	switch {
	case e.App == "":
		missing = "app"
	case e.Channel == "" && !e.Type.Stream():
		missing = "channel"
	case e.Type.User() && (e.User == nil || e.User.ID == ""):
		missing = "user"
	case e.Type.Relay() && (e.Relay == nil || e.Relay.Task == ""):
		missing = "relay"
	case e.Type.Stream() && (e.Stream == nil || e.Stream.App == "" || e.Stream.Name == ""):
		missing = "stream"
	case e.Type == event.RecordStopped && (e.Recording == nil || e.Recording.Task == ""):
		missing = "recording"
	case !e.Type.Channel() && !e.Type.User() && !e.Type.Relay() && !e.Type.Stream() && e.Type != event.RecordStopped:
		return fmt.Errorf("type %q is not known: %w", e.Type, media.ErrInvalid)
	default:
		return nil
	}
	return fmt.Errorf("%s is missing: %w", missing, media.ErrInvalid)
}

// Events reads up to limit events of an application from the log, of all
// applications when app is "": those with a Seq over after, in order.
func (tx *Tx) Events(app string, after int64, limit int) ([]event.Event, error) {
	if limit < 1 {
		return nil, fmt.Errorf("limit is %d, not 1 or more: %w", limit, media.ErrInvalid)
	}
	if app == "" {
		return list(tx, scanEvent, "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?", after, limit)
	}
	return list(tx, scanEvent, "SELECT seq, body FROM events WHERE app = ? AND seq > ? ORDER BY seq LIMIT ?", app, after, limit)
}

// Event reads one event of the log; media.ErrNotFound.
func (tx *Tx) Event(seq int64) (event.Event, error) {
	return one(tx, scanEvent, fmt.Sprintf("event %d", seq), "SELECT seq, body FROM events WHERE seq = ?", seq)
}

func scanEvent(r scanner) (e event.Event, err error) {
	var seq int64
	var body string
	if err := r.Scan(&seq, &body); err != nil {
		return e, err
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return e, fmt.Errorf("event %d in the log: %w", seq, err)
	}
	e.Seq = seq
	return e, nil
}

// newUUID makes a random UUID (RFC 9562 section 5.4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
