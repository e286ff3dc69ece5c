package store

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"braid/event"
	"braid/media"
)

// RecordQuery says which records a list is of.
type RecordQuery struct {
	App  string
	Kind Kind
	Sub  string    // "": all of the kind
	From time.Time // not before; zero: no bound
	To   time.Time // before; zero: no bound
}

// RecordPage gives page (from 1) of size (1 to 100) records, the newest first,
// and tells whether there are older ones in the range. Any page costs the same.
// media.ErrInvalid names what is out of its range.
//
// Records that are added move the pages on; RecordsBefore has a cursor that
// they do not move.
func (tx *Tx) RecordPage(q RecordQuery, page, size int) (records []Record, more bool, err error) {
	if page < 1 {
		return nil, false, fmt.Errorf("page is %d, not 1 or more: %w", page, media.ErrInvalid)
	}
	if err := checkLimit("page size", size); err != nil {
		return nil, false, err
	}
	lo, hi, err := tx.span(q, 0)
	if err != nil || hi < lo || int64(page-1) > (hi-lo)/int64(size) {
		return nil, false, err
	}
	hi -= int64(page-1) * int64(size)
	from := max(lo, hi-int64(size)+1)
	records, err = tx.numbered(q, from, hi)
	return records, from > lo, err
}

func checkLimit(name string, n int) error {
	if n < 1 || n > 100 {
		return fmt.Errorf("%s is %d, not 1 to 100: %w", name, n, media.ErrInvalid)
	}
	return nil
}

func (q RecordQuery) group() recordGroup { return recordGroup{q.App, q.Kind, q.Sub} }

// numbered reads the records of a group with numbers from lo to hi, newest first.
func (tx *Tx) numbered(q RecordQuery, lo, hi int64) ([]Record, error) {
	no, cond, args := q.group().where()
	all, err := list(tx, scanRecord, `SELECT `+recordColumns+` FROM records WHERE `+cond+` AND `+no+` BETWEEN ? AND ? ORDER BY `+no+` DESC`,
		append(args, lo, hi)...)
	if q.Sub != "" { // whoever knows an id need not be of its application
		all = slices.DeleteFunc(all, func(r Record) bool { return r.App != q.App || q.Kind != "" && r.Kind != q.Kind })
	}
	return all, err
}

// span gives the lowest and highest number in the query's range of time, with an
// id under before unless that is 0; hi < lo when there is none.
func (tx *Tx) span(q RecordQuery, before int64) (lo, hi int64, err error) {
	g := q.group()
	first, last, err := tx.borders(g)
	lo, hi = first, last
	if err == nil && !q.From.IsZero() {
		lo, err = tx.bound(g, first, last, "time", millis(q.From))
	}
	if err == nil && !q.To.IsZero() {
		hi, err = tx.bound(g, first, last, "time", millis(q.To))
		hi--
	}
	if err == nil && before != 0 {
		var n int64
		n, err = tx.bound(g, first, last, "id", before)
		hi = min(hi, n-1)
	}
	return lo, hi, err
}

