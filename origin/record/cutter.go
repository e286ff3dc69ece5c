package record

import (
	"fmt"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/origin"
)

const (
	// A fragment ends at a key frame after fragmentLeast, and anyway at fragmentMost
	// or at fragmentBytes: what a crash may cost, and what is kept in memory.
	fragmentLeast = time.Second
	fragmentMost  = 2 * time.Second
	fragmentBytes = 8 << 20
	// Sound that comes while a picture is promised waits so long for the first key frame.
	keyWait = 4 * time.Second
	// A file with pictures is cut at a key frame. Without one for this long (the
	// camera is off) it is cut at the sound.
	keyGone = 12 * time.Second
	// A time step outside these two is a new time line, not a lost packet.
	backJump, foreJump = -time.Second, 10 * time.Second
	// soundSlack is how far a sound's time may lie from where the frame before it
	// ended until it is believed: FLV rounds to 1 ms, encoders to more.
	soundSlack = 30 * time.Millisecond
	// lastPicture is how long a file's only picture lasts.
	lastPicture = 40 * time.Millisecond
	// soundLate is how far sound may be behind the key frame that a file begins with
	// and still go on in it without a hole.
	soundLate = 250 * time.Millisecond
	opusFrame = 20 * time.Millisecond // the same for Opus, whose frames differ
)

// sample is one picture or sound. Its units share the tag's memory.
type sample struct {
	key      bool
	dts, pts time.Duration // in a fragment: since the file's begin
	lasts    time.Duration // up to the next sample of its track
	units    [][]byte
	size     int
}

// fragment is what is written to a file at once.
type fragment struct {
	first        *forms        // what the file holds, with its first fragment; else nil
	arrived      time.Time     // of the file's first sample
	start, end   time.Duration // since the file's begin
	slice        bool          // an HLS slice begins with it
	video, audio []sample
}

// cutter makes files' fragments of a stream's tags. It decides by the tags
// alone: no clock, no disk. It belongs to one goroutine.
//
//	           first key frame             SegmentLength, other codecs,
//	waiting ─────────────────────→ in file ─ another publisher ─┐
//	   ↑     (sound alone: at once)   │  ↑                      │
//	   └──────── a jump, drop ────────┘  └───── key frame ──────┘
type cutter struct {
	segment time.Duration
	slice   time.Duration   // of HLS; 0: none
	write   func(*fragment) // a file's next one, its first has forms
	end     func()          // of the file
	problem error           // why tags were left out, nil if none was

	publisher uint32
	demux     flv.Demuxer
	timeline
	forms  forms // of the newest tags
	sound  soundClock
	heard  time.Duration // when sound was first heard without a file, plus 1; 0: it was not
	newest time.Duration // decoding time of the newest sample

	paused       bool  // no file may begin; set by whoever calls tag
	in           bool  // a file has begun
	written      bool  // its first fragment was
	file         forms // what it holds, or will with its first fragment
	arrived      time.Time
	base, begin  time.Duration // of the file; of the fragment
	bytes        int           // in the fragment
	video, audio track
	picture      time.Duration // decoding time of the newest one
	renew        bool          // the next key frame begins a file
	sliced       time.Duration // when the newest slice began
	slices       bool          // one begins with the next fragment
}

// timeline is a stream's time: timestamps with their 2^32 wraps undone.
type timeline struct {
	timed bool // a tag came
	now   time.Duration
}

// step is how far a timestamp is from now, which the first one sets; jump tells that the
// tags of one recording do not lie so far apart.
func (l *timeline) step(timestamp uint32) (by time.Duration, jump bool) {
	if !l.timed {
		l.timed, l.now = true, time.Duration(timestamp)*time.Millisecond
	}
	by = time.Duration(int32(timestamp-uint32(l.now.Milliseconds()))) * time.Millisecond
	return by, by < backJump || by > foreJump
}

// track collects the samples of one kind.
type track struct {
	samples []sample // the last one waits to know how long it lasts
	next    time.Duration
}

// tag takes the next tag of the stream.
func (c *cutter) tag(t *origin.Tag) {
	if t.Type != flv.Audio && t.Type != flv.Video {
		return
	}
	if t.Publisher() != c.publisher {
		c.finish()
		c.publisher, c.demux, c.forms = t.Publisher(), flv.Demuxer{}, forms{}
		c.heard, c.sound, c.timed = 0, soundClock{}, false
	}
	k, err := flv.ParsePacket(&t.Tag)
	if err != nil {
		c.problem = err
		return
	}
	au, err := c.demux.Demux(&t.Tag)
	switch {
	case err != nil:
		c.problem = err
	case k.Role == flv.RoleConfig && t.Type == flv.Audio:
		c.hear(newAudioForm(&k))
	case au == nil:
	case t.Type == flv.Audio && au.Codec == media.Opus && (c.forms.audio == nil || c.forms.audio.codec != media.Opus):
		c.hear(newAudioForm(&k))
		fallthrough
	default:
		c.unit(t, &k, au)
	}
}

