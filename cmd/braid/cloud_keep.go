package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"braid/media"
	"braid/signaling/artc"
	"braid/store"
)

// read reads what is noted.
func (c *cloud) read() error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(c.dir, "*.json"))
	if err != nil {
		return err
	}
	for _, name := range names {
		t := new(cloudTask)
		b, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(b, t)
		}
		if err == nil && t.ID+".json" != filepath.Base(name) {
			err = errors.New("it is another recording's")
		}
		switch {
		case err != nil:
			c.log.Error("a cloud recording cannot be read", "file", name, "error", err)
		default:
			t.readOld(b)
			c.tasks[t.ID] = t
		}
	}
	return nil
}

// readOld reads the one form that a recording had before there were several.
func (t *cloudTask) readOld(b []byte) {
	var old struct {
		Ask struct {
			Prefix  []string
			Pattern string
		}
	}
	if len(t.Ask.Files) == 0 && json.Unmarshal(b, &old) == nil {
		t.Ask.Files = []artc.CloudFile{{Format: "MP4", Prefix: old.Ask.Prefix, Pattern: old.Ask.Pattern}}
	}
}

// keep notes a recording, durably, before anything acts on it.
func (c *cloud) keep(t *cloudTask) error {
	if err := writeFile(filepath.Join(c.dir, t.ID+".json"), t); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tasks[t.ID] = t
	return nil
}

// forget removes what is noted of a recording, after its callback.
func (c *cloud) forget(ctx context.Context, t *cloudTask) {
	if t.Sub != "" {
		if err := c.calls.Delete(ctx, t.Ask.App, store.Recordings, t.Sub); err != nil && !errors.Is(err, media.ErrNotFound) {
			c.log.Error("the callback of a cloud recording stays", "task", t.ID, "error", err)
		}
	}
	if err := os.Remove(filepath.Join(c.dir, t.ID+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Error("a cloud recording that is to be forgotten stays noted", "task", t.ID, "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tasks, t.ID)
}

func (c *cloud) find(task string) (*cloudTask, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tasks[task]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("cloud recording %q: %w", task, media.ErrNotFound)
}

// purge forgets recordings that ended long ago, and their callbacks before.
func (c *cloud) purge(ctx context.Context, now time.Time) {
	for _, t := range c.list() {
		switch {
		case t.Ended.IsZero():
		case now.Sub(t.Ended) > cloudKept:
			c.forget(ctx, t)
		case now.Sub(t.Ended) > cloudTold && t.Sub != "":
			if err := c.unsubscribe(ctx, t.ID); err != nil {
				c.log.Error("the callback of a cloud recording stays", "task", t.ID, "error", err)
			}
		}
	}
}

func (c *cloud) unsubscribe(ctx context.Context, task string) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	t, err := c.find(task)
	if err != nil {
		return err
	}
	if err := c.calls.Delete(ctx, t.Ask.App, store.Recordings, t.Sub); err != nil && !errors.Is(err, media.ErrNotFound) {
		return err
	}
	next := *t
	next.Sub = ""
	return c.keep(&next)
}

// list is all that is known.
func (c *cloud) list() []*cloudTask {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.tasks))
}
