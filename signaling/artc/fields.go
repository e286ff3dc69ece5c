package artc

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"braid/media"
)

// fields reads one object of the parameter tree, field by field. The first
// thing wrong sticks and everything read after it is worthless, so that a
// decoder is a flat list of fields: check err once, at the end. An absent
// object has no fields. An empty text is the same as an absent one: the older
// SDK sends both ("IsAliCdn":"").
//
// What is read is also noted in echo, under the same names: that is the
// request's documented part.
type fields struct {
	path string
	in   map[string]any
	echo map[string]any
	fail *failure
}

type failure struct{ err *apiError }

func newFields(tree map[string]any) *fields {
	return &fields{in: tree, echo: map[string]any{}, fail: &failure{}}
}

// err is the first thing that was wrong, or nil.
func (f *fields) err() error {
	if f.fail.err == nil {
		return nil
	}
	return f.fail.err
}

// name is a field's full name.
func (f *fields) name(field string) string {
	if f.path == "" {
		return field
	}
	return f.path + "." + field
}

// invalid notes what is wrong with a field: "path.field: words".
func (f *fields) invalid(field, format string, args ...any) {
	if f.fail.err == nil {
		f.fail.err = invalidParam("%s: "+format, append([]any{f.name(field)}, args...)...)
	}
}

func (f *fields) missing(field string) {
	if f.fail.err == nil {
		f.fail.err = missingParam(f.name(field))
	}
}

// raw reads a field's text as it came, "" when absent.
func (f *fields) raw(field string) string {
	v, ok := f.in[field]
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		f.invalid(field, "is not a single value")
		return ""
	}
	if s != "" {
		f.echo[field] = s
	}
	return s
}

// text reads at most max characters.
func (f *fields) text(field string, max int) string {
	s := f.raw(field)
	if n := utf8.RuneCountInString(s); n > max {
		f.invalid(field, "is %d characters long, at most %d are allowed", n, max)
	}
	return s
}

// id reads an identifier (artc-api.md section 2, identifier rules).
func (f *fields) id(field string, max int) string {
	s := f.raw(field)
	if s != "" && !media.IsID(s, max) {
		f.invalid(field, "%s is not 1 to %d of A-Z a-z 0-9 _ -", quote(s), max)
	}
	return s
}

func (f *fields) needID(field string, max int) string {
	s := f.id(field, max)
	if s == "" {
		f.missing(field)
	}
	return s
}

// choice reads one of the allowed words; absent is byDefault.
func (f *fields) choice(field, byDefault string, allowed ...string) string {
	s := f.raw(field)
	if s == "" {
		return byDefault
	}
	if !slices.Contains(allowed, s) {
		f.invalid(field, "%s is not one of %s", quote(s), strings.Join(allowed, ", "))
		return byDefault
	}
	return s
}

// whole reads a decimal number from lo to hi; ok is false when absent.
func (f *fields) whole(field string, lo, hi int) (n int, ok bool) {
	s := f.raw(field)
	if s == "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi || s[0] == '+' {
		f.invalid(field, "%s is not a whole number from %d to %d", quote(s), lo, hi)
		return 0, false
	}
	return n, true
}

func (f *fields) needWhole(field string, lo, hi int) int {
	n, ok := f.whole(field, lo, hi)
	if !ok {
		f.missing(field)
	}
	return n
}

// wholeOr reads a decimal number from lo to hi; absent is byDefault.
func (f *fields) wholeOr(field string, byDefault, lo, hi int) int {
	if n, ok := f.whole(field, lo, hi); ok {
		return n
	}
	return byDefault
}

