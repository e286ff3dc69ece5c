// Package artc is the RPC border of the control API: the actions of Alibaba
// Cloud ARTC (OpenAPI live 2016-11-01), signed and encoded so that the official
// SDKs work against it unchanged.
//
// It authenticates a request, reads its parameters, hands what they say to the
// part that does it, and shapes the answer or the error as the action's family
// does. What there is stands in catalogue.go. It starts no goroutine.
//
//	request → parameters → signature, clock, nonce → rate → tree → fields → action → answer
//
// Where no public source states what the service does, the choice is marked
// "braid's own" here and listed in doc/api.md.
package artc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"braid/callback"
	"braid/media"
	"braid/media/sfu"
	"braid/relay"
	"braid/store"
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

// SFU is who is in the channels, and how they are made to leave. All methods are
// called from many goroutines.
type SFU interface {
	// Snapshot lists all channels.
	Snapshot() []sfu.ChannelInfo
	// Kick makes a user leave. media.ErrNotFound: it is not there.
	Kick(app, channel, user string) error
	// Dismiss makes everyone leave and closes the channel. media.ErrNotFound:
	// there is no such channel.
	Dismiss(app, channel string) error
}

// Config is what a Handler works with. Keys, Apps, Tasks and Channels are
// required; each of Store to PublicRTMP by the actions that are about it.
type Config struct {
	Keys     Keys
	Apps     Apps
	Tasks    Tasks
	Channels media.Channels

	Store     *store.DB
	Callbacks *callback.Service
	SFU       SFU
	// Recordings are the cloud recordings; nil: they are answered with NotSupported.
	Recordings CloudRecordings
	// PublicHTTP and PublicRTMP are where clients reach this server, such as
	// http://host:8080 and rtmp://host:1935, as seen by who sent a request.
	PublicHTTP func(*http.Request) string
	PublicRTMP func(*http.Request) string

	// Changed is told of each change, after it was made or refused and before
	// that is answered; nil: nobody is. It may block.
	Changed func(*http.Request, Change)

	Limits bool             // hold each access key to the documented calls a second of an action
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: nothing is logged; only internal errors are
}

// Handler serves the RPC API at path "/" by GET and POST. The Host header must
// arrive as the client sent it, port included: it is part of the signature.
type Handler struct {
	cfg     Config
	keys    Keys
	now     func() time.Time
	nonces  *nonces
	actions map[string]action
	rates   *rates // nil: no limits
}

// New returns a Handler. Its memory for nonces starts empty, so requests of
// the last 15 minutes could be replayed once after a restart.
func New(c Config) *Handler {
	h := &Handler{cfg: c, keys: c.Keys, now: c.Now, nonces: newNonces(maxNonces), actions: map[string]action{}}
	if h.now == nil {
		h.now = time.Now
	}
	if h.cfg.Log == nil {
		h.cfg.Log = slog.New(slog.DiscardHandler)
	}
	if c.Limits {
		h.rates = newRates()
	}
	for _, a := range catalogue() {
		h.actions[a.name] = a
	}
	return h
}

// reply is an answer's fields besides RequestId; nil: none.
type reply = map[string]any

// ServeHTTP answers with JSON always: artc-api.md section 11.3.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID()
	status := http.StatusOK
	var did Change
	body, err := h.answer(w, r, &did)
	if err != nil {
		status, body = h.failure(err, id)
		body["HostId"] = r.Host
		switch status {
		case http.StatusMethodNotAllowed:
			w.Header().Set("Allow", "GET, POST")
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "5")
		}
	}
	if did.Action != "" && h.cfg.Changed != nil {
		did.Status = status
		h.cfg.Changed(r, did)
	}
	if body == nil {
		body = reply{}
	}
	body["RequestId"] = id
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(body) // a client that has gone needs no answer
}

// answer tells in did what was to be changed, if anything.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, did *Change) (reply, error) {
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
	who, err := h.verify(req)
	if err != nil {
		return nil, err
	}
	if who.version != Version {
		return nil, errVersion
	}
	act, ok := h.actions[who.action]
	if !ok {
		return nil, errAction
	}
	r.Pattern = "/?Action=" + act.name // for who counts requests
	if h.rates != nil && act.qps > 0 {
		if wait := h.rates.take(who.keyID, act, h.now()); wait > 0 {
			w.Header().Set(rateHeader, rateState(act, wait))
			return nil, throttled(act)
		}
	}
	*did = changeOf(act, who.keyID, req.params)
	body, err := h.run(act, r, req.params)
	if err != nil {
		return nil, inFamily{act.family, fmt.Errorf("%s: %w", act.name, err)}
	}
	return body, nil
}

func (h *Handler) run(act action, r *http.Request, params map[string]string) (reply, error) {
	tree, err := decode(params)
	if err != nil {
		return nil, err
	}
	return act.run(h, &call{fields: newFields(tree), http: r})
}

// call is one request for an action, authenticated.
type call struct {
	*fields
	http *http.Request
}

func (c *call) ctx() context.Context { return c.http.Context() }

// requestID is a random UUID (RFC 9562 version 4) in upper case.
func requestID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
