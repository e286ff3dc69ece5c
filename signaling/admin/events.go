package admin

import (
	"math"

	"braid/event"
	"braid/store"
)

// logEvent is an event with its place in the log.
type logEvent struct {
	Seq int64 `json:"seq"`
	event.Event
}

// eventPage always says where to go on: the log does.
type eventPage struct {
	Items []logEvent `json:"items"`
	Next  int64      `json:"next"`
	More  bool       `json:"more"` // there is another page already
}

// listEvents reads the log of the last 7 days, the oldest first.
func (h *Handler) listEvents(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	app, limit := q.text("app", 64), q.limit()
	after := q.int("after", 0, 0, math.MaxInt)
	if err := q.done(); err != nil {
		return nil, err
	}
	var rows []event.Event
	err = h.store.View(c.r.Context(), func(tx *store.Tx) (err error) {
		rows, err = tx.Events(app, int64(after), limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := eventPage{Items: []logEvent{}, Next: int64(after), More: len(rows) > limit}
	for _, e := range rows[:min(len(rows), limit)] {
		if c.who.viewer {
			e = veilEvent(e)
		}
		out.Items = append(out.Items, logEvent{e.Seq, e})
		out.Next = e.Seq
	}
	return ok(out)
}
