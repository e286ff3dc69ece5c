package store

import (
	"database/sql"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"braid/media"
)

// bindable turns arguments into what both drivers take alike.
func bindable(args []any) error {
	for i, a := range args {
		switch v := a.(type) {
		case int, int64:
		case bool:
			args[i] = int64(0)
			if v {
				args[i] = int64(1)
			}
		case time.Time:
			args[i] = millis(v)
		case []byte:
			if v == nil {
				args[i] = []byte{}
			}
		default:
			r := reflect.ValueOf(a)
			if r.Kind() != reflect.String {
				panic(fmt.Sprintf("store: argument %d is a %T", i+1, a)) // a mistake in this package
			}
			s := r.String()
			if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
				return fmt.Errorf("%q is not text: it has bytes that are not UTF-8, or a zero byte: %w", s, media.ErrInvalid)
			}
			args[i] = s
		}
	}
	return nil
}

// millis is how a time is stored.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// at reads a stored time into t.
func at(t *time.Time) sql.Scanner { return stamp{t} }

type stamp struct{ t *time.Time }

// Scan implements sql.Scanner.
func (s stamp) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a time stored as %T", v)
	}
	*s.t = time.Time{}
	if n != 0 {
		*s.t = time.UnixMilli(n).UTC()
	}
	return nil
}

// inMillis reads a duration stored in milliseconds into d.
func inMillis(d *time.Duration) sql.Scanner { return span{d} }

type span struct{ d *time.Duration }

// Scan implements sql.Scanner.
func (s span) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a duration stored as %T", v)
	}
	*s.d = time.Duration(n) * time.Millisecond
	return nil
}

// dollars rewrites ? outside of quotes to $1, $2, … as PostgreSQL wants them.
func dollars(query string) string {
	var b strings.Builder
	n, quoted := 0, false
	for _, c := range query {
		switch {
		case c == '\'':
			quoted = !quoted
		case c == '?' && !quoted:
			n++
			fmt.Fprintf(&b, "$%d", n)
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}
