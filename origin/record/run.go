package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
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
	if slices.Contains(cfg.Formats, HLS) {
		r.cut.slice = cfg.Slice
	}
	if slices.Contains(cfg.Formats, MP3) {
		r.mp3 = &mp3Maker{open: cfg.Coder, cut: &r.cut}
	}
	for {
		tags, err := cfg.Tags.Next(ctx)
		if err != nil {
			if r.mp3 != nil {
				r.mp3.end()
			}
			r.cut.finish()
			r.emit(Event{Kind: Ended})
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("record: %w", err)
		}
		r.cut.paused = time.Now().Before(r.retry)
		for _, t := range tags {
			if r.mp3 != nil {
				r.mp3.tag(t)
			} else {
				r.cut.tag(t)
			}
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
	mp3   *mp3Maker // nil but for MP3

	sinks    []sink    // of the file that is being written, one for each format
	sequence int       // of that file
	slices   int       // HLS: that were begun
	failed   bool      // Failed was told, Started was not since
	told     bool      // Started was told
	retry    time.Time // no file is begun before it
	wait     time.Duration

	problem string // the last one of the cutter that was logged
	lost    uint64 // tags, as far as they were logged
}

// sink is one file, or a playlist of files.
type sink interface {
	// write writes a fragment. After an error, finish keeps what was there before.
	write(f *fragment, now time.Time) error
	// finish ends the file; the index has what it came to. What goes wrong is logged:
	// what is written plays.
	finish()
}

// checkName tells whether this stream's files can have names.
func (r *recording) checkName() error {
	for _, pattern := range []string{r.cfg.Name, r.cfg.Slices} {
		name, err := r.name(pattern, time.Now(), 0)
		if err == nil {
			err = storage.CheckName(name + "_999.m3u8")
		}
		if err != nil {
			return fmt.Errorf("record: stream %s/%s: %w", r.cfg.App, r.cfg.Stream, err)
		}
	}
	return nil
}

func (r *recording) name(pattern string, begin time.Time, sequence int) (string, error) {
	return expand(pattern, names{domain: r.cfg.Domain, app: r.cfg.App, stream: r.cfg.Stream,
		start: r.start, begin: begin, sequence: sequence})
}

// entry is what every file of the recording says of it.
func (r *recording) entry() File {
	return File{Recording: r.id, Sequence: r.sequence, Domain: r.cfg.Domain, App: r.cfg.App, Stream: r.cfg.Stream, Since: r.cfg.Since,
		Owner: r.cfg.Owner, Template: r.cfg.Template, Storage: r.cfg.Storage, Keep: Millis(r.cfg.Keep)}
}

func (r *recording) emit(e Event) {
	f := r.entry()
	e.Formats = r.cfg.Formats
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
	for _, s := range r.sinks {
		if err == nil {
			err = s.write(f, time.Now())
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
	base, err := r.name(r.cfg.Name, f.arrived, r.sequence)
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
		s, err := r.open(format, base, f)
		if err != nil {
			return err
		}
		r.sinks = append(r.sinks, s)
	}
	return nil
}

// open makes the file of one format.
func (r *recording) open(format, base string, f *fragment) (sink, error) {
	entry := r.entry()
	entry.Format, entry.Begin = format, f.arrived
	if format == HLS {
		return r.openPlaylist(&entry, base, f)
	}
	o := &output{entry: entry, synced: time.Now()}
	head, err := o.begin(f, r.cfg.Segment)
	if err != nil {
		return nil, err
	}
	suffix := map[string]string{FMP4: ".mp4", TS: ".ts", MP3: ".mp3"}[format]
	if o.file, err = r.cfg.Index.create(&o.entry, base, suffix); err != nil {
		return nil, err
	}
	o.buf = append(o.buf, head...)
	return &single{o, r.cfg.Index, r.log}, nil
}

// single is a sink of one file.
type single struct {
	*output
	index *Index
	log   *slog.Logger
}

func (s *single) write(f *fragment, now time.Time) error {
	if err := s.fragment(f); err != nil {
		return err
	}
	if err := s.output.write(now); err != nil {
		return err
	}
	s.index.grow(s.entry.ID, s.size, s.end)
	return nil
}

func (s *single) finish() {
	if err := s.output.finish(); err != nil {
		s.log.Error("record: the end of a file cannot be written; what is written of it plays", "file", s.entry.Name, "err", err)
	}
	if s.end == 0 {
		s.index.discard(&s.entry)
		return
	}
	s.entry.finish(s.size, s.end)
	s.index.set(&s.entry)
	s.index.tell()
}

// fail ends the files at what they have, and waits before the next ones.
func (r *recording) fail(err error) {
	r.cut.drop()
	r.end()
	r.tellFailed(reason(err), err)
	r.retry = time.Now().Add(r.wait)
	r.wait = min(2*r.wait, lastTry)
	r.cut.paused = true
}

// tellFailed tells that nothing is recorded, once until something is.
func (r *recording) tellFailed(reason string, err error) {
	if r.failed {
		return
	}
	r.failed = true
	r.log.Warn("record: a file cannot be written; it is tried again", "err", err)
	r.emit(Event{Kind: Failed, Reason: reason})
}

// end finishes the files that are being written.
func (r *recording) end() {
	for _, s := range r.sinks {
		s.finish()
	}
	r.sinks = nil
}

// notice logs what the stream lacks on its way into files, each thing once.
func (r *recording) notice() {
	if r.mp3 != nil && r.mp3.trouble != "" {
		r.tellFailed("the sound cannot be made MP3: "+r.mp3.trouble, errors.New(r.mp3.trouble))
		r.mp3.trouble = ""
	}
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

const (
	fullWords   = "the disk is full"
	formatWords = "the stream cannot be written to files of this format"
)

// reason says for people why nothing is recorded.
func reason(err error) string {
	switch {
	case isFull(err):
		return fullWords
	case errors.Is(err, media.ErrInvalid):
		return formatWords
	}
	return "files cannot be written: " + plain(err)
}
