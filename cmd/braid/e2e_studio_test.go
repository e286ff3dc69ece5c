package main

import (
	"encoding/json"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"braid/event"
)

// streamEvents is a business server that takes callbacks of kind stream.
type streamEvents struct {
	url string

	mu   sync.Mutex
	seen map[string]bool
	got  []event.Event // each once, in their order
}

func newStreamEvents(t testing.TB) *streamEvents {
	r := &streamEvents{seen: make(map[string]bool)}
	h := httptest.NewServer(r)
	t.Cleanup(h.Close)
	r.url = h.URL + "/callbacks"
	return r
}

func (r *streamEvents) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var m struct {
		MsgID string      `json:"msg_id"`
		Event event.Event `json:"event"`
	}
	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil || m.MsgID == "" {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.seen[m.MsgID] {
		r.seen[m.MsgID] = true
		r.got = append(r.got, m.Event)
	}
}

// of lists what was told, without pictures.
func (r *streamEvents) of(name string) (types []event.Type, last map[event.Type]event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last = make(map[event.Type]event.Event)
	for _, e := range r.got {
		if e.Stream.Name != name {
			continue
		}
		last[e.Type] = e
		if e.Type != event.SnapshotTaken {
			types = append(types, e.Type)
		}
	}
	return types, last
}

// pushTestPicture pushes 25 pictures a second, a key frame each second, with sound;
// what comes of it is sent to the channel.
func pushTestPicture(t *testing.T, url string, seconds int) <-chan error {
	need(t, "ffmpeg", "ffprobe")
	pushed := make(chan error, 1)
	go func() {
		_, _, err := tryCommand(time.Minute, "ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25",
			"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", strconv.Itoa(seconds), "-c:v", "libx264", "-preset", "ultrafast",
			"-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac", "-f", "flv", url)
		pushed <- err
	}()
	return pushed
}

