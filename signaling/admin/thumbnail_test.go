package admin

import (
	"context"
	"fmt"
	"testing"
	"time"

	"braid/media"
)

// pictures knows one user's camera and one task, and says in the file what was asked for.
type pictures struct{ taken time.Time }

func (p pictures) User(_ context.Context, app, channel, user string, source media.Source, width int) ([]byte, time.Time, error) {
	if user != "anna" || source != media.Camera {
		return nil, time.Time{}, fmt.Errorf("%s sends no %s: %w", user, source, media.ErrNotFound)
	}
	return []byte(fmt.Sprintf("\xff\xd8 %s %s %s %d", app, channel, user, width)), p.taken, nil
}

func (p pictures) Task(_ context.Context, app, task string, width int) ([]byte, time.Time, error) {
	if task != "t1" {
		return nil, time.Time{}, fmt.Errorf("task %q does not run: %w", task, media.ErrNotFound)
	}
	return []byte(fmt.Sprintf("\xff\xd8 %s %s %d", app, task, width)), p.taken, nil
}

func TestThumbnails(t *testing.T) {
	s := start(t)
	s.app("a1")
	s.do("GET", "/v1/applications/a1/tasks/t1/picture.jpg", nil).expect(404, "makes no pictures")
	s.handler.pictures = pictures{taken: time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)}
	const user = "/v1/applications/a1/channels/lobby/users/anna/thumbnail.jpg"
	for path, want := range map[string]string{
		user:                              "\xff\xd8 a1 lobby anna 320",
		user + "?source=camera&width=640": "\xff\xd8 a1 lobby anna 640",
		"/v1/applications/a1/tasks/t1/picture.jpg?width=80": "\xff\xd8 a1 t1 80",
	} {
		a := s.do("GET", path, nil).expect(200)
		if a.text != want || a.header.Get("Content-Type") != "image/jpeg" || a.header.Get("Last-Modified") != "Mon, 23 Nov 2026 01:02:03 GMT" {
			t.Errorf("%s: got %q, %v; want %q", path, a.text, a.header, want)
		}
	}
	s.do("GET", user+"?source=screen", nil).expect(404, "sends no shareScreen")
	s.do("GET", user+"?source=shareScreen", nil).expect(400, "source")
	s.do("GET", user+"?width=79", nil).expect(400, "width")
	s.do("GET", user+"?height=80", nil).expect(400, "height")
	s.do("GET", "/v1/applications/a1/tasks/t2/picture.jpg", nil).expect(404)
	s.do("GET", "/v1/applications/a2/tasks/t1/picture.jpg", nil).expect(404)
	s.do("POST", user, nil).expect(405)
}
