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
		{errors.New("secret path"), 500, false},
	} {
		w := httptest.NewRecorder()
		WriteError(w, fmt.Errorf("do a thing: %w", c.err))
		if w.Code != c.status || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%v: got %d, %s", c.err, w.Code, w.Header().Get("Content-Type"))
		}
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		if p.Status != c.status || p.Title == "" || p.Type != "about:blank" || strings.Contains(p.Detail, "do a thing") != c.told {
			t.Errorf("%v: got %+v", c.err, p)
		}
	}
}
