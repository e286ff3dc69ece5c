package origin

import (
	"bytes"
	"time"

	"braid/media"
	"braid/media/av1"
	"braid/media/flv"
	"braid/media/h264"
	"braid/media/h265"
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

// segment is a piece of a stream in its container, immutable once it was handed
// on. What is handed on unfinished has the parts so far and no duration.
type segment struct {
	seq           uint64
	duration      time.Duration
	began         time.Time // when its first tag arrived
	discontinuity bool      // it does not carry on from the segment before
	init          *initFile // fMP4: what decoders read before it
	parts         []part    // in order; MPEG-TS has one
}

// part is a piece of a segment that can be fetched by itself.
type part struct {
	number      uint64 // counts on through all segments
	duration    time.Duration
	independent bool // a decoder can start with it
	data        []byte
}

func (s *segment) size() (n int) {
	for i := range s.parts {
		n += len(s.parts[i].data)
	}
	return n
}

// packer writes access units into a container. Its methods are called in the
// order that segmenter shows: open, begin, write..., finish, begin, ...
type packer interface {
	open(program) error // what follows has these codecs
	begin(s segment, dts time.Duration) error
	write(au *media.AccessUnit, dts time.Duration) error
	size() int // bytes of the segment so far
	finish(end time.Duration)
}

// program is what a container must know before it takes media.
type program struct {
	key *media.AccessUnit // the picture that comes first, with its parameter sets; nil without video
	// sound is the codec of the sound, empty without; asc AAC's AudioSpecificConfig.
	sound media.Codec
	asc   []byte
}

// segmenter cuts a stream's tags into segments. It decides by the tags alone:
// no goroutine, no clock. It belongs to one goroutine.
type segmenter struct {
	pack packer

	epoch        uint32
	demux        flv.Demuxer
	time         timeline
	video, audio []byte // what the newest usable sequence headers say
	codec, sound media.Codec
	newVideo     bool // video changed: pictures wait for the segment that begins with it
	newAudio     bool
	problem      error // why tags were left out, nil if none was

	opened    bool          // pack has a segment open; not before the first and after a jump
	seq       uint64        // of the next segment
	sets      []byte        // the SPS or sequence header that the program began with
	began     bool          // a segment was begun, so the next program is a discontinuity
	start     time.Duration // decoding time of the segment's first access unit
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
		s.video, s.audio, s.codec, s.sound = nil, nil, "", ""
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

// configure notes a new sequence header that the demuxer could read. An avcC
// without parameter sets, which some encoders send first, is none.
func (s *segmenter) configure(t *Tag) {
	if codec, record := s.demux.VideoConfig(); codec != "" && !(codec == s.codec && bytes.Equal(s.video, record)) {
		s.codec, s.video, s.newVideo = codec, record, true
	}
	if k, err := flv.ParsePacket(&t.Tag); t.kind == kindAudioSH && err == nil && !bytes.Equal(s.audio, t.Payload) {
		s.audio, s.sound, s.newAudio = t.Payload, k.Codec, true
	}
}

func (s *segmenter) add(t *Tag, au *media.AccessUnit, dts time.Duration) error {
	picture := au.Codec.Video()
	if !picture && au.Codec != s.sound { // Opus needs no sequence header
		s.sound, s.newAudio = au.Codec, true
	}
	if err := s.cut(t, au, dts); err != nil {
		return err
	}
	if !s.opened || picture && s.newVideo || !picture && s.newAudio {
		return nil // its segment has not begun yet
	}
	if picture {
		s.lastVideo = dts
	}
	s.newest = max(s.newest, dts)
	return s.pack.write(au, dts)
}

// cut begins a segment where one must or may begin.
func (s *segmenter) cut(t *Tag, au *media.AccessUnit, dts time.Duration) error {
	picture := au.Codec.Video()
	border := au.Key && picture == (s.codec != "") // with pictures, sound does not decide
	length := dts - s.start
	switch {
	case border && (!s.opened || s.newVideo || s.newAudio || picture && !bytes.Equal(s.sets, decoderSets(au))):
		s.finish(dts)
		return s.open(t, au, dts)
	case !s.opened:
		return nil
	case border && picture && length >= minSegment,
		!picture && length >= soundSegment && dts-s.lastVideo >= soundSegment, // sound alone, or the camera is off
		length >= maxSegment,
		s.pack.size() >= maxSegmentBytes:
		s.finish(dts)
		return s.begin(t, dts, false)
	}
	return nil
}

// open begins a segment whose codec parameters differ from what was before.
func (s *segmenter) open(t *Tag, au *media.AccessUnit, dts time.Duration) error {
	var p program
	if s.codec != "" {
		p.key = au
	}
	if p.sound = s.sound; p.sound == media.AAC {
		p.asc = s.demux.AudioSpecificConfig()
	}
	if err := s.pack.open(p); err != nil {
		return err
	}
	s.newVideo, s.newAudio = false, false
	s.sets = bytes.Clone(decoderSets(au))
	return s.begin(t, dts, s.began)
}

func (s *segmenter) begin(t *Tag, dts time.Duration, discontinuity bool) error {
	next := segment{seq: s.seq, began: t.Arrived, discontinuity: discontinuity}
	s.seq++
	s.start, s.newest, s.began, s.opened = dts, dts, true, true
	return s.pack.begin(next, dts)
}

// finish hands the segment over that ends where the next one begins.
func (s *segmenter) finish(end time.Duration) {
	if s.opened {
		s.pack.finish(max(end, s.start+time.Millisecond))
	}
	s.opened = false
}

// flush finishes the segment with what there is, as nothing carries on from it.
func (s *segmenter) flush() { s.finish(s.newest + splice*time.Millisecond) }

// decoderSets is the part of a key frame by which a decoder's set-up is known: the
// H.264 or H.265 SPS, the AV1 sequence header. A PPS may change between key frames
// without more ado.
func decoderSets(au *media.AccessUnit) []byte {
	for _, u := range au.Units {
		switch au.Codec {
		case media.H264:
			if h264.Type(u) == h264.TypeSPS {
				return u
			}
		case media.H265:
			if h265.Type(u) == h265.TypeSPS {
				return u
			}
		case media.AV1:
			return sequenceHeader(u)
		}
	}
	return nil
}

// sequenceHeader is the sequence header OBU of an AV1 temporal unit, without its
// size; nil when there is none.
func sequenceHeader(unit []byte) []byte {
	for len(unit) > 0 {
		o, rest, ok := av1.ParseOBU(unit)
		if !ok {
			return nil
		}
		if o.Type == av1.TypeSequenceHeader {
			return append([]byte{o.Header[0] &^ 0x06}, o.Payload...)
		}
		unit = rest
	}
	return nil
}
