package main

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"braid/store"
)

// A body that does not arrive is given up; an endless answer goes on.
func TestSlowBody(t *testing.T) {
	const within = 100 * time.Millisecond
	s := httptest.NewServer(limitBody(within, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			select {
			case <-r.Context().Done():
				t.Error("a request without a body was cut")
			case <-time.After(5 * within):
			}
			return
		}
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})))
	defer s.Close()
	for _, tt := range []struct {
		request string
		want    []int
	}{
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc", []int{http.StatusBadRequest}},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", []int{http.StatusBadRequest}},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", []int{http.StatusOK}},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\n", []int{http.StatusOK, http.StatusOK}},
	} {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(c, tt.request); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(c)
		for _, want := range tt.want {
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Errorf("%q: %v", tt.request, err)
				break
			}
			if resp.StatusCode != want {
				t.Errorf("%q: got %d, want %d", tt.request, resp.StatusCode, want)
			}
		}
	}
}

// What is nothing is 404 at once, whatever its path looks like.
func TestUnknownPaths(t *testing.T) {
	s := startBraid(t)
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, path := range []string{"/nothing", "/favicon.ico", "/live", "/live/", "/live/a/b/c", "/whip/", "/demo/nothing"} {
		resp, err := client.Get(s.http + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: got %s, want 404", path, resp.Status)
		}
	}
}

func TestWelcome(t *testing.T) {
	cfg := defaults()
	cfg.DataDir = t.TempDir()
	cfg.HTTP.Listen, cfg.RTMP.Listen, cfg.Media.Listen = "127.0.0.1:0", "0.0.0.0:0", "127.0.0.1:0"
	cfg.Mixer.Program = mixerProgram(t)
	if _, err := loadCredentials(&cfg); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var out bytes.Buffer
	s.welcome(&out)
	_, port, _ := net.SplitHostPort(s.RTMPAddr)
	kept, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	s.welcome(kept)
	if said, err := os.ReadFile(kept.Name()); err != nil || bytes.Contains(said, []byte("setup=")) || !bytes.Contains(said, []byte("setup-link")) {
		t.Errorf("%v; a file, as a container's log is, was told:\n%s", err, said)
	}
	for _, want := range []string{
		"http://" + s.HTTPAddr + "/demo/",
		"http://" + s.HTTPAddr + "/whip/" + cfg.Applications[0].ID + "/CHANNEL/USER",
		"http://" + s.HTTPAddr + "/live/NAME.m3u8",
		"rtmp://127.0.0.1:" + port + "/live/NAME",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in:\n%s", want, out.String())
		}
	}
}

// Nobody is sent to an application that was deleted.
func TestWelcomeWithoutApplications(t *testing.T) {
	cfg := defaults()
	cfg.DataDir = t.TempDir()
	cfg.HTTP.Listen, cfg.RTMP.Listen, cfg.Media.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Mixer.Program = mixerProgram(t)
	if _, err := loadCredentials(&cfg); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	gone := cfg.Applications[0].ID
	if err := s.store.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteApplication(gone) }); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s.welcome(&out)
	if strings.Contains(out.String(), gone) || strings.Contains(out.String(), "/demo/") {
		t.Errorf("the application is gone, and is named in:\n%s", out.String())
	}
}

// A page of another name that was made to point at this machine gets no tokens.
func TestDemoAnswersLoopbackNames(t *testing.T) {
	s := startBraid(t)
	for host, want := range map[string]int{"": http.StatusOK, "localhost:9": http.StatusOK, "rebound.example": http.StatusForbidden} {
		req, err := http.NewRequest("POST", s.http+"/demo/join", strings.NewReader(`{"channel":"a","user":"b"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("Host %q: got %d, want %d", host, resp.StatusCode, want)
		}
	}
}
