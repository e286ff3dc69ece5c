package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"braid/media"
)

// Template says what is made of every stream of a streaming domain and an
// AppName while it is on air. The application that owns it gets the events of
// these streams.
type Template struct {
	App      string // the application that owns it
	ID       string // 1 to 64 of A-Za-z0-9_-, unique in the application
	Domain   string // a Domain's name; "": the origin's own
	AppName  string // the RTMP application, 1 to 255 of A-Za-z0-9_=-
	Kind     TemplateKind
	Disabled bool
	Version  int64 // counts changes, from 1; for If-Match
	Created  time.Time
	Updated  time.Time

	// The one of Kind; the others are nil.
	Record    *RecordTemplate
	Snapshot  *SnapshotTemplate
	Transcode *TranscodeTemplate
}

// TemplateKind says which job a template is for.
type TemplateKind string

const (
	RecordKind    TemplateKind = "record"
	SnapshotKind  TemplateKind = "snapshot"
	TranscodeKind TemplateKind = "transcode"
)

// TemplateKinds lists the kinds of templates.
func TemplateKinds() []TemplateKind { return []TemplateKind{RecordKind, SnapshotKind, TranscodeKind} }

// Formats of recordings.
const (
	FMP4 = "fmp4"
	TS   = "ts"
)

// RecordTemplate says how streams are recorded.
type RecordTemplate struct {
	Format         []string `json:"format"`          // one or both of FMP4 and TS
	SegmentSeconds int      `json:"segment_seconds"` // of one file: 10 to 7200
	Name           string   `json:"name"`            // pattern of the files' paths, without the ending
	RetentionDays  int      `json:"retention_days"`  // 0 to 3650; 0: for ever
	Storage        string   `json:"storage"`         // "": the directory, else the name of a configured storage
}

// SnapshotTemplate says how pictures of streams are kept.
type SnapshotTemplate struct {
	IntervalSeconds int    `json:"interval_seconds"` // 1 to 3600
	History         int    `json:"history"`          // pictures kept beside the latest: 0 to 10000
	Name            string `json:"name"`             // pattern of the pictures' paths, without the ending
	Storage         string `json:"storage"`          // as RecordTemplate's
}

// TranscodeTemplate says in which sizes streams can be had too. The stream
// {name} gets a stream {name}_{rendition} for each.
type TranscodeTemplate struct {
	Renditions []Rendition `json:"renditions"` // 1 to 6
}

// Rendition is one size of a stream.
type Rendition struct {
	Name    string `json:"name"`    // 1 to 16 of a-z0-9, such as "720p"
	Height  int    `json:"height"`  // pixels: 120 to 1080, even
	Bitrate int    `json:"bitrate"` // kbit/s of its picture: 50 to 10000
	FPS     int    `json:"fps"`     // 0: as the source; else 1 to 60
}

// maxTemplates is the most that an application has; braid's own.
const maxTemplates = 100

const templateColumns = "app, id, domain, app_name, kind, spec, disabled, version, created, updated"

// CreateTemplate adds a template and fills in its Version (1), Updated and, when
// it is zero, Created. A *FieldError (media.ErrInvalid) says which field is out
// of its limits, or that Domain is not there. media.ErrNotFound: there is no
// such application. media.ErrExists: the id is taken, the application has one of
// this kind for the domain and AppName, or one of whatever application keeps
// pictures under the same names. media.ErrLimit: it has 100.
func (tx *Tx) CreateTemplate(t *Template) error {
	spec, err := tx.templateSpec(t)
	if err != nil {
		return err
	}
	if _, err := tx.Application(t.App); err != nil {
		return err
	}
	var n int64
	if err := tx.queryRow("SELECT COUNT(*) FROM templates WHERE app = ?", t.App).Scan(&n); err != nil {
		return err
	}
	if n >= maxTemplates {
		return fmt.Errorf("application %q has %d templates, which is the most: %w", t.App, maxTemplates, media.ErrLimit)
	}
	if err := tx.templateAlone(t); err != nil {
		return err
	}
	next := *t
	next.Version, next.Updated = 1, tx.now()
	if next.Created.IsZero() {
		next.Created = next.Updated
	}
	n, err = tx.exec("INSERT INTO templates ("+templateColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		t.App, t.ID, t.Domain, t.AppName, t.Kind, spec, t.Disabled, next.Version, next.Created, next.Updated)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("template %q: %w", t.ID, media.ErrExists)
	}
	*t = next
	return nil
}

// Template finds a template by application and id; media.ErrNotFound.
func (tx *Tx) Template(app, id string) (Template, error) {
	return one(tx, scanTemplate, fmt.Sprintf("template %q", id), "SELECT "+templateColumns+" FROM templates WHERE app = ? AND id = ?", app, id)
}

