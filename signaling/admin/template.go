package admin

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"braid/media"
	"braid/signaling"
	"braid/store"
)

// template is a store.Template. Of the last three it has the one of its kind.
type template struct {
	ID        string                   `json:"id"`
	Domain    string                   `json:"domain"`
	AppName   string                   `json:"app_name"`
	Kind      store.TemplateKind       `json:"kind"`
	Disabled  bool                     `json:"disabled"`
	Created   time.Time                `json:"created"`
	Updated   time.Time                `json:"updated"`
	Record    *store.RecordTemplate    `json:"record,omitempty"`
	Snapshot  *store.SnapshotTemplate  `json:"snapshot,omitempty"`
	Transcode *store.TranscodeTemplate `json:"transcode,omitempty"`
}

func showTemplate(t store.Template) template {
	return template{t.ID, t.Domain, t.AppName, t.Kind, t.Disabled, t.Created.UTC(), t.Updated.UTC(), t.Record, t.Snapshot, t.Transcode}
}

// readTemplate reads all but the id into t. What its fields mean, and their
// limits, are checked by the store.
func readTemplate(o *object, t *store.Template) {
	kind := ""
	o.need("kind")
	o.oneOf("kind", &kind, string(store.RecordKind), string(store.SnapshotKind), string(store.TranscodeKind))
	t.Kind = store.TemplateKind(kind)
	t.AppName = defaultAppName
	o.str("domain", &t.Domain, 0, maxDomain)
	o.str("app_name", &t.AppName, 1, 255)
	o.bool("disabled", &t.Disabled)
	if t.Kind == store.RecordKind {
		t.Record = readRecord(o.object("record"))
	}
	if t.Kind == store.SnapshotKind {
		t.Snapshot = readSnapshot(o.object("snapshot"))
	}
	if t.Kind == store.TranscodeKind {
		o.need("transcode")
		t.Transcode = readTranscode(o.object("transcode"))
	}
}

// The numbers are read within what the store takes at all; what it says of a
// field names the field.
const anyNumber = 1 << 30

func readRecord(o *object) *store.RecordTemplate {
	r := &store.RecordTemplate{Format: []string{store.FMP4}, SegmentSeconds: store.DefaultSegmentSeconds, Name: store.DefaultRecordName}
	if o == nil {
		return r
	}
	o.strs("format", &r.Format, 2, 16)
	o.int("segment_seconds", &r.SegmentSeconds, -anyNumber, anyNumber)
	o.str("name", &r.Name, 1, 255)
	o.int("retention_days", &r.RetentionDays, -anyNumber, anyNumber)
	o.str("storage", &r.Storage, 0, 64)
	return r
}

func readSnapshot(o *object) *store.SnapshotTemplate {
	s := &store.SnapshotTemplate{IntervalSeconds: store.DefaultSnapshotSeconds, Name: store.DefaultSnapshotName}
	if o == nil {
		return s
	}
	o.int("interval_seconds", &s.IntervalSeconds, -anyNumber, anyNumber)
	o.int("history", &s.History, -anyNumber, anyNumber)
	o.str("name", &s.Name, 1, 255)
	o.str("storage", &s.Storage, 0, 64)
	return s
}

func readTranscode(o *object) *store.TranscodeTemplate {
	t := &store.TranscodeTemplate{}
	if o == nil {
		return t
	}
	o.need("renditions")
	for _, in := range o.objects("renditions", 6) {
		var r store.Rendition
		for _, name := range []string{"name", "height", "bitrate"} {
			in.need(name)
		}
		in.str("name", &r.Name, 1, 16)
		in.int("height", &r.Height, -anyNumber, anyNumber)
		in.int("bitrate", &r.Bitrate, -anyNumber, anyNumber)
		in.int("fps", &r.FPS, -anyNumber, anyNumber)
		t.Renditions = append(t.Renditions, r)
	}
	return t
}

// inFields turns the store's word about a field into an answer that names it,
// and what stands in the way of a template into a conflict.
func inFields(err error) error {
	var field *store.FieldError
	switch {
	case errors.As(err, &field):
		return signaling.Invalid{{Field: field.Field, Detail: field.Detail}}
	case errors.Is(err, media.ErrExists), errors.Is(err, media.ErrLimit):
		return signaling.Conflict("%s", err)
	}
	return err
}

func (h *Handler) createTemplate(c *call) (*reply, error) {
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	t := store.Template{App: c.params["app"], ID: random(8)}
	o.form("id", &t.ID, idForm, "1 to 64 characters of A-Za-z0-9_-")
	readTemplate(o, &t)
	if err := o.done(); err != nil {
		return nil, err
	}
	out, err := h.create(c, func(tx *store.Tx) (*reply, error) {
		if err := tx.CreateTemplate(&t); err != nil {
			return nil, inFields(err)
		}
		return &reply{status: http.StatusCreated, body: showTemplate(t), version: t.Version,
			location: "/v1/applications/" + t.App + "/templates/" + t.ID}, nil
	})
	if err == nil {
		h.streams.TemplatesChanged()
	}
	return out, err
}

func (h *Handler) listTemplates(c *call) (*reply, error) {
	read := func(tx *store.Tx, after string, limit int) ([]store.Template, error) {
		if _, err := tx.Application(c.params["app"]); err != nil {
			return nil, err
		}
		return tx.Templates(c.params["app"], after, limit)
	}
	at := func(t store.Template) string { return t.ID }
	return list(h, c, "templates", read, at, showTemplate)
}

func (h *Handler) getTemplate(c *call) (*reply, error) {
	read := func(tx *store.Tx, id string) (store.Template, error) { return tx.Template(c.params["app"], id) }
	return one(h, c, "template", read, func(t store.Template) (any, int64) { return showTemplate(t), t.Version })
}

// putTemplate replaces a template: what is left out becomes its default. Jobs
// that run by it start anew.
func (h *Handler) putTemplate(c *call) (*reply, error) {
	p, err := c.ifMatch(true)
	if err != nil {
		return nil, err
	}
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	t := store.Template{App: c.params["app"], ID: c.params["template"]}
	readTemplate(o, &t)
	err = h.store.Update(c.r.Context(), func(tx *store.Tx) error {
		had, err := tx.Template(t.App, t.ID)
		if err != nil {
			return err
		}
		if err := p.check(had.Version); err != nil {
			return err
		}
		if err := o.done(); err != nil {
			return err
		}
		t.Version = had.Version
		return inFields(tx.UpdateTemplate(&t))
	})
	if err != nil {
		return nil, err
	}
	h.streams.TemplatesChanged()
	return &reply{body: showTemplate(t), version: t.Version}, nil
}

// deleteTemplate ends the jobs that run by a template; their files stay.
func (h *Handler) deleteTemplate(c *call) (*reply, error) {
	p, err := c.ifMatch(false)
	if err != nil {
		return nil, err
	}
	err = h.store.Update(c.r.Context(), func(tx *store.Tx) error {
		t, err := tx.Template(c.params["app"], c.params["template"])
		if err != nil {
			return fmt.Errorf("admin: %w", err)
		}
		if err := p.check(t.Version); err != nil {
			return err
		}
		return tx.DeleteTemplate(t.App, t.ID)
	})
	if err != nil {
		return nil, err
	}
	h.streams.TemplatesChanged()
	return &reply{}, nil
}
