package record

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"braid/origin/storage"
	"braid/origin/storage/s3test"
)

// Two servers that record streams of one name into one prefix of a bucket: each has
// its files there, none writes over another's, and playlists name their own slices.
func TestSharedPrefix(t *testing.T) {
	server := s3test.New(t)
	server.Start()
	tags := clip(t, both(5, "160x90", 25)...)
	for which := range 2 {
		remote, err := storage.NewS3(server.Config("shared"))
		if err != nil {
			t.Fatal(err)
		}
		defer remote.Close()
		s := newStudio(t, withBuckets(map[string]storage.Storage{"archive": remote}))
		running(t, s.index)
		s.record(Config{Formats: []string{FMP4, HLS}, Slice: 2 * time.Second, Name: "{stream}", Storage: "archive"}, tags)
		all := s.events.until(t, 90*time.Second, "both forms", func(all []Event) bool { return count(all, Filed) == 2 })
		dir := t.TempDir()
		for o, err := range remote.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			r, _, err := remote.Open(t.Context(), o.Name)
			if err != nil {
				t.Fatal(err)
			}
			to, err := os.Create(filepath.Join(dir, o.Name))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := to.ReadFrom(r); err != nil {
				t.Fatal(err)
			}
			r.Close()
			to.Close()
		}
		for _, e := range all {
			if e.Kind != Filed {
				continue
			}
			name := filepath.Join(dir, e.File.Name)
			decodes(t, name)
			if p := inspect(t, name); !near(p.duration(t), 5*time.Second, 150*time.Millisecond) {
				t.Errorf("server %d: %s is %v long", which, e.File.Name, p.duration(t))
			}
			if renamed := strings.Contains(e.File.Name, e.File.ID); renamed != (which == 1) {
				t.Errorf("server %d: its file is called %s", which, e.File.Name)
			}
		}
		if f := s.files(HLS)[0]; which == 1 {
			text, err := os.ReadFile(filepath.Join(dir, f.Name))
			parts, _, _ := s.index.List(Query{Playlist: f.ID})
			for _, p := range parts {
				if err != nil || !strings.Contains(string(text), p.Name+"\n") || !strings.Contains(p.Name, p.ID) {
					t.Errorf("the playlist does not name %s: %v\n%s", p.Name, err, text)
				}
			}
		}
	}
}
