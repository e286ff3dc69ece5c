package admin

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"braid/media"
	"braid/store"
)

// TestWatch: whoever may use the console sees a stream through it, until its login ends.
func TestWatch(t *testing.T) {
	s := start(t)
	const path = "/v1/streams/live/cam%2F1/live.flv"
	s.do("GET", path, nil).expect(404, "no origin")
	ended := make(chan struct{}, 10)
	s.handler.recheck = 10 * time.Millisecond
	s.handler.watch = func(w http.ResponseWriter, r *http.Request, app, name string) error {
		if app != "live" || name != "cam/1" {
			return fmt.Errorf("%s/%s: %w", app, name, media.ErrNotFound)
		}
		w.Header().Set("Content-Type", "video/x-flv")
		_, _ = io.WriteString(w, "FLV")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		ended <- struct{}{}
		return nil
	}
	s.do("GET", "/v1/streams/live/none/live.flv", nil).expect(404, "live/none")
	s.do("GET", path+"?x=1", nil).field("x", "no such parameter")
	s.do("GET", path, nil, "Authorization", "Bearer wrong").expect(401)

	open := func(headers ...string) *http.Response {
		t.Helper()
		req := s.request("GET", path, nil, headers...)
		if len(headers) > 0 {
			req.Header.Del("Authorization")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 3)
		if _, err := io.ReadFull(res.Body, head); err != nil || string(head) != "FLV" || res.StatusCode != 200 || res.Header.Get("Content-Type") != "video/x-flv" ||
			res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Fatalf("got %s %q %v, %v", res.Status, head, res.Header, err)
		}
		return res
	}
	over := func(what string) {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the stream goes on", what)
		}
	}
	open().Body.Close()
	over("the client goes")

	eve := s.signIn("eve", store.Viewer)
	res := open("Cookie", eve)
	defer res.Body.Close()
	byToken := open()
	defer byToken.Body.Close()
	s.do("DELETE", "/v1/administrators/eve", nil).expect(204)
	over("eve is deleted")
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Errorf("its end: %v", err)
	}
	select {
	case <-ended:
		t.Error("the end of eve ended another's stream")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestSnapshot(t *testing.T) {
	s := start(t)
	const path = "/v1/streams/live/cam/snapshot.jpg"
	s.do("GET", path, nil).expect(404, "no origin")
	taken := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s.handler.snapshot = func(app, name string) ([]byte, time.Time, bool) {
		return []byte("jpeg of " + app + "/" + name), taken, name == "cam"
	}
	if a := s.do("GET", path, nil).expect(200, "jpeg of live/cam"); a.header.Get("Last-Modified") != "Sun, 22 Nov 2026 12:00:00 GMT" {
		t.Errorf("got %v", a.header)
	}
	s.do("GET", "/v1/streams/live/other/snapshot.jpg", nil).expect(404, "no snapshot")
	s.do("GET", path+"?x=1", nil).field("x", "no such parameter")
}
