package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"braid/media"
	"braid/store"
)

// health answers /healthz while the process lives: who restarts dead processes
// asks here. A server that drains lives. braid doctor reads the version.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Server", version())
	if s.draining.Load() {
		io.WriteString(w, "draining\n")
		return
	}
	io.WriteString(w, "ok\n")
}

// check is one thing that a server needs to take sessions.
type check struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"` // in words; "" while OK
}

// readyz answers /readyz: 200 when sessions are taken, else 503, with each check
// and why it fails. Who balances load asks here.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	checks := s.ready.look(r.Context(), s)
	answer := struct {
		Ready  bool             `json:"ready"`
		Checks map[string]check `json:"checks"`
	}{true, checks}
	for _, c := range checks {
		answer.Ready = answer.Ready && c.OK
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	if !answer.Ready {
		h.Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // a client that has gone needs no answer
}

// isReady is each check's outcome by its name, for the metrics.
func (s *server) isReady() map[string]bool {
	all := map[string]bool{}
	for name, c := range s.ready.look(context.Background(), s) {
		all[name] = c.OK
	}
	return all
}

// Whoever asks may ask often: the store is written to once in readyHolds at most,
// and has to answer within readyWithin.
const (
	readyHolds  = 2 * time.Second
	readyWithin = 3 * time.Second
)

// readiness is what readyz looks at.
type readiness struct {
	serving atomic.Bool // HTTP and RTMP are accepted: from run's start until a listener fails

	mu    sync.Mutex // held while the store is asked: all who come meanwhile get that answer
	at    time.Time
	store check
}

func (r *readiness) look(ctx context.Context, s *server) map[string]check {
	all := map[string]check{"store": r.writable(ctx, s.store, s.log), "sockets": {OK: true}, "draining": {OK: true}}
	if !r.serving.Load() {
		all["sockets"] = check{Reason: "the HTTP, RTMP or media socket is not served"}
	}
	if s.draining.Load() {
		all["draining"] = check{Reason: "the server ends: it takes no new sessions"}
	}
	return all
}

// writable writes the time into the store: a disk that is full or gone shows
// nowhere else before the first request that matters.
func (r *readiness) writable(ctx context.Context, db *store.DB, log *slog.Logger) check {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) < readyHolds {
		return r.store
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyWithin) // the answer is for others too
	defer cancel()
	err := db.Update(ctx, func(tx *store.Tx) error {
		return tx.SetMeta("ready", time.Now().UTC().Format(time.RFC3339Nano))
	})
	was := r.store.OK || r.at.IsZero() // trouble is logged when it begins
	r.at, r.store = time.Now(), check{OK: err == nil}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		r.store.Reason = "the store did not answer within " + readyWithin.String()
	case errors.Is(err, media.ErrClosed):
		r.store.Reason = "the store is closed"
	case err != nil:
		r.store.Reason = "the store cannot be written to; the log says why"
	}
	if err != nil && was {
		log.Error("the store cannot be written to", "error", err)
	}
	return r.store
}
