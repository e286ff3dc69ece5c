package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"braid/signaling"
	"braid/store"
)

// shown are the fields whose values may stand in the audit log. Of others only
// the name is noted: a URL can have a key in it.
var shown = []string{"id", "name", "disabled", "tokens", "enabled", "single", "mix", "domain", "app_name", "rts2", "auth_validity_seconds",
	"kind", "events", "channel", "channels", "user", "users", "form", "role", "publish", "subscribe", "ttl_seconds", "keep_previous_seconds",
	"record", "snapshot", "transcode"}

// audited carries out a change. It is in the audit log before it happens, and
// how it came out after that: with 0 for the result the server ended between
// the two. What the log cannot take is not done.
func (h *Handler) audited(c *call, rt *route) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	object := objectOf(c.r.URL.Path)
	e := store.AuditEntry{Kind: c.who.kind, Who: c.who.name, Address: h.source(c.r), Action: rt.method + " /v1/" + rt.pattern,
		Object: object, App: c.params["app"], Summary: summary(c.body)}
	var id int64
	err := h.store.Update(c.r.Context(), func(tx *store.Tx) (err error) {
		id, err = tx.AppendAudit(e)
		return err
	})
	if err != nil {
		return nil, err
	}
	var out *reply
	if c.who.viewer {
		err = signaling.Forbidden("%s is a viewer, who may change nothing", quote(c.who.name))
	} else {
		out, err = rt.do(c)
	}
	result := resultOf(out, err)
	if out != nil && out.location != "" {
		object = objectOf(out.location)
	}
	app := e.App
	if rest, ok := strings.CutPrefix(object, "applications/"); ok && app == "" {
		app, _, _ = strings.Cut(rest, "/")
	}
	// Also when the client has gone: the change has been made.
	noted := h.store.Update(context.WithoutCancel(c.r.Context()), func(tx *store.Tx) error { return tx.AuditResult(id, result, object, app) })
	if noted != nil {
		h.log.Error("admin: the audit log lacks a result", "entry", id, "result", result, "err", noted)
	}
	return out, err
}

func resultOf(out *reply, err error) int {
	switch {
	case err != nil:
		return signaling.Status(err)
	case out.status != 0:
		return out.status
	case out.body == nil:
		return http.StatusNoContent
	}
	return http.StatusOK
}

// source is where a request came from.
func (h *Handler) source(r *http.Request) string {
	if h.accounts != nil {
		return h.accounts.Address(r).String()
	}
	at, _ := netip.ParseAddrPort(r.RemoteAddr)
	return at.Addr().String()
}

// objectOf is what a path names.
func objectOf(path string) string { return strings.TrimPrefix(path, "/v1/") }

// summary says what a body asks for, without secrets: its fields by name, with
// the values of those that are shown.
func summary(body []byte) string {
	var fields map[string]json.RawMessage
	if !utf8.Valid(body) || json.Unmarshal(body, &fields) != nil {
		return ""
	}
	var words []string
	for name, value := range fields {
		if slices.Contains(shown, name) {
			name += "=" + string(value)
		}
		words = append(words, name)
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// auditEntry is a store.AuditEntry.
type auditEntry struct {
	ID      int64     `json:"id"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Who     string    `json:"who"`
	Address string    `json:"address"`
	Action  string    `json:"action"`
	Object  string    `json:"object"`
	App     string    `json:"app,omitempty"`
	Summary string    `json:"summary,omitempty"`
	Result  int       `json:"result"`
}

// listAudit lists what was changed, the newest first.
func (h *Handler) listAudit(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	f := store.AuditFilter{Who: q.text("who", 64), App: q.text("app", 64), From: q.time("from", time.Time{}), To: q.time("to", time.Time{})}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		q.refuse("from", "is not before to")
	}
	limit, before := q.limit(), q.number("audit")
	if err := q.done(); err != nil {
		return nil, err
	}
	var rows []store.AuditEntry
	err = h.store.View(c.r.Context(), func(tx *store.Tx) (err error) {
		rows, err = tx.Audit(f, before, limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	at := func(e store.AuditEntry) string { return strconv.FormatInt(e.ID, 10) }
	return ok(newPage(rows, limit, "audit", at, func(e store.AuditEntry) auditEntry {
		return auditEntry{e.ID, e.Time.UTC(), e.Kind, e.Who, e.Address, e.Action, e.Object, e.App, e.Summary, e.Result}
	}))
}
