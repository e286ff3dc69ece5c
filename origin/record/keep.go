package record

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
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
	for name := range x.storages {
		wake := make(chan struct{}, 1)
		uploads[name] = wake
		wg.Go(func() { x.uploadAll(ctx, name, wake) })
	}
	tick := time.NewTicker(noteAfter)
	defer tick.Stop()
	swept := time.Time{}
	for {
		x.tell()
		x.note(time.Now().Add(-noteAfter))
		for _, wake := range uploads {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
		if time.Since(swept) >= sweep {
			swept = time.Now()
			x.expire(ctx, swept)
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

// expire removes the files whose time has come. One that cannot be removed now
// is met again at the next sweep.
func (x *Index) expire(ctx context.Context, now time.Time) {
	for _, f := range x.expired(now) {
		if err := x.remove(ctx, f); err != nil && ctx.Err() == nil {
			x.log.Warn("record: a file that is to be removed is not", "file", f.Name, "storage", f.Storage, "err", err)
		}
	}
}

func (x *Index) expired(now time.Time) (files []*File) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.order {
		if f.State == Kept && !f.Expires.IsZero() && f.Expires.Before(now) {
			files = append(files, f)
		}
	}
	return files
}

// uploadAll moves the finished files that belong to a storage there, one after
// the other, the oldest first. While the storage fails it waits longer and
// longer; the files stay where they are.
func (x *Index) uploadAll(ctx context.Context, name string, wake chan struct{}) {
	wait, failed := firstRetry, false
	for ctx.Err() == nil {
		f := x.toUpload(name)
		if f == nil {
			select {
			case <-ctx.Done():
			case <-wake:
			}
			continue
		}
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
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

// toUpload is the oldest file that waits for a storage.
func (x *Index) toUpload(name string) *File {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.order {
		if f.State == Done && f.Storage == name {
			return f
		}
	}
	return nil
}

// upload takes one file to its storage. The local one is removed once the journal
// says where the file is.
func (x *Index) upload(ctx context.Context, f *File) error {
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
	if err := x.storages[f.Storage].Put(ctx, f.Name, r, size, f.ContentType()); err != nil {
		return err
	}
	g := *f
	g.State = Kept
	if err := x.commit(&g); err != nil {
		return err
	}
	x.poke()
	return x.removeLocal(f.Name)
}

// commit changes a file's state once it is in the journal, and not otherwise.
func (x *Index) commit(f *File) error {
	x.mu.Lock()
	defer x.mu.Unlock()
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
