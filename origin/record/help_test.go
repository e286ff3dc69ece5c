package record

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/media/flv"
	"braid/origin"
)

// TestMain fails the run when goroutines of this module outlive the tests, and is
// the recorder process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BRAID_RECORDER"); dir != "" {
		recorderProcess(dir)
		return
	}
	code := m.Run()
	testkit.Exit(code, "braid/")
}

// clip makes an FLV file with FFmpeg and reads its tags.
func clip(t testing.TB, args ...string) []*flv.Tag {
	t.Helper()
	name := filepath.Join(t.TempDir(), "clip.flv")
	all := append([]string{"-v", "error", "-y"}, args...)
	ffmpeg(t, append(all, "-f", "flv", name)...)
	return readClip(t, name)
}

func readClip(t testing.TB, name string) (tags []*flv.Tag) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(b)
	if err := flv.ReadHeader(r); err != nil {
		t.Fatal(err)
	}
	for {
		tag, err := flv.ReadTag(r)
		if err == io.EOF {
			return tags
		}
		if err != nil {
			t.Fatal(err)
		}
		if tag.Type == flv.Video && tag.Payload[0]&15 == 7 && tag.Payload[1] == 2 {
			continue // the end of the sequence, which the hub passes to nobody
		}
		tags = append(tags, tag)
	}
}

// What clips are made of: a picture with a running clock, and a tone.
func pictures(seconds int, size string, gop int, more ...string) []string {
	return append([]string{"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%s:rate=25:duration=%d", size, seconds),
		"-c:v", "libx264", "-preset", "veryfast", "-g", strconv.Itoa(gop), "-keyint_min", strconv.Itoa(gop), "-sc_threshold", "0", "-pix_fmt", "yuv420p"}, more...)
}

func both(seconds int, size string, gop int, more ...string) []string {
	args := []string{"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:sample_rate=48000:duration=%d", seconds)}
	return append(append(args, pictures(seconds, size, gop)...), append([]string{"-c:a", "aac", "-b:a", "64k"}, more...)...)
}

func ffmpeg(t testing.TB, args ...string) []byte {
	t.Helper()
	return run(t, "ffmpeg", append([]string{"-nostdin", "-hide_banner"}, args...)...)
}

func run(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	var out, said bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &said)
	}
	return append(out.Bytes(), said.Bytes()...)
}

// decodes fails the test when FFmpeg finds anything wrong with a file.
func decodes(t testing.TB, name string) {
	t.Helper()
	if out := ffmpeg(t, "-v", "error", "-xerror", "-i", name, "-f", "null", "-"); len(out) > 0 {
		t.Errorf("%s does not decode cleanly:\n%s", filepath.Base(name), out)
	}
}

// probe is what ffprobe says of a file.
type probe struct {
	Format struct {
		Duration string `json:"duration"`
		Name     string `json:"format_name"`
	} `json:"format"`
	Streams []struct {
		Codec   string `json:"codec_name"`
		Type    string `json:"codec_type"`
		Width   int    `json:"width"`
		Height  int    `json:"height"`
		Packets string `json:"nb_read_packets"`
	} `json:"streams"`
	Packets []packet `json:"packets"`
}

type packet struct {
	Type  string `json:"codec_type"`
	PTS   string `json:"pts_time"`
	DTS   string `json:"dts_time"`
	Flags string `json:"flags"`
	Size  string `json:"size"`
}

func inspect(t testing.TB, name string) (p probe) {
	t.Helper()
	out := run(t, "ffprobe", "-v", "error", "-show_format", "-show_streams", "-show_packets", "-count_packets", "-of", "json", name)
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatalf("ffprobe of %s: %v\n%s", name, err, out)
	}
	return p
}

func (p *probe) duration(t testing.TB) time.Duration { return seconds(t, p.Format.Duration) }

// times are the presentation times of one kind.
func (p *probe) times(t testing.TB, kind string) (all []time.Duration) {
	t.Helper()
	for _, k := range p.Packets {
		if k.Type == kind {
			all = append(all, seconds(t, k.PTS))
		}
	}
	return all
}

func seconds(t testing.TB, s string) time.Duration {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatalf("a time of %q", s)
	}
	return time.Duration(f * float64(time.Second))
}

func near(a, b, slack time.Duration) bool { return (a - b).Abs() <= slack }

