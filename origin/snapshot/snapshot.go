// Package snapshot takes a JPEG picture of a stream every few seconds: the newest
// as latest.jpg, and, if wanted, a number of earlier ones under names of their
// own. It decodes nothing itself: the picture is a key frame, handed to a function
// that makes the file.
//
// Between two pictures it costs nothing: it joins the stream anew for each, where
// the newest group of pictures is waiting. It starts no goroutine but Run's caller's.
package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"braid/media"
	"braid/origin"
	"braid/origin/storage"
)

// Config is one stream's snapshots. Domain, Pattern, Width, History, Shelf, Taken,
// Failed and Log may be left out.
type Config struct {
	Domain, App, Name string // of the stream
	// Tap joins the stream as origin.Hub.Tap does; media.ErrNotFound means that it
	// has ended.
	Tap func() (Viewer, error)
	// JPEG makes the file, as mixer.Pool.JPEG does.
	JPEG     func(ctx context.Context, codec media.Codec, keyFrame *media.AccessUnit, width int) ([]byte, error)
	Interval time.Duration // 1 s to an hour
	Width    int           // pixels at most; 0: as the stream is
	// History is how many earlier pictures are kept beside the newest, 0 to 10000;
	// the oldest goes when there is one more.
	History int
	// Pattern makes their names, see Pattern; "": DefaultPattern.
	Pattern string
	Storage storage.Storage
	Shelf   *Shelf
	// Taken is told of every picture, Failed why there is none, once until one is
	// taken again. They must not block for long: the next picture waits.
	Taken  func(Picture)
	Failed func(reason string)
	Log    *slog.Logger
}

// Viewer is an origin.Viewer.
type Viewer interface {
	Next(ctx context.Context) ([]*origin.Tag, error)
	Close()
}

// Picture is one that was taken.
type Picture struct {
	Time   time.Time // when the key frame arrived
	Latest string    // its name in the storage, written over by the next
	Name   string    // its name in the history; "" without one
	Size   int       // bytes
}

// Limits of a Config.
const (
	MinInterval = time.Second
	MaxInterval = time.Hour
	MaxHistory  = 10000
)

func (c *Config) check() error {
	switch {
	case c.Interval < MinInterval || c.Interval > MaxInterval:
		return fmt.Errorf("snapshot: interval %v, want %v to %v: %w", c.Interval, MinInterval, MaxInterval, media.ErrInvalid)
	case c.History < 0 || c.History > MaxHistory:
		return fmt.Errorf("snapshot: history %d, want 0 to %d: %w", c.History, MaxHistory, media.ErrInvalid)
	}
	return CheckPattern(c.Pattern)
}

// Run takes pictures until the stream ends or ctx does; both are no error. A stream
// that stands still gives no new picture. What goes wrong with one picture is told
// to Failed and tried again with the next.
func Run(ctx context.Context, c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	j := &job{Config: c, log: c.Log.With("domain", c.Domain, "app", c.App, "stream", c.Name), latest: Latest(c.Domain, c.App, c.Name)}
	defer j.Shelf.remove(j)
	if err := j.recall(ctx); err != nil && ctx.Err() == nil {
		j.fail(fmt.Errorf("list what is there: %w", err))
	}
	tick := time.NewTicker(c.Interval)
	defer tick.Stop()
	for {
		err := j.take(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, errEnded):
			return nil
		case err != nil:
			j.fail(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// job is a running Run.
type job struct {
	Config
	log    *slog.Logger
	latest string
	kept   []string  // names of the history, oldest first
	number int       // of the pictures so far
	last   time.Time // when the last picture's key frame arrived
	failed bool      // and told
}

// errEnded says that the stream has; a storage may have io.EOF and media.ErrNotFound
// of its own.
var errEnded = errors.New("snapshot: the stream has ended")

// putWithin is how long a storage may take for a picture.
const putWithin = 30 * time.Second

// take takes one picture, or none if there is no new one.
func (j *job) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(j.Interval, putWithin))
	defer cancel()
	key, arrived, err := j.keyFrame(ctx)
	if err != nil || !arrived.After(j.last) {
		return err
	}
	file, err := j.JPEG(ctx, key.Codec, key, j.Width)
	if err != nil {
		return err
	}
	j.last = arrived
	p := Picture{Time: arrived, Latest: j.latest, Size: len(file)}
	j.Shelf.put(j, file, arrived)
	if err := j.put(ctx, j.latest, file); err != nil {
		return err
	}
	if j.History > 0 {
		p.Name = j.name(arrived)
		if err := j.put(ctx, p.Name, file); err != nil {
			return err
		}
		j.keep(ctx, p.Name)
	}
	j.number++
	if j.failed {
		j.log.Info("snapshots are taken again")
	}
	j.failed = false
	if j.Taken != nil {
		j.Taken(p)
	}
	return nil
}

func (j *job) put(ctx context.Context, name string, file []byte) error {
	if err := j.Storage.Put(ctx, name, bytes.NewReader(file), int64(len(file)), "image/jpeg"); err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	return nil
}

func (j *job) fail(err error) {
	if j.failed {
		return
	}
	j.failed = true
	j.log.Warn("no snapshot", "error", err)
	if j.Failed != nil {
		j.Failed(err.Error())
	}
}
