package record

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/media"
	"braid/origin/storage"
	"braid/origin/storage/s3test"
)

// fill makes files in an index as recordings would, an hour apart, the oldest first.
func fill(t *testing.T, x *Index, n int, change func(int, *File)) (ids []string) {
	t.Helper()
	begin := time.Now().UTC().Add(-time.Duration(n) * time.Hour)
	for i := range n {
		f := File{Recording: "r", Sequence: i + 1, App: "live", Stream: "cam", Owner: "tenant", Format: TS, Begin: begin.Add(time.Duration(i) * time.Hour)}
		if change != nil {
			change(i, &f)
		}
		file, err := x.create(&f, "d/"+f.Stream+"/same", ".ts")
		if err != nil {
			t.Fatal(err)
		}
		b := appendMark(bytes.Repeat([]byte{0x47}, packetSize*10), packetSize*10, time.Minute)
		if _, err := file.Write(b); err != nil {
			t.Fatal(err)
		}
		file.Close()
		f.finish(int64(len(b)), time.Minute)
		x.set(&f)
		ids = append(ids, f.ID)
	}
	return ids
}

// running runs an index until stop.
func running(t *testing.T, x *Index) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { x.Run(ctx); close(done) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func TestList(t *testing.T) {
	s := newStudio(t, nil)
	ids := fill(t, s.index, 25, func(i int, f *File) {
		if i%5 == 0 {
			f.Stream, f.Owner = "other", "somebody"
		}
	})
	var got []string
	q := Query{Limit: 4}
	for pages := 0; ; pages++ {
		files, next, err := s.index.List(q)
		if err != nil || pages > 10 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, f := range files {
			got = append([]string{f.ID}, got...)
		}
		if next == "" {
			break
		}
		if q.Cursor = next; pages == 2 { // what comes meanwhile does not move the pages
			fill(t, s.index, 1, nil)
		}
	}
	if strings.Join(got, " ") != strings.Join(ids, " ") {
		t.Errorf("the pages together: %v, want %v", got, ids)
	}
	now := time.Now()
	for name, c := range map[string]struct {
		q    Query
		want int
	}{
		"of a stream":  {Query{App: "live", Stream: "other"}, 5},
		"of an owner":  {Query{Owner: "somebody"}, 5},
		"of nobody":    {Query{Owner: "nobody"}, 0},
		"open":         {Query{State: Open}, 0},
		"of a time":    {Query{From: now.Add(-5*time.Hour - 30*time.Minute), To: now.Add(-2*time.Hour - 30*time.Minute)}, 3},
		"what lies in": {Query{From: now.Add(-5*time.Hour + 30*time.Second), To: now.Add(-5*time.Hour + 40*time.Second)}, 1},
	} {
		if files, _, err := s.index.List(c.q); err != nil || len(files) != c.want {
			t.Errorf("%s: %d files, %v, want %d", name, len(files), err, c.want)
		}
	}
	for _, q := range []Query{{Limit: -1}, {Limit: 1001}, {Cursor: "x"}, {Cursor: "12-"}, {Cursor: "-x"}} {
		if _, _, err := s.index.List(q); !errors.Is(err, media.ErrInvalid) {
			t.Errorf("%+v: got %v", q, err)
		}
	}
}

// What an index knows, and what it has told, it knows after a restart; a log
// with a torn end is no reason to forget the rest.
func TestIndexRestarts(t *testing.T) {
	dir := t.TempDir()
	open := func(events func(Event)) *Index {
		t.Helper()
		x, err := OpenIndex(IndexConfig{Dir: dir, MinFree: -1, Events: events, Log: logger(t)})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	first := newStory()
	x := open(first.add)
	ids := fill(t, x, 3, nil)
	x.tell()
	if _, err := OpenIndex(IndexConfig{Dir: dir, Log: logger(t)}); err == nil {
		t.Error("two indexes have one directory")
	}
	if err := x.Delete(t.Context(), ids[1]); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, own, "index.jsonl")
	f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, `{"id":"torn","state":"ke`)
	f.Close()

	second := newStory()
	x = open(second.add)
	defer x.Close()
	x.tell()
	files, _, err := x.List(Query{})
	if err != nil || len(files) != 2 || files[0].ID != ids[2] || files[1].ID != ids[0] {
		t.Errorf("after a restart: %+v, %v", files, err)
	}
	if len(first.list()) != 3 || len(second.list()) != 0 {
		t.Errorf("told %q, then %q", first.kinds(), second.kinds())
	}
	if _, err := os.Stat(filepath.Join(dir, "d", "cam", "same_2.ts")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a deleted file: %v", err)
	}
	if more := fill(t, x, 1, nil); len(more) != 1 {
		t.Error("nothing can be added")
	}
}

