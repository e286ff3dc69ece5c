// Package transcode makes renditions of a stream: the same pictures in other sizes and
// bit rates, each a stream of the hub of its own, {name}_{rendition}. The source is
// decoded once; key frames are where the source has them, so that players may go
// from one to another; sound and timestamps pass as they are, SEI too.
//
// It codes nothing itself: Config.Open starts who does. It starts no goroutine; the
// coder calls back from its own.
//
//	Tap ─ tags ─→ take ─┬─ pictures ─→ Encoder ─→ emit: SEI, sound up to here ─→ Publish
//	                    └─ sound ─────────────────────┘ waits for its picture
//
// A machine that cannot keep up drops the biggest rendition and says so, rather than
// let all of them stutter; it is tried again later.
package transcode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/origin"
)

// Rendition is one size of a stream.
type Rendition struct {
	Name   string // behind the stream's name and "_"
	Height int    // pixels; one that is higher than the source gets the source's size
	Kbps   int    // the most that a second of its pictures takes
	FPS    int    // 0: as the source
}

// Config is one stream's renditions. Domain, Budget, Trouble and Log may be left out.
type Config struct {
	Domain, App, Name string // of the source
	Renditions        []Rendition
	// Tap joins the source as origin.Hub.Tap does; media.ErrNotFound: it has ended.
	Tap func() (Viewer, error)
	// Publish puts a rendition on air as origin.Hub.PublishAs does.
	Publish func(origin.Publisher) (Ingest, error)
	Open    func(Spec) Encoder
	Budget  *Budget // nil: no limit but what the machine can do
	// Trouble says what goes wrong while others go on; "": nothing does any more.
	Trouble func(reason string)
	Log     *slog.Logger
}

// Viewer is an origin.Viewer, Ingest an origin.Ingest.
type (
	Viewer interface {
		Next(ctx context.Context) ([]*origin.Tag, error)
		Close()
	}
	Ingest interface {
		WriteTag(*flv.Tag)
		Close()
	}
)

// Spec is what an Encoder is to make.
type Spec struct {
	Codec   media.Codec
	Encodes []Encode
	// Emit takes the pictures of each of Encodes in order, with the PTS that they came
	// with; Failed is told why there are none, of all with -1. Neither blocks for long.
	Emit   func(i int, au *media.AccessUnit)
	Failed func(i int, reason string)
}

// Encode is one output: H.264 as high as Height, with the key frames of the source.
type Encode struct {
	Height, Kbps int
	FPS          int // that the bit rate is planned for
	MostFPS      int // pictures above so many a second are left out; 0: none
}

// Encoder is at work until Close. It is called from one goroutine. It begins without
// outputs.
type Encoder interface {
	Write(*media.AccessUnit) // never blocks
	// Add starts the output of Spec.Encodes[i], which does not run; its first picture,
	// which may be any, is a key frame.
	Add(i int)
	Drop(i int) // ends one output
	Close()
}

const maxRenditions = 6

func (c *Config) check() error {
	if n := len(c.Renditions); n < 1 || n > maxRenditions {
		return fmt.Errorf("transcode: %d renditions, want 1 to %d: %w", n, maxRenditions, media.ErrInvalid)
	}
	for i, r := range c.Renditions {
		switch {
		case r.Name == "" || slices.ContainsFunc(c.Renditions[:i], func(o Rendition) bool { return o.Name == r.Name }):
			return fmt.Errorf("transcode: rendition %d: its name %q is empty or there twice: %w", i, r.Name, media.ErrInvalid)
		case r.Height < 64 || r.Height > 1080 || r.Kbps < 1 || r.Kbps > 20000 || r.FPS < 0 || r.FPS > 60:
			return fmt.Errorf("transcode: rendition %q: height %d (64 to 1080), %d kbit/s (1 to 20000), %d pictures a second (0 to 60): %w",
				r.Name, r.Height, r.Kbps, r.FPS, media.ErrInvalid)
		}
	}
	return nil
}

// Run makes renditions until the stream ends or ctx does; both are no error. One
// whose name somebody else publishes is left out.
func Run(ctx context.Context, c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Trouble == nil {
		c.Trouble = func(string) {}
	}
	v, err := c.Tap()
	if errors.Is(err, media.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer v.Close()
	j := newJob(c)
	defer j.close()
	for {
		tags, err := v.Next(ctx)
		if ctx.Err() != nil || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, t := range tags {
			j.take(t)
		}
		j.keepUp(time.Now())
	}
}