// countPictures counts those of a file, which has to play without complaint.
func countPictures(t *testing.T, file string) int {
	t.Helper()
	out, complaints := command(t, time.Minute, "ffprobe", "-v", "error", "-select_streams", "v", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", file)
	if complaints != "" {
		t.Errorf("ffprobe of %s: %s", file, tail(complaints, 1000))
	}
	first, _, _ := strings.Cut(strings.TrimSpace(out), "\n") // of MPEG-TS there is one line more, for its program
	n, err := strconv.Atoi(first)
	if err != nil {
		t.Fatalf("ffprobe of %s: %q", file, out)
	}
	return n
}

// TestStreamIsRecorded pushes with ffmpeg into the origin, where a template has
// streams recorded and another takes pictures: the application is told of the
// stream, of its file and its pictures, and the file plays.
func TestStreamIsRecorded(t *testing.T) {
	var media string
	s := startBraid(t, func(c *config) { media = filepath.Join(c.DataDir, "media") })
	r := newStreamEvents(t)
	const at = "/v1/applications/" + testApp
	type object = map[string]any
	s.rest("POST", at+"/callbacks", object{"kind": "stream", "url": r.url, "events": event.StreamTypes()}, nil)
	s.rest("POST", at+"/templates", object{"id": "rec", "kind": "record", "record": object{"segment_seconds": 10}}, nil)
	s.rest("POST", at+"/templates", object{"id": "shot", "kind": "snapshot", "snapshot": object{"interval_seconds": 1, "history": 3}}, nil)

	const seconds = 5
	pushed := pushTestPicture(t, s.rtmp+"/cam", seconds)
	var on struct {
		Items []struct {
			App, Name, Video, Audio string
			Width, Height, Bitrate  int
			Jobs                    []struct{ Template, State, Error string }
		}
	}
	eventually(t, 20*time.Second, "the stream is on air with two jobs", func() (bool, string) {
		s.rest("GET", "/v1/streams", nil, &on)
		return len(on.Items) == 1 && len(on.Items[0].Jobs) == 2 && on.Items[0].Width == 320 && on.Items[0].Audio != "" && on.Items[0].Bitrate > 0, fmt.Sprint(on)
	})
	for _, j := range on.Items[0].Jobs {
		if j.State != "running" || j.Error != "" {
			t.Errorf("job is %+v", j)
		}
	}
	if err := <-pushed; err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	want := []event.Type{event.StreamStarted, event.RecordStarted, event.RecordFile, event.RecordEnded, event.StreamEnded}
	var last map[event.Type]event.Event
	eventually(t, 30*time.Second, "all events", func() (bool, string) {
		var types []event.Type
		types, last = r.of("cam")
		sorted := slices.Clone(types)
		slices.Sort(sorted)
		all := slices.Clone(want)
		slices.Sort(all)
		return slices.Equal(sorted, all) && types[0] == event.StreamStarted && types[1] == event.RecordStarted, fmt.Sprint(types)
	})
	if s := last[event.StreamStarted].Stream; s.App != "live" || s.Domain != "" || !strings.HasPrefix(s.Remote, "127.0.0.1:") {
		t.Errorf("started: %+v", s)
	}
	file := last[event.RecordFile].Stream
	if file.Template != "rec" || file.File.Format != "fmp4" || file.File.Duration < seconds*900 || file.File.Duration > seconds*1100 {
		t.Errorf("the file: %+v of %+v", file.File, file)
	}

	var list struct {
		Items []struct{ ID, Name, Content, State string }
	}
	s.rest("GET", "/v1/recordings?application="+testApp+"&stream=cam", nil, &list)
	if len(list.Items) != 1 || list.Items[0].Name != file.File.Name || list.Items[0].State != "kept" {
		t.Fatalf("recordings: %+v, want %s", list, file.File.Name)
	}
	status, content, h := s.tryREST("GET", list.Items[0].Content, nil)
	if status != 200 || int64(len(content)) != file.File.Size || h.Get("Content-Type") != "video/mp4" {
		t.Fatalf("its content: %d, %d bytes of %d, %s", status, len(content), file.File.Size, h.Get("Content-Type"))
	}
	kept := filepath.Join(t.TempDir(), "cam.mp4")
	if err := os.WriteFile(kept, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if frames := countPictures(t, kept); frames < seconds*25-5 || frames > seconds*25 {
		t.Errorf("the file has %d pictures, want %d", frames, seconds*25)
	}
	shot, ok := last[event.SnapshotTaken]
	if !ok {
		t.Fatal("no picture was told")
	}
	// The latest is there as long as nobody takes another; of the history the oldest go.
	picture, err := os.Open(filepath.Join(media, "snapshots", shot.Stream.File.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	if size, err := jpeg.DecodeConfig(picture); err != nil || size.Width != 320 || size.Height != 180 {
		t.Errorf("the picture: %+v, %v", size, err)
	}
}

// TestKilledWhileRecording kills the server while it records: the next one tells
// the application of the stream's end and of the file, which plays to where it was cut.
func TestKilledWhileRecording(t *testing.T) {
	p := newProcess(t, "")
	r := newStreamEvents(t)
	p.start()
	const at = "/v1/applications/" + testApp
	type object = map[string]any
	p.rest("POST", at+"/callbacks", object{"kind": "stream", "url": r.url, "events": event.StreamTypes()}, nil)
	p.rest("POST", at+"/templates", object{"id": "rec", "kind": "record", "record": object{"format": []string{"fmp4", "ts"}}}, nil)
	pushed := pushTestPicture(t, p.rtmp+"/cam", 30)
	file := func(ending string) (size int64, name string) {
		found, _ := filepath.Glob(filepath.Join(p.data, "media", "recordings", "*", "live", "cam", "*."+ending))
		if len(found) == 1 {
			if info, err := os.Stat(found[0]); err == nil {
				return info.Size(), found[0]
			}
		}
		return 0, ""
	}
	// A fragment has about two seconds.
	eventually(t, 30*time.Second, "the start is told, and something is in both files", func() (bool, string) {
		types, _ := r.of("cam")
		mp4, _ := file("mp4")
		ts, _ := file("ts")
		return len(types) == 2 && mp4 > 10_000 && ts > 10_000, fmt.Sprint(types, mp4, ts)
	})
	p.end(syscall.SIGKILL)
	if err := <-pushed; err == nil {
		t.Error("ffmpeg noticed nothing")
	}
	p.start()
	var files []event.Event
	eventually(t, 20*time.Second, "the end and both files are told", func() (bool, string) {
		types, last := r.of("cam")
		files = nil
		r.mu.Lock()
		for _, e := range r.got {
			if e.Type == event.RecordFile {
				files = append(files, e)
			}
		}
		r.mu.Unlock()
		return len(files) == 2 && last[event.StreamEnded].Stream != nil && last[event.StreamEnded].Stream.Reason != "", fmt.Sprint(types)
	})
	for _, e := range files {
		_, name := file(map[string]string{"fmp4": "mp4", "ts": "ts"}[e.Stream.File.Format])
		if n := countPictures(t, name); n < 25 || e.Stream.Template != "rec" || e.Stream.File.Duration < 1000 {
			t.Errorf("%s has %d pictures; it was told as %+v", name, n, e.Stream.File)
		}
	}
}
