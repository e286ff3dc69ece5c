// Package signaling holds what braid's HTTP borders share: how an error looks
// to a client. The borders themselves are its subfolders. It starts no
// goroutine.
package signaling

import (
	"encoding/json"
	"errors"
	"net/http"

	"braid/media"
)

// Problem is an error body in application/problem+json (RFC 9457). Type is
// "about:blank": the status says what kind of problem it is, Detail what went
// wrong this time.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// WriteProblem answers a request with a status and words for the person who
// reads the client's log.
func WriteProblem(w http.ResponseWriter, status int, detail string) {
	body, err := json.Marshal(Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail})
	if err != nil {
		panic("signaling: a Problem has only strings and a number, yet: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body)
}

// Status is the HTTP status of an error that wraps one of media's sentinels;
// 500 for any other.
func Status(err error) int {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, media.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, media.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, media.ErrExists):
		return http.StatusConflict
	case errors.Is(err, media.ErrLimit), errors.Is(err, media.ErrClosed):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// WriteError answers a request with an error. What went wrong inside (a 500)
// is not told; log it.
func WriteError(w http.ResponseWriter, err error) {
	status := Status(err)
	detail := err.Error()
	if status == http.StatusInternalServerError {
		detail = "the server failed to do this; its log says why"
	}
	WriteProblem(w, status, detail)
}
