package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"braid/event"
	"braid/media"
	"braid/origin/snapshot"
	"braid/origin/storage"
)

// openPictures opens the directory of the pictures that are taken of streams.
func (s *server) openPictures() (err error) {
	if s.pictures, err = storage.NewDir(filepath.Join(s.cfg.mediaDir(), "snapshots")); err != nil {
		return fmt.Errorf("storage.dir: %w", err)
	}
	return nil
}

// snapshot is the job of a snapshot template.
func (s *server) snapshot(ctx context.Context, w *work) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.gone, cancel)() // of what has gone there is no picture to be had in an hour
	t := w.Template.Snapshot
	var into storage.Storage = s.pictures
	if t.Storage != "" {
		if into = s.storages[t.Storage]; into == nil {
			return fmt.Errorf("storage %q is not in the config: %w", t.Storage, media.ErrInvalid)
		}
	}
	return snapshot.Run(ctx, snapshot.Config{
		Domain: w.Domain, App: w.App, Name: w.Name, Interval: time.Duration(t.IntervalSeconds) * time.Second,
		History: t.History, Pattern: t.Name, Storage: into, Shelf: &s.shelf, JPEG: s.pool.JPEG, Log: s.log.With("part", "snapshot"),
		Tap: func() (snapshot.Viewer, error) {
			v, err := s.origin.Tap(w.App, w.Name)
			if err != nil {
				return nil, err // not a nil *Viewer in an interface
			}
			return v, nil
		},
		Taken: func(p snapshot.Picture) {
			w.Trouble("")
			w.Tell(event.SnapshotTaken, &event.File{Name: cmp.Or(p.Name, p.Latest), Storage: t.Storage, Format: "jpeg",
				Size: int64(p.Size), Start: p.Time.UTC()}, "")
		},
		Failed: w.Trouble,
	})
}
