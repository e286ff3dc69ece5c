// Package admin is the REST border of the control API, under /v1/: what the
// console does, for programs. Applications and their keys, stream relay
// settings, streaming domains, callbacks and their records, channels, tasks,
// usage and the log of events. doc/rest.md is its manual, openapi.json its
// exact form.
//
// It authenticates a request, checks its JSON and its If-Match, and writes the
// store in one transaction; what must act on it (relay, SFU, callbacks) is told
// afterwards through small interfaces. It starts one goroutine for each stream that
// somebody who is signed in to the console watches through it; it ends with that request.
//
//	request → credentials → route → body and query → audit log → transaction → hooks → result → JSON
package admin

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"braid/media/sfu"
	"braid/relay"
	"braid/signaling"
	"braid/signaling/artc"
	"braid/signaling/console"
	"braid/signaling/live"
	"braid/store"
)

// Tasks is what this API needs of the stream relay. Its methods are called from
// many goroutines, outside of any transaction.
type Tasks interface {
	artc.Mixes
	// Stop ends a task; media.ErrNotFound when there is none.
	Stop(ctx context.Context, app, task string) error
	// States are the tasks that run, of all applications.
	States() []relay.TaskState
	// StopApp ends all tasks of an application, the automatic ones too. It does
	// not wait for them.
	StopApp(app string)
	// SettingsChanged tells that an application's relay settings, or the
	// domain that they name, or whether it is disabled, have changed.
	SettingsChanged(app string)
}

// Rooms is what this API needs of the SFU. Its methods are called from many goroutines.
type Rooms interface {
	// Snapshot lists the channels of all applications, by application and channel.
	Snapshot() []sfu.ChannelInfo
	// Sessions lists the open WebRTC sessions and those that failed lately, the
	// newest first, those of one time by id.
	Sessions() []sfu.SessionInfo
	// Kick ends all sessions of a user; media.ErrNotFound when it is not there.
	Kick(app, channel, user string) error
	// Dismiss sends everyone out and closes the channel; media.ErrNotFound.
	Dismiss(app, channel string) error
}

// Config is what a Handler works with. All but AdminTokens, Node, Now and Log is
// required.
type Config struct {
	Store      *store.DB
	Callbacks  Callbacks
	SFU        Rooms
	Tasks      Tasks
	Streams    Streams
	Recordings Recordings        // nil: nothing is recorded
	Accounts   *console.Accounts // whose cookies are taken
	Live       *live.Live
	Pictures   Pictures  // nil: there are none
	Keys       artc.Keys // whose signatures are taken
	// OwnDomain is the origin's own streaming domain; nil: there is no origin.
	OwnDomain func(*http.Request) (Own, error)
	// Watch writes a stream of the origin as HTTP-FLV until it or the request's context
	// ends; an error comes before anything was written, media.ErrNotFound when it is not
	// on air. nil: there is no origin.
	Watch func(w http.ResponseWriter, r *http.Request, appName, stream string) error
	// Snapshot is the newest JPEG picture of a stream, as origin.Config.Picture; nil: there
	// are none.
	Snapshot func(appName, stream string) (file []byte, taken time.Time, ok bool)
	// DomainsChanged is told after a streaming domain was made, changed or deleted;
	// nil: nobody wants to know.
	DomainsChanged func()
	Node           func(*http.Request) Node // nil: nothing is known of it but what it has to do
	AdminTokens    []string                 // each is a bearer token that may do everything; "" is none
	Now            func() time.Time         // nil: time.Now
	Log            *slog.Logger             // nil: nothing is logged; only internal errors are
}

// Handler serves /v1/. The Host header must arrive as the client sent it, port
// included: it is part of a signature.
type Handler struct {
	store     *store.DB
	callbacks Callbacks
	rooms     Rooms
	tasks     Tasks
	streams   Streams
	recorded  Recordings
	accounts  *console.Accounts
	live      *live.Live
	pictures  Pictures
	own       func(*http.Request) (Own, error)
	watch     func(http.ResponseWriter, *http.Request, string, string) error
	snapshot  func(string, string) ([]byte, time.Time, bool)
	recheck   time.Duration // recheckEvery
	newDomain func()
	node      func(*http.Request) Node
	verifier  *artc.Verifier
	tokens    [][sha256.Size]byte
	now       func() time.Time
	log       *slog.Logger
	routes    []route
	making    sync.Mutex // one callback is created after the other; see createCallback
}

// New returns a Handler. Its memory for nonces starts empty, so signed requests
// of the last 15 minutes could be replayed once after a restart.
func New(c Config) *Handler {
	h := &Handler{store: c.Store, callbacks: c.Callbacks, rooms: c.SFU, tasks: c.Tasks, streams: c.Streams, recorded: c.Recordings, node: c.Node,
		accounts: c.Accounts, live: c.Live, pictures: c.Pictures, own: c.OwnDomain, newDomain: c.DomainsChanged, log: c.Log,
		watch: c.Watch, snapshot: c.Snapshot, recheck: recheckEvery}
	if h.newDomain == nil {
		h.newDomain = func() {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	h.now = func() time.Time { return c.Now().Truncate(time.Millisecond) } // as the store keeps times
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.verifier = artc.NewVerifier(c.Keys, h.now)
	for _, token := range c.AdminTokens {
		if token != "" {
			h.tokens = append(h.tokens, sha256.Sum256([]byte(token)))
		}
	}
	h.routes = h.table()
	return h
}

// ServeHTTP answers with JSON always.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if err := h.serve(w, r); err != nil {
		h.refuse(w, r, err)
	}
}

// refuse answers with an error.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch signaling.Status(err) {
	case http.StatusInternalServerError:
		h.log.Error("admin: request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	case http.StatusUnauthorized:
		w.Header().Add("WWW-Authenticate", `Bearer realm="braid"`)
		w.Header().Add("WWW-Authenticate", `ACS3-HMAC-SHA256 realm="braid"`)
	case http.StatusServiceUnavailable:
		h.log.Warn("admin: request refused for now", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	signaling.WriteError(w, err)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == specPath && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openapi) // a client that has gone needs no answer
		return nil
	}
	c := &call{w: w, r: r}
	if err := h.authenticate(c); err != nil {
		return err
	}
	rt, err := h.find(c)
	if err != nil {
		return err
	}
	if err := c.checkBody(rt.body); err != nil {
		return err
	}
	var out *reply
	if rt.method == http.MethodGet {
		out, err = rt.do(c)
	} else {
		out, err = h.audited(c, rt)
	}
	if err != nil {
		return err
	}
	return out.write(w)
}

// specPath is where the OpenAPI document is: for everyone, it holds no secret.
const specPath = "/v1/openapi.json"

//go:embed openapi.json
var openapi []byte
