package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"

	"braid/media"
)

// Dir is a Storage in a directory of this machine. Symbolic links that lead out
// of the directory are not followed (os.Root).
type Dir struct{ root *os.Root }

// NewDir makes the directory when it is not there. Close must be called at last.
func NewDir(dir string) (*Dir, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	return &Dir{root: root}, nil
}

// Close lets go of the directory; objects that are open stay so.
func (d *Dir) Close() error { return d.root.Close() }

// unfinished is what files are called while Put writes them. CheckName refuses
// the dot, so List cannot take one for an object.
const unfinished = ".put-"

// Put writes the bytes beside their place, makes them durable and renames them.
func (d *Dir) Put(ctx context.Context, name string, r io.Reader, size int64, _ string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	dir := path.Dir(name)
	if err := d.root.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("storage: put %s: %w", name, err)
	}
	tmp := path.Join(dir, unfinished+rand.Text())
	err := d.write(ctx, tmp, r, size)
	if err == nil {
		err = d.root.Rename(tmp, name)
	}
	if err != nil {
		d.root.Remove(tmp)
		return fmt.Errorf("storage: put %s: %w", name, err)
	}
	return nil
}

func (d *Dir) write(ctx context.Context, tmp string, r io.Reader, size int64) error {
	f, err := d.root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, &reader{ctx, io.LimitReader(r, size+1)})
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes came, %d were promised: %w", n, size, media.ErrInvalid)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Open opens the file; a directory is not an object.
func (d *Dir) Open(_ context.Context, name string) (Reader, Object, error) {
	if err := CheckName(name); err != nil {
		return nil, Object{}, err
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, Object{}, fmt.Errorf("storage: open %s: %w", name, notFound(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = media.ErrNotFound
	}
	if err != nil {
		f.Close()
		return nil, Object{}, fmt.Errorf("storage: open %s: %w", name, err)
	}
	return f, Object{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return media.ErrNotFound
	}
	return err
}

// Delete removes the file, and the directories that it leaves empty.
func (d *Dir) Delete(_ context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("storage: delete %s: %w", name, err)
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if d.root.Remove(dir) != nil { // it is not empty
			break
		}
	}
	return nil
}

// List walks the directory, without what Put has not finished.
func (d *Dir) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		begin := "."
		if i := strings.LastIndexByte(prefix, '/'); i > 0 {
			begin = prefix[:i]
		}
		if begin != "." && CheckName(begin) != nil {
			return // nothing can have such a name
		}
		err := fs.WalkDir(d.root.FS(), begin, func(name string, e fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, fs.ErrNotExist): // deleted meanwhile, or never there
				return nil
			case err != nil:
				return err
			case e.IsDir() && name != "." && e.Name()[0] == '.':
				return fs.SkipDir
			case !e.Type().IsRegular() || !strings.HasPrefix(name, prefix) || CheckName(name) != nil:
				return nil
			}
			info, err := e.Info()
			if err != nil {
				return nil // deleted meanwhile
			}
			if !yield(Object{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(Object{}, fmt.Errorf("storage: list %s: %w", prefix, err))
		}
	}
}
