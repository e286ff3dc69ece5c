package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"braid/signaling"
	"braid/store"
)

const maxIdempotencyKey = 128

// create runs f in a transaction. With a header Idempotency-Key the answer is
// kept in the same transaction for a day: whoever sends the request again, since
// the answer was lost, gets that answer and changes nothing.
func (h *Handler) create(c *call, f func(*store.Tx) (*reply, error)) (out *reply, err error) {
	id, err := c.idempotencyKey()
	if err != nil {
		return nil, err
	}
	err = h.store.Update(c.r.Context(), func(tx *store.Tx) error {
		if id != "" {
			if out, err = c.answered(tx, id); err != nil || out != nil {
				return err
			}
		}
		if out, err = f(tx); err != nil || id == "" {
			return err
		}
		return c.keep(tx, id, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// again is create for what has its own transaction: the answer is kept after it.
func (h *Handler) again(c *call, f func() (*reply, error)) (out *reply, err error) {
	id, err := c.idempotencyKey()
	switch {
	case err != nil:
		return nil, err
	case id == "":
		return f()
	}
	err = h.store.View(c.r.Context(), func(tx *store.Tx) error {
		out, err = c.answered(tx, id)
		return err
	})
	if err != nil || out != nil {
		return out, err
	}
	if out, err = f(); err != nil {
		return nil, err
	}
	return out, h.store.Update(c.r.Context(), func(tx *store.Tx) error { return c.keep(tx, id, out) })
}

// idempotencyKey is the name under which an answer is kept, "" for not at all.
// The client's key counts for one method of one path.
func (c *call) idempotencyKey() (string, error) {
	keys := c.r.Header.Values("Idempotency-Key")
	if len(keys) == 0 {
		return "", nil
	}
	if len(keys) > 1 || len(keys[0]) == 0 || len(keys[0]) > maxIdempotencyKey {
		return "", signaling.Invalid{{Field: "Idempotency-Key", Detail: fmt.Sprintf("is not one value of 1 to %d characters", maxIdempotencyKey)}}
	}
	sum := sha256.Sum256([]byte(c.r.Method + "\n" + c.r.URL.EscapedPath() + "\n" + keys[0]))
	return hex.EncodeToString(sum[:]), nil
}

func (c *call) bodyHash() string {
	sum := sha256.Sum256(c.body)
	return hex.EncodeToString(sum[:])
}

// answered is the answer that was given before, nil when there was none.
func (c *call) answered(tx *store.Tx, id string) (*reply, error) {
	a, err := tx.Answer(id)
	switch {
	case isNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	case a.Request != c.bodyHash():
		return nil, signaling.Unprocessable("Idempotency-Key: it came with another body before; use a new one for another request")
	}
	c.w.Header().Set("Idempotency-Replayed", "true")
	return &reply{status: a.Status, body: json.RawMessage(a.Body), version: a.Version, location: a.Location}, nil
}

func (c *call) keep(tx *store.Tx, id string, out *reply) error {
	body, err := json.Marshal(out.body)
	if err != nil {
		return fmt.Errorf("admin: keep the answer: %w", err)
	}
	return tx.KeepAnswer(store.Answer{ID: id, Request: c.bodyHash(), Status: out.status, Version: out.version,
		Location: out.location, Body: body})
}
