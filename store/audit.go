package store

import (
	"fmt"
	"strings"
	"time"

	"braid/media"
)

// AuditKept is how long the audit log is kept unless Config says otherwise.
const AuditKept = 180 * 24 * time.Hour

// AuditEntry is one thing that somebody did, or was refused.
type AuditEntry struct {
	ID      int64 // grows
	Time    time.Time
	Kind    string // how Who proved itself: "console", "token", "key", or "" for nobody yet
	Who     string // an administrator's name, an access key's id
	Address string // where the request came from
	Action  string // "DELETE /v1/applications/{app}", "login", "StartLiveMPUTask"
	Object  string // what it was done to; may be empty
	App     string // whose object this is; "" for none
	Summary string // what was asked for, without secrets
	Result  int    // an HTTP status; 0: not known, the server ended in the middle
}

// AuditFilter narrows a list of the audit log; zero fields do not.
type AuditFilter struct {
	Who      string
	App      string
	From, To time.Time // To is not within
}

const auditColumns = "id, time, kind, who, address, action, object, app, summary, result"

// maxAudit bounds a text of an entry in characters.
const maxAudit = 500

// AppendAudit writes an entry, now when it has no Time, and gives its ID. Its
// texts may come from outside: what cannot be stored becomes ?, and what is over
// 500 characters is cut.
func (tx *Tx) AppendAudit(e AuditEntry) (id int64, err error) {
	for _, s := range []*string{&e.Kind, &e.Who, &e.Address, &e.Action, &e.Object, &e.App, &e.Summary} {
		*s = fit(*s)
	}
	if e.Time.IsZero() {
		e.Time = tx.now()
	}
	err = tx.queryRow(`INSERT INTO audit (time, kind, who, address, action, object, app, summary, result)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
		e.Time, e.Kind, e.Who, e.Address, e.Action, e.Object, e.App, e.Summary, e.Result).Scan(&id)
	return id, err
}

// AuditResult says how an entry came out, and what it was done to, which may
// not have been known before.
func (tx *Tx) AuditResult(id int64, result int, object, app string) error {
	_, err := tx.exec("UPDATE audit SET result = ?, object = ?, app = ? WHERE id = ?", result, fit(object), fit(app), id)
	return err
}

func fit(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
	if r := []rune(s); len(r) > maxAudit {
		return string(r[:maxAudit]) + "…"
	}
	return s
}

// Audit lists up to limit entries, the newest first: those with an ID under
// before, which is 0 at the start.
func (tx *Tx) Audit(f AuditFilter, before int64, limit int) ([]AuditEntry, error) {
	if limit < 1 {
		return nil, fmt.Errorf("limit is %d, not 1 or more: %w", limit, media.ErrInvalid)
	}
	query, args := "SELECT "+auditColumns+" FROM audit WHERE id > 0", []any{}
	add := func(cond string, value any) {
		query += " AND " + cond
		args = append(args, value)
	}
	if before != 0 {
		add("id < ?", before)
	}
	if f.Who != "" {
		add("who = ?", f.Who)
	}
	if f.App != "" {
		add("app = ?", f.App)
	}
	if !f.From.IsZero() {
		add("time >= ?", f.From)
	}
	if !f.To.IsZero() {
		add("time < ?", f.To)
	}
	return list(tx, scanAudit, query+" ORDER BY id DESC LIMIT ?", append(args, limit)...)
}

func scanAudit(r scanner) (e AuditEntry, err error) {
	err = r.Scan(&e.ID, at(&e.Time), &e.Kind, &e.Who, &e.Address, &e.Action, &e.Object, &e.App, &e.Summary, &e.Result)
	return e, err
}
