package record

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"braid/media"
	"braid/origin/storage"
	"braid/store/lockfile"
)

// IndexConfig is what an Index needs.
type IndexConfig struct {
	Dir      string                     // where files are written; the index's own are in .braid below it
	Storages map[string]storage.Storage // where finished files may go, by name; they stay the caller's
	MinFree  int64                      // bytes that recordings leave free on the disk; 0: 64 MiB, at most a twentieth of it; negative: none
	Events   func(Event)                // told what happens to all recordings; it must not block; nil: nobody is
	Log      *slog.Logger
}

// Index knows the files that recordings made in one directory. Its log is on
// the disk beside them, so it knows them after a crash, too. Files that are not
// in it are never touched.
//
// All methods may be called from any goroutine.
type Index struct {
	cfg      IndexConfig
	log      *slog.Logger
	storages map[string]storage.Storage
	root     *os.Root
	lock     *os.File
	wake     chan struct{} // holds one: there is something for Run to do
	tally    tally

	mu      sync.Mutex
	files   map[string]*File            // by id; immutable, swapped
	order   []*File                     // by begin and id
	slices  map[string]map[string]*File // of playlists, by its id and theirs
	grown   map[string]growth           // of open files, by id
	unended []*File                     // playlists whose end could not be written
	names   map[string]struct{}         // taken, also of files that were uploaded: they keep them there
	lines   *journal
	dirty   map[string]*File // newest states that the journal lacks, by id
	news    []string         // ids of files whose Filed event is to be handed out
	told    []telling        // those that were, and are not noted yet, oldest first

	telling sync.Mutex // held while events of files are handed out, so that they keep their order; taken before mu
}

// OpenIndex reads a directory's index, or makes it. Files that an ended process
// left open are cut to their last whole fragment and finished; those without one
// are removed. It fails when another process has the directory.
func OpenIndex(cfg IndexConfig) (*Index, error) {
	x, err := openIndex(cfg)
	if err != nil {
		return nil, fmt.Errorf("record: index of %s: %w", cfg.Dir, err)
	}
	x.recoverAll()
	return x, nil
}

// defaultFree is how much recordings leave free when nobody says.
const defaultFree = 64 << 20

// own is where the index keeps what is not a recording; no file's name can be in it.
const own = ".braid"

func openIndex(cfg IndexConfig) (_ *Index, err error) {
	if err := os.MkdirAll(path.Join(cfg.Dir, own), 0o755); err != nil {
		return nil, err
	}
	x := &Index{cfg: cfg, log: cfg.Log, storages: cfg.Storages, wake: make(chan struct{}, 1),
		files: make(map[string]*File), names: make(map[string]struct{}), dirty: make(map[string]*File),
		slices: make(map[string]map[string]*File), grown: make(map[string]growth)}
	defer func() {
		if err != nil {
			x.Close()
		}
	}()
	if x.root, err = os.OpenRoot(cfg.Dir); err != nil {
		return nil, err
	}
	if x.lock, err = lockfile.Open(path.Join(cfg.Dir, own, "lock")); err != nil {
		return nil, err
	}
	files, err := readJournal(x.root, own+"/index.jsonl")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		x.putLocked(f)
	}
	x.lines, err = newJournal(x.root, own+"/index.jsonl", x.order)
	return x, err
}

// Close lets go of the directory. Recordings and Run must have ended.
func (x *Index) Close() error {
	var errs []error
	if x.lines != nil {
		x.note(time.Time{})
		errs = append(errs, x.lines.close())
	}
	if x.lock != nil {
		errs = append(errs, x.lock.Close())
	}
	if x.root != nil {
		errs = append(errs, x.root.Close())
	}
	return errors.Join(errs...)
}

// Query says which files List gives; zero fields ask for nothing.
type Query struct {
	Owner, Template, Recording string
	Domain, App, Stream        string
	Playlist                   string  // the slices of that playlist; "": files that are no slices
	Storage                    *string // nil: wherever they are
	State                      State
	From, To                   time.Time // files that hold something from From up to, without, To
	Cursor                     string    // what List returned
	Limit                      int       // 1..1000; 0: 100
}

// List gives files, newest first. next is for the following page, "" at the end.
// It fails with media.ErrInvalid for a cursor that is not List's.
func (x *Index) List(q Query) (files []File, next string, err error) {
	if q.Limit == 0 {
		q.Limit = 100
	}
	if q.Limit < 0 || q.Limit > 1000 {
		return nil, "", fmt.Errorf("record: limit %d is not from 1 to 1000: %w", q.Limit, media.ErrInvalid)
	}
	at, id, err := readCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	end := len(x.order)
	if q.Cursor != "" {
		end, _ = slices.BinarySearchFunc(x.order, &File{ID: id, Begin: at}, older)
	}
	for i := end - 1; i >= 0; i-- {
		f := x.order[i]
		if !q.match(f) {
			continue
		}
		if len(files) == q.Limit {
			last := &files[len(files)-1]
			return files, writeCursor(last), nil
		}
		files = append(files, x.viewLocked(f))
	}
	return files, "", nil
}

