package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"braid/event"
	"braid/media"
	records "braid/origin/record"
)

// openRecordings opens the index of what was recorded, and finishes what a killed
// process left.
func (s *server) openRecordings() (err error) {
	if s.storages, err = s.cfg.openStorages(); err != nil {
		return err
	}
	s.recordings, err = records.OpenIndex(records.IndexConfig{
		Dir: filepath.Join(s.cfg.mediaDir(), "recordings"), Storages: s.storages, MinFree: s.cfg.Storage.MinFree << 20,
		Events: s.recorded, Log: s.log.With("part", "record"),
	})
	if err != nil {
		return fmt.Errorf("storage.dir: %w", err)
	}
	return nil
}

// record is the job of a recording template.
func (s *server) record(ctx context.Context, w *work) error {
	viewer, err := s.origin.Tap(w.App, w.Name)
	if errors.Is(err, media.ErrNotFound) { // it has ended meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	defer viewer.Close()
	t := w.Template.Record
	err = records.Run(ctx, records.Config{
		Tags: viewer, Index: s.recordings, Domain: w.Domain, App: w.App, Stream: w.Name, Since: w.Since,
		Owner: w.Template.App, Template: w.Template.ID,
		Formats: t.Format, Segment: time.Duration(t.SegmentSeconds) * time.Second, Name: t.Name,
		Keep: time.Duration(t.RetentionDays) * 24 * time.Hour, Storage: t.Storage,
		Notice: func(e records.Event) { w.Trouble(e.Reason) }, Log: s.log.With("part", "record"),
	})
	if !errors.Is(err, media.ErrInvalid) {
		return err
	}
	// It cannot be done as the template has it: told once, not with each attempt.
	reason := strings.TrimSuffix(strings.TrimPrefix(err.Error(), "record: "), ": invalid")
	w.Trouble(reason)
	w.Tell(event.RecordFailed, nil, reason)
	select {
	case <-ctx.Done():
	case <-w.Gone:
	}
	return nil
}

var recordTypes = map[records.Kind]event.Type{
	records.Started: event.RecordStarted, records.Filed: event.RecordFile, records.Failed: event.RecordFailed, records.Ended: event.RecordEnded,
}

// recorded turns what happens to recordings into events of the applications whose
// templates they are; also of those that an earlier process began.
func (s *server) recorded(e records.Event) {
	out := event.Event{App: e.Owner, Type: recordTypes[e.Kind], Time: e.Time, Stream: &event.Stream{
		Domain: e.Domain, App: e.App, Name: e.Stream, Since: e.Since, Template: e.Template, Reason: e.Reason}, Recording: s.cloud.about(&e)}
	if f := e.File; e.Kind == records.Filed {
		out.Stream.File = &event.File{Name: f.Name, Storage: f.Storage, Format: f.Format, Size: f.Size, Start: f.Begin,
			Duration: time.Duration(f.Duration).Milliseconds(), Width: f.Width, Height: f.Height,
			URL: strings.TrimRight(s.cfg.HTTP.PublicURL, "/") + "/v1/recordings/" + f.ID + "/content"}
	}
	s.recorder.queue.Put(out)
}
