package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/mpegts"
	"braid/media/rtmp"
	"braid/media/srt"
)

// Destination is a kind of place that a push goes to.
type Destination interface {
	// Dial opens a session. ctx bounds the setup alone.
	Dial(ctx context.Context, url string) (Session, error)
}

// Session is one connection of a push. Write is for one goroutine.
type Session interface {
	// Write sends an access unit, and tells whether anything has gone out: what comes
	// before the first key frame does not. It blocks while the other side is slower
	// than the stream. errUnsendable: the unit cannot be sent, the session goes on.
	Write(au *media.AccessUnit) (sent bool, err error)
	// Done is closed when the session is over, which Err then explains.
	Done() <-chan struct{}
	Err() error
	// Close ends it within 1.5 s. It may be called from any goroutine, more than once.
	Close()
}

var errUnsendable = errors.New("cannot be sent")

// CheckURL tells whether a push may go to a URL: rtmp or rtmps as media/rtmp has
// it, srt as media/srt. The error says what is wrong, and never holds the URL.
func CheckURL(url string) error {
	switch scheme(url) {
	case "srt":
		return srt.CheckURL(url)
	case "rtmp", "rtmps":
		return rtmp.CheckURL(url)
	}
	return errors.New("the URL's scheme is none of rtmp, rtmps and srt")
}

// Redact makes a destination's URL fit for logs and screens: without query,
// passphrase, stream id and most of the stream's name. What is no such URL
// becomes "***".
func Redact(url string) string {
	if scheme(url) == "srt" {
		return srt.Redact(url)
	}
	return rtmp.Redact(url)
}

func scheme(url string) string {
	s, _, _ := strings.Cut(url, ":")
	return strings.ToLower(s)
}

func destinationOf(cfg *PushConfig) Destination {
	if cfg.Timeline == nil {
		cfg.Timeline = new(Timeline)
	}
	if scheme(cfg.URL) == "srt" {
		return toSRT{cfg}
	}
	return toRTMP{cfg}
}

// Timeline keeps the timestamps of one URL rising, over sessions and pushes. The
// zero value gives each access unit its own PTS. For one goroutine at a time.
type Timeline struct {
	Zero time.Duration // the PTS that is timestamp 0; below 0 when that was before all PTS

	begun bool
	last  time.Duration // the latest timestamp
}

// at is the time of an access unit; the first of a session is later than all of the
// sessions before, and of the first session not before 0.
func (t *Timeline) at(pts time.Duration, first bool) time.Duration {
	if !t.begun {
		t.begun, t.last = true, -time.Millisecond
	}
	now := pts - t.Zero
	if first && now <= t.last { // the source's clock went back
		t.Zero -= t.last + time.Millisecond - now
		now = t.last + time.Millisecond
	}
	t.last = max(t.last, now)
	return now
}

// toRTMP pushes FLV tags: metadata, sequence header, key frame first.
type toRTMP struct{ *PushConfig }

func (d toRTMP) Dial(ctx context.Context, url string) (Session, error) {
	pub, err := rtmp.Dial(ctx, url, d.PushConfig.Dial)
	if err != nil {
		return nil, err
	}
	mux := flv.NewMuxer(flv.Config{Audio: d.Audio, Video: d.Video, FPS: d.FPS})
	return &rtmpSession{publisher: pub, time: d.Timeline, mux: mux}, nil
}

type rtmpSession struct {
	publisher
	time   *Timeline
	mux    *flv.Muxer // its timestamps begin at 0
	tags   []*flv.Tag
	begun  bool
	offset uint32 // ms, modulo 2^32 as all timestamps of RTMP
}

// publisher is an *rtmp.Publisher.
type publisher interface {
	Write(*flv.Tag) error
	Done() <-chan struct{}
	Err() error
	Close()
}

func (s *rtmpSession) Write(au *media.AccessUnit) (sent bool, err error) {
	if s.tags, err = s.mux.Append(s.tags[:0], au); err != nil {
		return false, fmt.Errorf("%w: %w", errUnsendable, err)
	}
	if len(s.tags) == 0 {
		return false, nil
	}
	at := s.time.at(au.PTS, !s.begun)
	if !s.begun {
		s.begun = true
		s.offset = uint32(at.Round(time.Millisecond) / time.Millisecond)
	}
	for _, t := range s.tags {
		t.Timestamp += s.offset
		if err := s.publisher.Write(t); err != nil {
			return false, err
		}
	}
	return true, nil
}

// toSRT pushes an MPEG transport stream: tables, then a key frame first.
type toSRT struct{ *PushConfig }

func (d toSRT) Dial(ctx context.Context, url string) (Session, error) {
	s := &srtSession{video: d.Video, time: d.Timeline}
	var audio []byte
	if d.Audio != (flv.AudioConfig{}) {
		audio = flv.AudioSpecificConfig(d.Audio.SampleRate, d.Audio.Channels)
	}
	var video media.Codec
	if d.Video {
		video = media.H264
	}
	var err error
	if s.mux, err = mpegts.NewMuxer(&s.packets, video, audio); err != nil {
		return nil, err
	}
	s.Publisher, err = srt.Dial(ctx, url, srt.Options{Control: d.PushConfig.Dial.Control})
	if err != nil {
		return nil, err
	}
	return s, nil
}

type srtSession struct {
	*srt.Publisher
	video   bool
	time    *Timeline
	mux     *mpegts.Muxer
	packets bytes.Buffer
	begun   bool
	from    time.Duration // PTS of the first unit
}

func (s *srtSession) Write(au *media.AccessUnit) (sent bool, err error) {
	switch {
	case !s.begun && (au.Codec.Video() && !au.Key || s.video != au.Codec.Video()),
		s.begun && au.PTS < s.from: // sound from before the first picture
		return false, nil
	}
	moved := *au
	moved.PTS = s.time.at(au.PTS, !s.begun)
	if !s.begun {
		s.begun, s.from = true, au.PTS
	}
	s.packets.Reset()
	if err := s.mux.Write(&moved); err != nil {
		return false, fmt.Errorf("%w: %w", errUnsendable, err)
	}
	if s.packets.Len() == 0 {
		return false, nil
	}
	return true, s.Publisher.Write(s.packets.Bytes())
}