// bound finds, by halving, the lowest number in first..last whose column (time
// or id: they ascend with numbers) is v or more; last+1 when there is none.
func (tx *Tx) bound(g recordGroup, first, last int64, column string, v int64) (int64, error) {
	no, cond, args := g.where()
	lo, hi := first, last+1
	for lo < hi {
		mid := lo + (hi-lo)/2
		var at int64
		if err := tx.queryRow(`SELECT `+column+` FROM records WHERE `+cond+` AND `+no+` = ?`, append(slices.Clone(args), mid)...).Scan(&at); err != nil {
			return 0, err
		}
		if at < v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, nil
}

// RecordFilter narrows a RecordQuery; empty fields do not. Kind may be "" too.
type RecordFilter struct {
	RecordQuery
	Channel string
	Type    event.Type
	Result  string // "ok" or "failed"
	Task    string
	MsgID   string
}

// RecordsBefore gives up to limit (1 to 100) records, the newest first, of those
// with an ID under before; 0: from the newest. The ID of the last one leads on:
// what is added meanwhile changes nothing about the rest. With Channel, Type,
// Task, MsgID or Result "failed" only such records are read, with more than one
// of them the store picks one and looks at all that have it.
func (tx *Tx) RecordsBefore(f RecordFilter, before int64, limit int) ([]Record, error) {
	if err := checkLimit("limit", limit); err != nil {
		return nil, err
	}
	if f.Result != "" && f.Result != "ok" && f.Result != "failed" {
		return nil, fmt.Errorf("result is %q, not ok or failed: %w", f.Result, media.ErrInvalid)
	}
	if f.Channel == "" && f.Type == "" && f.Task == "" && f.MsgID == "" && f.Result != "failed" {
		return tx.byNumber(f, before, limit)
	}
	lo, hi, err := tx.ids(f.RecordQuery)
	if err != nil {
		return nil, err
	}
	if before != 0 {
		hi = min(hi, before-1)
	}
	query, args := f.where()
	return list(tx, scanRecord, `SELECT `+recordColumns+` FROM records WHERE `+query+` AND id BETWEEN ? AND ? ORDER BY id DESC LIMIT ?`,
		append(args, lo, hi, limit)...)
}

func (f RecordFilter) where() (query string, args []any) {
	query, args = "app = ?", []any{f.App}
	add := func(cond, value string) {
		if value != "" {
			query += " AND " + cond
			args = append(args, value)
		}
	}
	add("kind = ?", string(f.Kind))
	add("sub = ?", f.Sub)
	add("channel = ?", f.Channel)
	add("type = ?", string(f.Type))
	add("task <> '' AND task = ?", f.Task) // the index has only records with a task
	add("msg = ?", f.MsgID)
	switch f.Result {
	case "ok":
		query += " AND failure = ''"
	case "failed":
		query += " AND failure <> ''"
	}
	return query, args
}

// byNumber lists by the numbers of the group, or of all kinds merged.
func (tx *Tx) byNumber(f RecordFilter, before int64, limit int) ([]Record, error) {
	if f.Sub == "" && f.Kind == "" {
		var all []Record
		for _, kind := range Kinds() {
			f.Kind = kind
			some, err := tx.byNumber(f, before, limit)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
		slices.SortFunc(all, func(a, b Record) int { return cmp.Compare(b.ID, a.ID) })
		return all[:min(limit, len(all))], nil
	}
	lo, hi, err := tx.span(f.RecordQuery, before)
	size := limit
	if f.Result == "ok" {
		size = 100 // some will not do
	}
	var found []Record
	for err == nil && hi >= lo && len(found) < limit {
		from := max(lo, hi-int64(size)+1)
		var some []Record
		some, err = tx.numbered(f.RecordQuery, from, hi)
		if f.Result == "ok" {
			some = slices.DeleteFunc(some, func(r Record) bool { return r.Failure != "" })
		}
		found = append(found, some...)
		hi = from - 1
	}
	return found[:min(limit, len(found))], err
}

// ids turns a range of time into one of ids, by halving too. Ids may have gaps.
func (tx *Tx) ids(q RecordQuery) (lo, hi int64, err error) {
	var first, last int64
	err = tx.queryRow(`SELECT COALESCE((SELECT MIN(id) FROM records), 1), COALESCE((SELECT MAX(id) FROM records), 0)`).Scan(&first, &last)
	lo, hi = first, int64(math.MaxInt64)
	if err == nil && !q.From.IsZero() {
		lo, err = tx.idBound(first, last, millis(q.From))
	}
	if err == nil && !q.To.IsZero() {
		hi, err = tx.idBound(first, last, millis(q.To))
		hi--
	}
	return lo, hi, err
}

func (tx *Tx) idBound(lo, last, v int64) (int64, error) {
	hi := last + 1
	for lo < hi {
		mid := lo + (hi-lo)/2
		var id, at int64
		// there is one: last is
		if err := tx.queryRow(`SELECT id, time FROM records WHERE id >= ? ORDER BY id LIMIT 1`, mid).Scan(&id, &at); err != nil {
			return 0, err
		}
		if at < v {
			lo = id + 1
		} else {
			hi = mid
		}
	}
	return lo, nil
}

// DeliveryQuery says which deliveries a list is of.
type DeliveryQuery struct {
	App    string
	Failed bool   // what failed, else what waits
	Sub    string // "": all
}

// Deliveries gives up to limit (1 to 100) deliveries with an ID over after, in
// the order in which they were queued, or in which they failed.
func (tx *Tx) Deliveries(q DeliveryQuery, after int64, limit int) ([]Delivery, error) {
	if err := checkLimit("limit", limit); err != nil {
		return nil, err
	}
	query := `SELECT d.id, s.app, s.id, s.kind, d.msg, d.seq, d.event, d.payload, d.attempts, d.refused, d.first, d.created,
		CASE WHEN d.id = (SELECT id FROM deliveries WHERE lane = l.id ORDER BY lane, id LIMIT 1) THEN l.due ELSE 0 END, 0
		FROM deliveries d JOIN lanes l ON l.id = d.lane JOIN subscriptions s ON s.id = d.sub
		WHERE d.sub = ? AND d.id > ? ORDER BY d.id LIMIT ?`
	if q.Failed {
		query = `SELECT f.id, s.app, s.id, s.kind, f.msg, f.seq, f.event, f.payload, f.attempts, 0, 0, f.created, 0, f.failed
			FROM failures f JOIN subscriptions s ON s.id = f.sub WHERE f.sub = ? AND f.id > ? ORDER BY f.id LIMIT ?`
	}
	var subs []Subscription
	for _, kind := range []Kind{Room, MPU, Streams} {
		some, err := tx.Subscriptions(q.App, kind)
		if err != nil {
			return nil, err
		}
		subs = append(subs, some...)
	}
	recordings, err := tx.busyRecordings(q)
	if err != nil {
		return nil, err
	}
	subs = append(subs, recordings...)
	var found []Delivery
	for _, s := range subs {
		if q.Sub != "" && q.Sub != s.ID {
			continue
		}
		some, err := list(tx, scanDelivery, query, s.ID, after, limit)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	slices.SortFunc(found, func(a, b Delivery) int { return cmp.Compare(a.ID, b.ID) })
	return found[:min(limit, len(found))], nil
}

// busyRecordings are the subscriptions of cloud recordings, of which there may be
// many, that have something in the list.
func (tx *Tx) busyRecordings(q DeliveryQuery) ([]Subscription, error) {
	from := "lanes"
	if q.Failed {
		from = "failures"
	}
	return list(tx, scanSubscription, `SELECT `+subscriptionColumns+` FROM subscriptions s WHERE app = ? AND kind = ?
		AND EXISTS (SELECT 1 FROM `+from+` f WHERE f.sub = s.id) ORDER BY created, id`, q.App, Recordings)
}

func scanDelivery(r scanner) (d Delivery, err error) {
	var body []byte
	var seq int64
	err = r.Scan(&d.ID, &d.App, &d.Sub, &d.Kind, &d.MsgID, &seq, &body, &d.Payload, &d.Attempts, &d.Refused, at(&d.First), at(&d.Created),
		at(&d.NextAt), at(&d.FailedAt))
	if err != nil {
		return d, err
	}
	d.Event, err = eventOf(body, seq)
	return d, err
}
