package store

import (
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"braid/event"
	"braid/media"
)

// The outbox is what is on its way to subscriptions. A delivery is made in the
// transaction of its event. Deliveries of one subscription and one channel, or
// stream (event.Subject), make a lane, and only the first of a lane, its head,
// may be sent:
//
//	lanes       (sub, channel)  state, due        deliveries
//	  1          A    room1     fresh, 12:00:00    7 → 9 → 12
//	  2          A    room2     waiting, 12:01:00  8
//	  3          B    room1     fresh, 12:00:00    10 → 11
//
// What is next for a subscription is read from an index of lanes by due time,
// its delivery from an index of deliveries by lane. So however long a backlog
// is, taking the next one costs the same, and a lane is a row rather than
// memory. A lane that becomes empty is deleted; a new one gets a higher id, so
// the ids over the last one seen tell who has something new, at no cost for
// those who have not.

// LaneState says how the head of a lane waits.
type LaneState int

const (
	Fresh   LaneState = 0 // it has not been tried
	Waiting LaneState = 1 // it failed while nothing else got through: due as soon as something does
	Held    LaneState = 2 // it failed while others got through: due at its own time
)

// Lane is the queue of one subscription and one channel or stream.
type Lane struct {
	ID      int64
	Sub     string
	Channel string
	State   LaneState
	Due     time.Time // when its head may be sent; Fresh: when it became the head
	Fails   int       // attempts that failed since the last one that did not
	Since   time.Time // the first of them; zero: none
	Tried   time.Time // the last of them
}

// Head is the first delivery of a lane and where it goes.
type Head struct {
	Lane
	Delivery
	URL    string
	Secret string // of the subscription
}

