package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"braid/media"
	"braid/signaling"
	"braid/store"
)

// Callbacks are callback.Service: the rules of callback tasks, what waits to be
// delivered, and the records of what was tried. Its methods are called from many
// goroutines.
type Callbacks interface {
	Create(ctx context.Context, sub *store.Subscription) error
	Update(ctx context.Context, sub *store.Subscription) error
	Delete(ctx context.Context, app string, kind store.Kind, id string) error
	List(ctx context.Context, app string, kind store.Kind) ([]store.Subscription, error)
	RecordsBefore(ctx context.Context, f store.RecordFilter, before int64, limit int) ([]store.Record, error)
	Deliveries(ctx context.Context, q store.DeliveryQuery, after int64, limit int) ([]store.Delivery, error)
	Resend(ctx context.Context, app, msgID string) error
}

// callbackTask is a store.Subscription.
type callbackTask struct {
	ID       string     `json:"id"`
	Kind     store.Kind `json:"kind"`
	URL      string     `json:"url"`
	Channels []string   `json:"channels"`
	Events   []string   `json:"events"`
	Users    []string   `json:"users"`
	Created  time.Time  `json:"created"`
	Updated  time.Time  `json:"updated"`
}

func showCallback(s store.Subscription) callbackTask {
	return callbackTask{ID: s.ID, Kind: s.Kind, URL: s.URL, Channels: append([]string{}, s.Channels...),
		Events: append([]string{}, s.Events...), Users: append([]string{}, s.Users...), Created: s.Created.UTC(), Updated: s.Updated.UTC()}
}

// subscriptions are those of the application in the path, the oldest first, of
// all kinds that are made here when kind is "".
func (h *Handler) subscriptions(c *call, kind store.Kind) ([]store.Subscription, error) {
	if _, err := h.application(c); err != nil {
		return nil, err
	}
	var all []store.Subscription
	for _, k := range store.Kinds() {
		if kind != k && (kind != "" || k == store.Recordings) {
			continue
		}
		some, err := h.callbacks.List(c.r.Context(), c.params["app"], k)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// kinds are the words for the kinds of callbacks.
func kinds() (words []string) {
	for _, k := range store.Kinds() {
		words = append(words, string(k))
	}
	return words
}

// subscription is the one that the path names.
func (h *Handler) subscription(c *call) (store.Subscription, error) {
	all, err := h.subscriptions(c, "")
	if err != nil {
		return store.Subscription{}, err
	}
	for _, s := range all {
		if s.ID == c.params["callback"] {
			return s, nil
		}
	}
	return store.Subscription{}, fmt.Errorf("callback %s: %w", quote(c.params["callback"]), media.ErrNotFound)
}

func (h *Handler) listCallbacks(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	kind := store.Kind(q.oneOf("kind", kinds()...))
	if err := q.done(); err != nil {
		return nil, err
	}
	all, err := h.subscriptions(c, kind)
	if err != nil {
		return nil, err
	}
	return ok(newPage(all, len(all), "callbacks", nil, c.showCallback))
}

func (h *Handler) getCallback(c *call) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	s, err := h.subscription(c)
	if err != nil {
		return nil, err
	}
	return ok(c.showCallback(s))
}

// readCallback reads what can be changed; what it means is checked by Callbacks.
func readCallback(o *object, s *store.Subscription) error {
	o.need("url")
	o.str("url", &s.URL, 1, 4096)
	o.strs("channels", &s.Channels, 100, 64)
	o.strs("events", &s.Events, 100, 64)
	o.strs("users", &s.Users, 100, 64)
	return o.done()
}

// createCallback creates a callback task. The answer for an Idempotency-Key is
// kept in a transaction after that of the callback, so a process that is killed
// between the two creates it again; requests that run at the same time do not.
func (h *Handler) createCallback(c *call) (*reply, error) {
	s := store.Subscription{App: c.params["app"]}
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	kind := ""
	o.need("kind")
	o.oneOf("kind", &kind, string(store.Room), string(store.MPU), string(store.Streams)) // the others' come and go with a cloud recording
	s.Kind = store.Kind(kind)
	if err := readCallback(o, &s); err != nil {
		return nil, err
	}
	h.making.Lock()
	defer h.making.Unlock()
	return h.again(c, func() (*reply, error) {
		if err := h.callbacks.Create(c.r.Context(), &s); err != nil {
			return nil, ownWords(err)
		}
		return &reply{status: http.StatusCreated, body: showCallback(s), location: "/v1/applications/" + s.App + "/callbacks/" + s.ID}, nil
	})
}

func (h *Handler) putCallback(c *call) (*reply, error) {
	old, err := h.subscription(c)
	if err != nil {
		return nil, err
	}
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	next := store.Subscription{App: old.App, ID: old.ID, Kind: old.Kind}
	if err := readCallback(o, &next); err != nil {
		return nil, err
	}
	if err := h.callbacks.Update(c.r.Context(), &next); err != nil {
		return nil, ownWords(err)
	}
	return ok(showCallback(next))
}

func (h *Handler) deleteCallback(c *call) (*reply, error) {
	s, err := h.subscription(c)
	if err != nil {
		return nil, err
	}
	if err := h.callbacks.Delete(c.r.Context(), s.App, s.Kind, s.ID); err != nil {
		return nil, err
	}
	return &reply{}, nil
}

// ownWords turns what Callbacks says about the actions' fields into words about
// this API's.
func ownWords(err error) error {
	words := err.Error()
	for _, sentinel := range []error{media.ErrInvalid, media.ErrLimit, media.ErrExists} {
		words = strings.TrimSuffix(words, ": "+sentinel.Error())
	}
	field, rest, _ := strings.Cut(words, ": ")
	own, known := map[string]string{"CallbackUrl": "url", "ChannelId": "channels", "ChannelIds": "channels",
		"Events": "events", "Users": "users"}[field]
	switch {
	case errors.Is(err, media.ErrLimit):
		return signaling.Conflict("%s", words)
	case errors.Is(err, media.ErrExists) && known:
		return signaling.Conflict("%s: %s", own, rest)
	case errors.Is(err, media.ErrInvalid) && known:
		return signaling.Invalid{{Field: own, Detail: rest}}
	}
	return err
}

// resend sends a message again that failed or is in the records.
func (h *Handler) resend(c *call) (*reply, error) {
	if _, err := h.application(c); err != nil {
		return nil, err
	}
	if err := h.callbacks.Resend(c.r.Context(), c.params["app"], c.params["message"]); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusAccepted}, nil
}
