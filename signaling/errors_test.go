package signaling

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"braid/media"
	"braid/store"
)

func TestWriteError(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		told   bool
	}{
		{media.ErrInvalid, 400, true},
		{media.ErrNotFound, 404, true},
		{media.ErrExists, 409, true},
		{media.ErrLimit, 503, true},
		{media.ErrClosed, 503, true},
		{&http.MaxBytesError{Limit: 5}, 413, true},
		{store.ErrInUse, 409, true},
		{store.ErrStale, 412, true},
		{Conflict("no"), 409, true},
		{Unprocessable("no"), 422, true},
		{Unconditional("no"), 428, true},
		{Unauthorized("no"), 401, true},
		{MediaType("no"), 415, true},
		{Method("no"), 405, true},
		{Invalid{{"a.b", "is missing"}}, 400, true},
		{errors.New("secret path"), 500, false},
		{store.ErrAway, 503, false},
		{fmt.Errorf("%w: %w", store.ErrAway, media.ErrNotFound), 503, false},
	} {
		w := httptest.NewRecorder()
		WriteError(w, fmt.Errorf("do a thing: %w", c.err))
		if w.Code != c.status || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%v: got %d, %s", c.err, w.Code, w.Header().Get("Content-Type"))
		}
		if again := w.Header().Get("Retry-After"); (again != "") != (c.status == 503) {
			t.Errorf("%v: Retry-After: %q", c.err, again)
		}
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		if p.Status != c.status || p.Title == "" || p.Type != "about:blank" || strings.Contains(p.Detail, "do a thing") != c.told {
			t.Errorf("%v: got %+v", c.err, p)
		}
		if _, fields := c.err.(Invalid); fields != (len(p.Errors) == 1 && p.Errors[0].Field == "a.b") {
			t.Errorf("%v: got the fields %+v", c.err, p.Errors)
		}
	}
}
