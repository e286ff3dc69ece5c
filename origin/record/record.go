// Package record writes streams of the origin into files: fragmented MP4,
// MPEG-TS and HLS, in pieces that begin with a key frame, and MP3. A fragment of at most about
// two seconds is written at once, so whatever ends the process, a file plays to
// its last whole fragment. An Index beside the files knows all of them: it
// finishes what a killed process left open, uploads what belongs elsewhere, and
// removes what is older than it was to be kept.
//
// It does not transcode (MP3 comes from a Coder that it is given), and it never holds up a stream: a disk that is too slow
// costs the recording whole groups of pictures, a disk that is full ends a file.
//
// Goroutines: Run and Index.Run are the caller's, they start none.
package record

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"braid/media"
	"braid/origin"
	"braid/origin/storage"
)

// Formats of files.
const (
	FMP4 = "fmp4"
	TS   = "ts"
	HLS  = "hls" // a playlist and its MPEG-TS segments, called slices here
	MP3  = "mp3" // the sound alone
)

// Limits and defaults of Config.
const (
	MinSegment     = 10 * time.Second
	MaxSegment     = 2 * time.Hour
	DefaultSegment = 30 * time.Minute
	DefaultName    = "{domain}/{app}/{stream}/{start}_{sequence}"
	MinSlice       = 2 * time.Second
	MaxSlice       = time.Minute
	DefaultSlice   = 30 * time.Second
)

// Tags is what is recorded: an *origin.Viewer. See origin.Viewer.Next.
type Tags interface {
	Next(ctx context.Context) ([]*origin.Tag, error)
}

// Config is one recording of one stream.
type Config struct {
	Tags  Tags   // Run is its only reader; it does not close it
	Index *Index // where the files go

	Domain, App, Stream string    // whose stream it is; an empty Domain is written "default"
	Since               time.Time // when the stream came on air, for Event; zero when nobody knows
	Owner               string    // the braid application that is told of it; kept with each file
	Template            string    // what asked for the recording; kept with each file

	Formats []string      // FMP4, TS, HLS, each once, or MP3 alone; empty: FMP4
	Segment time.Duration // a file ends at the first key frame after it, MinSegment..MaxSegment; 0: DefaultSegment
	Name    string        // pattern of the files' names, see CheckPattern; "": DefaultName
	Keep    time.Duration // a file is removed this long after its end; 0: never
	Slice   time.Duration // HLS: a slice ends at the first key frame after it, MinSlice..MaxSlice; 0: DefaultSlice
	Slices  string        // HLS: pattern of the slices' names, whose {sequence} counts slices; "": Name
	Storage string        // name of one of the index's storages that takes the finished files; "": they stay

	Coder func(Sound) Coder // opens who makes MP3; MP3 needs it

	Notice func(Event) // told of this recording's Started, Failed and Ended beside the index's Events; it must not block; nil: nobody is
	Log    *slog.Logger
}

// Kind says what happened to a recording.
type Kind string

const (
	Started Kind = "started" // the first file was begun, or one after a Failed
	Filed   Kind = "file"    // a file is whole and where it is kept; told at least once, also by a later process
	Failed  Kind = "failed"  // nothing is recorded at present; told once until it goes on
	Ended   Kind = "ended"   // the stream or the context has ended; the last of this recording
)

// Event is one thing that happened to a recording. Those of one recording come in
// their order, save that a file which is uploaded may be Filed after the Ended.
type Event struct {
	Kind                Kind
	Time                time.Time
	Recording           string // one id for each Run
	Domain, App, Stream string
	Since               time.Time // when the stream came on air
	Owner, Template     string
	File                File     // of Filed
	Reason              string   // of Failed, for people
	Formats             []string // of the recording; of Filed see File
}

