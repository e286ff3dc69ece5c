package record

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/origin"
)

const (
	// quietMost is how far a file's sound may stay behind the stream until silence is
	// written: more than a worker takes to start again.
	quietMost = 5 * time.Second
	// After endWait the sound's end is given up: the coder is away. What has come out
	// ends up to tailMost before what went in.
	endWait  = 2 * time.Second
	tailMost = 150 * time.Millisecond
)

// Sound is what a Coder is to make MP3 of.
type Sound struct {
	Codec    media.Codec
	Config   []byte // the AudioSpecificConfig of AAC
	Channels int    // 1 or 2, of the MP3
	// Emit takes each frame, with the time of its sound on the timeline of what was
	// written; Failed why there are none. They may be called from any goroutine, also
	// once more after Close, and do not block.
	Emit   func(*media.AccessUnit)
	Failed func(reason string)
}

// Coder makes MPEG-1 Layer III frames at 48 kHz, all of one length, none of which
// needs the one before. Write must not block. It has no need to fill holes.
type Coder interface {
	Write(*media.AccessUnit)
	Close()
}

// mp3Maker gives a cutter a stream's sound as MP3, without holes: where the stream
// has none for a while, or the coder, is silence. It belongs to Run's goroutine.
//
//	tags ─→ Coder (elsewhere) ─→ queue ─ with the next tags ─→ silence, frame ─→ cutter
type mp3Maker struct {
	open func(Sound) Coder
	cut  *cutter

	publisher uint32
	demux     flv.Demuxer
	timeline
	arrived time.Time     // of the tag of its now
	codec   media.Codec   // of the sound that coder takes
	config  []byte        // the same
	coder   Coder         // nil: no sound has come
	queue   *mp3Queue     // of coder
	fed     time.Duration // time of the newest sound that it was given
	got     time.Duration // and that it gave
	begun   bool
	next    time.Duration // when the next frame begins
	form    [mp3Head]byte // of the newest frame
	silence []byte        // a frame of that form
	trouble string        // of the coder, which was not told
}

// mp3Queue is what a coder has made and nobody took yet.
type mp3Queue struct {
	grown chan struct{} // holds one: something came

	mu     sync.Mutex
	frames []*media.AccessUnit
	failed string
}

// queueMost bounds it: a stream's tags come much more often.
const queueMost = 4096

func (q *mp3Queue) put(au *media.AccessUnit, failed string) {
	q.mu.Lock()
	if au != nil && len(q.frames) < queueMost {
		q.frames = append(q.frames, au)
	}
	if failed != "" {
		q.failed = failed
	}
	q.mu.Unlock()
	select {
	case q.grown <- struct{}{}:
	default:
	}
}

func (q *mp3Queue) take() (frames []*media.AccessUnit, failed string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	frames, failed = q.frames, q.failed
	q.frames, q.failed = nil, ""
	return frames, failed
}

// tag takes the next tag of the stream.
func (m *mp3Maker) tag(t *origin.Tag) {
	if t.Type != flv.Audio && t.Type != flv.Video {
		return
	}
	if t.Publisher() != m.publisher {
		m.restart()
		m.publisher, m.demux, m.timed = t.Publisher(), flv.Demuxer{}, false
	}
	step, jump := m.step(t.Timestamp)
	if jump {
		m.restart()
	}
	m.now += step
	m.arrived = t.Arrived
	if t.Type == flv.Audio {
		m.sound(t)
	}
	m.take()
	m.fill(m.now - quietMost)
}

// restart ends the file: another timeline comes.
func (m *mp3Maker) restart() {
	m.end()
	m.cut.finish()
	m.cut.timed, m.cut.sound = false, soundClock{}
	m.begun = false
}

func (m *mp3Maker) sound(t *origin.Tag) {
	au, err := m.demux.Demux(&t.Tag)
	if err != nil {
		m.cut.problem = err
		return
	}
	if au == nil {
		return
	}
	if config := m.demux.AudioSpecificConfig(); au.Codec != m.codec || !bytes.Equal(config, m.config) {
		m.end()
		m.codec, m.config = au.Codec, config
	}
	if m.coder == nil {
		m.queue = &mp3Queue{grown: make(chan struct{}, 1)}
		m.got = m.now
		q := m.queue
		m.coder = m.open(Sound{Codec: au.Codec, Config: m.config, Channels: m.channels(au.Codec),
			Emit:   func(au *media.AccessUnit) { q.put(au, "") },
			Failed: func(reason string) { q.put(nil, reason) }})
	}
	m.fed = m.now
	m.coder.Write(&media.AccessUnit{Codec: au.Codec, PTS: m.now, Key: true, Units: au.Units})
}

func (m *mp3Maker) channels(c media.Codec) int {
	if c == media.AAC && m.demux.Audio().Channels == 1 {
		return 1
	}
	return 2
}

// take takes what the coder has made.
func (m *mp3Maker) take() {
	if m.coder == nil {
		return
	}
	frames, failed := m.queue.take()
	if failed != "" {
		m.trouble = failed
	}
	for _, au := range frames {
		m.frame(au)
	}
}

// frame gives the cutter a frame, in the place that is next to its time. One from
// elsewhere than where sound went in is not believed: silence up to there could be years.
func (m *mp3Maker) frame(au *media.AccessUnit) {
	if len(au.Units) != 1 || mp3Length(au.Units[0]) != len(au.Units[0]) || len(au.Units[0]) == 0 || au.PTS > m.now+time.Second {
		m.cut.problem = fmt.Errorf("record: what the MP3 coder gives for %v is no frame of that time: %w", au.PTS, media.ErrInvalid)
		return
	}
	m.got = au.PTS
	b := au.Units[0]
	if !m.begun {
		m.begun, m.next = true, au.PTS.Round(time.Millisecond)
	}
	if au.PTS < m.next-mp3Span/2 {
		return // silence stands there
	}
	m.fill(au.PTS)
	if form := mp3Form(b); form != m.form {
		m.form, m.silence = form, make([]byte, len(b)) // another file begins: the frames of one have one length
		copy(m.silence, form[:])                       // side information of zeros: nothing is coded
		m.cut.hear(&audioForm{codec: media.MP3, config: form[:], rate: mp3Rate, channels: 2, frame: mp3Samples})
	}
	m.put(b)
}

// fill puts silence where nothing is, up to a time.
func (m *mp3Maker) fill(until time.Duration) {
	for m.begun && m.next+mp3Span <= until {
		m.put(m.silence)
	}
}

func (m *mp3Maker) put(frame []byte) {
	t := &origin.Tag{Tag: flv.Tag{Type: flv.Audio, Timestamp: uint32(m.next.Milliseconds())}, Arrived: m.arrived.Add(m.next - m.now)}
	m.next += mp3Span
	m.cut.unit(t, &flv.Packet{}, &media.AccessUnit{Codec: media.MP3, Key: true, Units: [][]byte{frame}})
}

// end closes the coder, once it has given what it was given.
func (m *mp3Maker) end() {
	if m.coder == nil {
		return
	}
	timer := time.NewTimer(endWait)
	defer timer.Stop()
	late := false
	for m.take(); !late && m.trouble == "" && m.fed-m.got > tailMost; m.take() {
		select {
		case <-m.queue.grown:
		case <-timer.C:
			late = true
		}
	}
	m.coder.Close()
	m.coder = nil
}
