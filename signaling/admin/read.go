package admin

import "braid/store"

// one answers with the one thing that the path names with param, and its
// version.
func one[R any](h *Handler, c *call, param string, read func(tx *store.Tx, id string) (R, error), show func(R) (body any, version int64)) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	var r R
	err := h.store.View(c.r.Context(), func(tx *store.Tx) (err error) {
		r, err = read(tx, c.params[param])
		return err
	})
	if err != nil {
		return nil, err
	}
	body, version := show(r)
	return &reply{body: body, version: version}, nil
}

// list answers with a page of what read gives behind a cursor that at made.
func list[R, T any](h *Handler, c *call, name string, read func(tx *store.Tx, after string, limit int) ([]R, error), at func(R) string, item func(R) T) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	limit, after := q.limit(), q.cursor(name)
	if err := q.done(); err != nil {
		return nil, err
	}
	var rows []R
	err = h.store.View(c.r.Context(), func(tx *store.Tx) (err error) {
		rows, err = read(tx, after, limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ok(newPage(rows, limit, name, at, item))
}
