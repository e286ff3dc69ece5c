package store

import (
	"database/sql"
	"errors"
	"time"
)

// Records are numbered, from 1 and without gaps, twice: within application and
// kind (kind_no), and within the subscription (sub_no). Times ascend with ids
// and so with both numbers, and what is purged is always the oldest. So the
// place of a record in a list is arithmetic on its number, the borders of a
// time range are found by halving, and page 9,000 costs as much as page 1.
// An OFFSET would walk through all rows before the page.

const recordColumns = `id, app, kind, sub, msg, seq, type, channel, uid, task, url, payload, code, failure, attempt, cost, time`

func scanRecord(r scanner) (x Record, err error) {
	var ms int64
	err = r.Scan(&x.ID, &x.App, &x.Kind, &x.Sub, &x.MsgID, &x.Event, &x.Type, &x.Channel, &x.User, &x.Task,
		&x.URL, &x.Payload, &x.Code, &x.Failure, &x.Attempt, &ms, at(&x.Time))
	x.Cost = time.Duration(ms) * time.Millisecond
	return x, err
}

// recordGroup is what records are numbered in: one of the two.
type recordGroup struct {
	app  string
	kind Kind
	sub  string
}

// where gives the column of the numbers and the condition of the group.
func (g recordGroup) where() (no, cond string, args []any) {
	if g.sub != "" {
		return "sub_no", "sub = ?", []any{g.sub}
	}
	return "kind_no", "app = ? AND kind = ?", []any{g.app, g.kind}
}

// borders gives the lowest and highest number of a group; 1 and 0 when it is empty.
func (tx *Tx) borders(g recordGroup) (first, last int64, err error) {
	if first, err = tx.border(g, "ASC", 1); err == nil {
		last, err = tx.border(g, "DESC", 0)
	}
	return first, last, err
}

// border gives the number at one end of a group. PostgreSQL, when it thinks that
// a group is small, reads all of it for a MIN or MAX; in the order of the index
// it reads one row whatever it thinks.
func (tx *Tx) border(g recordGroup, order string, none int64) (n int64, err error) {
	no, cond, args := g.where()
	by := "app " + order + ", kind " + order + ", kind_no " + order
	if g.sub != "" {
		by = "sub " + order + ", sub_no " + order
	}
	err = tx.queryRow(`SELECT `+no+` FROM records WHERE `+cond+` ORDER BY `+by+` LIMIT 1`, args...).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return none, nil
	}
	return n, err
}

