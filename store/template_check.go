package store

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"braid/media"
)

// Defaults of templates.
const (
	DefaultRecordName   = "{domain}/{app}/{stream}/{start}_{sequence}"
	DefaultSnapshotName = "{domain}/{app}/{stream}/{time}"

	DefaultSegmentSeconds  = 1800
	DefaultSnapshotSeconds = 10
)

// FieldError says what is wrong with one field; it is a media.ErrInvalid.
type FieldError struct {
	Field  string // as in JSON: "record.segment_seconds"
	Detail string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Detail }

// Unwrap says media.ErrInvalid.
func (e *FieldError) Unwrap() error { return media.ErrInvalid }

func refuse(field, format string, args ...any) error {
	return &FieldError{Field: field, Detail: fmt.Sprintf(format, args...)}
}

var (
	appNameForm   = regexp.MustCompile(`^[A-Za-z0-9_=-]{1,255}$`) // the seed page's rule
	renditionForm = regexp.MustCompile(`^[a-z0-9]{1,16}$`)
	storageForm   = regexp.MustCompile(`^[A-Za-z0-9_-]{0,64}$`)
	patternForm   = regexp.MustCompile(`^[A-Za-z0-9_=./-]*$`) // what may stand between placeholders
	placeholder   = regexp.MustCompile(`\{[^{}]*\}`)
)

// Check checks everything that can be told without the store: a *FieldError for
// the first field that is out of its limits.
func (t *Template) Check() error {
	if !media.IsID(t.ID, media.MaxID) {
		return refuse("id", "%.80q is not 1 to 64 characters of A-Za-z0-9_-", t.ID)
	}
	if !appNameForm.MatchString(t.AppName) {
		return refuse("app_name", "%.80q is not 1 to 255 characters of A-Za-z0-9_=-", t.AppName)
	}
	if !slices.Contains(TemplateKinds(), t.Kind) {
		return refuse("kind", "%.80q is not record, snapshot or transcode", string(t.Kind))
	}
	for i, there := range []bool{t.Record != nil, t.Snapshot != nil, t.Transcode != nil} {
		kind := TemplateKinds()[i]
		switch {
		case there && kind != t.Kind:
			return refuse(string(kind), "is there, and the template is of kind %s", t.Kind)
		case !there && kind == t.Kind:
			return refuse(string(kind), "is missing: it says what a template of this kind does")
		}
	}
	switch t.Kind {
	case SnapshotKind:
		return t.Snapshot.check()
	case TranscodeKind:
		return t.Transcode.check()
	}
	return t.Record.check()
}

func (r *RecordTemplate) check() error {
	if n := len(r.Format); n < 1 || n > 2 {
		return refuse("record.format", "has %d items; it needs 1 or 2", n)
	}
	for i, f := range r.Format {
		if f != FMP4 && f != TS {
			return refuse("record.format", "%.80q is not %s or %s", f, FMP4, TS)
		}
		if slices.Contains(r.Format[:i], f) {
			return refuse("record.format", "%s is there twice", f)
		}
	}
	if err := within("record.segment_seconds", r.SegmentSeconds, 10, 7200); err != nil {
		return err
	}
	if err := within("record.retention_days", r.RetentionDays, 0, 3650); err != nil {
		return err
	}
	// Recordings of a stream have different {start}s, files of a recording
	// different {sequence}s; {date} and {time} are a file's.
	if err := checkPattern("record.name", r.Name, "{start} {sequence}", "{date} {time}"); err != nil {
		return err
	}
	return checkStorage("record.storage", r.Storage)
}

func (s *SnapshotTemplate) check() error {
	if err := within("snapshot.interval_seconds", s.IntervalSeconds, 1, 3600); err != nil {
		return err
	}
	if err := within("snapshot.history", s.History, 0, 10000); err != nil {
		return err
	}
	if err := checkPattern("snapshot.name", s.Name, "{time}", "{sequence}"); err != nil {
		return err
	}
	return checkStorage("snapshot.storage", s.Storage)
}

func (c *TranscodeTemplate) check() error {
	if n := len(c.Renditions); n < 1 || n > 6 {
		return refuse("transcode.renditions", "has %d items; it needs 1 to 6", n)
	}
	for i, r := range c.Renditions {
		field := fmt.Sprintf("transcode.renditions[%d].", i)
		if !renditionForm.MatchString(r.Name) {
			return refuse(field+"name", "%.80q is not 1 to 16 characters of a-z0-9", r.Name)
		}
		if slices.ContainsFunc(c.Renditions[:i], func(o Rendition) bool { return o.Name == r.Name }) {
			return refuse(field+"name", "%q is there twice", r.Name)
		}
		if err := within(field+"height", r.Height, 120, 1080); err != nil {
			return err
		}
		if r.Height%2 != 0 {
			return refuse(field+"height", "%d is odd, and pictures have an even height", r.Height)
		}
		if err := within(field+"bitrate", r.Bitrate, 50, 10000); err != nil {
			return err
		}
		if err := within(field+"fps", r.FPS, 0, 60); err != nil {
			return err
		}
	}
	return nil
}

func within(field string, n, min, max int) error {
	if n < min || n > max {
		return refuse(field, "%d is not from %d to %d", n, min, max)
	}
	return nil
}

func checkStorage(field, s string) error {
	if !storageForm.MatchString(s) {
		return refuse(field, "%.80q is not a storage's name: up to 64 characters of A-Za-z0-9_-", s)
	}
	return nil
}

// checkPattern holds a pattern to names that are paths below a directory on
// every system and in every object store, and that no two files share: it must
// have {stream}, and all of one or of the other of the placeholders that tell a
// stream's files apart. {domain} and {app} may be there too.
func checkPattern(field, s, one, other string) error {
	if s == "" || len(s) > 255 {
		return refuse(field, "has %d characters; it needs 1 to 255", len(s))
	}
	known := append([]string{"{domain}", "{app}", "{stream}"}, strings.Fields(one+" "+other)...)
	for _, p := range placeholder.FindAllString(s, -1) {
		if !slices.Contains(known, p) {
			return refuse(field, "%.80q is not one of %s", p, strings.Join(known, " "))
		}
	}
	has := func(all string) bool {
		return !slices.ContainsFunc(strings.Fields(all), func(p string) bool { return !strings.Contains(s, p) })
	}
	if !has("{stream}") || !has(one) && !has(other) {
		return refuse(field, "needs {stream}, and %s or %s: without them files would be written over", one, other)
	}
	plain := placeholder.ReplaceAllString(s, "x")
	if !patternForm.MatchString(plain) {
		return refuse(field, "%.80q has characters other than A-Z a-z 0-9 _ - = . / between its placeholders", s)
	}
	for part := range strings.SplitSeq(plain, "/") {
		if part == "" || part[0] == '.' {
			return refuse(field, "%.80q is not a path: a part of it is empty or begins with a dot", s)
		}
	}
	return nil
}
