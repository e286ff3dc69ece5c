package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"braid/media"
	"braid/origin/storage"
)

const (
	// A Filed event is noted as told only this much later: whoever is told has it
	// in memory at first, and after a crash in between it is told again.
	noteAfter = 5 * time.Second
	// How often what failed is tried again, and old files are looked for.
	firstRetry, lastRetry = time.Second, 5 * time.Minute
	sweep                 = time.Minute
)

// telling is a Filed event that was handed out.
type telling struct {
	id string
	at time.Time
}

// Run uploads finished files, tells of them, and removes those whose time has
// come, until ctx ends. What it has not done then, it does when it runs again,
// in this process or another. It returns when nothing of it runs.
func (x *Index) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	uploads := make(map[string]chan struct{}) // holds one each: there may be something to upload
	wg.Go(func() { x.expireAll(ctx, "") })
	for name := range x.storages {
		wake := make(chan struct{}, 1)
		uploads[name] = wake
		wg.Go(func() { x.uploadAll(ctx, name, wake) })
		wg.Go(func() { x.expireAll(ctx, name) })
	}
	tick := time.NewTicker(noteAfter)
	defer tick.Stop()
	for {
		x.endPlaylists()
		x.tell()
		x.note(time.Now().Add(-noteAfter))
		for _, wake := range uploads {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-x.wake:
		case <-tick.C:
		}
	}
}

// tell hands out the Filed events of files that are where they are kept.
func (x *Index) tell() {
	x.telling.Lock()
	defer x.telling.Unlock()
	for {
		f := x.untold()
		if f == nil {
			return
		}
		x.emit(Event{Kind: Filed, File: *f}, f)
	}
}

// untold takes the next file that is to be told of, and marks it.
func (x *Index) untold() *File {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.news) > 0 {
		f := x.files[x.news[0]]
		x.news = x.news[1:]
		if f == nil || f.State != Kept || f.Told {
			continue
		}
		g := *f
		g.Told = true
		x.putLocked(&g)
		x.told = append(x.told, telling{g.ID, time.Now()})
		return &g
	}
	return nil
}

// emit completes an event with what f says of the recording, and hands it out.
func (x *Index) emit(e Event, f *File) Event {
	e.Time, e.Recording, e.Owner, e.Template = time.Now(), f.Recording, f.Owner, f.Template
	e.Domain, e.App, e.Stream, e.Since = f.Domain, f.App, f.Stream, f.Since
	x.tally.see(e)
	if x.cfg.Events != nil {
		x.cfg.Events(e)
	}
	return e
}

// note writes to the journal what it lacks, of the tellings those before a time;
// all of them for the zero time.
func (x *Index) note(before time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.told) > 0 && (before.IsZero() || x.told[0].at.Before(before)) {
		if f := x.files[x.told[0].id]; f != nil {
			x.dirty[f.ID] = f
		}
		x.told = x.told[1:]
	}
	x.noteLocked()
}