// addRecords appends records in their order and gives them ids. A time before
// that of the last record there is (a clock was set back) becomes equal to it.
func (tx *Tx) addRecords(records []Record) error {
	if len(records) == 0 {
		return nil
	}
	var latest int64
	if err := tx.queryRow(`SELECT COALESCE((SELECT time FROM records ORDER BY id DESC LIMIT 1), 0)`).Scan(&latest); err != nil {
		return err
	}
	last := map[recordGroup]int64{}
	next := func(g recordGroup) (int64, error) {
		if _, ok := last[g]; !ok {
			n, err := tx.border(g, "DESC", 0)
			if err != nil {
				return 0, err
			}
			last[g] = n
		}
		last[g]++
		return last[g], nil
	}
	const row = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	const insert = `INSERT INTO records (app, kind, sub, kind_no, sub_no, msg, seq, type, channel, uid, task, url, payload, code, failure, attempt, cost, time) VALUES `
	const many = 8
	var args []any
	for i := range records {
		r := &records[i]
		kindNo, err := next(recordGroup{app: r.App, kind: r.Kind})
		if err != nil {
			return err
		}
		subNo, err := next(recordGroup{sub: r.Sub})
		if err != nil {
			return err
		}
		latest = max(latest, millis(r.Time))
		args = append(args, r.App, r.Kind, r.Sub, kindNo, subNo, r.MsgID, r.Event, r.Type, r.Channel, r.User, r.Task,
			r.URL, r.Payload, r.Code, r.Failure, r.Attempt, r.Cost.Milliseconds(), latest)
		rows := len(args) / 18
		switch {
		case rows == many:
			_, err = tx.exec(insert+row+`, `+row+`, `+row+`, `+row+`, `+row+`, `+row+`, `+row+`, `+row, args...)
			args = args[:0]
		case len(records)-1-i+rows < many: // no more full ones
			_, err = tx.exec(insert+row, args...)
			args = args[:0]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Record fills in what a record tells of a head before it was sent.
func (h *Head) Record() Record {
	r := Record{App: h.App, Sub: h.Lane.Sub, Kind: h.Kind, MsgID: h.MsgID, Event: h.Event.Seq, Type: h.Event.Type,
		Channel: h.Event.Subject(), URL: h.URL, Attempt: h.Attempts}
	if u := h.Event.User; u != nil {
		r.User = u.ID
	}
	if t := h.Event.Relay; t != nil {
		r.Task = t.Task
	}
	if c := h.Event.Recording; c != nil && h.Kind == Recordings {
		r.Channel, r.User, r.Task = c.Channel, c.User, c.Task
	}
	return r
}

// purgeCallbacks clears away up to limit rows of each kind: records and
// failures older than LogKept, what waited for subscriptions that are no more,
// records of applications that are no more. It says how many in all.
func (tx *Tx) purgeCallbacks(now time.Time, limit int) (int64, error) {
	old := now.Add(-LogKept)
	total, err := tx.execAll([]statement{
		// Ids ascend with times: only rows that go, and one more, are looked at.
		{`DELETE FROM records WHERE id IN (SELECT id FROM records ORDER BY id LIMIT ?) AND time <= ?`, []any{limit, old}},
		{`DELETE FROM failures WHERE id IN (SELECT id FROM failures ORDER BY id LIMIT ?) AND failed <= ?`, []any{limit, old}},
	})
	if err != nil {
		return 0, err
	}
	n, err := tx.purgeOrphans(limit)
	return total + n, err
}

type statement struct {
	query string
	args  []any
}

func (tx *Tx) execAll(all []statement) (total int64, err error) {
	for _, s := range all {
		n, err := tx.exec(s.query, s.args...)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// purgeOrphans clears away what belonged to one deleted subscription, or one
// deleted application, of each table. An application that was made anew with
// the same id before that keeps the old one's records.
func (tx *Tx) purgeOrphans(limit int) (total int64, err error) {
	for _, o := range []struct {
		step, owner string
		remove      []string
	}{
		{`SELECT sub FROM lanes WHERE sub > ? ORDER BY sub LIMIT 1`, `SELECT COUNT(*) FROM subscriptions WHERE id = ?`, []string{
			`DELETE FROM deliveries WHERE id IN (SELECT d.id FROM deliveries d JOIN lanes l ON d.lane = l.id WHERE l.sub = ? LIMIT ?)`,
			`DELETE FROM lanes WHERE id IN (SELECT id FROM lanes l WHERE sub = ? AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.lane = l.id) LIMIT ?)`,
		}},
		{`SELECT sub FROM failures WHERE sub > ? ORDER BY sub LIMIT 1`, `SELECT COUNT(*) FROM subscriptions WHERE id = ?`, []string{
			`DELETE FROM failures WHERE id IN (SELECT id FROM failures WHERE sub = ? LIMIT ?)`,
		}},
		{`SELECT app FROM records WHERE app > ? ORDER BY app LIMIT 1`, `SELECT COUNT(*) FROM applications WHERE id = ?`, []string{
			`DELETE FROM records WHERE id IN (SELECT id FROM records WHERE app = ? ORDER BY kind, kind_no LIMIT ?)`,
		}},
	} {
		gone, err := tx.orphan(o.step, o.owner)
		if err != nil {
			return 0, err
		}
		if gone == "" {
			continue
		}
		for _, query := range o.remove {
			n, err := tx.exec(query, gone, limit)
			if err != nil {
				return 0, err
			}
			total += n
		}
	}
	return total, nil
}

// orphan finds the first value of an index whose owner is not there any more.
func (tx *Tx) orphan(step, owner string) (string, error) {
	for after := ""; ; {
		next, err := tx.steps(step, after, 1)
		if err != nil || len(next) == 0 {
			return "", err
		}
		after = next[0]
		var there int64
		if err := tx.queryRow(owner, after).Scan(&there); err != nil {
			return "", err
		}
		if there == 0 {
			return after, nil
		}
	}
}
