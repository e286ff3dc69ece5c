package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"braid/media"
	"braid/origin/storage"
	"braid/origin/storage/s3test"
)

func TestDir(t *testing.T) {
	d, err := storage.NewDir(filepath.Join(t.TempDir(), "new", "media"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	keeps(t, d)
}

func TestS3(t *testing.T) {
	server := s3test.New(t)
	server.Start()
	for _, prefix := range []string{"", "braid/files"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			s, err := storage.NewS3(server.Config(prefix))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			keeps(t, s)
		})
	}
	t.Run("refused", func(t *testing.T) {
		for name, change := range map[string]func(*storage.S3Config){
			"secret": func(c *storage.S3Config) { c.SecretKey = "wrong" },
			"bucket": func(c *storage.S3Config) { c.Bucket = "not-there" },
		} {
			c := server.Config("")
			change(&c)
			s, err := storage.NewS3(c)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			err = s.Put(t.Context(), "a", strings.NewReader("x"), 1, "text/plain")
			if err == nil || strings.Contains(err.Error(), c.SecretKey) || errors.Is(err, media.ErrNotFound) {
				t.Errorf("another %s: got %v", name, err)
			}
		}
	})
}

// keeps tells whether a storage does what Storage says.
func keeps(t *testing.T, s storage.Storage) {
	t.Helper()
	ctx := t.Context()
	put := func(name string, b []byte) {
		t.Helper()
		if err := s.Put(ctx, name, bytes.NewReader(b), int64(len(b)), "video/mp4"); err != nil {
			t.Fatal(err)
		}
	}
	small, large := []byte("hello, recorded world"), make([]byte, 40<<20) // more than one part
	for i := range large {
		large[i] = byte(rand.Uint32())
	}
	put("a/b/one.mp4", []byte("first"))
	put("a/b/one.mp4", small) // in place of it
	put("a/two.ts", large)
	put("ab.txt", nil)

	for name, want := range map[string][]byte{"a/b/one.mp4": small, "a/two.ts": large, "ab.txt": {}} {
		r, o, err := s.Open(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) || o.Size != int64(len(want)) || o.Name != name || o.Modified.IsZero() {
			t.Errorf("%s: %d bytes of %d, %v, %+v", name, len(got), len(want), err, o)
		}
		r.Close()
	}
	ranges(t, s, "a/two.ts", large)

	list := func(prefix string) (names []string) {
		t.Helper()
		for o, err := range s.List(ctx, prefix) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, fmt.Sprint(o.Name, " ", o.Size))
		}
		slices.Sort(names)
		return names
	}
	all := []string{fmt.Sprint("a/b/one.mp4 ", len(small)), fmt.Sprint("a/two.ts ", len(large)), "ab.txt 0"}
	for prefix, want := range map[string][]string{"": all, "a": all, "a/": all[:2], "a/b/": all[:1], "a/b/one.mp4": all[:1], "c/": nil} {
		if got := list(prefix); !slices.Equal(got, want) {
			t.Errorf("list %q: got %q, want %q", prefix, got, want)
		}
	}
	for range s.List(ctx, "") {
		break // which ends it
	}

	// A promise that is not kept leaves what was there.
	if err := s.Put(ctx, "a/b/one.mp4", strings.NewReader("short"), 100, "video/mp4"); err == nil {
		t.Error("5 of 100 bytes were taken")
	}
	if _, o, err := open(s, "a/b/one.mp4"); err != nil || o.Size != int64(len(small)) {
		t.Errorf("after a broken put: %+v, %v", o, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Put(ended, "a/three", bytes.NewReader(large), int64(len(large)), ""); err == nil {
		t.Error("a put whose context has ended is carried out")
	}

	for range 2 { // what is not there may be deleted
		if err := s.Delete(ctx, "a/b/one.mp4"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := open(s, "a/b/one.mp4"); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("a deleted object: got %v", err)
	}
	if _, _, err := open(s, "a"); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("a directory: got %v", err)
	}
	if got, want := list(""), all[1:]; !slices.Equal(got, want) {
		t.Errorf("at the end there are %q, want %q", got, want)
	}
	for _, name := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", ".put-x", "a/.b", "a b", "ä", strings.Repeat("a/", 520) + "b"} {
		_, _, openErr := open(s, name)
		for what, err := range map[string]error{"put": s.Put(ctx, name, strings.NewReader("x"), 1, ""), "open": openErr, "delete": s.Delete(ctx, name)} {
			if !errors.Is(err, media.ErrInvalid) {
				t.Errorf("%s %.20q: got %v", what, name, err)
			}
		}
	}
}

func open(s storage.Storage, name string) (storage.Reader, storage.Object, error) {
	r, o, err := s.Open(context.Background(), name)
	if err == nil {
		r.Close()
	}
	return r, o, err
}

// ranges serves an object over HTTP, as downloads are.
func ranges(t *testing.T, s storage.Storage, name string, want []byte) {
	t.Helper()
	r, o, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, c := range []struct {
		header   string
		from, to int
	}{{"bytes=0-9", 0, 10}, {"bytes=30000000-30000099", 30000000, 30000100}, {"bytes=-7", len(want) - 7, len(want)}} {
		req := httptest.NewRequest("GET", "/", nil)
		req.Header.Set("Range", c.header)
		w := httptest.NewRecorder()
		http.ServeContent(w, req, "", o.Modified, r)
		if w.Code != http.StatusPartialContent || !bytes.Equal(w.Body.Bytes(), want[c.from:c.to]) {
			t.Errorf("%s: status %d, %d bytes", c.header, w.Code, w.Body.Len())
		}
	}
}

// A link that leads out of the directory is no way out of it.
func TestDirLinks(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d, err := storage.NewDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "out/secret"} {
		if _, _, err := d.Open(t.Context(), name); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	if err := d.Put(t.Context(), "out/new", strings.NewReader("x"), 1, ""); err == nil {
		t.Error("out/new was written")
	}
	for o, err := range d.List(t.Context(), "") {
		t.Errorf("listed: %v %v", o, err)
	}
}