// check fills in defaults and names the first field that cannot be used.
func (c *Config) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("record: "+format+": %w", append(args, media.ErrInvalid)...)
	}
	if len(c.Formats) == 0 {
		c.Formats = []string{FMP4}
	}
	seen := map[string]bool{}
	for _, f := range c.Formats {
		if f == MP3 && len(c.Formats) == 1 && c.Coder != nil {
			break
		}
		if f != FMP4 && f != TS && f != HLS || seen[f] {
			return bad("format %q is not fmp4, ts or hls, each once, or mp3 alone where it can be made", f)
		}
		seen[f] = true
	}
	if c.Segment == 0 {
		c.Segment = DefaultSegment
	}
	if c.Segment < MinSegment || c.Segment > MaxSegment {
		return bad("segment length %v is not from %v to %v", c.Segment, MinSegment, MaxSegment)
	}
	if c.Slice == 0 {
		c.Slice = DefaultSlice
	}
	if c.Slice < MinSlice || c.Slice > MaxSlice {
		return bad("slice length %v is not from %v to %v", c.Slice, MinSlice, MaxSlice)
	}
	if c.Keep < 0 {
		return bad("keeping %v is negative", c.Keep)
	}
	if c.Name == "" {
		c.Name = DefaultName
	}
	if c.Slices == "" {
		c.Slices = c.Name
	}
	for _, pattern := range []string{c.Name, c.Slices} {
		if err := CheckPattern(pattern); err != nil {
			return err
		}
	}
	if c.Storage != "" && c.Index.storages[c.Storage] == nil {
		return bad("storage %q is not configured", c.Storage)
	}
	return nil
}

// names are what a pattern's variables stand for in one file.
type names struct {
	domain, app, stream string
	start               time.Time // of the recording
	begin               time.Time // of the file
	sequence            int       // of the file in the recording, from 1
}

// CheckPattern tells whether file names can be made of a pattern: 1 to 512
// characters of A-Z a-z 0-9 - _ = . / and the variables {domain}, {app},
// {stream}, {start} (of the recording, 20060102T150405Z), {sequence} (of the
// file, from 00001), {date} (of the file, 2006-01-02) and {time} (150405); times
// are UTC. The suffix .mp4, .ts, .m3u8 or .mp3 is added. No part between slashes may be empty
// or begin with a dot.
func CheckPattern(pattern string) error {
	if len(pattern) > 512 {
		return fmt.Errorf("record: name pattern of %d characters: at most 512 are taken: %w", len(pattern), media.ErrInvalid)
	}
	name, err := expand(pattern, names{sequence: 1})
	if err == nil {
		err = storage.CheckName(name)
	}
	if err != nil {
		return fmt.Errorf("record: name pattern %.80q: %w", pattern, err)
	}
	return nil
}

// expand makes a file's name, without suffix. What comes out may still be too long.
func expand(pattern string, n names) (string, error) {
	var b strings.Builder
	for rest := pattern; ; {
		text, after, found := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return "", fmt.Errorf("there is a } without a { before it: %w", media.ErrInvalid)
		}
		b.WriteString(text)
		if !found {
			return b.String(), nil
		}
		name, after, found := strings.Cut(after, "}")
		if !found {
			return "", fmt.Errorf("there is a { without a } behind it: %w", media.ErrInvalid)
		}
		value, ok := n.value(name)
		if !ok {
			return "", fmt.Errorf("{%s} is not one of {domain} {app} {stream} {start} {sequence} {date} {time}: %w", name, media.ErrInvalid)
		}
		b.WriteString(value)
		rest = after
	}
}

func (n names) value(variable string) (string, bool) {
	switch variable {
	case "domain":
		return part(n.domain), true
	case "app":
		return part(n.app), true
	case "stream":
		return part(n.stream), true
	case "start":
		return n.start.UTC().Format("20060102T150405Z"), true
	case "sequence":
		return fmt.Sprintf("%05d", n.sequence), true
	case "date":
		return n.begin.UTC().Format("2006-01-02"), true
	case "time":
		return n.begin.UTC().Format("150405"), true
	}
	return "", false
}

// part makes what may stand in a name of something that comes from outside.
// Domains have other characters than streams; neither may become a way elsewhere.
func part(s string) string {
	if s == "" {
		return "default"
	}
	b := []byte(s)
	for i, c := range b {
		if !storage.Plain(c) || i == 0 && c == '.' {
			b[i] = '_'
		}
	}
	return string(b)
}