// studio is an index with a stream that is recorded, and what was told.
type studio struct {
	t      testing.TB
	dir    string
	index  *Index
	hub    *origin.Hub
	events *story
	shift  uint32 // of the timestamps of the next loop
}

// story keeps events; wait blocks until there is one of a kind.
type story struct {
	mu    sync.Mutex
	all   []Event
	grown chan struct{} // closed and replaced at each event
}

func newStory() *story { return &story{grown: make(chan struct{})} }

func (s *story) add(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, e)
	close(s.grown)
	s.grown = make(chan struct{})
}

func (s *story) list() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event(nil), s.all...)
}

func (s *story) kinds() string {
	var b strings.Builder
	for _, e := range s.list() {
		b.WriteString(string(e.Kind) + " ")
	}
	return strings.TrimSpace(b.String())
}

// until waits for a condition on the events.
func (s *story) until(t testing.TB, within time.Duration, what string, ok func([]Event) bool) []Event {
	t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		s.mu.Lock()
		all, grown := append([]Event(nil), s.all...), s.grown
		s.mu.Unlock()
		if ok(all) {
			return all
		}
		select {
		case <-grown:
		case <-timer.C:
			t.Fatalf("no %s within %v; told: %s", what, within, s.kinds())
		}
	}
}

func count(all []Event, k Kind) (n int) {
	for _, e := range all {
		if e.Kind == k {
			n++
		}
	}
	return n
}

func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(&testLog{t: t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testLog struct{ t testing.TB }

func (l *testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func newStudio(t testing.TB, change func(*IndexConfig)) *studio {
	t.Helper()
	s := &studio{t: t, dir: t.TempDir(), hub: origin.NewHub(), events: newStory()}
	cfg := IndexConfig{Dir: s.dir, MinFree: -1, Events: s.events.add, Log: logger(t)}
	if change != nil {
		change(&cfg)
		s.dir = cfg.Dir
	}
	var err error
	if s.index, err = OpenIndex(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.hub.Close()
		if err := s.index.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *studio) publish() *origin.Ingest {
	s.t.Helper()
	in, err := s.hub.Publish("live", "cam", "test")
	if err != nil {
		s.t.Fatal(err)
	}
	return in
}

// stepped gives a recording one tag at a time, as fast as it takes them.
type stepped struct {
	viewer *origin.Viewer
	feed   func() bool // the next tag is published; false: none is left
	done   chan struct{}
}

func (s *stepped) Next(ctx context.Context) ([]*origin.Tag, error) {
	ready, cancel := context.WithCancel(ctx)
	cancel()
	for {
		if tags, err := s.viewer.Next(ready); err == nil || err == io.EOF {
			return tags, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !s.feed() {
			return nil, io.EOF
		}
	}
}

// record runs a recording of these publishers' tags, one after the other.
func (s *studio) record(cfg Config, publishers ...[]*flv.Tag) {
	s.t.Helper()
	in := s.publish()
	viewer, err := s.hub.Tap("live", "cam")
	if err != nil {
		s.t.Fatal(err)
	}
	defer viewer.Close()
	which, at := 0, 0
	cfg.Tags = &stepped{viewer: viewer, feed: func() bool {
		for which < len(publishers) && at == len(publishers[which]) {
			if which, at = which+1, 0; which < len(publishers) {
				in.Close()
				in = s.publish()
			}
		}
		if which == len(publishers) {
			return false
		}
		in.WriteTag(publishers[which][at])
		at++
		return true
	}}
	s.fill(&cfg)
	if err := Run(s.t.Context(), cfg); err != nil {
		s.t.Fatal(err)
	}
	in.Close()
}

func (s *studio) fill(cfg *Config) {
	cfg.Index, cfg.App, cfg.Stream, cfg.Log = s.index, "live", "cam", logger(s.t)
	cfg.Owner, cfg.Template = "tenant", "all"
	if cfg.Segment == 0 {
		cfg.Segment = MinSegment
	}
}

// files are those of one format, oldest first.
func (s *studio) files(format string) (files []File) {
	s.t.Helper()
	all, next, err := s.index.List(Query{Limit: 1000})
	if err != nil || next != "" {
		s.t.Fatalf("list: %v, next %q", err, next)
	}
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Format == format {
			files = append(files, all[i])
		}
	}
	return files
}

func (s *studio) path(f File) string { return filepath.Join(s.dir, filepath.FromSlash(f.Name)) }
