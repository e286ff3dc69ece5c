package origin

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/rtmp"
)

// graceTime is how long a stream outlives its publisher: a restarting encoder
// or a relay that reconnects is back within a few seconds.
const graceTime = 5 * time.Second

// splice is the step from the last timestamp of one publisher to the first of
// the next: one picture at 25 a second. A step as long as the absence would be a
// hole that players in browsers do not jump over.
const splice = 40 // ms

// stream is one name on air.
//
//	Publish ─→ on air ─ publisher closes ─→ away ─ graceTime ─→ ended
//	              ↑                          │
//	              └──── Publish again ───────┘
type stream struct {
	hub       *Hub
	domain    string
	app, name string
	source    string // Publisher.Source
	bytesOut  atomic.Uint64

	mu      sync.Mutex // held while tags are put into viewers; taken after Hub.mu
	ingest  *Ingest    // nil while away
	viewers map[*Viewer]struct{}
	now     headers
	gop     gop
	epoch   uint32 // of the newest publisher, from 1
	since   time.Time
	remote  string      // of the newest publisher
	away    *time.Timer // ends the stream; nil while on air
	ended   bool
	bytesIn uint64
	peak    int // Publisher.Peak
	rate    rateMeter

	hasAudio, hasVideo bool   // tags of this kind came in this epoch
	last               uint32 // highest timestamp handed out
	offset             uint32 // added to the publisher's, modulo 2^32
	spliced            bool   // offset is that of this epoch
}

// Ingest is the way in for one publisher. Its methods are called from one goroutine.
type Ingest struct{ s *stream }

// WriteTag takes the next tag of the stream and hands it to all viewers. It does
// not wait for any of them. t may be kept by the caller; its payload is copied. Of an
// Enhanced RTMP message with several tracks viewers get the first, see flv.Plain.
func (in *Ingest) WriteTag(t *flv.Tag) {
	if t = flv.Plain(t); t == nil || len(t.Payload) == 0 || endOfSequence(t) {
		return
	}
	s := in.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ingest != in { // closed, or ended by the hub
		return
	}
	s.writeLocked(t)
}

func (s *stream) writeLocked(t *flv.Tag) {
	s.bytesIn += uint64(len(t.Payload))
	n := newTag(t, s.timestampLocked(t), s.epoch)
	if n.header() && !s.now.set(n) {
		return // some encoders repeat them; players would start anew
	}
	if n.kind == kindVideoSH {
		s.now.color = nil // of the pictures before it
	}
	s.hasVideo = s.hasVideo || n.Type == flv.Video
	s.hasAudio = s.hasAudio || n.Type == flv.Audio
	s.rate.add(len(t.Payload), n.kind == kindKey, n.Timestamp)
	s.gop.add(n, s.now)
	for v := range s.viewers {
		v.put(n)
	}
}

// timestampLocked moves a publisher's time behind that of the one before it.
func (s *stream) timestampLocked(t *flv.Tag) uint32 {
	if !s.spliced {
		if kindOf(t) >= kindMeta { // encoders send headers with time 0
			return s.last
		}
		s.offset, s.spliced = s.last+splice-t.Timestamp, true
	}
	ts := t.Timestamp + s.offset
	if s.last == 0 || int32(ts-s.last) > 0 { // the first may be anything, also over 2^31
		s.last = ts
	}
	return ts
}

// startLocked puts a new publisher on air.
func (s *stream) startLocked(in *Ingest) {
	if s.away != nil {
		s.away.Stop()
		s.away = nil
	}
	s.ingest = in
	s.epoch++
	s.since = time.Now()
	s.now, s.gop = headers{}, gop{}
	s.hasAudio, s.hasVideo = false, false
	s.spliced = s.epoch == 1 // the first one's time is the stream's
	for v := range s.viewers {
		v.restart()
	}
}

// Close ends the publication. Viewers stay for five seconds in case the
// publisher comes back. It may be called more than once.
func (in *Ingest) Close() {
	s := in.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ingest != in {
		return
	}
	s.ingest = nil
	epoch := s.epoch
	s.away = time.AfterFunc(graceTime, func() { s.hub.expire(s, epoch) })
}

// endLocked lets all viewers finish what they have.
func (s *stream) endLocked() {
	s.ended, s.ingest = true, nil
	if s.away != nil {
		s.away.Stop()
	}
	for v := range s.viewers {
		v.end()
	}
	s.viewers, s.gop, s.now = nil, gop{}, headers{}
}

func (s *stream) remove(v *Viewer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.viewers, v)
}

// settleTime is how long after its start a stream may still show what it
// consists of: encoders send both sequence headers at once, but a relay that
// waits for a microphone sends sound a little later.
const settleTime = time.Second

// tracks tells what the stream consists of. When that may still change, again
// is how long to wait before it is safe to say.
func (s *stream) tracks() (audio, video bool, again time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tracksLocked()
}

func (s *stream) tracksLocked() (audio, video bool, again time.Duration) {
	if !s.hasAudio || !s.hasVideo {
		again = max(0, time.Until(s.since.Add(settleTime)))
	}
	return s.hasAudio, s.hasVideo, again
}

// lacksLocked is the error for a viewer who wants one kind of media, flv.Audio or
// flv.Video, that the stream does not have, nor will have; 0 is never lacking.
func (s *stream) lacksLocked(only byte) error {
	audio, video, again := s.tracksLocked()
	switch {
	case only == 0 || again > 0 || only == flv.Audio && audio || only == flv.Video && video:
		return nil
	case only == flv.Audio:
		return &rtmp.Refusal{Words: "the stream has no sound", Err: fmt.Errorf("origin: play %s/%s: onlyaudio: %w", s.app, s.name, media.ErrNotFound)}
	}
	return &rtmp.Refusal{Words: "the stream has no pictures", Err: fmt.Errorf("origin: play %s/%s: onlyvideo: %w", s.app, s.name, media.ErrNotFound)}
}