func (q *Query) match(f *File) bool {
	for _, p := range [...][2]string{{q.Owner, f.Owner}, {q.Template, f.Template}, {q.Recording, f.Recording},
		{q.Domain, f.Domain}, {q.App, f.App}, {q.Stream, f.Stream}, {string(q.State), string(f.State)}} {
		if p[0] != "" && p[0] != p[1] {
			return false
		}
	}
	switch {
	case q.Playlist != f.Playlist:
		return false
	case q.Storage != nil && *q.Storage != f.Storage,
		!q.To.IsZero() && !f.Begin.Before(q.To),
		!q.From.IsZero() && f.State != Open && !f.End.After(q.From):
		return false
	}
	return true
}

// older orders files by their begin.
func older(a, b *File) int {
	return cmp.Or(a.Begin.Compare(b.Begin), cmp.Compare(a.ID, b.ID))
}

func writeCursor(f *File) string {
	return fmt.Sprintf("%d-%s", f.Begin.UnixNano(), f.ID)
}

func readCursor(s string) (at time.Time, id string, err error) {
	if s == "" {
		return at, "", nil
	}
	var nano int64
	text, id, ok := strings.Cut(s, "-")
	if _, err := fmt.Sscanf(text, "%d", &nano); err != nil || !ok || id == "" {
		return at, "", fmt.Errorf("record: cursor %.80q is not one of this list: %w", s, media.ErrInvalid)
	}
	return time.Unix(0, nano), id, nil
}

// Get is one file; media.ErrNotFound when there is none.
func (x *Index) Get(id string) (File, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.files[id]
	if f == nil {
		return File{}, fmt.Errorf("record: file %.40q: %w", id, media.ErrNotFound)
	}
	return x.viewLocked(f), nil
}

// growth is how far an open file has come.
type growth struct {
	size int64
	end  time.Duration
}

// grow notes what is written of an open file.
func (x *Index) grow(id string, size int64, end time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if f := x.files[id]; f != nil && f.State == Open {
		x.tally.wrote(size - x.grown[id].size)
		x.grown[id] = growth{size, end}
	}
}

// viewLocked is a file with what is known of it while it is open.
func (x *Index) viewLocked(f *File) File {
	g := *f
	if f.State != Open {
		return g
	}
	size, end := x.grown[f.ID].size, x.grown[f.ID].end
	if f.Format == HLS {
		size, end = x.slicedLocked(f.ID)
	}
	g.Size, g.Duration = size, Millis(end)
	return g
}

// Read opens a file's bytes, wherever it is. Of one that is being written they
// are what there is at the moment.
func (x *Index) Read(ctx context.Context, id string) (storage.Reader, File, error) {
	f, err := x.Get(id)
	if err != nil {
		return nil, f, err
	}
	if f.Storage != "" && f.State == Kept {
		s := x.storages[f.Storage]
		if s == nil {
			return nil, f, fmt.Errorf("record: file %s: storage %q is no longer configured: %w", id, f.Storage, media.ErrNotFound)
		}
		r, _, err := s.Open(ctx, f.Name)
		return r, f, err
	}
	r, err := x.root.Open(f.Name)
	if errors.Is(err, fs.ErrNotExist) {
		err = media.ErrNotFound // somebody else removed it
	}
	if err != nil {
		return nil, f, fmt.Errorf("record: file %s, %s: %w", id, f.Name, err)
	}
	return r, f, nil
}

// Delete removes a file, wherever it is, and a playlist's slices with it. It fails
// with media.ErrNotFound, and with media.ErrExists while the file is being written,
// and for a slice.
func (x *Index) Delete(ctx context.Context, id string) error {
	for {
		f, err := x.Get(id)
		if err != nil {
			return err
		}
		if f.State == Open {
			return fmt.Errorf("record: file %s is being recorded: %w", id, media.ErrExists)
		}
		if f.Playlist != "" {
			return fmt.Errorf("record: file %s is a slice of the playlist %s: %w", id, f.Playlist, media.ErrExists)
		}
		if err := x.remove(ctx, &f); !errors.Is(err, errMoved) {
			return err
		}
	}
}

// errMoved says that a file was uploaded, renamed or deleted by somebody else meanwhile.
var errMoved = errors.New("record: the file is elsewhere by now")

