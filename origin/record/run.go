package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"braid/media"
	"braid/origin"
	"braid/origin/storage"
)

// After a failure the next file is begun with the first key frame after a wait,
// which grows from firstTry to lastTry while it fails.
const (
	firstTry = time.Second
	lastTry  = 30 * time.Second
)

// Run records until the stream ends or ctx does, which is no error: then the
// last file is finished. It fails with media.ErrInvalid, and at once, for a
// config that cannot be used. What goes wrong later is told as a Failed event,
// and tried again for as long as the stream lasts.
//
// A disk that hangs holds Run up, the stream never: tags wait in the Viewer,
// which drops whole groups of pictures when it has too many.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	r := &recording{cfg: cfg, log: cfg.Log.With("app", cfg.App, "stream", cfg.Stream, "template", cfg.Template),
		id: newID(), start: time.Now(), wait: firstTry}
	if err := r.checkName(); err != nil {
		return err
	}
	r.cut = cutter{segment: cfg.Segment, write: r.write, end: r.end}
	for {
		tags, err := cfg.Tags.Next(ctx)
		if err != nil {
			r.cut.finish()
			r.emit(Event{Kind: Ended})
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("record: %w", err)
		}
		r.cut.paused = time.Now().Before(r.retry)
		for _, t := range tags {
			r.cut.tag(t)
		}
		r.notice()
	}
}

// recording is one Run.
type recording struct {
	cfg   Config
	log   *slog.Logger
	id    string
	start time.Time
	cut   cutter

	outputs  []*output // of the file that is being written, one for each format
	sequence int       // of that file
	failed   bool      // Failed was told, Started was not since
	told     bool      // Started was told
	retry    time.Time // no file is begun before it
	wait     time.Duration

	problem string // the last one of the cutter that was logged
	lost    uint64 // tags, as far as they were logged
}

// checkName tells whether this stream's files can have names.
func (r *recording) checkName() error {
	name, err := r.name(time.Now())
	if err == nil {
		err = storage.CheckName(name + "_999.mp4")
	}
	if err != nil {
		return fmt.Errorf("record: stream %s/%s: %w", r.cfg.App, r.cfg.Stream, err)
	}
	return nil
}

func (r *recording) name(begin time.Time) (string, error) {
	return expand(r.cfg.Name, names{domain: r.cfg.Domain, app: r.cfg.App, stream: r.cfg.Stream,
		start: r.start, begin: begin, sequence: r.sequence})
}

// entry is what every file of the recording says of it.
func (r *recording) entry() File {
	return File{Recording: r.id, Sequence: r.sequence, Domain: r.cfg.Domain, App: r.cfg.App, Stream: r.cfg.Stream, Since: r.cfg.Since,
		Owner: r.cfg.Owner, Template: r.cfg.Template, Storage: r.cfg.Storage, Keep: Millis(r.cfg.Keep)}
}

func (r *recording) emit(e Event) {
	f := r.entry()
	e = r.cfg.Index.emit(e, &f)
	if r.cfg.Notice != nil {
		r.cfg.Notice(e)
	}
}

// write takes a file's next fragment.
func (r *recording) write(f *fragment) {
	err := r.cfg.Index.room(f.size())
	if err == nil && f.first != nil {
		err = r.begin(f)
	}
	for _, o := range r.outputs {
		if err == nil {
			err = o.fragment(f)
		}
		if err == nil {
			err = o.write(time.Now())
		}
	}
	if err != nil {
		r.fail(err)
		return
	}
	if r.failed || !r.told {
		r.failed, r.told, r.wait = false, true, firstTry
		r.emit(Event{Kind: Started})
	}
}

// size is about what the fragment is long.
func (f *fragment) size() (n int) {
	for _, samples := range [][]sample{f.video, f.audio} {
		for i := range samples {
			n += samples[i].size
		}
	}
	return n
}

// begin makes the files of the next sequence number, without bytes.
func (r *recording) begin(f *fragment) error {
	r.sequence++
	base, err := r.name(f.arrived)
	if err != nil {
		return err
	}
	for _, format := range r.cfg.Formats {
		if err := carries(format, f.first); err != nil {
			if len(r.cfg.Formats) == 1 {
				return err
			}
			r.log.Warn("record: one of the formats cannot carry the stream", "format", format, "err", err)
			continue
		}
		o := &output{entry: r.entry(), synced: time.Now()}
		o.entry.Format, o.entry.Begin = format, f.arrived
		head, err := o.begin(f, r.cfg.Segment)
		if err != nil {
			return err
		}
		suffix := ".mp4"
		if format == TS {
			suffix = ".ts"
		}
		if o.file, err = r.cfg.Index.create(&o.entry, base, suffix); err != nil {
			return err
		}
		o.buf = append(o.buf, head...)
		r.outputs = append(r.outputs, o)
	}
	return nil
}

// fail ends the files at what they have, and waits before the next ones.
func (r *recording) fail(err error) {
	r.cut.drop()
	r.end()
	if !r.failed {
		r.failed = true
		r.log.Warn("record: a file cannot be written; it is tried again", "err", err)
		r.emit(Event{Kind: Failed, Reason: reason(err)})
	}
	r.retry = time.Now().Add(r.wait)
	r.wait = min(2*r.wait, lastTry)
	r.cut.paused = true
}

// end finishes the files that are being written.
func (r *recording) end() {
	for _, o := range r.outputs {
		if err := o.finish(); err != nil {
			r.log.Error("record: the end of a file cannot be written; what is written of it plays", "file", o.entry.Name, "err", err)
		}
		if o.end == 0 {
			r.cfg.Index.discard(&o.entry)
			continue
		}
		o.entry.finish(o.size, o.end)
		r.cfg.Index.set(&o.entry)
		r.cfg.Index.tell()
	}
	r.outputs = nil
}

// notice logs what the stream lacks on its way into files, each thing once.
func (r *recording) notice() {
	if err := r.cut.problem; err != nil && err.Error() != r.problem {
		r.problem = err.Error()
		r.log.Warn("record: a part of the stream is left out", "err", err)
	}
	if v, ok := r.cfg.Tags.(*origin.Viewer); ok {
		if n := v.Dropped(); n > r.lost+uint64(maxLost) || r.lost == 0 && n > 0 {
			r.log.Warn("record: the disk is too slow for the stream; groups of pictures are lost", "tags", n)
			r.lost = n
		}
	}
}

// maxLost is how many more tags are lost until it is logged again: some minutes'.
const maxLost = 20_000

// reason says for people why nothing is recorded.
func reason(err error) string {
	switch {
	case isFull(err):
		return "the disk is full"
	case errors.Is(err, media.ErrInvalid):
		return "the stream cannot be written to files of this format"
	}
	return "files cannot be written: " + plain(err)
}
