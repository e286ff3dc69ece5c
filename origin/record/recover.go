package record

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// recoverAll finishes what an ended process left open.
func (x *Index) recoverAll() {
	open := x.open()
	slices.SortStableFunc(open, func(a, b *File) int { // playlists after their slices
		return cmp.Compare(b.Playlist, a.Playlist)
	})
	for _, f := range open {
		g, err := x.recover(f)
		switch {
		case err != nil: // the next start tries again
			x.log.Error("record: a file that was being written cannot be finished", "file", f.Name, "err", err)
			continue
		case g.State == gone:
			x.log.Info("record: a file without a whole fragment is removed", "file", f.Name)
		default:
			x.log.Info("record: a file that was being written is finished", "file", g.Name, "duration", time.Duration(g.Duration), "size", g.Size)
		}
		x.set(g)
	}
}

func (x *Index) open() (files []*File) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.order {
		if f.State == Open {
			files = append(files, f)
		}
	}
	return files
}

// recover cuts a file to its last whole fragment and finishes it.
func (x *Index) recover(f *File) (*File, error) {
	if f.Format == HLS {
		return x.recoverPlaylist(f)
	}
	g := *f
	file, err := x.root.OpenFile(f.Name, 2, 0) // read and write
	if notExist(err) {
		g.State = gone
		return &g, nil
	}
	if err != nil {
		return nil, err
	}
	var size int64
	var duration time.Duration
	info, err := file.Stat()
	if err == nil {
		size, duration, err = recoverFile(file, info.Size(), f.Format)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("recover %s: %w", f.Name, err)
	}
	if duration == 0 {
		if err := x.removeLocal(f.Name); err != nil {
			return nil, err
		}
		g.State = gone
		return &g, nil
	}
	g.finish(size, duration)
	g.Recovered = true
	return &g, nil
}

// recoverPlaylist ends a playlist at the slices that there are.
func (x *Index) recoverPlaylist(f *File) (*File, error) {
	g := *f
	size, duration := x.sliced(f.ID)
	if duration == 0 {
		g.State = gone
		x.root.Remove(unfinished(f))
		return &g, x.removeLocal(f.Name)
	}
	if err := x.writePlaylist(f, true); err != nil {
		return nil, err
	}
	g.finish(size, duration)
	g.Recovered = true
	return &g, nil
}

// plain is what a file system says, without the path that it says it of.
func plain(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// finish completes what is known of a file that is whole.
func (f *File) finish(size int64, duration time.Duration) {
	f.State, f.Size, f.Duration, f.End = Kept, size, Millis(duration), f.Begin.Add(duration)
	if f.Storage != "" {
		f.State = Done
	}
	if f.Keep != 0 {
		f.Expires = f.End.Add(time.Duration(f.Keep))
	}
}
