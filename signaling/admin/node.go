package admin

import (
	"time"

	"braid/store"
)

// Node is what a server says of itself.
type Node struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	State   string    `json:"state"`    // ok, or draining
	DataDir string    `json:"data_dir"` // absolute
	Store   string    `json:"store"`    // sqlite or postgres
	HTTP    string    `json:"http"`     // how whoever asks reaches it: http://host:port
	RTMP    string    `json:"rtmp"`     // rtmp://host:port
	Media   string    `json:"media"`    // host:port of UDP and TCP
}

// node is a Node with what it has to do.
type node struct {
	Node
	Applications int `json:"applications"`
	Channels     int `json:"channels"`
	Users        int `json:"users"`
	Sessions     int `json:"sessions"` // open WebRTC sessions
	Tasks        int `json:"tasks"`
}

func (h *Handler) getNode(c *call) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	var out node
	if h.node != nil {
		out.Node = h.node(c.r)
	}
	for _, ch := range h.rooms.Snapshot() {
		out.Channels++
		out.Users += len(ch.Users)
	}
	for _, s := range h.rooms.Sessions() {
		if s.Ended.IsZero() {
			out.Sessions++
		}
	}
	err := h.store.View(c.r.Context(), func(tx *store.Tx) error {
		tasks, err := tx.Tasks()
		if err != nil {
			return err
		}
		out.Tasks = len(tasks)
		for after := ""; ; {
			rows, err := tx.Applications(after, 500)
			if err != nil || len(rows) == 0 {
				return err
			}
			out.Applications += len(rows)
			after = rows[len(rows)-1].Cursor()
		}
	})
	if err != nil {
		return nil, err
	}
	return ok(out)
}
