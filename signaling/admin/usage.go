package admin

import (
	"strconv"
	"time"

	"braid/store"
)

const (
	usageKept  = 90 * 24 * time.Hour // artc-api.md section 10
	usageRange = 31 * 24 * time.Hour
)

// usage is how long something of one class was used in one interval.
type usage struct {
	Start   time.Time `json:"start"`
	Class   string    `json:"class"`
	Seconds float64   `json:"seconds"`
}

type usageList struct {
	Kind     string    `json:"kind"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Interval int       `json:"interval_seconds"`
	Items    []usage   `json:"items"`
}

// getUsage sums up what an application used: by default its calls of the last
// 24 hours, hour by hour.
func (h *Handler) getUsage(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	now := h.now().UTC()
	out := usageList{Kind: q.oneOf("kind", "call", "relay"), Items: []usage{}}
	if out.Kind == "" {
		out.Kind = string(store.CallUsage)
	}
	out.Interval, _ = strconv.Atoi(q.oneOf("interval", "300", "3600", "86400"))
	if out.Interval == 0 {
		out.Interval = 3600
	}
	out.To = q.time("to", now)
	out.From = q.time("from", out.To.Add(-24*time.Hour))
	switch {
	case !out.From.Before(out.To):
		q.refuse("from", "is not before to")
	case out.To.Sub(out.From) > usageRange:
		q.refuse("from", "is more than 31 days before to")
	case out.From.Before(now.Add(-usageKept)):
		q.refuse("from", "is more than 90 days ago; older usage is not kept")
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	// The span that To lies in counts whole, so that the last minutes are seen.
	to := out.To.Add(store.UsageSpan - time.Nanosecond).Truncate(store.UsageSpan)
	err = h.store.View(c.r.Context(), func(tx *store.Tx) error {
		if _, err := tx.Application(c.params["app"]); err != nil {
			return err
		}
		rows, err := tx.Usage([]string{c.params["app"]}, store.UsageKind(out.Kind), out.From, to, time.Duration(out.Interval)*time.Second)
		for _, u := range rows {
			out.Items = append(out.Items, usage{Start: u.Start.UTC(), Class: u.Class, Seconds: u.Time.Seconds()})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return ok(out)
}
