package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// rest makes a REST call that has to succeed and reads its answer into out,
// which may be nil. It returns the ETag.
func (s *braidServer) rest(method, path string, in, out any, headers ...string) (etag string) {
	s.t.Helper()
	status, body, h := s.tryREST(method, path, in, headers...)
	if status/100 != 2 {
		s.t.Fatalf("%s %s: %d %s", method, path, status, body)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, body)
		}
	}
	return h.Get("ETag")
}

func (s *braidServer) tryREST(method, path string, in any, headers ...string) (status int, body []byte, h http.Header) {
	s.t.Helper()
	var content io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			s.t.Fatal(err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, s.http+path, content)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, body, resp.Header
}

// events is the whole log of the test application.
func (s *braidServer) events() (all []logged) {
	s.t.Helper()
	for after := int64(0); ; {
		var page struct {
			Items []struct {
				logged
				Seq int64
			}
		}
		s.rest("GET", fmt.Sprintf("/v1/events?app=%s&after=%d&limit=200", testApp, after), nil, &page)
		if len(page.Items) == 0 {
			return all
		}
		for _, e := range page.Items {
			all = append(all, e.logged)
			after = e.Seq
		}
	}
}

// TestGlobalRelay switches the relay of an application on (the seed's method
// 2): every published stream goes to the origin under its name, and so does one
// mix whose layout follows who is there. A running mix takes an update like any
// other task.
func TestGlobalRelay(t *testing.T) {
	s := startBraid(t)
	origin := nginxRTMP(t) // rtmp://host:port/live
	s.rest("POST", "/v1/domains", map[string]any{"name": "play.example.com", "ingest": origin[:len(origin)-len("/live")]}, nil)
	s.rest("POST", "/v1/domains", map[string]any{"name": "rts.example.com", "ingest": origin[:len(origin)-len("/live")], "rts2": true}, nil)
	path := "/v1/applications/" + testApp + "/relay"
	etag := s.rest("GET", path, nil, nil)
	settings := map[string]any{"enabled": true, "single": true, "mix": true, "domain": "rts.example.com",
		"sei": map[string]any{"interval_ms": 1000, "follow_idr": true}}
	if status, body, _ := s.tryREST("PUT", path, settings, "If-Match", etag); status/100 != 4 || !bytes.Contains(body, []byte("RTS")) {
		t.Errorf("a domain with RTS 2.0: got %d %s, want a refusal that names it", status, body)
	}
	settings["domain"] = "play.example.com"
	s.rest("PUT", path, settings, nil, "If-Match", etag)

	ann := clip{ID: 5, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}
	bob := clip{ID: 6, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 700}
	s.publish("room", "ann", ann.make(t), ann.FPS, "h264")
	single := pull(t, fmt.Sprintf("%s/%s_room_ann_camera", origin, testApp), 2e9)
	if n := readBarcodes(t, single, rect{0, 0, 640, 360}, [2]int{}, ann.ID); n[len(n)-1] < 0 {
		t.Error("ann's own stream does not show ann")
	}
	mix := fmt.Sprintf("%s/%s_room_mix", origin, testApp)
	shows := func(c clip, p pane) func() (bool, string) {
		return func() (bool, string) {
			file := pull(t, mix, 1e9)
			n := readBarcodes(t, file, p.on(1280, 720), [2]int{640, 360}, c.ID)
			return len(n) > 0 && n[len(n)-1] >= 0, fmt.Sprint(n)
		}
	}
	eventually(t, 20e9, "ann fills the mix alone", shows(ann, pane{W: 1, H: 1}))
	s.publish("room", "bob", bob.make(t), bob.FPS, "h264")
	eventually(t, 20e9, "ann is left", shows(ann, pane{X: 0.0021, Y: 0.2516, W: 0.4968, H: 0.4968}))
	eventually(t, 20e9, "bob is right", shows(bob, pane{X: 0.501, Y: 0.2516, W: 0.4968, H: 0.4968}))

	s.call("UpdateLiveMPUTask", mixParams("mix_room", "room", []string{mix}, 1280, 720, 25, pane{"bob", 0, 0, 0.5, 0.5, 0}))
	eventually(t, 20e9, "bob is where the update put him", shows(bob, pane{X: 0, Y: 0, W: 0.5, H: 0.5}))
	messages := seis(t, pull(t, mix, 2e9))
	if _, layouts := layoutsIn(t, messages); len(layouts) == 0 || layouts[0].Stream[0].UID != "bob" {
		t.Errorf("the mix's SEI: got %+v, want bob", layouts)
	}
}