func (c *cutter) hear(a *audioForm) {
	if a == nil {
		c.problem = fmt.Errorf("record: this sound is not recorded: %w", flv.ErrUnsupported)
	}
	if !a.equal(c.forms.audio) {
		c.forms.audio, c.sound = a, soundClock{}
	}
}

// unit takes an access unit.
func (c *cutter) unit(t *origin.Tag, k *flv.Packet, au *media.AccessUnit) {
	step, jump := c.step(t.Timestamp)
	c.now += step
	if c.in && jump {
		c.finish()
		c.sound = soundClock{}
	}
	s := sample{key: au.Key, dts: c.now, units: au.Units, size: au.Size()}
	s.pts = s.dts
	if t.Type == flv.Video {
		// The composition time is ms on a time that may not be: 2^32 wraps cancel out.
		s.pts += time.Duration(k.Composition) * time.Millisecond
		c.addPicture(t, &s, au)
		return
	}
	if c.forms.audio == nil || c.forms.audio.codec != au.Codec {
		return
	}
	s.dts = c.sound.at(s.dts, c.forms.audio)
	s.pts = s.dts
	c.addSound(t, &s)
}

func (c *cutter) addPicture(t *origin.Tag, s *sample, au *media.AccessUnit) {
	if s.key {
		c.see(au)
	}
	v := c.forms.video
	switch {
	case v == nil: // no key frame yet
		return
	case s.key && c.mustRenew(s.dts):
		c.finish()
		if c.paused { // the end could not be written
			return
		}
		fallthrough
	case s.key && !c.in && !c.paused:
		c.start(t, s.dts)
	case !c.in:
		return
	case c.file.video == nil && !c.written && s.key: // sound came first, and waits in memory
	case c.file.video == nil || !c.file.video.equal(v): // it belongs to the next file
		return
	}
	joins := c.file.video == nil // its fragment has to have it
	c.file.video = v
	c.video.close(s, time.Second/90000)
	due := s.key && c.sliceDue(s.dts)
	if span := s.dts - c.begin; !joins && (s.key && span >= fragmentLeast || due || c.full(span)) {
		c.flush(s.dts, due)
	}
	if !c.in { // it could not be written
		return
	}
	c.picture = s.dts
	c.video.add(s)
	c.count(s)
}

// see takes the form of the pictures from a key frame.
func (c *cutter) see(key *media.AccessUnit) {
	codec, config := c.demux.VideoConfig()
	if v := newVideoForm(codec, config, key).inBand(key); !v.equal(c.forms.video) {
		c.forms.video = v
	}
}

// mustRenew tells whether a key frame begins a new file.
func (c *cutter) mustRenew(dts time.Duration) bool {
	if !c.in {
		return false
	}
	if !c.written && c.file.video == nil {
		return false // it joins the sound that waits
	}
	return c.renew || c.file.video == nil || !c.file.video.equal(c.forms.video) ||
		!c.file.audio.equal(c.forms.audio) && c.written || dts-c.base >= c.segment
}

func (c *cutter) addSound(t *origin.Tag, s *sample) {
	switch alone := c.alone(s.dts); {
	case !c.in && (!alone || c.paused):
		return
	case !c.in:
		c.start(t, s.dts)
	case alone && (c.renew || (c.written || len(c.audio.samples) > 0) && !c.file.audio.equal(c.forms.audio) || s.dts-c.base >= c.segment):
		c.finish()
		if c.paused {
			return
		}
		c.start(t, s.dts)
	case !c.file.audio.equal(c.forms.audio):
		if c.written || len(c.audio.samples) > 0 {
			return // it belongs to the next file, which begins with a key frame
		}
		c.file.audio = c.forms.audio
	}
	if s.dts < c.base { // before the key frame that the recording began with
		return
	}
	c.audio.close(s, time.Second/time.Duration(c.forms.audio.rate))
	if due := c.sliceDue(s.dts) && c.alone(s.dts); due || c.full(s.dts-c.begin) {
		c.flush(s.dts, due)
	}
	if !c.in {
		return
	}
	c.audio.add(s)
	c.count(s)
}

// alone tells whether the sound decides where files begin: there are no
// pictures, none has come yet, or none for long.
func (c *cutter) alone(dts time.Duration) bool {
	if c.in {
		return c.file.video == nil || dts-c.picture >= keyGone
	}
	if codec, _ := c.demux.VideoConfig(); codec == "" {
		return true
	}
	if c.heard == 0 {
		c.heard = dts + 1
	}
	return dts-c.heard >= keyWait
}

