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

// mostScanned is how many events one request looks at for those of a channel,
// a stream or a task: some 30 ms of work. The next request goes on behind them.
const mostScanned = 5000

// taskOf is the relay task or the cloud recording that an event is about.
func taskOf(e event.Event) string {
	switch {
	case e.Relay != nil:
		return e.Relay.Task
	case e.Recording != nil:
		return e.Recording.Task
	}
	return ""
}

// listEvents reads the log of the last 7 days, the oldest first. A page that is
// narrowed to a channel, a stream or a task may be short, or empty, while there is more.
func (h *Handler) listEvents(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	app, limit := q.text("app", 64), q.limit()
	channel, task := q.text("channel", 64), q.text("task", 55)
	stream := q.text("stream", maxSubject)
	after := q.int("after", 0, 0, math.MaxInt)
	if err := q.done(); err != nil {
		return nil, err
	}
	narrow := channel != "" || task != "" || stream != ""
	look := limit
	if narrow {
		look = mostScanned
	}
	var rows []event.Event
	err = h.store.View(c.r.Context(), func(tx *store.Tx) (err error) {
		rows, err = tx.Events(app, int64(after), look+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := eventPage{Items: []logEvent{}, Next: int64(after)}
	for i, e := range rows {
		if i == look || len(out.Items) == limit {
			out.More = true
			break
		}
		out.Next = e.Seq
		if channel != "" && e.Channel != channel || task != "" && taskOf(e) != task ||
			stream != "" && (e.Stream == nil || e.Subject() != stream) {
			continue
		}
		if c.who.viewer {
			e = veilEvent(e)
		}
		out.Items = append(out.Items, logEvent{e.Seq, e})
	}
	return ok(out)
}