// Files whose time has come are removed, others and those of others are not.
func TestRetention(t *testing.T) {
	s := newStudio(t, nil)
	ids := fill(t, s.index, 6, func(i int, f *File) {
		if i%2 == 0 {
			f.Stream, f.Keep = "short", Millis(150*time.Minute)
		}
	})
	foreign := filepath.Join(s.dir, "d", "short", "somebody-elses.ts")
	if err := os.WriteFile(foreign, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	running(t, s.index)
	testkit.Eventually(t, "the old files go", func() bool {
		files, _, _ := s.index.List(Query{})
		return len(files) == 4
	})
	for i, id := range ids {
		f, err := s.index.Get(id)
		if gone := i == 0 || i == 2; gone != errors.Is(err, media.ErrNotFound) {
			t.Errorf("file %d: %v", i, err)
		} else if !gone {
			if _, err := os.Stat(s.path(f)); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("somebody else's file: %v", err)
	}
}

// A file for S3 stays here until a real service has it, however long that does
// not answer, and over a restart; then it can be read and removed there.
func TestUpload(t *testing.T) {
	server := s3test.New(t)
	remote, err := storage.NewS3(server.Config("braid"))
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	dir := t.TempDir()
	config := func(c *IndexConfig) { c.Dir, c.Storages = dir, map[string]storage.Storage{"archive": remote} }

	tags := clip(t, both(12, "160x90", 50)...)
	t.Run("while the service is away", func(t *testing.T) {
		s := newStudio(t, config)
		stop := running(t, s.index)
		s.record(Config{Formats: []string{FMP4, TS}, Storage: "archive"}, tags)
		stop()
		for _, f := range append(s.files(FMP4), s.files(TS)...) {
			if _, err := os.Stat(s.path(f)); err != nil || f.State != Done {
				t.Errorf("%s is %s: %v", f.Name, f.State, err)
			}
		}
		if got := s.events.kinds(); got != "started ended" {
			t.Errorf("told %q", got)
		}
	})
	server.Start()
	s := newStudio(t, config)
	running(t, s.index)
	s.events.until(t, 90*time.Second, "4 files", func(all []Event) bool { return count(all, Filed) == 4 })
	for _, f := range append(s.files(FMP4), s.files(TS)...) {
		if f.State != Kept || f.Storage != "archive" {
			t.Errorf("%+v", f)
		}
		testkit.Eventually(t, "the local file goes", func() bool {
			_, err := os.Stat(s.path(f))
			return errors.Is(err, os.ErrNotExist)
		})
		r, _, err := s.index.Read(t.Context(), f.ID)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil || int64(len(b)) != f.Size {
			t.Errorf("%s: %d bytes of %d, %v", f.Name, len(b), f.Size, err)
		}
		name := filepath.Join(t.TempDir(), filepath.Base(f.Name))
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		decodes(t, name)
		if err := s.index.Delete(t.Context(), f.ID); err != nil {
			t.Error(err)
		}
		if _, _, err := remote.Open(t.Context(), f.Name); !errors.Is(err, media.ErrNotFound) {
			t.Errorf("a deleted file: %v", err)
		}
	}
	for o, err := range remote.List(t.Context(), "") {
		t.Errorf("left in the bucket: %v %v", o, err)
	}
}
