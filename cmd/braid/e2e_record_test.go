package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// recordedFile is what these tests read of a file in the list.
type recordedFile struct {
	ID, State, Stream, Name, Format, Content string
	Recovered                                bool
	Size                                     int64 // bytes
	Millis                                   int64 `json:"duration_ms"`
}

func (s *braidServer) recordedFiles(query string) (files []recordedFile) {
	s.t.Helper()
	var list struct{ Items []recordedFile }
	s.rest("GET", "/v1/recordings?"+query, nil, &list)
	return list.Items
}

// cast publishes a test picture with a tone until ctx ends.
func cast(t *testing.T, ctx context.Context, to string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25",
		"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p",
		"-c:a", "aac", "-f", "flv", to)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

// A stream is recorded because a template says so. The server is killed in the
// middle: after the next start the file is whole, is told of, and can be had.
func TestRecordingSurvivesAKill(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg", "ffprobe")
	p := newProcess(t, "")
	p.start()
	templates := "/v1/applications/" + testApp + "/templates"
	p.rest("POST", templates, map[string]any{"id": "all", "kind": "record", "app_name": "live",
		"record": map[string]any{"format": []string{"fmp4", "ts"}, "name": "{app}/{stream}/{start}-{sequence}"}}, nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cast(t, ctx, p.rtmp+"/cam")
	at := filepath.Join(p.data, "media", "recordings")
	eventually(t, 30*time.Second, "files grow", func() (bool, string) {
		files := p.recordedFiles("stream=cam&state=open")
		if len(files) != 2 {
			return false, fmt.Sprintf("%d open files", len(files))
		}
		for _, f := range files {
			if info, err := os.Stat(filepath.Join(at, f.Name)); err != nil || info.Size() < 200_000 {
				return false, fmt.Sprint(f.Name, " ", err)
			}
		}
		return true, ""
	})
	p.end(syscall.SIGKILL)
	stop()

	p.start()
	files := p.recordedFiles("app=live&stream=cam&template=all&application=" + testApp)
	if len(files) != 2 {
		t.Fatalf("after the kill there are %d files, want 2", len(files))
	}
	for _, f := range files {
		if f.State != "kept" || !f.Recovered || f.Millis < 1000 || f.Size < 100_000 {
			t.Errorf("%+v", f)
		}
		p.checkContent(f)
	}
	eventually(t, 20*time.Second, "both files are told of", func() (bool, string) {
		n := 0
		for _, e := range p.events() {
			if e.Type == "RecordFile" {
				n++
			}
		}
		return n == 2, fmt.Sprintf("%d events", n)
	})

	// A stream that ends as streams do.
	ctx, stop = context.WithCancel(t.Context())
	defer stop()
	cast(t, ctx, p.rtmp+"/second")
	eventually(t, 30*time.Second, "the second stream is recorded", func() (bool, string) {
		return len(p.recordedFiles("stream=second&state=open")) == 2, "no open files"
	})
	stop()
	eventually(t, 30*time.Second, "its files are finished", func() (bool, string) {
		return len(p.recordedFiles("stream=second&state=kept")) == 2, "none"
	})
	for _, f := range p.recordedFiles("stream=second") {
		if f.Recovered {
			t.Errorf("%+v", f)
		}
		p.checkContent(f)
		p.rest("DELETE", "/v1/recordings/"+f.ID, nil, nil)
		if _, err := os.Stat(filepath.Join(at, f.Name)); err == nil {
			t.Errorf("%s is there after it was deleted", f.Name)
		}
	}
}

// checkContent downloads a file, whole and a range of it, and decodes it.
func (s *braidServer) checkContent(f recordedFile) {
	s.t.Helper()
	status, body, h := s.tryREST("GET", f.Content, nil)
	if want := map[string]string{"fmp4": "video/mp4", "ts": "video/mp2t"}[f.Format]; status != 200 || int64(len(body)) != f.Size || h.Get("Content-Type") != want {
		s.t.Fatalf("%s: status %d, %d bytes of %d, %s", f.Name, status, len(body), f.Size, h.Get("Content-Type"))
	}
	status, part, _ := s.tryREST("GET", f.Content, nil, "Range", "bytes=188-375")
	if status != http.StatusPartialContent || string(part) != string(body[188:376]) {
		s.t.Errorf("%s: a range: status %d, %d bytes", f.Name, status, len(part))
	}
	name := filepath.Join(s.t.TempDir(), filepath.Base(f.Name))
	if err := os.WriteFile(name, body, 0o644); err != nil {
		s.t.Fatal(err)
	}
	if _, said := command(s.t, time.Minute, "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", name, "-f", "null", "-"); said != "" {
		s.t.Errorf("%s does not decode cleanly:\n%s", f.Name, said)
	}
	if status, _, _ := s.tryREST("GET", f.Content, nil, "Authorization", "Bearer nobody"); status != http.StatusUnauthorized {
		s.t.Errorf("%s without leave: status %d", f.Name, status)
	}
}