// expireAll removes the files of a storage whose time has come, "" those that are
// here and those of storages that are no longer configured: each has a goroutine
// of its own, so that one that does not answer holds up no other. A file that
// cannot be removed is met again at the next sweep.
func (x *Index) expireAll(ctx context.Context, name string) {
	tick := time.NewTicker(sweep)
	defer tick.Stop()
	for {
		x.expire(ctx, name, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (x *Index) expire(ctx context.Context, name string, now time.Time) {
	for _, f := range x.expired(name, now) {
		if ctx.Err() != nil {
			return
		}
		if err := x.remove(ctx, f); err != nil && ctx.Err() == nil {
			x.log.Warn("record: a file that is to be removed is not", "file", f.Name, "storage", f.Storage, "err", err)
		}
	}
}

func (x *Index) expired(name string, now time.Time) (files []*File) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.order {
		at := f.Storage
		if x.storages[at] == nil {
			at = ""
		}
		if at == name && f.Playlist == "" && f.State == Kept && !f.Expires.IsZero() && f.Expires.Before(now) {
			files = append(files, f)
		}
	}
	return files
}

// uploadAll moves the finished files that belong to a storage there, one after
// the other, the oldest first. While the storage fails it waits longer and
// longer; the files stay where they are. After each attempt it is the next one's
// turn, so that a file that is not taken holds up no other.
func (x *Index) uploadAll(ctx context.Context, name string, wake chan struct{}) {
	wait, failed := firstRetry, false
	var last *File
	for ctx.Err() == nil {
		f := x.toUpload(name, last)
		if f == nil {
			select {
			case <-ctx.Done():
			case <-wake:
			}
			continue
		}
		last = f
		err := x.upload(ctx, f)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && failed:
			x.log.Info("record: files are uploaded again", "storage", name)
			fallthrough
		case err == nil:
			wait, failed = firstRetry, false
			continue
		case !failed:
			x.log.Warn("record: a finished file cannot be uploaded; it stays here, and is tried again", "storage", name, "file", f.Name, "err", err)
		}
		failed = true
		x.tally.uploadFailed()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

// toUpload is the file that waits for a storage behind the last one, or else the
// oldest; nil when none does.
func (x *Index) toUpload(name string, last *File) (first *File) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.order {
		if f.State != Done || f.Storage != name || x.waitsLocked(f) {
			continue
		}
		if last == nil || older(f, last) > 0 {
			return f
		}
		if first == nil {
			first = f
		}
	}
	return first
}

// waitsLocked tells whether a playlist's slices are not all uploaded: it comes last.
func (x *Index) waitsLocked(f *File) bool {
	for _, s := range x.slices[f.ID] {
		if s.State != Kept {
			return true
		}
	}
	return false
}

// upload takes one file to its storage. The local one is removed once the journal
// says where the file is.
func (x *Index) upload(ctx context.Context, f *File) error {
	if f.Format == HLS { // a slice may have got another name
		if err := x.writePlaylist(f, true); err != nil {
			return err
		}
	}
	r, err := x.root.Open(f.Name)
	if err != nil {
		return x.lost(f, err)
	}
	defer r.Close()
	size, err := r.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	if err := x.put(ctx, f, r, size); errors.Is(err, media.ErrExists) {
		return x.rename(f)
	} else if err != nil {
		return err
	}
	g := *f
	g.State = Kept
	if err := x.commit(&g); errors.Is(err, errMoved) { // deleted meanwhile
		return x.storages[f.Storage].Delete(ctx, f.Name)
	} else if err != nil {
		return err
	}
	x.poke()
	return x.removeLocal(f.Name)
}

// put takes care that nothing of another server's is written over, where that can be.
func (x *Index) put(ctx context.Context, f *File, r *os.File, size int64) error {
	s := x.storages[f.Storage]
	if c, ok := s.(storage.Creator); ok {
		return c.Create(ctx, f.Name, f.ID, r, size, f.ContentType())
	}
	return s.Put(ctx, f.Name, r, size, f.ContentType())
}

// rename gives a file that waits its id behind its name, since another server's has
// the name in the storage. That is in the journal before the old name goes, so a
// crash leaves a second name at most.
func (x *Index) rename(f *File) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now := x.files[f.ID]; now == nil || now.State != Done {
		return nil // deleted meanwhile
	}
	g := *f
	suffix := path.Ext(f.Name)
	g.Name = strings.TrimSuffix(f.Name, suffix) + "_" + f.ID + suffix
	if err := storage.CheckName(g.Name); err != nil {
		return err
	}
	if err := x.root.Link(f.Name, g.Name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := x.lines.append(&g); err != nil {
		return err
	}
	x.log.Info("record: the storage has a file of this name that is not ours; ours gets another", "file", f.Name, "name", g.Name, "storage", f.Storage)
	x.putLocked(&g)
	x.poke()
	return x.root.Remove(f.Name)
}

// commit changes a file that was Done once that is in the journal, and not
// otherwise; errMoved when it is not Done any more.
func (x *Index) commit(f *File) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now := x.files[f.ID]; now == nil || now.State != Done {
		return errMoved
	}
	if err := x.lines.append(f); err != nil {
		return err
	}
	x.putLocked(f)
	return nil
}

// lost forgets a file that somebody removed before it was uploaded.
func (x *Index) lost(f *File, err error) error {
	if notExist(err) {
		g := *f
		g.State = gone
		x.set(&g)
		err = fmt.Errorf("somebody removed it: %w", err)
	}
	return err
}
