package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"braid/signaling/token"
)

// TestDrainAtTheEnd: at SIGTERM who is in is told and has time to leave, and
// nobody else comes in.
func TestDrainAtTheEnd(t *testing.T) {
	cfg := defaults()
	cfg.DataDir, cfg.Drain = t.TempDir(), 30*time.Second
	cfg.HTTP.Listen, cfg.RTMP.Listen, cfg.Media.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Mixer.Program = mixerProgram(t)
	cfg.AccessKeys = []accessKey{{ID: accessID, Secret: accessCode}}
	cfg.Applications = []application{{ID: testApp, Key: testKey}}
	s, err := newServer(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.run(stop) }()
	ctx, late := context.WithTimeout(t.Context(), 20*time.Second)
	defer late()
	conn, _, err := websocket.Dial(ctx, "ws://"+s.HTTPAddr+"/v1/rtc", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	say := func(m map[string]any) {
		b, _ := json.Marshal(m)
		if err := conn.Write(ctx, websocket.MessageText, b); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(kind string) (m map[string]any) {
		for m["type"] != kind {
			_, b, err := conn.Read(ctx)
			if err != nil {
				t.Fatalf("waiting for %s: %v", kind, err)
			}
			m = nil
			if err := json.Unmarshal(b, &m); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	say(map[string]any{"id": 1, "type": "join", "token": token.Sign(testApp, testKey, "room", "ann", time.Now().Add(time.Hour)).String()})
	hear("ok")
	if resp := get(t, "http://"+s.HTTPAddr+"/healthz"); resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Server"), "braid") {
		t.Errorf("before: %s, Server %q", resp.Status, resp.Header.Get("Server"))
	}

	begun := time.Now()
	cancel() // what SIGTERM does
	if m := hear("draining"); m["within_ms"] != 30e3 {
		t.Errorf("told %v, want within 30000 ms", m)
	}
	if resp := get(t, "http://"+s.HTTPAddr+"/healthz"); resp.StatusCode != 200 {
		t.Errorf("a draining server is taken for dead: %s", resp.Status)
	}
	if resp := get(t, "http://"+s.HTTPAddr+"/readyz"); resp.StatusCode != 503 {
		t.Errorf("a draining server says that it takes sessions: %s", resp.Status)
	}
	resp, err := http.Post("http://"+s.HTTPAddr+"/whip/"+testApp+"/room/bob", "application/sdp", strings.NewReader("v=0"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a draining server takes a publisher: %s", resp.Status)
	}
	say(map[string]any{"id": 2, "type": "leave"})
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("everyone had left, and the server waited until %v", took)
	}
}

func get(t *testing.T, url string) *http.Response {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}
