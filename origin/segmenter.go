package origin

import (
	"bytes"
	"fmt"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/mpegts"
)

const (
	// Segments end at the first key frame after minSegment, so an encoder's
	// key frame interval decides their length: 2 s is usual. Sound alone has no
	// key frames and is cut at soundSegment.
	minSegment   = time.Second
	soundSegment = 2 * time.Second
	// A segment without a key frame ahead ends anyway, so that who waits for it is
	// not kept for ever and memory is bounded.
	maxSegment      = 12 * time.Second
	maxSegmentBytes = 48 << 20
	// A time step outside these two is a new time line, not a lost packet.
	backJump, foreJump = -time.Second, 10 * time.Second
)

// segment is a finished, immutable piece of MPEG-TS.
type segment struct {
	seq           uint64
	duration      time.Duration
	began         time.Time // when its first tag arrived
	discontinuity bool      // it does not carry on from the segment before
	data          []byte
}

// segmenter cuts a stream's tags into segments. It decides by the tags alone:
// no goroutine, no clock. It belongs to one goroutine.
type segmenter struct {
	emit func(segment)

	epoch        uint32
	demux        flv.Demuxer
	time         timeline
	video, audio []byte // payloads of the newest usable sequence headers
	newVideo     bool   // video changed: pictures wait for the segment that begins with it
	newAudio     bool
	problem      error // why tags were left out, nil if none was

	mux       *mpegts.Muxer // nil before the first segment and after a jump
	seq       uint64        // of the next segment
	cur       segment       // being written while mux is not nil
	began     bool          // a segment was begun, so the next muxer is a discontinuity
	start     time.Duration // decoding time of cur's first access unit
	newest    time.Duration // and of its last
	lastVideo time.Duration
}

// timeline undoes the 32-bit wraps of timestamps.
type timeline struct {
	now     time.Duration
	started bool
}

// step is how far ts lies from the newest one; 0 at first.
func (l *timeline) step(ts uint32) time.Duration {
	if !l.started {
		return 0
	}
	return time.Duration(int32(ts-uint32(l.now/time.Millisecond))) * time.Millisecond
}

func (l *timeline) next(ts uint32) time.Duration {
	if !l.started {
		l.now, l.started = time.Duration(ts)*time.Millisecond, true
	}
	l.now += l.step(ts)
	return l.now
}

// write takes the next tag. Tags that MPEG-TS cannot carry are left out and
// remembered in problem.
func (s *segmenter) write(t *Tag) {
	if t.Type != flv.Audio && t.Type != flv.Video {
		return
	}
	if t.epoch != s.epoch {
		s.flush()
		s.epoch, s.demux, s.time = t.epoch, flv.Demuxer{}, timeline{}
		s.video, s.audio = nil, nil
	}
	if step := s.time.step(t.Timestamp); !t.header() && (step < backJump || step > foreJump) {
		s.flush()
	}
	dts := s.time.next(t.Timestamp)
	au, err := s.demux.Demux(&t.Tag)
	switch {
	case err != nil:
		s.problem = err
	case t.header():
		s.configure(t)
	case au != nil:
		if err := s.add(t, au, dts); err != nil {
			s.problem = err
		}
	}
}

// configure notes a new sequence header that the demuxer could read.
func (s *segmenter) configure(t *Tag) {
	sps, _ := s.demux.ParameterSets()
	switch {
	case t.kind == kindVideoSH && sps != nil && !bytes.Equal(s.video, t.Payload):
		s.video, s.newVideo = t.Payload, true
	case t.kind == kindAudioSH && !bytes.Equal(s.audio, t.Payload):
		s.audio, s.newAudio = t.Payload, true
	}
}

func (s *segmenter) add(t *Tag, au *media.AccessUnit, dts time.Duration) error {
	picture := au.Codec == media.H264
	if err := s.cut(t, au, dts); err != nil {
		return err
	}
	if s.mux == nil || picture && s.newVideo || !picture && s.newAudio {
		return nil // its segment has not begun yet
	}
	if picture {
		s.lastVideo = dts
	}
	s.newest = max(s.newest, dts)
	return s.mux.WriteAt(au, dts)
}

// cut begins a segment where one must or may begin.
func (s *segmenter) cut(t *Tag, au *media.AccessUnit, dts time.Duration) error {
	picture := au.Codec == media.H264
	border := au.Key && picture == (s.video != nil) // with pictures, sound does not decide
	length := dts - s.start
	switch {
	case border && (s.mux == nil || s.newVideo || s.newAudio):
		s.finish(dts)
		return s.open(t, dts)
	case s.mux == nil:
		return nil
	case border && picture && length >= minSegment,
		!picture && length >= soundSegment && dts-s.lastVideo >= soundSegment, // sound alone, or the camera is off
		length >= maxSegment,
		len(s.cur.data) >= maxSegmentBytes:
		s.finish(dts)
		return s.begin(t, dts, false)
	}
	return nil
}

// open begins a segment whose codec parameters differ from what was before.
func (s *segmenter) open(t *Tag, dts time.Duration) error {
	var config []byte
	if s.audio != nil {
		config = s.demux.AudioSpecificConfig()
	}
	var video media.Codec
	if s.video != nil {
		video = media.H264
	}
	mux, err := mpegts.NewMuxer(s, video, config)
	if err != nil {
		return fmt.Errorf("origin: HLS: %w", err)
	}
	s.mux, s.newVideo, s.newAudio = mux, false, false
	return s.begin(t, dts, s.began)
}

func (s *segmenter) begin(t *Tag, dts time.Duration, discontinuity bool) error {
	room := len(s.cur.data) * 5 / 4
	s.cur = segment{seq: s.seq, began: t.Arrived, discontinuity: discontinuity, data: make([]byte, 0, room)}
	s.seq++
	s.start, s.newest, s.began = dts, dts, true
	return s.mux.WriteTables()
}

// finish hands the segment over that ends where the next one begins.
func (s *segmenter) finish(end time.Duration) {
	if s.mux == nil {
		return
	}
	s.cur.duration = max(end-s.start, time.Millisecond)
	s.emit(s.cur)
}

// flush finishes the segment with what there is, as nothing carries on from it.
func (s *segmenter) flush() {
	s.finish(s.newest + splice*time.Millisecond)
	s.mux = nil
}

// Write is where the muxer puts its packets.
func (s *segmenter) Write(p []byte) (int, error) {
	s.cur.data = append(s.cur.data, p...)
	return len(p), nil
}
