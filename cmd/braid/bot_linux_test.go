package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBotLoad loads a server as `make bench-sfu` does: all that is sent arrives,
// once the server knows what the ways to the viewers carry.
func TestBotLoad(t *testing.T) {
	s := startBraid(t)
	for _, crowd := range []struct {
		args    []string
		streams float64
	}{
		{[]string{"--fanout", "4", "--repeat", "2"}, 4},
		{[]string{"--conference", "3", "--repeat", "8"}, 6},
	} {
		var out, complaints bytes.Buffer
		args := append([]string{"load", "--json", "--url", s.http, "--app", testApp, "--key", testKey, "--warm", "1500ms", "--measure", "1s"}, crowd.args...)
		if err := bot(t.Context(), args, &out, &complaints); err != nil {
			t.Fatalf("%v: %v\n%s", crowd.args, err, complaints.String())
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if want := crowd.args[3]; fmt.Sprint(len(lines)) != want {
			t.Fatalf("%v: got %d measurements, want %s:\n%s", crowd.args, len(lines), want, out.String())
		}
		if !slices.ContainsFunc(lines[1:], func(line string) bool {
			var m measurement
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			want := 200 * crowd.streams
			return m.Rate > 0.8*want && m.Rate < 1.2*want && m.Loss == 0 && m.Dead == 0 && m.P50 > 0 && m.Feedback > 0
		}) {
			t.Errorf("%v: got %s, want %.0f packets a second and none lost", crowd.args, out.String(), 200*crowd.streams)
		}
	}
}

func TestBotRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"dance"}, {"load", "--fanout", "0"}, {"load", "--fps", "0"}, {"load", "more"}, {"load", "--conference", "101"}} {
		if err := bot(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

// On the server's machine a bot needs no key; that of another application is not guessed.
func TestBotApplication(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "braid.yaml")
	if err := os.WriteFile(file, []byte("data_dir: "+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	app, key := "", ""
	if err := botApplication(file, &app, &key); err == nil || !strings.Contains(err.Error(), "credentials.json") {
		t.Errorf("before the first start: got %v, want where a key is looked for", err)
	}
	cfg := defaults()
	cfg.DataDir = dir
	if _, err := loadCredentials(&cfg); err != nil {
		t.Fatal(err)
	}
	own := cfg.Applications[0]
	for _, c := range []struct{ app, key, wantApp, wantKey string }{
		{"", "", own.ID, own.Key}, {own.ID, "", own.ID, own.Key}, {"other", "secret", "other", "secret"},
		{"other", "", "", ""}, {"", "secret", "", ""},
	} {
		app, key := c.app, c.key
		err := botApplication(file, &app, &key)
		if refused := c.wantApp == ""; refused != (err != nil) || !refused && (app != c.wantApp || key != c.wantKey) {
			t.Errorf("--app %q --key %q: got %q, %q, %v; want %q, %q", c.app, c.key, app, key, err, c.wantApp, c.wantKey)
		}
	}
}

func TestDelays(t *testing.T) {
	var d delays
	for ms := range 100 {
		d.add(time.Duration(ms) * time.Millisecond)
	}
	d.add(-time.Second)
	d.add(time.Hour)
	if p50, p99 := d.at(0.5), d.at(0.99); p50 < 49*time.Millisecond || p50 > 51*time.Millisecond || p99 < 98*time.Millisecond || p99 > 101*time.Millisecond {
		t.Errorf("got p50 %v, p99 %v", p50, p99)
	}
}
