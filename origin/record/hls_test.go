package record

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/origin/storage"
)

// A stream becomes playlists of slices that begin with key frames; what is played
// by a playlist is the stream, whole and in time.
func TestHLS(t *testing.T) {
	tags := clip(t, both(14, "320x180", 50)...)
	s := newStudio(t, nil)
	// The other format is written from the same fragments, and holds the same.
	s.record(Config{Formats: []string{HLS, TS}, Slice: 3 * time.Second, Slices: "cut/{stream}/{sequence}"}, tags)
	lists, whole := s.files(HLS), s.files(TS)
	if len(lists) != 2 || len(whole) != 2 {
		t.Fatalf("got %d playlists and %d files", len(lists), len(whole))
	}
	number := 0
	for i, f := range lists {
		decodes(t, s.path(f))
		got, want := inspect(t, s.path(f)), inspect(t, s.path(whole[i]))
		for _, kind := range []string{"video", "audio"} {
			a, b := got.times(t, kind), want.times(t, kind)
			for j := range min(len(a), len(b)) {
				if !near(a[j]-a[0], b[j]-b[0], time.Millisecond) {
					t.Errorf("%s: %s %d is %v from the first, want %v", f.Name, kind, j, a[j]-a[0], b[j]-b[0])
					break
				}
			}
			if len(a) != len(b) || len(a) == 0 {
				t.Errorf("%s: %d %s packets, want %d", f.Name, len(a), kind, len(b))
			}
		}
		if d := time.Duration(f.Duration); !near(d, time.Duration(whole[i].Duration), 50*time.Millisecond) || !near(got.duration(t), d, 50*time.Millisecond) {
			t.Errorf("%s: %v in the index, %v by ffprobe, want %v", f.Name, d, got.duration(t), time.Duration(whole[i].Duration))
		}
		parts, _, err := s.index.List(Query{Playlist: f.ID})
		if err != nil || len(parts) != []int{3, 1}[i] { // 4 s by the key frames each 2 s, and the rest
			t.Fatalf("%s: %d slices, %v", f.Name, len(parts), err)
		}
		var size int64
		slices.Reverse(parts)
		for j, p := range parts {
			number++
			first := inspect(t, s.path(p))
			if k := first.Packets[0]; p.Slice != j+1 || p.Name != fmt.Sprintf("cut/cam/%05d.ts", number) || !strings.Contains(k.Flags, "K") {
				t.Errorf("slice %d: %+v, begins with %+v", j, p, k)
			}
			size += p.Size
		}
		if f.Size != size || f.Width != 320 || f.Video != "H264" || f.Audio != "AAC" || f.ContentType() != "application/vnd.apple.mpegurl" {
			t.Errorf("the playlist is %+v, its slices have %d bytes", f, size)
		}
	}
	if got, want := s.events.kinds(), "started file file file file ended"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if e := s.events.list()[0]; !slices.Equal(e.Formats, []string{HLS, TS}) {
		t.Errorf("it is told of as %+v", e)
	}
}

