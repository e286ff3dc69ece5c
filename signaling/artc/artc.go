// Package artc is the RPC border of the control API: the actions of Alibaba
// Cloud ARTC (OpenAPI live 2016-11-01) that steer stream relay tasks, signed
// and encoded so that the official SDKs work against it unchanged.
//
// It authenticates a request, turns its parameters into a relay.Spec and maps
// errors to codes; what a task then does is behind the Tasks interface. It
// starts no goroutine.
//
//	request → parameters → signature, clock, nonce → tree → relay.Spec → Tasks
//
// Where no public source states what the service does, the choice is marked
// "braid's own" here and listed in doc/api.md.
package artc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"braid/media"
	"braid/relay"
)

// Version is the only API version that is served.
const Version = "2016-11-01"

// Keys finds the secret of an access key. Secret is called from many goroutines.
type Keys interface {
	Secret(accessKeyID string) (secret string, ok bool)
}

// Apps tells which applications exist. Exists is called from many goroutines.
type Apps interface {
	Exists(app string) bool
}

// Tasks are the stream relay tasks. All methods are called from many
// goroutines; a Spec that was handed over, or is returned, is not changed by
// this package afterwards. Errors wrap the sentinels of package media.
type Tasks interface {
	// Start creates a task. media.ErrExists: the task id is live;
	// media.ErrNotFound: no user is in the channel; media.ErrLimit: the
	// application's quota is used up; media.ErrInvalid: the words say why.
	Start(ctx context.Context, s *relay.Spec) error
	// Update replaces the desired state of a running task, except MaxIdle and
	// SEI.PayloadType, which the request cannot carry: they stay as they are.
	// media.ErrNotFound: no such task; media.ErrInvalid: the words say why.
	Update(ctx context.Context, s *relay.Spec) error
	// Stop ends a task. media.ErrNotFound: no such task.
	Stop(ctx context.Context, app, task string) error
	// SetSEI sets the task's custom SEI content, a JSON text of at most 4096
	// characters. media.ErrNotFound: no such task.
	SetSEI(ctx context.Context, app, task, content string) error
	// List returns one task when task is set, else a page of the
	// application's tasks, newest update first; page counts from 1.
	List(app, task string, page, size int) []*relay.Spec
}

// Config is what a Handler works with. Keys, Apps, Tasks and Channels are required.
type Config struct {
	Keys     Keys
	Apps     Apps
	Tasks    Tasks
	Channels media.Channels
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: nothing is logged; only internal errors are
}

// Handler serves the RPC API at path "/" by GET and POST. The Host header must
// arrive as the client sent it, port included: it is part of the signature.
type Handler struct {
	keys     Keys
	apps     Apps
	tasks    Tasks
	channels media.Channels
	now      func() time.Time
	log      *slog.Logger
	nonces   *nonces
	actions  map[string]action
}

// An action reads its fields and answers with the response's fields besides
// RequestId (nil: none).
type action func(ctx context.Context, f *fields) (map[string]any, error)

// New returns a Handler. Its memory for nonces starts empty, so requests of
// the last 15 minutes could be replayed once after a restart.
func New(c Config) *Handler {
	h := &Handler{keys: c.Keys, apps: c.Apps, tasks: c.Tasks, channels: c.Channels,
		now: c.Now, log: c.Log, nonces: newNonces(maxNonces)}
	if h.now == nil {
		h.now = time.Now
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.actions = map[string]action{
		"StartLiveMPUTask":     h.startTask,
		"UpdateLiveMPUTask":    h.updateTask,
		"StopLiveMPUTask":      h.stopTask,
		"SetLiveMpuTaskSei":    h.setTaskSEI,
		"ListRtcMPUTaskDetail": h.listTasks,
		"DescribeChannelUsers": h.describeChannelUsers,
	}
	return h
}

// ServeHTTP answers with JSON always: artc-api.md section 11.3.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID()
	status := http.StatusOK
	reply, err := h.answer(w, r)
	if err != nil {
		var e *apiError
		if !errors.As(err, &e) {
			h.log.Error("artc: request failed", "requestId", id, "err", err)
			e = errInternal
		}
		status = e.status
		reply = map[string]any{"Code": e.code, "Message": e.message, "HostId": r.Host}
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, POST")
		}
	}
	if reply == nil {
		reply = map[string]any{}
	}
	reply["RequestId"] = id
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(reply) // a client that has gone needs no answer
}

func (h *Handler) answer(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return nil, errMethod
	}
	if r.URL.Path != "/" {
		return nil, errAction
	}
	req, err := readRequest(w, r)
	if err != nil {
		return nil, err
	}
	c, err := h.verify(req)
	if err != nil {
		return nil, err
	}
	if c.version != Version {
		return nil, errVersion
	}
	act, ok := h.actions[c.action]
	if !ok {
		return nil, errAction
	}
	tree, err := decode(req.params)
	if err != nil {
		return nil, err
	}
	reply, err := act(r.Context(), newFields(tree))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.action, err)
	}
	return reply, nil
}

// requestID is a random UUID (RFC 9562 version 4) in upper case.
func requestID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