// UpdateTemplate writes a template over the one with its App and ID, whose Kind
// stays; see UpdateApplication for Version, CreateTemplate for other errors.
func (tx *Tx) UpdateTemplate(t *Template) error {
	had, err := tx.Template(t.App, t.ID)
	if err != nil {
		return err
	}
	if t.Kind != had.Kind {
		return refuse("kind", "is %q, and a template's kind stays: this one's is %q", t.Kind, had.Kind)
	}
	spec, err := tx.templateSpec(t)
	if err != nil {
		return err
	}
	if err := tx.templateAlone(t); err != nil {
		return err
	}
	now := tx.now()
	n, err := tx.exec(`UPDATE templates SET domain = ?, app_name = ?, spec = ?, disabled = ?, version = version + 1, updated = ?
		WHERE app = ? AND id = ? AND version = ?`, t.Domain, t.AppName, spec, t.Disabled, now, t.App, t.ID, t.Version)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("template %q: %w", t.ID, ErrStale)
	}
	t.Version++
	t.Created, t.Updated = had.Created, now
	return nil
}

// DeleteTemplate deletes a template; media.ErrNotFound.
func (tx *Tx) DeleteTemplate(app, id string) error {
	n, err := tx.exec("DELETE FROM templates WHERE app = ? AND id = ?", app, id)
	if err == nil && n == 0 {
		err = fmt.Errorf("template %q: %w", id, media.ErrNotFound)
	}
	return err
}

// Templates lists up to limit templates of an application by id, those after
// the id given.
func (tx *Tx) Templates(app, after string, limit int) ([]Template, error) {
	if limit < 1 {
		return nil, fmt.Errorf("limit is %d, not 1 or more: %w", limit, media.ErrInvalid)
	}
	return list(tx, scanTemplate, "SELECT "+templateColumns+" FROM templates WHERE app = ? AND id > ? ORDER BY id LIMIT ?", app, after, limit)
}

// templateAlone tells whether no other template of the application does the
// same to the same streams: two would write the same files.
func (tx *Tx) templateAlone(t *Template) error {
	var other string
	err := tx.queryRow("SELECT id FROM templates WHERE domain = ? AND app_name = ? AND app = ? AND kind = ? AND id <> ?",
		t.Domain, t.AppName, t.App, t.Kind, t.ID).Scan(&other)
	if err == nil {
		return fmt.Errorf("template %q of application %q is for the same kind, domain and AppName: %w", other, t.App, media.ErrExists)
	}
	if !errors.Is(err, errNoRows) {
		return err
	}
	return tx.picturesAlone(t)
}

// picturesAlone tells whether no other template keeps a history of pictures under
// the same names: each would let the other one's go. (Recordings share names: a
// file whose name is taken gets another one.)
func (tx *Tx) picturesAlone(t *Template) error {
	if t.Kind != SnapshotKind || t.Snapshot.History == 0 || t.Disabled {
		return nil
	}
	all, err := list(tx, scanTemplate, "SELECT "+templateColumns+" FROM templates WHERE kind = ? AND disabled = 0 AND (app <> ? OR id <> ?)", SnapshotKind, t.App, t.ID)
	for _, o := range all {
		if o.Snapshot.History > 0 && o.Snapshot.Storage == t.Snapshot.Storage && o.pictures() == t.pictures() {
			return fmt.Errorf("template %q of application %q keeps a history under the same names, give snapshot.name another one: %w", o.ID, o.App, media.ErrExists)
		}
	}
	return err
}

// pictures is the pattern with what is the same for all of its streams, as
// origin/snapshot fills it in.
func (t *Template) pictures() string {
	return strings.NewReplacer("{domain}", cmp.Or(t.Domain, "origin"), "{app}", t.AppName).Replace(t.Snapshot.Name)
}

// templateSpec checks a template and gives the column for what it is made of.
func (tx *Tx) templateSpec(t *Template) (string, error) {
	if err := t.Check(); err != nil {
		return "", err
	}
	if t.Domain != "" {
		if _, err := tx.Domain(t.Domain); errors.Is(err, media.ErrNotFound) {
			return "", refuse("domain", "there is no domain %q", t.Domain)
		} else if err != nil {
			return "", err
		}
	}
	var spec any = t.Record
	switch t.Kind {
	case SnapshotKind:
		spec = t.Snapshot
	case TranscodeKind:
		spec = t.Transcode
	}
	b, err := json.Marshal(spec)
	return string(b), err
}

func scanTemplate(r scanner) (t Template, err error) {
	var spec string
	err = r.Scan(&t.App, &t.ID, &t.Domain, &t.AppName, &t.Kind, &spec, &t.Disabled, &t.Version, at(&t.Created), at(&t.Updated))
	if err != nil {
		return t, err
	}
	switch t.Kind {
	case RecordKind:
		err = json.Unmarshal([]byte(spec), &t.Record)
	case SnapshotKind:
		err = json.Unmarshal([]byte(spec), &t.Snapshot)
	case TranscodeKind:
		err = json.Unmarshal([]byte(spec), &t.Transcode)
	}
	if err != nil {
		return t, fmt.Errorf("template %q of application %q: %w", t.ID, t.App, err)
	}
	return t, nil
}
