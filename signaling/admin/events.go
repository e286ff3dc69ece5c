package admin

import (
	"strconv"

	"braid/event"
	"braid/store"
)

// logEvent is an event with its place in the log.
type logEvent struct {
	Seq int64 `json:"seq"`
	event.Event
}

// eventPage always has a cursor: the log goes on.
type eventPage struct {
	Items []logEvent `json:"items"`
	Next  string     `json:"next"`
	More  bool       `json:"more"` // there is another page already
}

// listEvents reads the log of the last 7 days, the oldest first.
func (h *Handler) listEvents(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	app, limit := q.text("app", 64), q.limit()
	var after int64
	if s, ok := q.take("after"); ok {
		at, err := readCursor("events", s)
		if err == nil {
			after, err = strconv.ParseInt(at, 10, 64)
		}
		if err != nil || after < 0 {
			q.refuse("after", "it is not a cursor of the log; send next of the last page unchanged")
		}
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	var rows []event.Event
	err = h.store.View(c.r.Context(), func(tx *store.Tx) (err error) {
		rows, err = tx.Events(app, after, limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := eventPage{Items: []logEvent{}, More: len(rows) > limit}
	for _, e := range rows[:min(len(rows), limit)] {
		out.Items = append(out.Items, logEvent{e.Seq, e})
		after = e.Seq
	}
	out.Next = writeCursor("events", strconv.FormatInt(after, 10))
	return ok(out)
}