// enqueue makes one delivery for each subscription that asks for an event.
func (tx *Tx) enqueue(e event.Event) error {
	subs, err := tx.asking(e)
	if err != nil || len(subs) == 0 {
		return err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	now := tx.now()
	for _, sub := range subs {
		err := tx.queue(sub.id, sub.lane, Delivery{MsgID: newMsgID(now), Event: event.Event{Seq: e.Seq}, Created: now}, body)
		if err != nil {
			return err
		}
	}
	return nil
}

// asker is a subscription that an event is for, and its lane of that event.
type asker struct{ id, lane string }

// asking lists the subscriptions that an event is for.
func (tx *Tx) asking(e event.Event) ([]asker, error) {
	var all []asker
	if e.Type != event.RecordStopped {
		ids, err := tx.askingKinds(e)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			all = append(all, asker{id, e.Subject()})
		}
	}
	if r := e.Recording; r != nil { // one lane for all of its streams, so that its end comes last
		own, err := list(tx, func(row scanner) (a asker, err error) {
			a.lane = r.Channel
			return a, row.Scan(&a.id)
		}, `SELECT id FROM subscriptions WHERE app = ? AND kind = ? AND channels = ?`, e.App, Recordings, r.Task)
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	return all, nil
}

// askingKinds lists the ids of those that chose by kind, channel, event and user.
func (tx *Tx) askingKinds(e event.Event) ([]string, error) {
	query := `SELECT id, channels, events, users FROM subscriptions WHERE app = ? AND kind = ? AND channels IN ('', ?)`
	args := []any{e.App, Room, e.Channel}
	if e.Type.Relay() { // MPU: one for an application, with a list of channels
		query = `SELECT id, channels, events, users FROM subscriptions WHERE app = ? AND kind = ?`
		args = []any{e.App, MPU}
	}
	if e.Type.Stream() {
		query = `SELECT id, channels, events, users FROM subscriptions WHERE app = ? AND kind = ?`
		args = []any{e.App, Streams}
	}
	type match struct {
		id string
		ok bool
	}
	all, err := list(tx, func(r scanner) (m match, err error) {
		var s Subscription
		var channels, events, users string
		err = r.Scan(&m.id, &channels, &events, &users)
		s.Channels, s.Events, s.Users = split(channels), split(events), split(users)
		m.ok = s.asks(e)
		return m, err
	}, query, args...)
	var ids []string
	for _, m := range all {
		if m.ok {
			ids = append(ids, m.id)
		}
	}
	return ids, err
}

// asks tells whether an event of the right application and family is for s.
func (s *Subscription) asks(e event.Event) bool {
	if len(s.Channels) > 0 && !slices.Contains(s.Channels, e.Channel) {
		return false
	}
	switch {
	case e.Type.Channel():
		return slices.Contains(s.Events, "ChannelEvent")
	case e.Type.Stream():
		return slices.Contains(s.Events, string(e.Type))
	case e.Type.User():
		return slices.Contains(s.Events, "UserEvent") && (len(s.Users) == 0 || slices.Contains(s.Users, e.User.ID))
	}
	return e.Type.Relay()
}

// queue puts a delivery at the end of its lane.
func (tx *Tx) queue(sub, channel string, d Delivery, body []byte) error {
	var lane int64
	err := tx.queryRow(`INSERT INTO lanes (sub, channel, waiting, state, due, fails, since, tried) VALUES (?, ?, 1, 0, ?, 0, 0, 0)
		ON CONFLICT (sub, channel) DO UPDATE SET waiting = lanes.waiting + 1 RETURNING id`, sub, channel, tx.now()).Scan(&lane)
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO deliveries (lane, sub, msg, seq, event, payload, attempts, refused, first, created)
		VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, ?)`, lane, sub, d.MsgID, d.Event.Seq, body, d.Payload, d.Attempts, d.Created)
	return err
}

// Resend puts a message that failed, or that is in the records, at the end of
// its channel's queue, with the same MsgID and body. media.ErrNotFound when
// there is no such message or its subscription was deleted, media.ErrExists
// when it is on its way.
func (tx *Tx) Resend(app, msg string) error {
	var waiting int64
	if err := tx.queryRow(`SELECT COUNT(*) FROM deliveries WHERE msg = ?`, msg).Scan(&waiting); err != nil {
		return err
	}
	if waiting > 0 {
		return fmt.Errorf("message %s is waiting to be sent: %w", msg, media.ErrExists)
	}
	d, lane, body, err := tx.sentBefore(app, msg)
	if err != nil {
		return err
	}
	if _, err := tx.Subscription(app, d.Sub); err != nil {
		return fmt.Errorf("message %s: %w", msg, err)
	}
	if _, err := tx.exec(`DELETE FROM failures WHERE msg = ?`, msg); err != nil {
		return err
	}
	return tx.queue(d.Sub, lane, d, body)
}

// sentBefore finds a message, and the lane it was in, among those that failed,
// else in the records.
func (tx *Tx) sentBefore(app, msg string) (d Delivery, lane string, body []byte, err error) {
	err = tx.queryRow(`SELECT sub, channel, msg, seq, event, payload, attempts, created FROM failures WHERE msg = ? AND app = ?`, msg, app).
		Scan(&d.Sub, &lane, &d.MsgID, &d.Event.Seq, &body, &d.Payload, &d.Attempts, at(&d.Created))
	if !errors.Is(err, sql.ErrNoRows) {
		return d, lane, body, err
	}
	r, err := one(tx, scanRecord, "message "+msg, `SELECT `+recordColumns+` FROM records WHERE msg = ? AND app = ? ORDER BY id DESC LIMIT 1`, msg, app)
	if err != nil {
		return d, "", nil, err
	}
	// The payload is sent as it was; of the event only what records tell is needed.
	e := event.Event{App: app, Channel: r.Channel, Type: r.Type, Time: r.Time}
	if r.User != "" {
		e.User = &event.User{ID: r.User}
	}
	if r.Task != "" {
		e.Relay = &event.Relay{Task: r.Task}
	}
	if r.Kind == Recordings {
		e.Recording = &event.Recording{Task: r.Task, Channel: r.Channel, User: r.User}
		e.User, e.Relay = nil, nil
	}
	if r.Kind == Streams {
		streamApp, name, _ := strings.Cut(r.Channel, "/")
		e.Channel, e.Stream = "", &event.Stream{App: streamApp, Name: name}
	}
	if body, err = json.Marshal(e); err != nil {
		return d, "", nil, err
	}
	e.Seq = r.Event
	return Delivery{MsgID: msg, Sub: r.Sub, Event: e, Payload: r.Payload, Attempts: r.Attempt, Created: tx.now()}, r.Channel, body, nil
}

// newMsgID makes a UUID that begins with the time (version 7, RFC 9562 section
// 5.7), so that an index of many grows at its end.
func newMsgID(now time.Time) string {
	var b [16]byte
	rand.Read(b[6:]) // never fails
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(b[:6], ms[2:])
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
