// Package signaling holds what braid's HTTP borders share: how an error looks
// to a client. The borders themselves are its subfolders. It starts no
// goroutine.
package signaling

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"braid/media"
	"braid/store"
)

// Problem is an error body in application/problem+json (RFC 9457). Type is
// "about:blank": the status says what kind of problem it is, Detail what went
// wrong this time, Errors which fields of the request are wrong.
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`
}

// FieldError says what is wrong with one field: of a JSON body ("sei.interval_ms",
// "channels[2]"), of a query or of a header, by the name that the client wrote.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Invalid is the error of a request with wrong fields. It wraps media.ErrInvalid.
type Invalid []FieldError

// Error lists the fields, each with what is wrong.
func (e Invalid) Error() string {
	var words []string
	for _, f := range e {
		words = append(words, f.Field+": "+f.Detail)
	}
	return strings.Join(words, "; ")
}

func (e Invalid) Unwrap() error { return media.ErrInvalid }

// refusal is an error for which there is no sentinel, since only HTTP knows it.
type refusal struct {
	status int
	detail string
}

func (e *refusal) Error() string { return e.detail }

// Unauthorized says that a request does not prove who sends it. The caller
// sets WWW-Authenticate.
func Unauthorized(format string, args ...any) error {
	return &refusal{http.StatusUnauthorized, fmt.Sprintf(format, args...)}
}

// Forbidden says that whoever sends a request is known, and may not do this.
func Forbidden(format string, args ...any) error {
	return &refusal{http.StatusForbidden, fmt.Sprintf(format, args...)}
}

// TooMany says that a request comes too soon after others. The caller sets
// Retry-After.
func TooMany(format string, args ...any) error {
	return &refusal{http.StatusTooManyRequests, fmt.Sprintf(format, args...)}
}

// Conflict says that the state of things forbids what was asked for.
func Conflict(format string, args ...any) error {
	return &refusal{http.StatusConflict, fmt.Sprintf(format, args...)}
}

// Unprocessable says that a request is well formed and contradicts an earlier one.
func Unprocessable(format string, args ...any) error {
	return &refusal{http.StatusUnprocessableEntity, fmt.Sprintf(format, args...)}
}

// Unconditional says that a change needs If-Match (RFC 6585 section 3).
func Unconditional(format string, args ...any) error {
	return &refusal{http.StatusPreconditionRequired, fmt.Sprintf(format, args...)}
}

// MediaType says that a body is not of the type that is read.
func MediaType(format string, args ...any) error {
	return &refusal{http.StatusUnsupportedMediaType, fmt.Sprintf(format, args...)}
}

// Method says that a resource has no such method. The caller sets Allow.
func Method(format string, args ...any) error {
	return &refusal{http.StatusMethodNotAllowed, fmt.Sprintf(format, args...)}
}

// WriteProblem answers a request with a status and words for the person who
// reads the client's log.
func WriteProblem(w http.ResponseWriter, status int, detail string) {
	write(w, Problem{Status: status, Detail: detail})
}

func write(w http.ResponseWriter, p Problem) {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	body, err := json.Marshal(p)
	if err != nil {
		panic("signaling: a Problem has only strings and a number, yet: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	w.Write(body)
}

// Status is the HTTP status of an error that wraps a sentinel of media or
// store, or is one of this package's; 500 for any other.
func Status(err error) int {
	var tooLarge *http.MaxBytesError
	var refused *refusal
	switch {
	case errors.Is(err, store.ErrAway): // whatever else it says
		return http.StatusServiceUnavailable
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &refused):
		return refused.status
	case errors.Is(err, media.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, media.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, media.ErrExists), errors.Is(err, store.ErrInUse):
		return http.StatusConflict
	case errors.Is(err, store.ErrStale):
		return http.StatusPreconditionFailed
	case errors.Is(err, media.ErrLimit), errors.Is(err, media.ErrClosed):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// AwayWords is what people are told of store.ErrAway; the log says more.
const AwayWords = "the database cannot be reached at the moment; calls and streams go on, try this again soon"

// WriteError answers a request with an error. What went wrong inside (a 500, or a
// database that is away) is not told; log it. A 503 has Retry-After, of 5 s if the
// caller has set none.
func WriteError(w http.ResponseWriter, err error) {
	p := Problem{Status: Status(err), Detail: err.Error()}
	var invalid Invalid
	if errors.As(err, &invalid) {
		p.Errors = invalid
	}
	if p.Status == http.StatusInternalServerError {
		p.Detail = "the server failed to do this; its log says why"
	}
	if errors.Is(err, store.ErrAway) {
		p.Detail = AwayWords
	}
	if p.Status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "5")
	}
	write(w, p)
}
