package admin

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"braid/relay"
	"braid/store"
)

// task is a stream relay task, the automatic ones too.
type task struct {
	ID      string         `json:"id"`
	Channel string         `json:"channel"`
	Auto    bool           `json:"auto"`
	Mode    string         `json:"mode"`
	URLs    []string       `json:"urls"`
	Request map[string]any `json:"request,omitempty"` // as StartLiveMPUTask or UpdateLiveMPUTask got it
	SEI     string         `json:"sei_content,omitempty"`
	Created time.Time      `json:"created"`
	Updated time.Time      `json:"updated"`

	Destinations []relay.URLState `json:"destinations,omitempty"` // in the order of URLs; none: the task does not run
}

func showTask(t store.Task) (task, error) {
	var spec relay.Spec
	if err := json.Unmarshal(t.Spec, &spec); err != nil {
		return task{}, fmt.Errorf("admin: task %s of application %s: %w", t.ID, t.App, err)
	}
	out := task{ID: t.ID, Channel: t.Channel, Auto: t.Auto, Mode: "mix", URLs: append([]string{}, spec.URLs...),
		Request: spec.Echo, SEI: t.Content, Created: t.Created.UTC(), Updated: t.Updated.UTC()}
	if spec.Mode == relay.Single {
		out.Mode = "single"
	}
	return out, nil
}

// taskCursor is a task's place in the order of creation.
func taskCursor(t store.Task) string {
	return strconv.FormatInt(t.Created.UnixMilli(), 10) + "." + t.ID
}

// afterTask tells whether t comes after a cursor, and whether that is one.
func afterTask(t store.Task, cursor string) (after, ok bool) {
	ms, id, found := strings.Cut(cursor, ".")
	n, err := strconv.ParseInt(ms, 10, 64)
	if !found || err != nil {
		return false, false
	}
	at := t.Created.UnixMilli()
	return at > n || at == n && t.ID > id, true
}

func (h *Handler) listTasks(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	limit, cursor := q.limit(), q.cursor("tasks")
	if cursor != "" {
		if _, ok := afterTask(store.Task{}, cursor); !ok {
			q.refuse("cursor", "it is not a cursor of this list")
		}
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	var rows []store.Task
	err = h.store.View(c.r.Context(), func(tx *store.Tx) error {
		if _, err := tx.Application(c.params["app"]); err != nil {
			return err
		}
		all, err := tx.Tasks() // by created, application and id
		for _, t := range all {
			after := cursor == ""
			if !after {
				after, _ = afterTask(t, cursor)
			}
			if t.App == c.params["app"] && after && len(rows) <= limit {
				rows = append(rows, t)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	doing := make(map[string][]relay.URLState)
	for _, t := range h.tasks.States() {
		if t.App == c.params["app"] {
			doing[t.Task] = t.URLs
		}
	}
	var wrong error
	p := newPage(rows, limit, "tasks", taskCursor, func(t store.Task) task {
		out, err := showTask(t)
		out.Destinations = doing[t.ID]
		if c.who.viewer {
			out.veil()
		}
		if err != nil {
			wrong = err
		}
		return out
	})
	if wrong != nil {
		return nil, wrong
	}
	return ok(p)
}

// stopTask ends a task. An automatic one stays stopped until its channel closes.
func (h *Handler) stopTask(c *call) (*reply, error) {
	if _, err := h.application(c); err != nil {
		return nil, err
	}
	if err := h.tasks.Stop(c.r.Context(), c.params["app"], c.params["task"]); err != nil {
		return nil, err
	}
	return &reply{}, nil
}
