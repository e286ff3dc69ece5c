package storage_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"braid/media"
	"braid/origin/storage"
	"braid/origin/storage/s3test"
)

// Create takes a name that nothing has, and again for who has it; of two who come at
// the same time one has it.
func TestS3Create(t *testing.T) {
	server := s3test.New(t)
	server.Start()
	s, err := storage.NewS3(server.Config("shared"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	create := func(name, id string, size int) error {
		return s.Create(t.Context(), name, id, bytes.NewReader(bytes.Repeat([]byte(id), size)), int64(size*len(id)), "video/mp4")
	}
	holds := func(name, id string) {
		t.Helper()
		r, _, err := s.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b := make([]byte, 1)
		if _, err := io.ReadFull(r, b); err != nil || string(b) != id {
			t.Errorf("%s is %q's, want %q's; %v", name, b, id, err)
		}
	}
	for _, again := range []string{"the first time", "again, after its answer was lost"} {
		if err := create("a/file.mp4", "1", 5); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	}
	if err := create("a/file.mp4", "2", 7); !errors.Is(err, media.ErrExists) {
		t.Errorf("somebody else: %v", err)
	}
	holds("a/file.mp4", "1")
	// Of one part alone: this service does not look at If-None-Match where several are joined.
	errs := make(chan error)
	for _, id := range []string{"1", "2"} {
		go func() { errs <- create("both", id, 1000) }()
	}
	a, b := <-errs, <-errs
	if (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), media.ErrExists) {
		t.Errorf("two at the same time: %v and %v", a, b)
	}
}