// Sound alone is cut at the length of slices.
func TestHLSOfSound(t *testing.T) {
	s := newStudio(t, nil)
	s.record(Config{Formats: []string{HLS}, Slice: 2 * time.Second}, clip(t, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=7", "-c:a", "aac"))
	list := s.files(HLS)[0]
	decodes(t, s.path(list))
	p := inspect(t, s.path(list))
	if sounds := len(p.times(t, "audio")); !near(p.duration(t), 7*time.Second, 100*time.Millisecond) || sounds < 300 || list.Video != "" {
		t.Errorf("%v with %d sounds: %+v", p.duration(t), sounds, list)
	}
	parts, _, err := s.index.List(Query{Playlist: list.ID})
	if err != nil || len(parts) != 4 {
		t.Fatalf("%d slices, %v", len(parts), err)
	}
	for _, f := range parts[1:] { // the newest, which is parts[0], is what is left
		if d := time.Duration(f.Duration); !near(d, 2*time.Second, 50*time.Millisecond) {
			t.Errorf("slice %d is %v long", f.Slice, d)
		}
	}
}

// While it is recorded, a playlist names what is whole; what is open says how large it is.
func TestHLSGrows(t *testing.T) {
	tags := clip(t, both(9, "160x90", 25)...)
	s := newStudio(t, nil)
	in := s.publish()
	viewer, err := s.hub.Tap("live", "cam")
	if err != nil {
		t.Fatal(err)
	}
	defer viewer.Close()
	at, seen := 0, 0
	cfg := Config{Formats: []string{HLS}, Slice: 2 * time.Second, Tags: &stepped{viewer: viewer, feed: func() bool {
		if at == len(tags) {
			return false
		}
		for _, f := range s.files(HLS) {
			text, err := os.ReadFile(s.path(f))
			named := strings.Count(string(text), ".ts\n")
			if err != nil || !strings.HasPrefix(string(text), "#EXTM3U\n") || strings.Contains(string(text), "ENDLIST") {
				t.Fatalf("the open playlist: %v\n%s", err, text)
			}
			if named > seen && (f.State != Open || f.Size == 0 || time.Duration(f.Duration) < time.Duration(named)*2*time.Second) {
				t.Errorf("with %d slices it is %+v", named, f)
			}
			seen = max(seen, named)
			for line := range strings.Lines(string(text)) {
				if name := strings.TrimSpace(line); strings.HasSuffix(name, ".ts") {
					if _, err := os.Stat(filepath.Join(filepath.Dir(s.path(f)), name)); err != nil {
						t.Errorf("it names what is not there: %v", err)
					}
				}
			}
		}
		in.WriteTag(tags[at])
		at++
		return true
	}}}
	s.fill(&cfg)
	if err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if seen != 3 { // the fourth is whole with the next fragment
		t.Errorf("%d slices were named while it was open, want 3", seen)
	}
	text, err := os.ReadFile(s.path(s.files(HLS)[0]))
	if err != nil || strings.Count(string(text), "#EXTINF:") != 5 || !strings.HasSuffix(string(text), ".ts\n#EXT-X-ENDLIST\n") || !strings.Contains(string(text), "#EXT-X-TARGETDURATION:2\n") {
		t.Errorf("at the end: %v\n%s", err, text)
	}
}

// Slices are uploaded as they become whole, the playlist behind them; they go together.
func TestHLSElsewhere(t *testing.T) {
	var order []string
	archive := &bucket{}
	archive.put = func(_ context.Context, name string) error { // one upload at a time
		order = append(order, filepath.Ext(name))
		return nil
	}
	s := newStudio(t, withBuckets(map[string]storage.Storage{"archive": archive}))
	running(t, s.index)
	s.record(Config{Formats: []string{HLS}, Slice: 2 * time.Second, Storage: "archive"}, clip(t, both(7, "160x90", 25)...))
	list := s.files(HLS)[0]
	s.wait(list.ID, Kept)
	if got := strings.Join(order, " "); got != ".ts .ts .ts .ts .m3u8" {
		t.Errorf("uploaded %q", got)
	}
	// What is there plays.
	dir := t.TempDir()
	for name, body := range archive.objects {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	decodes(t, filepath.Join(dir, list.Name))
	if p := inspect(t, filepath.Join(dir, list.Name)); !near(p.duration(t), 7*time.Second, 150*time.Millisecond) {
		t.Errorf("it is %v long", p.duration(t))
	}
	parts, _, err := s.index.List(Query{Playlist: list.ID})
	if err != nil || len(parts) != 4 {
		t.Fatal(len(parts), err)
	}
	if err := s.index.Delete(t.Context(), parts[1].ID); err == nil {
		t.Error("a slice was deleted from its playlist")
	}
	if err := s.index.Delete(t.Context(), list.ID); err != nil {
		t.Fatal(err)
	}
	if left := archive.names(); left != "" {
		t.Errorf("after the playlist was deleted there are %s", left)
	}
	if parts, _, _ := s.index.List(Query{Playlist: list.ID}); len(parts) > 0 {
		t.Errorf("the index has %d slices", len(parts))
	}
}

// A playlist whose end cannot be written is ended when it can be.
func TestHLSEndAgain(t *testing.T) {
	s := newStudio(t, nil)
	list := File{Format: HLS, App: "live", Stream: "cam", Begin: time.Now()}
	file, err := s.index.create(&list, "a/list", ".m3u8")
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	part := File{Format: TS, App: "live", Stream: "cam", Begin: list.Begin, Playlist: list.ID, Slice: 1, Told: true}
	if file, err = s.index.create(&part, "a/part", ".ts"); err != nil {
		t.Fatal(err)
	}
	file.Close()
	part.finish(7, 3*time.Second)
	s.index.set(&part)

	inTheWay := filepath.Join(s.dir, unfinished(&list))
	if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.index.endPlaylist(&list, slog.New(slog.DiscardHandler))
	s.index.endPlaylists()
	if f, err := s.index.Get(list.ID); err != nil || f.State != Open || f.Size != 7 {
		t.Fatalf("with something in its way: %+v, %v", f, err)
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	s.index.endPlaylists()
	text, err := os.ReadFile(s.path(list))
	if f := s.files(HLS)[0]; err != nil || f.State != Kept || !strings.Contains(string(text), "#EXTINF:3.000,\npart.ts\n#EXT-X-ENDLIST\n") {
		t.Errorf("%+v, %v\n%s", f, err, text)
	}
}

func TestRelative(t *testing.T) {
	for _, c := range [][3]string{{"a.m3u8", "a.ts", "a.ts"}, {"x/a.m3u8", "x/a.ts", "a.ts"}, {"x/y/a.m3u8", "x/z/a.ts", "../z/a.ts"},
		{"x/a.m3u8", "x/z/a.ts", "z/a.ts"}, {"x/y/a.m3u8", "b.ts", "../../b.ts"}, {"x/y/a.m3u8", "x/y", "../y"}} {
		if got := relative(c[0], c[1]); got != c[2] {
			t.Errorf("from %s to %s: got %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
