package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"braid/event"
)

const laneColumns = `id, sub, channel, state, due, fails, since, tried`

func scanLane(r scanner) (l Lane, err error) {
	err = r.Scan(&l.ID, &l.Sub, &l.Channel, &l.State, at(&l.Due), &l.Fails, at(&l.Since), at(&l.Tried))
	return l, err
}

// LastLane is the highest id of a lane; 0 when there is none.
func (tx *Tx) LastLane() (id int64, err error) {
	err = tx.queryRow(`SELECT COALESCE(MAX(id), 0) FROM lanes`).Scan(&id)
	return id, err
}

// LanesAfter lists the subscriptions of up to limit lanes with an id over
// after, and the id of the last one read.
func (tx *Tx) LanesAfter(after int64, limit int) (subs []string, last int64, err error) {
	last = after
	subs, err = list(tx, func(r scanner) (sub string, err error) {
		err = r.Scan(&last, &sub)
		return sub, err
	}, `SELECT id, sub FROM lanes WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
	return subs, last, err
}

// WaitingSubs lists up to limit ids, over after, of the subscriptions that have
// lanes. Each is one step in an index, however many lanes there are.
func (tx *Tx) WaitingSubs(after string, limit int) (subs []string, err error) {
	return tx.steps(`SELECT sub FROM lanes WHERE sub > ? ORDER BY sub LIMIT 1`, after, limit)
}

// steps walks through the distinct values of an index.
func (tx *Tx) steps(query, after string, limit int) (found []string, err error) {
	for len(found) < limit {
		next, err := list(tx, func(r scanner) (s string, err error) { return s, r.Scan(&s) }, query, after)
		if err != nil || len(next) == 0 {
			return found, err
		}
		after = next[0]
		found = append(found, after)
	}
	return found, nil
}

// NextLanes lists up to limit lanes of a subscription in each state, those that
// are due first at the front.
func (tx *Tx) NextLanes(sub string, limit int) ([]Lane, error) {
	const part = `SELECT * FROM (SELECT ` + laneColumns + ` FROM lanes WHERE sub = ? AND state = %d ORDER BY due LIMIT ?) AS s%[1]d`
	query := fmt.Sprintf(part, Fresh) + " UNION ALL " + fmt.Sprintf(part, Waiting) + " UNION ALL " + fmt.Sprintf(part, Held) + " ORDER BY due, id"
	return list(tx, scanLane, query, sub, limit, sub, limit, sub, limit)
}

// Heads reads the first deliveries of lanes; a lane whose subscription was
// deleted gives none.
func (tx *Tx) Heads(lanes []int64) ([]Head, error) {
	var heads []Head
	for part := range inParts(lanes) {
		some, err := list(tx, scanHead, `SELECT l.id, l.sub, l.channel, l.state, l.due, l.fails, l.since, l.tried,
			d.id, d.msg, d.seq, d.event, d.payload, d.attempts, d.refused, d.first, d.created, s.app, s.kind, s.url, s.secret
			FROM lanes l JOIN subscriptions s ON s.id = l.sub
			JOIN deliveries d ON d.id = (SELECT id FROM deliveries WHERE lane = l.id ORDER BY lane, id LIMIT 1)
			WHERE l.id IN (`+marks(len(part))+`)`, part...)
		if err != nil {
			return nil, err
		}
		heads = append(heads, some...)
	}
	return heads, nil
}

func scanHead(r scanner) (h Head, err error) {
	var body []byte
	var seq int64
	l, d := &h.Lane, &h.Delivery
	err = r.Scan(&l.ID, &l.Sub, &l.Channel, &l.State, at(&l.Due), &l.Fails, at(&l.Since), at(&l.Tried),
		&d.ID, &d.MsgID, &seq, &body, &d.Payload, &d.Attempts, &d.Refused, at(&d.First), at(&d.Created), &d.App, &d.Kind, &h.URL, &h.Secret)
	if err != nil {
		return h, err
	}
	if d.Event, err = eventOf(body, seq); err != nil {
		return h, fmt.Errorf("message %s: %w", d.MsgID, err)
	}
	d.Sub, d.NextAt = l.Sub, l.Due
	return h, nil
}

func eventOf(body []byte, seq int64) (e event.Event, err error) {
	err = json.Unmarshal(body, &e)
	e.Seq = seq
	return e, err
}

// Backlog counts what waits and what failed, in the store as a whole, and tells
// how old the oldest of the waiting is made.
func (tx *Tx) Backlog() (waiting, failed int64, oldest time.Time, err error) {
	if err = tx.queryRow(`SELECT COALESCE(SUM(l.waiting), 0) FROM lanes l JOIN subscriptions s ON s.id = l.sub`).Scan(&waiting); err != nil {
		return
	}
	if err = tx.queryRow(`SELECT COUNT(*) FROM failures`).Scan(&failed); err != nil {
		return
	}
	err = tx.queryRow(`SELECT COALESCE(MIN(created), 0) FROM (SELECT created FROM deliveries ORDER BY id LIMIT 1) AS first`).Scan(at(&oldest))
	return
}

// marks gives n placeholders.
func marks(n int) string { return strings.Repeat("?, ", n-1) + "?" }

// inParts cuts a list of ids into arguments of at most 64 and fills each part
// up to 1, 8 or 64 with its last id, so that few statements are prepared.
func inParts(ids []int64) func(yield func([]any) bool) {
	return func(yield func([]any) bool) {
		for len(ids) > 0 {
			n := min(len(ids), 64)
			size := 1
			for size < n {
				size *= 8
			}
			part := make([]any, size)
			for i := range part {
				part[i] = ids[min(i, n-1)]
			}
			if ids = ids[n:]; !yield(part) {
				return
			}
		}
	}
}
