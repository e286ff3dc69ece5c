package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"braid/event"
	"braid/media"
	records "braid/origin/record"
	"braid/relay"
	"braid/signaling/artc"
	"braid/store"
)

// cloudWorld is what a cloud needs of the others, in memory.
type cloudWorld struct {
	runs   map[string]bool // relay tasks
	refuse error           // of the next relay task
	subs   []store.Subscription
	told   []event.Event
}

func (w *cloudWorld) Start(_ context.Context, s *relay.Spec) error {
	if w.refuse == nil {
		w.runs[s.Task] = true
	}
	return w.refuse
}

func (w *cloudWorld) Update(context.Context, *relay.Spec) error { return nil }

func (w *cloudWorld) Stop(_ context.Context, _, task string) error {
	if !w.runs[task] {
		return media.ErrNotFound
	}
	delete(w.runs, task)
	return nil
}

func (w *cloudWorld) List(_, task string, _, _ int) []*relay.Spec {
	if w.runs[task] {
		return []*relay.Spec{{Task: task}}
	}
	return nil
}

func (w *cloudWorld) Create(_ context.Context, sub *store.Subscription) error {
	sub.ID = fmt.Sprint("sub", len(w.subs))
	w.subs = append(w.subs, *sub)
	return nil
}

func (w *cloudWorld) Delete(_ context.Context, _ string, _ store.Kind, id string) error {
	had := len(w.subs)
	if w.subs = slices.DeleteFunc(w.subs, func(s store.Subscription) bool { return s.ID == id }); len(w.subs) == had {
		return media.ErrNotFound
	}
	return nil
}

// open makes a cloud on a directory, as a server's start does.
func (w *cloudWorld) open(t *testing.T, dir string, index *records.Index) *cloud {
	t.Helper()
	c := &cloud{relay: w, calls: w, kept: func(_, task string) bool { return false }, tell: func(e ...event.Event) { w.told = append(w.told, e...) },
		index: index, dir: dir, log: slog.New(slog.DiscardHandler), tasks: map[string]*cloudTask{}, busy: map[string]int{}, told: map[string]time.Time{}}
	if err := c.read(); err != nil {
		t.Fatal(err)
	}
	return c
}

// A recording's callback is there before anything runs, is told of the end once when
// nothing of it is left, again only if that was not noted, and goes some days later.
func TestCloudCallback(t *testing.T) {
	index, err := records.OpenIndex(records.IndexConfig{Dir: t.TempDir(), MinFree: -1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	w, dir := &cloudWorld{runs: map[string]bool{}}, t.TempDir()
	c := w.open(t, dir, index)
	ask := &artc.CloudRecording{App: "app", Channel: "room", Bucket: localBucket, NotifyURL: "http://h/", NotifyKey: "abcdefghijklmnop",
		Users: []relay.UserRef{{User: "ann", Source: media.Camera}}, Files: []artc.CloudFile{{Format: "HLS", Pattern: "x"}}, NotifyFormats: []string{"HLS"}}

	w.refuse = media.ErrNotFound
	if _, err := c.Start(t.Context(), ask); !errors.Is(err, media.ErrNotFound) || len(w.subs) != 0 || len(c.list()) != 0 {
		t.Errorf("nobody is there: %v, %d callbacks and %d recordings", err, len(w.subs), len(c.list()))
	}
	w.refuse = nil
	task, err := c.Start(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.subs) != 1 || w.subs[0].Kind != store.Recordings || w.subs[0].Channels[0] != task || w.subs[0].Secret != ask.NotifyKey {
		t.Fatalf("callbacks: %+v", w.subs)
	}
	about := func(kind records.Kind, format string) *event.Recording {
		return c.about(&records.Event{Kind: kind, Template: cloudOf + task, Stream: task + ".0", Formats: []string{format}, File: records.File{Format: format}})
	}
	if r := about(records.Filed, records.HLS); r == nil || *r != (event.Recording{Task: task, Channel: "room", User: "ann", Stream: "Single::ann::AV::C", Format: "HLS"}) {
		t.Errorf("a file is of %+v", r)
	}
	if r := about(records.Filed, records.FMP4); r != nil {
		t.Errorf("a file of a format that nobody asked for: %+v", r)
	}
	if r := about(records.Failed, records.FMP4); r == nil || r.Format != "MP4" {
		t.Errorf("a failure: %+v", r)
	}

	now := time.Now()
	ends := func(what string, want int) {
		t.Helper()
		if c.concludeAll(now); len(w.told) != want {
			t.Errorf("%s: the end is told %d times, want %d", what, len(w.told), want)
		}
	}
	ends("while it runs", 0)
	release := c.hold(task)
	if err := c.Stop(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	if _, status, _ := c.Files(task); status != "STOPPING" {
		t.Errorf("while a file is finished it is %s", status)
	}
	ends("while a file is finished", 0)
	release()
	ends("when nothing is left", 1)
	if e := w.told[0]; e.Type != event.RecordStopped || e.Channel != "room" || *e.Recording != (event.Recording{Task: task, Channel: "room"}) {
		t.Errorf("told %+v", e)
	}
	ends("at once after it", 1)

	c = w.open(t, dir, index) // nobody noted that it was told
	ends("after a crash", 2)
	c.settle()
	c = w.open(t, dir, index)
	ends("after a stop", 2)

	now = now.Add(cloudTold - time.Hour)
	c.purge(t.Context(), now)
	if len(w.subs) != 1 {
		t.Error("the callback goes while messages may be sent again")
	}
	c.purge(t.Context(), now.Add(2*time.Hour))
	if _, err := c.Get(task); len(w.subs) != 0 || err != nil {
		t.Errorf("after that time: %d callbacks, the recording: %v", len(w.subs), err)
	}
	c.purge(t.Context(), now.Add(cloudKept))
	if _, err := c.Get(task); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("long after its end: %v", err)
	}
}

// What an earlier version noted had one form.
func TestCloudOfBefore(t *testing.T) {
	dir := t.TempDir()
	old := `{"ID":"abc","Ask":{"App":"app","Channel":"room","Bucket":"local","Prefix":["a"],"Pattern":"{UserId}"},"Parts":[],"Started":"2026-01-02T15:04:05Z"}`
	if err := os.WriteFile(filepath.Join(dir, "abc.json"), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	ask, err := (&cloudWorld{}).open(t, dir, nil).Get("abc")
	if err != nil || len(ask.Files) != 1 || ask.FileName(ask.Files[0].Prefix, ask.Files[0].Pattern, "abc", "ann") != "a/abc/ann" || ask.Files[0].Format != "MP4" {
		t.Errorf("%+v, %v", ask, err)
	}
}
