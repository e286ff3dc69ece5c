package main

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"testing"
	"time"
)

// jpegOf waits until a picture of the REST API pleases, and returns it.
func (s *braidServer) jpegOf(path string, ok func(image.Image) bool) image.Image {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for said := ""; ; {
		req, err := http.NewRequest("GET", s.http+path, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adminToken)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		if res.StatusCode == http.StatusOK {
			img, err := jpeg.Decode(bytes.NewReader(body))
			if err != nil {
				s.t.Fatalf("%s: %v", path, err)
			}
			if ok(img) {
				return img
			}
			said = fmt.Sprintf("a picture of %v that is another one", img.Bounds())
		} else {
			said = fmt.Sprintf("%d %s", res.StatusCode, body)
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within 30 s; the last answer was %s", path, said)
		}
		<-time.After(200 * time.Millisecond)
	}
}

// TestThumbnailsOfAll: what users send in each codec, and what a mix makes of them,
// can be seen as JPEG files.
func TestThumbnailsOfAll(t *testing.T) {
	s := startBraid(t)
	s.rest("PUT", "/v1/applications/e2e/relay", map[string]any{"enabled": true, "mix": true}, nil, "If-Match", "*")
	colours := map[string]int{"anna": 5, "ben": 6}
	for user, id := range colours {
		video := map[string]string{"anna": "vp8", "ben": "h264"}[user]
		s.publish("lobby", user, clip{ID: id, W: 320, H: 180, FPS: 15, Seconds: 10, Tone: 400}.make(t), 15, video)
	}
	for user := range colours {
		img := s.jpegOf("/v1/applications/e2e/channels/lobby/users/"+user+"/thumbnail.jpg?width=160", func(img image.Image) bool { return true })
		if size := img.Bounds().Size(); size != image.Pt(160, 90) {
			t.Errorf("%s: a thumbnail of %v, want 160x90", user, size)
		}
	}
	mix := s.jpegOf("/v1/applications/e2e/tasks/mix_lobby/picture.jpg?width=320", func(image.Image) bool { return true })
	if mix.Bounds().Dx() != 320 {
		t.Errorf("the mix: a picture of %v, want 320 wide", mix.Bounds())
	}
}

// TestLatestPicture: the newest snapshot of a stream is beside it, as a page shows it
// before it plays, and is not sent again while it is the same.
func TestLatestPicture(t *testing.T) {
	s := startBraid(t)
	s.rest("POST", "/v1/applications/"+testApp+"/templates", map[string]any{"id": "shot", "kind": "snapshot", "snapshot": map[string]any{"interval_seconds": 10}}, nil)
	pushed := pushTestPicture(t, s.rtmp+"/cam", 8)
	defer func() { <-pushed }()
	if status := s.status("/live/nobody.jpg", ""); status != http.StatusNotFound {
		t.Errorf("of a stream that is not on air: %d, want 404", status)
	}
	img := s.jpegOf("/live/cam.jpg", func(image.Image) bool { return true })
	if img.Bounds().Size() != image.Pt(320, 180) {
		t.Errorf("got a picture of %v, want 320x180", img.Bounds().Size())
	}
	if status := s.status("/live/cam.jpg", time.Now().UTC().Format(http.TimeFormat)); status != http.StatusNotModified {
		t.Errorf("asked for again: %d, want 304", status)
	}
}

// status is that of a GET; since is If-Modified-Since.
func (s *braidServer) status(path, since string) int {
	s.t.Helper()
	req, err := http.NewRequest("GET", s.http+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if since != "" {
		req.Header.Set("If-Modified-Since", since)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}
