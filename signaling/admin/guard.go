package admin

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"braid/signaling"
	"braid/store"
)

// Guard lets administrators alone through to next, by the credentials that the
// REST API takes, and writes each of their requests into the audit log with how it
// came out. It is for what helps to find trouble, so a store that takes no entry
// is no reason to refuse: then the process' log has it.
func (h *Handler) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		c := &call{w: w, r: r}
		if err := h.authenticate(c); err != nil {
			h.refuse(w, r, err)
			return
		}
		if c.who.viewer {
			h.refuse(w, r, signaling.Forbidden("%s is a viewer, who may not see the inside of the server", quote(c.who.name)))
			return
		}
		if c.read { // for a signature
			r.Body = io.NopCloser(bytes.NewReader(c.body))
		}
		e := store.AuditEntry{Kind: c.who.kind, Who: c.who.name, Address: h.source(r), Action: r.Method + " " + r.URL.Path, Object: objectOf(r.URL.Path)}
		id := h.note(r.Context(), e)
		seen := &status{ResponseWriter: w, code: http.StatusOK}
		defer func() { // also when next panics
			if id == 0 {
				return
			}
			err := h.store.Update(context.WithoutCancel(r.Context()), func(tx *store.Tx) error { return tx.AuditResult(id, seen.code, e.Object, "") })
			if err != nil {
				h.log.Error("admin: the audit log lacks a result", "entry", id, "result", seen.code, "err", err)
			}
		}()
		next.ServeHTTP(seen, r)
	})
}

// note appends an entry and gives its number; 0 when only the log has it.
func (h *Handler) note(ctx context.Context, e store.AuditEntry) (id int64) {
	err := h.store.Update(ctx, func(tx *store.Tx) (err error) {
		id, err = tx.AppendAudit(e)
		return err
	})
	if err != nil {
		h.log.Error("admin: the audit log lacks a request", "who", e.Who, "address", e.Address, "action", e.Action, "err", err)
		return 0
	}
	return id
}

// status remembers how an answer began.
type status struct {
	http.ResponseWriter
	code  int
	begun bool
}

func (s *status) WriteHeader(code int) {
	if !s.begun && code >= 200 {
		s.code, s.begun = code, true
	}
	s.ResponseWriter.WriteHeader(code)
}

func (s *status) Write(b []byte) (int, error) {
	s.begun = true
	return s.ResponseWriter.Write(b)
}

func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