// needShare reads a plain decimal from 0 to 1; zero itself only when allowed.
func (f *fields) needShare(field string, zero bool) float64 {
	s := f.raw(field)
	if s == "" {
		f.missing(field)
		return 0
	}
	// ParseFloat also reads NaN, Inf and hexadecimal numbers; none of them is made of these.
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.Trim(s, "0123456789.eE+-") != "" || !(n >= 0 && n <= 1) || n == 0 && !zero {
		low := "from 0"
		if !zero {
			low = "above 0 and up"
		}
		f.invalid(field, "%s is not a number %s to 1", quote(s), low)
		return 0
	}
	if n == 0 {
		return 0 // not -0
	}
	return n
}

// flag reads true or false, in any case; absent is false.
func (f *fields) flag(field string) bool {
	s := f.raw(field)
	switch {
	case s == "" || strings.EqualFold(s, "false"):
		return false
	case strings.EqualFold(s, "true"):
		return true
	}
	f.invalid(field, "%s is not true or false", quote(s))
	return false
}

// needTime reads a time in UTC, such as 2006-01-02T15:04:05Z.
func (f *fields) needTime(field string) time.Time {
	s := f.raw(field)
	if s == "" {
		f.missing(field)
		return time.Time{}
	}
	t, err := time.Parse(timeLayout, s)
	if err != nil {
		f.invalid(field, "%s is not a time in UTC such as %s", quote(s), timeLayout)
	}
	return t
}

// needUnix reads a time in seconds since 1970.
func (f *fields) needUnix(field string) time.Time {
	return time.Unix(int64(f.needWhole(field, 0, 1<<40)), 0)
}

// texts reads a list of at most max texts.
func (f *fields) texts(field string, max int) []string {
	v, ok := f.in[field]
	if !ok || v == "" {
		return nil
	}
	entries, ok := v.([]any)
	if !ok {
		f.invalid(field, "is not a list")
		return nil
	}
	if len(entries) > max {
		f.invalid(field, "has %d entries, at most %d are allowed", len(entries), max)
		return nil
	}
	list := make([]string, len(entries))
	for i, v := range entries {
		if list[i], ok = v.(string); !ok || list[i] == "" {
			f.invalid(field, "entry %d is not a text", i+1)
		}
	}
	f.echo[field] = entries
	return list
}

func (f *fields) needTexts(field string, max int) []string {
	list := f.texts(field, max)
	if len(list) == 0 {
		f.missing(field)
	}
	return list
}

// object reads a nested object; ok is false when absent, and then it is empty.
func (f *fields) object(field string) (o *fields, ok bool) {
	o = &fields{path: f.name(field), fail: f.fail, echo: map[string]any{}}
	v, ok := f.in[field]
	if !ok || v == "" {
		return o, false
	}
	if o.in, ok = v.(map[string]any); !ok {
		f.invalid(field, "is not an object")
		return o, false
	}
	f.echo[field] = o.echo
	return o, true
}

// list reads a list of at most max objects.
func (f *fields) list(field string, max int) []*fields {
	v, ok := f.in[field]
	if !ok || v == "" {
		return nil
	}
	entries, ok := v.([]any)
	if !ok {
		f.invalid(field, "is not a list")
		return nil
	}
	if len(entries) > max {
		f.invalid(field, "has %d entries, at most %d are allowed", len(entries), max)
		return nil
	}
	list := make([]*fields, len(entries))
	echo := make([]any, len(entries))
	for i, v := range entries {
		o := &fields{path: f.name(field) + "." + strconv.Itoa(i+1), fail: f.fail, echo: map[string]any{}}
		if o.in, ok = v.(map[string]any); !ok {
			f.invalid(field, "entry %d is not an object", i+1)
			return nil
		}
		list[i], echo[i] = o, o.echo
	}
	f.echo[field] = echo
	return list
}

// quote shows a foreign value in a message, cut to 64 characters.
func quote(s string) string { return strconv.Quote(cut(s, 64)) }

// short shows a foreign name in a message, cut to 128 characters.
func short(s string) string { return cut(s, 128) }

func cut(s string, max int) string {
	n := 0
	for i := range s {
		if n == max {
			return s[:i] + "…"
		}
		n++
	}
	return s
}