// remove removes a file from where f has it, after its slices.
func (x *Index) remove(ctx context.Context, f *File) error {
	x.mu.Lock()
	parts := x.slicesLocked(f.ID)
	x.mu.Unlock()
	for _, s := range parts {
		if err := x.remove(ctx, s); err != nil {
			return err
		}
	}
	if f.Storage != "" && f.State == Kept {
		s := x.storages[f.Storage]
		if s == nil {
			return fmt.Errorf("record: remove file %s: storage %q is no longer configured: %w", f.ID, f.Storage, media.ErrInvalid)
		}
		if err := s.Delete(ctx, f.Name); err != nil {
			return err
		}
	}
	if err := x.removeLocal(f.Name); err != nil { // of an upload that was cut short before it was noted, too
		return err
	}
	g := *f
	g.State = gone
	x.mu.Lock()
	defer x.mu.Unlock()
	if now := x.files[f.ID]; now != nil && (now.State != f.State || now.Name != f.Name) {
		return errMoved
	}
	x.setLocked(&g)
	return nil
}

// removeLocal removes a file and the directories that it leaves empty.
func (x *Index) removeLocal(name string) error {
	x.mu.Lock() // nobody makes a directory meanwhile
	defer x.mu.Unlock()
	if err := x.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("record: remove %s: %w", name, err)
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if x.root.Remove(dir) != nil {
			break
		}
	}
	return nil
}

// create makes a file under a name that nothing has, and notes it before the
// first byte: what is in the index may be cut and removed later.
func (x *Index) create(f *File, base, suffix string) (*os.File, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.root.MkdirAll(path.Dir(base), 0o755); err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		f.Name = base + suffix
		if n > 1 {
			f.Name = fmt.Sprintf("%s_%d%s", base, n, suffix)
		}
		if _, taken := x.names[f.Name]; taken {
			continue
		}
		if _, err := x.root.Lstat(f.Name); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return nil, err
			}
			continue
		}
		break
	}
	f.ID, f.State = newID(), Open
	g := *f
	if err := x.lines.append(&g); err != nil {
		return nil, err
	}
	file, err := x.root.OpenFile(f.Name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		g.State = gone
		x.setLocked(&g)
		return nil, err
	}
	x.putLocked(&g)
	return file, nil
}

// discard removes a file in which nothing is.
func (x *Index) discard(f *File) {
	if err := x.removeLocal(f.Name); err != nil {
		x.log.Warn("record: an empty file stays", "file", f.Name, "err", err)
	}
	g := *f
	g.State = gone
	x.set(&g)
}

func newID() string { return strings.ToLower(rand.Text()[:16]) }

// set notes a file's new state. When the journal cannot be written, for which a
// full disk is a reason, Run tries again.
func (x *Index) set(f *File) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.setLocked(f)
}

func (x *Index) setLocked(f *File) {
	x.putLocked(f)
	x.dirty[f.ID] = f
	x.noteLocked()
	x.poke()
}

// noteLocked writes to the journal what it lacks.
func (x *Index) noteLocked() {
	for id, f := range x.dirty {
		if err := x.lines.append(f); err != nil {
			x.log.Debug("record: the index's log cannot be written", "err", err)
			return
		}
		delete(x.dirty, id)
	}
	if x.lines.worn(len(x.order)) {
		if err := x.lines.rewrite(x.order); err != nil {
			x.log.Warn("record: the index's log cannot be made shorter", "err", err)
		}
	}
}

// putLocked swaps a file in the memory's index.
func (x *Index) putLocked(f *File) {
	if old := x.files[f.ID]; old != nil {
		if i, ok := slices.BinarySearchFunc(x.order, old, older); ok {
			x.order = slices.Delete(x.order, i, i+1)
		}
		delete(x.files, f.ID)
		delete(x.names, old.Name)
		delete(x.slices[old.Playlist], f.ID)
		if len(x.slices[old.Playlist]) == 0 {
			delete(x.slices, old.Playlist)
		}
	}
	if f.State != Open {
		delete(x.grown, f.ID)
	}
	if f.State == gone {
		return
	}
	i, _ := slices.BinarySearchFunc(x.order, f, older)
	x.order = slices.Insert(x.order, i, f)
	x.files[f.ID] = f
	x.names[f.Name] = struct{}{}
	if f.Playlist != "" {
		if x.slices[f.Playlist] == nil {
			x.slices[f.Playlist] = make(map[string]*File)
		}
		x.slices[f.Playlist][f.ID] = f
	}
	if f.State == Kept && !f.Told {
		x.news = append(x.news, f.ID)
	}
}

func (x *Index) poke() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}
