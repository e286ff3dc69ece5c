package record

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"braid/internal/testkit"
	"braid/media"
	"braid/origin/storage"
)

// bucket is a storage in memory. Its two functions, which may be nil, are called
// before something is put there or deleted.
type bucket struct {
	put, delete func(ctx context.Context, name string) error

	mu      sync.Mutex
	objects map[string]string
}

func (b *bucket) Put(ctx context.Context, name string, r io.Reader, _ int64, _ string) error {
	b.mu.Lock()
	put := b.put
	b.mu.Unlock()
	body, err := io.ReadAll(r)
	if err == nil && put != nil {
		err = put(ctx, name)
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.objects == nil {
		b.objects = make(map[string]string)
	}
	b.objects[name] = string(body)
	return nil
}

func (b *bucket) Delete(ctx context.Context, name string) error {
	if b.delete != nil {
		if err := b.delete(ctx, name); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, name)
	return nil
}

func (b *bucket) Open(context.Context, string) (storage.Reader, storage.Object, error) {
	return nil, storage.Object{}, media.ErrNotFound
}

func (b *bucket) List(context.Context, string) iter.Seq2[storage.Object, error] {
	return func(func(storage.Object, error) bool) {}
}

func (b *bucket) names() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(b.objects)), " ")
}

func withBuckets(all map[string]storage.Storage) func(*IndexConfig) {
	return func(c *IndexConfig) { c.Storages = all }
}

func (s *studio) wait(id string, state State) {
	s.t.Helper()
	testkit.Eventually(s.t.(*testing.T), "file "+id+" is "+string(state), func() bool {
		f, err := s.index.Get(id)
		return err == nil && f.State == state
	})
}

// The name of a file that was uploaded stays its own: whoever records the same
// stream by another template neither writes over it nor loses a file with it.
func TestNamesOfUploadedFiles(t *testing.T) {
	archive := &bucket{}
	s := newStudio(t, withBuckets(map[string]storage.Storage{"archive": archive}))
	running(t, s.index)
	first := fill(t, s.index, 1, func(_ int, f *File) { f.Storage = "archive" })[0]
	s.wait(first, Kept)
	here := fill(t, s.index, 1, func(_ int, f *File) { f.Owner = "somebody" })[0]
	second := fill(t, s.index, 1, func(_ int, f *File) { f.Storage, f.Owner = "archive", "somebody" })[0]
	s.wait(second, Kept)
	if got := archive.names(); len(strings.Fields(got)) != 2 {
		t.Errorf("two files were uploaded, there are: %s", got)
	}
	if err := s.index.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	f, err := s.index.Get(here)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.path(f)); err != nil {
		t.Errorf("somebody else's file has gone with one that was uploaded: %v", err)
	}
	if got := archive.names(); len(strings.Fields(got)) != 1 {
		t.Errorf("one of two files was deleted, there are: %s", got)
	}
}

// A file that is deleted while it is on its way to a storage is nowhere afterwards.
func TestDeleteDuringUpload(t *testing.T) {
	coming, going := make(chan struct{}), make(chan struct{})
	archive := &bucket{put: func(context.Context, string) error {
		close(coming)
		<-going
		return nil
	}}
	s := newStudio(t, withBuckets(map[string]storage.Storage{"archive": archive}))
	stop := running(t, s.index)
	id := fill(t, s.index, 1, func(_ int, f *File) { f.Storage = "archive" })[0]
	<-coming
	if err := s.index.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	close(going)
	archive.mu.Lock()
	archive.put = nil
	archive.mu.Unlock()
	// The next one is uploaded after it.
	next := fill(t, s.index, 1, func(_ int, f *File) { f.Storage, f.Stream = "archive", "next" })[0]
	s.wait(next, Kept)
	stop()
	if f, err := s.index.Get(id); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("the deleted file is there: %+v, %v", f, err)
	}
	if got := archive.names(); got != "d/next/same.ts" {
		t.Errorf("in the storage: %s", got)
	}
	for _, e := range s.events.list() {
		if e.File.ID == id {
			t.Errorf("told: %+v", e)
		}
	}
}

// A storage that does not answer holds up neither another one's uploads nor the
// removal of files that are here.
func TestStorageThatHangs(t *testing.T) {
	hang := func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
	dead, alive := &bucket{delete: hang}, &bucket{}
	s := newStudio(t, withBuckets(map[string]storage.Storage{"dead": dead, "alive": alive}))
	old := fill(t, s.index, 2, func(i int, f *File) {
		if f.Keep = 1; i == 0 {
			f.Storage = "dead"
		}
	})
	f, err := s.index.Get(old[0])
	if err != nil {
		t.Fatal(err)
	}
	f.State = Kept
	s.index.set(&f)
	running(t, s.index)
	testkit.Eventually(t, "the old file that is here goes", func() bool {
		_, err := s.index.Get(old[1])
		return errors.Is(err, media.ErrNotFound)
	})
	s.wait(fill(t, s.index, 1, func(_ int, f *File) { f.Storage = "alive" })[0], Kept)
}

// A file that a storage does not take holds up no other.
func TestFileThatIsNotTaken(t *testing.T) {
	archive := &bucket{put: func(_ context.Context, name string) error {
		if strings.Contains(name, "bad") {
			return errors.New("not this one")
		}
		return nil
	}}
	s := newStudio(t, withBuckets(map[string]storage.Storage{"archive": archive}))
	ids := fill(t, s.index, 3, func(i int, f *File) {
		if f.Storage = "archive"; i == 0 {
			f.Stream = "bad"
		}
	})
	running(t, s.index)
	s.wait(ids[1], Kept)
	s.wait(ids[2], Kept)
	f, err := s.index.Get(ids[0])
	if err != nil || f.State != Done {
		t.Errorf("%+v, %v", f, err)
	}
	if got := s.index.Stats(); got.Waiting != 1 || got.WaitingBytes != f.Size || got.NotUploaded == 0 {
		t.Errorf("one file waits: %+v", got)
	}
}
