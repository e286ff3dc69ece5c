package store

import (
	"time"
)

// Outcome is what becomes of a head after an attempt.
type Outcome struct {
	Head   Head
	Record Record // of the attempt; its ID is given by the store
	// Delivered: the delivery is done. Failed: it is set aside. Neither: it is
	// tried again, as Head says (State, Due, Fails, Since, Tried, Attempts,
	// Refused, First).
	Delivered, Failed bool
	// Expired sets aside, together with a failed head, what waits in its lane
	// and was made at this time or before; zero: nothing.
	Expired time.Time
}

// Finish writes what became of heads, and their records in the order given.
func (tx *Tx) Finish(outcomes []Outcome) error {
	records := make([]Record, len(outcomes))
	var delivered, lanes []int64
	for i, o := range outcomes {
		records[i] = o.Record
		switch {
		case o.Delivered:
			delivered = append(delivered, o.Head.Delivery.ID)
			lanes = append(lanes, o.Head.Lane.ID)
		case o.Failed:
			if err := tx.setAside(o); err != nil {
				return err
			}
		default:
			if err := tx.again(o.Head); err != nil {
				return err
			}
		}
	}
	if err := tx.delivered(delivered, lanes); err != nil {
		return err
	}
	return tx.addRecords(records)
}

// delivered takes heads off their lanes. A lane with more goes to the back of
// its subscription's line, so that a few long lanes do not keep others waiting.
func (tx *Tx) delivered(ids, lanes []int64) error {
	for part := range inParts(ids) {
		if _, err := tx.exec(`DELETE FROM deliveries WHERE id IN (`+marks(len(part))+`)`, part...); err != nil {
			return err
		}
	}
	now := tx.now()
	for part := range inParts(lanes) {
		in := `id IN (` + marks(len(part)) + `)`
		if _, err := tx.exec(`DELETE FROM lanes WHERE waiting = 1 AND `+in, part...); err != nil {
			return err
		}
		_, err := tx.exec(`UPDATE lanes SET waiting = waiting - 1, state = 0, due = ?, fails = 0, since = 0, tried = 0 WHERE `+in,
			append([]any{now}, part...)...)
		if err != nil {
			return err
		}
	}
	return nil
}

// again writes a head that is to be tried again.
func (tx *Tx) again(h Head) error {
	_, err := tx.exec(`UPDATE deliveries SET attempts = ?, refused = ?, first = ? WHERE id = ?`,
		h.Attempts, h.Refused, h.First, h.Delivery.ID)
	if err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE lanes SET state = ?, due = ?, fails = ?, since = ?, tried = ? WHERE id = ?`,
		int(h.State), h.Due, h.Fails, h.Since, h.Tried, h.Lane.ID)
	return err
}

// setAside moves a head, and what has expired behind it, to the failures. The
// lane keeps its count of fails: nothing has got through.
func (tx *Tx) setAside(o Outcome) error {
	h, now := o.Head, tx.now()
	if _, err := tx.exec(`UPDATE deliveries SET attempts = ? WHERE id = ?`, h.Attempts, h.Delivery.ID); err != nil {
		return err
	}
	// made in the order of ids, but for what was sent again; so the ids up to
	// the head's are the head alone
	const which = `lane = ? AND (id = ? OR created <= ?)`
	args := func() []any { return []any{h.Lane.ID, h.Delivery.ID, o.Expired} }
	_, err := tx.exec(`INSERT INTO failures (app, sub, channel, msg, seq, event, payload, attempts, created, failed)
		SELECT CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), msg, seq, event, payload, attempts, created, CAST(? AS BIGINT)
		FROM deliveries WHERE `+which+` ORDER BY id`,
		append([]any{h.App, h.Lane.Sub, h.Lane.Channel, now}, args()...)...)
	if err != nil {
		return err
	}
	n, err := tx.exec(`DELETE FROM deliveries WHERE `+which, args()...)
	if err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE lanes SET waiting = waiting - ?, state = ?, due = ?, fails = ?, since = ?, tried = ? WHERE id = ?`,
		n, int(h.State), h.Due, h.Fails, h.Since, h.Tried, h.Lane.ID)
	if err != nil {
		return err
	}
	_, err = tx.exec(`DELETE FROM lanes WHERE id = ? AND waiting <= 0`, h.Lane.ID)
	return err
}
