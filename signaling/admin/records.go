package admin

import (
	"strconv"
	"time"

	"braid/event"
	"braid/store"
)

// record is a store.Record: one attempt to deliver.
type record struct {
	ID       int64      `json:"id"`
	Callback string     `json:"callback"`
	Kind     store.Kind `json:"kind"`
	Message  string     `json:"message"`
	Seq      int64      `json:"seq"`
	Type     event.Type `json:"type"`
	Channel  string     `json:"channel"`
	User     string     `json:"user,omitempty"`
	Task     string     `json:"task,omitempty"`
	URL      string     `json:"url"`
	Payload  string     `json:"payload"`
	Code     int        `json:"code"`
	Failure  string     `json:"failure,omitempty"`
	Attempt  int        `json:"attempt"`
	Cost     int64      `json:"cost_ms"`
	Time     time.Time  `json:"time"`
}

func showRecord(r store.Record) record {
	return record{r.ID, r.Sub, r.Kind, r.MsgID, r.Event, r.Type, r.Channel, r.User, r.Task, r.URL, r.Payload,
		r.Code, r.Failure, r.Attempt, r.Cost.Milliseconds(), r.Time.UTC()}
}

// delivery is a store.Delivery: a message that waits or was given up.
type delivery struct {
	ID       int64      `json:"id"`
	Callback string     `json:"callback"`
	Kind     store.Kind `json:"kind"`
	Message  string     `json:"message"`
	State    string     `json:"state"`
	Event    logEvent   `json:"event"`
	Attempts int        `json:"attempts"`
	Created  time.Time  `json:"created"`
	NextAt   *time.Time `json:"next_at,omitempty"`
	FailedAt *time.Time `json:"failed_at,omitempty"`
}

func showDelivery(d store.Delivery) delivery {
	out := delivery{ID: d.ID, Callback: d.Sub, Kind: d.Kind, Message: d.MsgID, State: "pending",
		Event: logEvent{d.Event.Seq, d.Event}, Attempts: d.Attempts, Created: d.Created.UTC()}
	if !d.NextAt.IsZero() {
		at := d.NextAt.UTC()
		out.NextAt = &at
	}
	if !d.FailedAt.IsZero() {
		at := d.FailedAt.UTC()
		out.State, out.FailedAt = "failed", &at
	}
	return out
}

// storePage is the most rows that the store gives at once.
const storePage = 100

// gather reads up to n rows in steps of the store's page; id is a row's place.
func gather[R any](at int64, n int, id func(R) int64, read func(at int64, limit int) ([]R, error)) ([]R, error) {
	var all []R
	for len(all) < n {
		want := min(n-len(all), storePage)
		some, err := read(at, want)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < want {
			break
		}
		at = id(some[len(some)-1])
	}
	return all, nil
}

// maxSubject is the most that the name of what an event is about has: a
// channel's id, or {app}/{name} of a stream.
const maxSubject = 511

// listRecords lists attempts, the newest first. New ones come before the first
// page and move nothing.
func (h *Handler) listRecords(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	f := store.RecordFilter{}
	f.App = c.params["app"]
	f.Kind = store.Kind(q.oneOf("kind", kinds()...))
	f.Sub, f.Channel, f.Type = q.text("callback", 64), q.text("channel", maxSubject), event.Type(q.text("type", 64))
	f.Task, f.MsgID, f.Result = q.text("task", 64), q.text("message", 64), q.oneOf("result", "ok", "failed")
	f.From, f.To = q.time("from", time.Time{}), q.time("to", time.Time{})
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		q.refuse("from", "is not before to")
	}
	limit, before := q.limit(), q.number("records")
	if err := q.done(); err != nil {
		return nil, err
	}
	if _, err := h.application(c); err != nil {
		return nil, err
	}
	id := func(r store.Record) int64 { return r.ID }
	rows, err := gather(before, limit+1, id, func(at int64, n int) ([]store.Record, error) {
		return h.callbacks.RecordsBefore(c.r.Context(), f, at, n)
	})
	if err != nil {
		return nil, err
	}
	return ok(newPage(rows, limit, "records", func(r store.Record) string { return strconv.FormatInt(r.ID, 10) }, func(r store.Record) record {
		out := showRecord(r)
		if c.who.viewer {
			out.veil()
		}
		return out
	}))
}

// listDeliveries lists what waits, or what was given up, the oldest first.
func (h *Handler) listDeliveries(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	state := q.oneOf("state", "pending", "failed")
	f := store.DeliveryQuery{App: c.params["app"], Failed: state == "failed", Sub: q.text("callback", 64)}
	list := "pending"
	if f.Failed {
		list = "failed"
	}
	limit, after := q.limit(), q.number(list)
	if err := q.done(); err != nil {
		return nil, err
	}
	if _, err := h.application(c); err != nil {
		return nil, err
	}
	id := func(d store.Delivery) int64 { return d.ID }
	rows, err := gather(after, limit+1, id, func(at int64, n int) ([]store.Delivery, error) {
		return h.callbacks.Deliveries(c.r.Context(), f, at, n)
	})
	if err != nil {
		return nil, err
	}
	return ok(newPage(rows, limit, list, func(d store.Delivery) string { return strconv.FormatInt(d.ID, 10) }, func(d store.Delivery) delivery {
		if c.who.viewer {
			d.Event = veilEvent(d.Event)
		}
		return showDelivery(d)
	}))
}
