package admin

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"braid/media"
	"braid/signaling"
)

// Page sizes of lists.
const (
	defaultLimit = 50
	maxLimit     = 200
)

// query are the parameters of a URL, read one by one like an object.
type query struct {
	left  url.Values
	wrong signaling.Invalid
}

func (c *call) query() (*query, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the query: %w: %w", err, media.ErrInvalid)
	}
	q := &query{left: values}
	for name, all := range values {
		switch {
		case len(all) > 1:
			q.refuse(short(name), "is there %d times", len(all))
		case !utf8.ValidString(all[0]):
			q.refuse(short(name), "is not UTF-8")
		}
	}
	return q, nil
}

// noQuery refuses all parameters.
func (c *call) noQuery() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	return q.done()
}

func (q *query) refuse(name, format string, args ...any) {
	q.wrong = append(q.wrong, signaling.FieldError{Field: name, Detail: fmt.Sprintf(format, args...)})
}

// done tells what was wrong, with the parameters that nobody read.
func (q *query) done() error {
	names := make([]string, 0, len(q.left))
	for name := range q.left {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		q.refuse(short(name), "there is no such parameter")
	}
	if len(q.wrong) > 0 {
		return q.wrong
	}
	return nil
}

func (q *query) take(name string) (string, bool) {
	all, ok := q.left[name]
	delete(q.left, name)
	if !ok {
		return "", false
	}
	return all[0], true
}

// text is a parameter of 1 to max characters; "" when it is not there.
func (q *query) text(name string, max int) string {
	s, ok := q.take(name)
	if !ok {
		return ""
	}
	if err := text(s, 1, max); err != "" {
		q.refuse(name, "%s", err)
		return ""
	}
	return s
}

// oneOf is one of a few words, "" when it is not there.
func (q *query) oneOf(name string, words ...string) string {
	s, ok := q.take(name)
	if ok && !slices.Contains(words, s) {
		q.refuse(name, "%s is not one of %s", quote(s), strings.Join(words, ", "))
		return ""
	}
	return s
}

// int is a whole number from min to max, otherwise when it is not there.
func (q *query) int(name string, otherwise, min, max int) int {
	s, ok := q.take(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < min || n > max {
		q.refuse(name, "%s is not a whole number from %d to %d", quote(s), min, max)
		return otherwise
	}
	return n
}

// time is a moment in RFC 3339, otherwise when it is not there.
func (q *query) time(name string, otherwise time.Time) time.Time {
	s, ok := q.take(name)
	if !ok {
		return otherwise
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		q.refuse(name, "%s is not a time such as 2026-11-22T13:00:00Z", quote(s))
		return otherwise
	}
	return at.UTC()
}

func (q *query) limit() int { return q.int("limit", defaultLimit, 1, maxLimit) }

// cursor is where a list goes on: what next wrote into the last page. It is ""
// at the start. A cursor of another list is refused.
func (q *query) cursor(list string) string {
	s, ok := q.take("cursor")
	if !ok {
		return ""
	}
	at, err := readCursor(list, s)
	if err != nil {
		q.refuse("cursor", "%s", err)
	}
	return at
}

// number is a cursor that is a number, 0 at the start.
func (q *query) number(list string) int64 {
	s := q.cursor(list)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		q.refuse("cursor", "it is not a cursor of this list")
		return 0
	}
	return n
}

// maxCursor bounds a cursor in characters: a name of 253 and what is around it.
const maxCursor = 512

// writeCursor makes the text of a cursor. It is no secret and not signed: who
// makes one up gets another page of the same list.
func writeCursor(list, at string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + "\n" + at))
}

func readCursor(list, s string) (string, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	kind, at, ok := strings.Cut(string(b), "\n")
	if err != nil || !ok || kind != list || at == "" || len(s) > maxCursor || !utf8.ValidString(at) || strings.ContainsRune(at, 0) {
		return "", fmt.Errorf("it is not a cursor of this list; send next of the last page unchanged")
	}
	return at, nil
}

// page is one page of a list. Next is "" on the last one.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// newPage makes a page of at most limit items out of up to limit+1 rows, of
// which the last only shows that there are more. at is the cursor of a row.
func newPage[R, T any](rows []R, limit int, list string, at func(R) string, item func(R) T) page[T] {
	p := page[T]{Items: []T{}}
	if len(rows) > limit {
		rows = rows[:limit]
		p.Next = writeCursor(list, at(rows[limit-1]))
	}
	for _, r := range rows {
		p.Items = append(p.Items, item(r))
	}
	return p
}