// start begins a file. What the sound's last frame left of the time before belongs to it.
func (c *cutter) start(t *origin.Tag, dts time.Duration) {
	c.base = dts
	if a := c.audio.next; a != 0 && a < dts && dts-a < soundLate {
		c.base = a
	}
	c.in, c.written, c.renew = true, false, false
	c.sliced, c.slices = c.base, true
	c.file = forms{audio: c.forms.audio}
	c.arrived = t.Arrived.Round(0).UTC()
	c.begin, c.newest, c.picture, c.bytes, c.heard = c.base, c.base, dts, 0, 0
	c.video, c.audio = track{}, track{}
}

func (c *cutter) count(s *sample) {
	c.bytes += s.size
	c.newest = max(c.newest, s.dts)
}

func (c *cutter) sliceDue(dts time.Duration) bool { return c.slice != 0 && dts-c.sliced >= c.slice }

func (c *cutter) full(span time.Duration) bool {
	return span >= fragmentMost || c.bytes >= fragmentBytes
}

// close says how long the last sample lasts, now that the next one has come.
func (t *track) close(s *sample, least time.Duration) {
	if n := len(t.samples); n > 0 {
		last := &t.samples[n-1]
		if delay := last.dts + least - s.dts; delay > 0 { // decoding times must rise
			s.dts += delay
			s.pts = max(s.pts, s.dts)
		}
		last.lasts = s.dts - last.dts
	}
}

func (t *track) add(s *sample) { t.samples = append(t.samples, *s) }

// take gives the samples whose end is known, their times since base, and all for all.
func (t *track) take(base time.Duration, guess time.Duration, all bool) []sample {
	n := len(t.samples)
	if n == 0 {
		return nil
	}
	last := &t.samples[n-1]
	if last.lasts == 0 {
		if !all {
			n--
		} else {
			last.lasts = guess
			if n > 1 {
				last.lasts = t.samples[n-2].lasts
			}
		}
	}
	taken := make([]sample, n)
	copy(taken, t.samples)
	kept := copy(t.samples, t.samples[n:])
	clear(t.samples[kept:])
	t.samples = t.samples[:kept]
	for i := range taken {
		s := &taken[i]
		t.next = s.dts + s.lasts
		s.dts -= base
		s.pts -= base
	}
	return taken
}

// flush hands the fragment out that ends at a time, at which a slice may begin.
func (c *cutter) flush(end time.Duration, slice bool) {
	c.hand(end, false)
	if slice {
		c.sliced, c.slices = end, true
	}
}

func (c *cutter) hand(end time.Duration, all bool) {
	f := &fragment{start: c.begin - c.base, end: end - c.base, arrived: c.arrived}
	guess := lastPicture
	f.video = c.video.take(c.base, guess, all)
	if a := c.file.audio; a != nil {
		if guess = opusFrame; a.frame != 0 {
			guess = span(int64(a.frame), int64(a.rate))
		}
		f.audio = c.audio.take(c.base, guess, all)
	}
	c.begin, c.bytes = end, 0
	if len(f.video)+len(f.audio) == 0 {
		return
	}
	for _, s := range [][]sample{f.video, f.audio} {
		if n := len(s); n > 0 {
			f.end = max(f.end, s[n-1].dts+s[n-1].lasts)
		}
	}
	if !c.written {
		c.written = true
		if len(f.video) == 0 {
			c.file.video = nil
		}
		f.first = &forms{video: c.file.video, audio: c.file.audio}
	}
	f.slice, c.slices = c.slices, false
	c.write(f)
}

// finish ends the file with what there is.
func (c *cutter) finish() {
	if !c.in {
		return
	}
	c.hand(max(c.newest, c.begin), true)
	if c.in {
		c.drop()
		c.end()
	}
}

// drop forgets the file, and what of it is not written: a new one begins with
// the next key frame. It may be called from write.
func (c *cutter) drop() {
	c.in, c.written = false, false
	c.video.samples, c.audio.samples = nil, nil
	c.file = forms{}
}

// soundClock counts samples where timestamps are rounded: durations that jump by
// a millisecond make players resample.
type soundClock struct {
	from    time.Duration
	frames  int64
	started bool
}

// at is when a frame begins whose timestamp is ts.
func (s *soundClock) at(ts time.Duration, a *audioForm) time.Duration {
	if a.frame == 0 {
		return ts
	}
	want := s.from + span(s.frames*int64(a.frame), int64(a.rate))
	if d := ts - want; !s.started || d < -soundSlack || d > soundSlack {
		*s = soundClock{from: ts, started: true}
		want = ts
	}
	s.frames++
	return want
}

// span is how long n units of time last of which a second has rate.
func span(n, rate int64) time.Duration {
	return time.Duration(n/rate)*time.Second + time.Duration(n%rate)*time.Second/time.Duration(rate)
}

// units is how many such units a time has, rounded.
func units(d time.Duration, rate int64) int64 {
	whole := int64(d / time.Second)
	part := int64(d % time.Second)
	if part < 0 {
		whole, part = whole-1, part+int64(time.Second)
	}
	return whole*rate + (part*rate+int64(time.Second)/2)/int64(time.Second)
}
