package rtmp

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/flv"
)

// run runs a tool that ends by itself; it is killed after 30 s (ffmpeg ignores
// polite signals while it waits for RTMP).
func run(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip("no " + name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}

// source are ffmpeg arguments for pictures and a tone of some seconds, as it
// publishes them.
func source(seconds, fps string) []string {
	return []string{"-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=" + fps,
		"-f", "lavfi", "-i", "sine=f=440:r=48000", "-t", seconds,
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", fps, "-pix_fmt", "yuv420p",
		"-c:a", "aac", "-ac", "2"}
}

// count demuxes what a stream received.
func count(t testing.TB, tags []*flv.Tag) (pictures, sounds int, last time.Duration) {
	t.Helper()
	var d flv.Demuxer
	for _, tag := range tags {
		au, err := d.Demux(tag)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case au == nil:
			continue
		case au.Codec == media.H264:
			pictures++
		default:
			sounds++
		}
		last = au.PTS
	}
	return pictures, sounds, last
}

// ffmpeg publishes; the server receives every picture, the metadata first.
func TestFFmpegPublishes(t *testing.T) {
	testkit.NoLeaks(t)
	hub := newTestHub()
	s := startServer(t, hub, nil)
	keep := keepStreams(hub)
	out, err := run(t, "ffmpeg", append(source("2", "30"), "-f", "flv", s.url("live/cam?key=k"))...)
	if err != nil || out != "" {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	if err := s.ended(t); err != nil {
		t.Fatalf("session: %v", err)
	}
	tags := keep("live/cam")
	pictures, sounds, last := count(t, tags)
	if pictures != 60 || sounds < 90 || last < 1900*time.Millisecond {
		t.Errorf("got %d pictures and %d sounds up to %v, want 60, about 94, 2 s", pictures, sounds, last)
	}
	if tags[0].Type != flv.Script || !strings.HasPrefix(string(tags[0].Payload), "\x02\x00\x0aonMetaData") {
		t.Errorf("first tag: type %d, %.40q; want onMetaData", tags[0].Type, tags[0].Payload)
	}
}

// keepStreams remembers the newest stream of each name after it has ended.
func keepStreams(h *testHub) func(name string) []*flv.Tag {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept = map[string]*testStream{}
	return func(name string) []*flv.Tag {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.kept[name].tags()
	}
}

// ffmpeg with timestamps beyond 2^24 ms from the start, on which go-rtmp's reader
// panics.
func TestFFmpegPublishesLargeTimestamps(t *testing.T) {
	testkit.NoLeaks(t)
	hub := newTestHub()
	s := startServer(t, hub, nil)
	keep := keepStreams(hub)
	out, err := run(t, "ffmpeg", append(source("1", "30"), "-output_ts_offset", "20000", "-f", "flv", s.url("live/cam"))...)
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	if err := s.ended(t); err != nil {
		t.Fatalf("session: %v", err)
	}
	pictures, _, last := count(t, keep("live/cam"))
	if pictures != 30 || last < 20_000*time.Second || last > 20_002*time.Second {
		t.Errorf("got %d pictures up to %v, want 30 up to about 5h33m21s", pictures, last)
	}
}

// ffprobe and ffmpeg join a running stream and see its form; ffmpeg decodes it to
// the end, which the server announces.
func TestFFmpegPlays(t *testing.T) {
	testkit.NoLeaks(t)
	hub := newTestHub()
	s := startServer(t, hub, nil)
	published := make(chan string, 1)
	go func() {
		out, _ := run(t, "ffmpeg", append(source("8", "30"), "-f", "flv", s.url("live/cam"))...)
		published <- out
	}()
	defer func() { <-published }()
	testkit.Eventually(t, "a GOP", func() bool { st := hub.stream("live/cam"); return st != nil && len(st.tags()) > 40 })

	out, err := run(t, "ffprobe", "-v", "error", "-rw_timeout", "5000000", "-analyzeduration", "1000000",
		"-show_entries", "stream=codec_name,width,height,sample_rate", "-of", "csv", s.url("live/cam"))
	if err != nil || !strings.Contains(out, "h264,320,240") || !strings.Contains(out, "aac,48000") {
		t.Errorf("ffprobe: %v\n%s", err, out)
	}
	out, err = run(t, "ffmpeg", "-v", "warning", "-rw_timeout", "5000000", "-i", s.url("live/cam"), "-f", "null", "-")
	if err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("ffmpeg: %v\n%s", err, out)
	}
	for range 3 {
		if err := s.ended(t); err != nil {
			t.Errorf("session: %v", err)
		}
	}
}

func TestFFplayPlays(t *testing.T) {
	if _, err := exec.LookPath("ffplay"); err != nil {
		t.Skip("no ffplay")
	}
	testkit.NoLeaks(t)
	hub := newTestHub()
	s := startServer(t, hub, nil)
	published := make(chan string, 1)
	go func() {
		out, _ := run(t, "ffmpeg", append(source("3", "15"), "-f", "flv", s.url("live/cam"))...)
		published <- out
	}()
	defer func() { <-published }()
	testkit.Eventually(t, "the stream", func() bool { st := hub.stream("live/cam"); return st != nil && len(st.tags()) > 10 })
	t.Setenv("SDL_VIDEODRIVER", "dummy")
	t.Setenv("SDL_AUDIODRIVER", "dummy")
	out, err := run(t, "ffplay", "-v", "error", "-nodisp", "-autoexit", "-rw_timeout", "5000000", s.url("live/cam"))
	if err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("ffplay: %v\n%s", err, out)
	}
}

// What ffmpeg is told when it may not publish or play.
func TestFFmpegRefused(t *testing.T) {
	testkit.NoLeaks(t)
	hub := newTestHub()
	s := startServer(t, hub, nil)
	out, err := run(t, "ffprobe", "-v", "error", "-rw_timeout", "5000000", s.url("live/none"))
	if err == nil || !strings.Contains(out, "nobody publishes this stream") {
		t.Errorf("missing stream: %v\n%s", err, out)
	}
	p, err := Dial(ctx5(t), s.url("live/taken"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, err = run(t, "ffmpeg", append(source("1", "30"), "-f", "flv", s.url("live/taken"))...)
	if err == nil || !strings.Contains(out, "somebody publishes this stream already") {
		t.Errorf("taken name: %v\n%s", err, out)
	}
}
