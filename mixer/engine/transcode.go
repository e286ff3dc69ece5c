package engine

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"braid/media"
	"braid/media/codec"
	"braid/mixer/wire"
)

// transcode turns one input into H.264, AAC, Opus or MP3 with the input's own timestamps.
// It has no clock: it works in its input's goroutine, packet by packet.
type transcode struct {
	id     uint32
	e      *engine
	in     *input
	encode wire.Encode
	key    atomic.Bool
	outs   []any   // made, not yet sent; owned by the goroutine that makes them
	beside *beside // nil: works in its input's goroutine

	mu     sync.Mutex // held for one frame's work, not while sending
	closed bool
	video  *videoTranscode // nil for sound
	audio  *audioTranscode // nil for pictures
	failed bool
}

const batchMax = 16 // outputs

func newTranscode(in *input, m *wire.OpenTranscode) (*transcode, error) {
	t := &transcode{id: m.Output, e: in.e, in: in, encode: m.Encode}
	if in.codec.Video() {
		t.video = &videoTranscode{encode: m.Encode, last: -1}
		if m.Encode.Width > 0 { // whether the parameters are good is known before the first picture
			if err := t.video.open(m.Encode.Width, m.Encode.Height); err != nil {
				return nil, err
			}
		}
		if m.Encode.Follow {
			t.beside = newBeside(t)
		}
		return t, nil
	}
	audio, err := newAudioTranscode(in, m.Encode)
	t.audio = audio
	return t, err
}

func (t *transcode) requestKey() { t.key.Store(true) }

func (t *transcode) close() {
	t.in.untap(t)
	if t.beside != nil {
		t.beside.close()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.video != nil {
		t.video.close()
	}
	if t.audio != nil {
		t.audio.close()
	}
}

// picture takes a decoded picture of the input.
func (t *transcode) picture(p *picture) {
	if t.beside != nil {
		t.beside.put(p)
		return
	}
	t.code(p)
}

func (t *transcode) code(p *picture) {
	t.work(func() ([]*wire.Output, error) {
		out, err := t.video.code(p, t.key.Swap(false))
		if out == nil {
			return nil, err
		}
		return []*wire.Output{out}, err
	})
}

// sound takes a coded frame of the input.
func (t *transcode) sound(m *wire.Media) {
	t.work(func() (outs []*wire.Output, err error) {
		for _, packet := range m.Units {
			if outs, err = t.audio.code(outs, m.Input, packet, m.PTS, m.Lost); err != nil {
				break
			}
		}
		return outs, err
	})
}

// work runs f and sends what it made. The first error of a row is told.
func (t *transcode) work(f func() ([]*wire.Output, error)) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	outs, err := f()
	tell := err != nil && !t.failed
	t.failed = err != nil
	t.mu.Unlock()
	for _, out := range outs {
		out.Output = t.id
		t.outs = append(t.outs, out)
	}
	if len(t.outs) >= batchMax || t.beside != nil {
		t.send()
	}
	if tell {
		t.e.failed(&wire.Failed{Output: t.id, Reason: err.Error()})
	}
}

// flush sends what was made. What comes in one batch goes out in one: it wakes the
// server once. Called by the input's goroutine when nothing waits.
func (t *transcode) flush() {
	if t.beside == nil {
		t.send()
	}
}

func (t *transcode) send() {
	if len(t.outs) > 0 {
		t.e.write(t.outs...)
		t.outs = t.outs[:0]
	}
}

// videoTranscode codes pictures at their own size, or scaled into a fixed one.
type videoTranscode struct {
	encode wire.Encode
	enc    *codec.VideoEncoder
	w, h   int            // of enc
	canvas *codec.Picture // of a fixed size, else nil
	last   time.Duration
	ticks  int64 // of MostFPS: of the newest picture that was coded
}

func (v *videoTranscode) close() {
	if v.enc != nil {
		v.enc.Close()
	}
}

func (v *videoTranscode) code(p *picture, key bool) (*wire.Output, error) {
	if p.pts <= v.last {
		return nil, nil
	}
	src := &p.Picture
	if src.W < 16 || src.H < 16 {
		return nil, fmt.Errorf("picture of %dx%d: %w", src.W, src.H, media.ErrInvalid)
	}
	if v.encode.Follow {
		if !v.wants(p) {
			return nil, nil
		}
		key = key || p.key
	}
	switch {
	case v.encode.Width > 0:
		src = v.scaled(src)
	case v.encode.Height > 0 && v.encode.Height < src.H:
		src = v.shrunk(src)
	default:
		src = src.Crop(0, 0, src.W&^1, src.H&^1)
	}
	if err := v.open(src.W, src.H); err != nil {
		return nil, err
	}
	units, isKey, err := v.enc.Encode(src, key)
	if err != nil {
		return nil, err
	}
	v.last = p.pts
	return &wire.Output{Codec: media.H264, PTS: p.pts, Key: isKey, Units: units}, nil
}

// open has an encoder for w x h ready; a new one begins with a key frame.
func (v *videoTranscode) open(w, h int) error {
	if v.enc != nil && v.w == w && v.h == h {
		return nil
	}
	v.close()
	v.enc = nil
	enc, err := newEncoder(v.encode, w, h)
	if err != nil {
		return err
	}
	v.enc, v.w, v.h = enc, w, h
	return nil
}

// wants tells whether a picture is one of MostFPS a second. The ticks are those of
// the timeline, so that every output leaves out the same ones.
func (v *videoTranscode) wants(p *picture) bool {
	if v.encode.MostFPS == 0 {
		return true
	}
	// Times are rounded to milliseconds on their way: one just before its tick belongs to it.
	tick := tickAt(p.pts+2*time.Millisecond, v.encode.MostFPS)
	if tick == v.ticks && !p.key {
		return false
	}
	v.ticks = tick
	return true
}

// shrunk is the picture in its own shape, encode.Height high.
func (v *videoTranscode) shrunk(src *codec.Picture) *codec.Picture {
	w, h := even(src.W*v.encode.Height, src.H), v.encode.Height&^1
	if v.canvas == nil || v.canvas.W != w || v.canvas.H != h {
		v.canvas = codec.NewPicture(w, h)
	}
	codec.Scale(v.canvas, src)
	return v.canvas
}

func (v *videoTranscode) scaled(src *codec.Picture) *codec.Picture {
	if v.canvas == nil {
		v.canvas = codec.NewPicture(v.encode.Width, v.encode.Height)
	}
	compose(v.canvas, rect{0, 0, v.canvas.W, v.canvas.H}, src, wire.FitInside)
	return v.canvas
}

// audioTranscode turns Opus packets or AAC frames into one of the others. Samples are counted from
// the first packet's PTS on; where the packets' PTS run away from the count, sound
// is filled in or left out, so that they never differ by 40 ms and never go back.
type audioTranscode struct {
	dec   soundDecoder
	out   *soundOut
	begun bool
	next  int64 // the PTS, in samples, that continues what was written
	after int64 // the PTS that continues the last packet
	frame int64 // samples of the last packet
	shift int64 // added to every PTS after it went back far
	pcm   []float32
	meter meter
}

const (
	driftMax = 40 * millisecondLen
	// A gap of this length is a pause of the publisher: sound begins anew.
	pauseMin = 2 * rate
)

// soundDecoder decodes one packet after the other to 48 kHz; see codec.OpusDecoder.
type soundDecoder interface {
	Decode(dst []float32, packet []byte) (int, error)
	Conceal(dst []float32, samples int) (int, error)
	Recover(dst []float32, next []byte, samples int) (int, error)
	Close()
}

// aacDecoder hides losses by silence: AAC comes over TCP, where what is missing
// was left out by the publisher.
type aacDecoder struct {
	*codec.AACDecoder
	channels int
}

func (d aacDecoder) Conceal(dst []float32, samples int) (int, error) {
	clear(dst[:samples*d.channels])
	return samples, nil
}

func (d aacDecoder) Recover(dst []float32, _ []byte, samples int) (int, error) {
	return d.Conceal(dst, samples)
}

func newSoundDecoder(in *input, channels int) (soundDecoder, error) {
	if in.codec == media.AAC {
		dec, err := codec.NewAACDecoder(in.setup, channels)
		return aacDecoder{dec, channels}, err
	}
	return codec.NewOpusDecoder(channels)
}

func newAudioTranscode(in *input, c wire.Encode) (*audioTranscode, error) {
	out, err := newSoundOut(c)
	if err != nil {
		return nil, err
	}
	dec, err := newSoundDecoder(in, out.channels)
	if err != nil {
		out.close()
		return nil, err
	}
	room := pcmMax
	if in.codec == media.AAC {
		room = codec.AACMaxSamples * soundChannels
	}
	return &audioTranscode{dec: dec, out: out, pcm: make([]float32, room)}, nil
}

func (a *audioTranscode) close() {
	a.dec.Close()
	a.out.close()
}

func (a *audioTranscode) code(outs []*wire.Output, input uint32, packet []byte, pts time.Duration, lost bool) ([]*wire.Output, error) {
	emit := func(frame []byte, pts time.Duration) {
		outs = append(outs, &wire.Output{Codec: a.out.codec, PTS: pts, Key: true, Levels: []wire.Level{a.meter.level(input)}, Units: [][]byte{frame}})
	}
	pos := samplesOf(pts) + a.shift
	ahead := pos - a.next
	switch hole := pos-a.after >= lossMin; {
	case !a.begun || ahead > pauseMin:
		a.begun, a.next = true, pos
		a.out.begin(timeOf(pos, rate))
	case ahead < -pauseMin:
		a.shift -= ahead // another timeline: go on where this one is
		pos, ahead = a.next, 0
	case ahead > driftMax, ahead > plcStep && hole:
		if err := a.fill(ahead, packet, lost, emit); err != nil {
			return outs, err
		}
	}
	n, err := a.dec.Decode(a.pcm, packet)
	if err != nil {
		return outs, nil // the gap is filled with the next packet
	}
	a.after, a.frame = pos+int64(n), int64(n)
	if ahead < -driftMax {
		return outs, nil
	}
	return outs, a.write(n, emit)
}

func (a *audioTranscode) write(n int, emit func([]byte, time.Duration)) error {
	a.next += int64(n)
	pcm := a.pcm[:n*a.out.channels]
	for part := range slices.Chunk(pcm, 10*millisecondLen*a.out.channels) {
		a.meter.hear(meanSquare(part))
	}
	return a.out.write(pcm, emit)
}

// fill stands in for n missing samples before packet: up to 100 ms by concealment,
// the last frame of it from the packet's own redundancy if it was lost and not left
// out (DTX), silence for the rest.
func (a *audioTranscode) fill(n int64, packet []byte, lost bool, emit func([]byte, time.Duration)) error {
	n = n / plcStep * plcStep
	again := min(n, a.frame/plcStep*plcStep)
	if n > plcMax || !lost {
		again = 0
	}
	made := min(n-again, plcMax)
	if made > 0 {
		if _, err := a.dec.Conceal(a.pcm, int(made)); err != nil {
			clear(a.pcm)
		}
		if err := a.write(int(made), emit); err != nil {
			return err
		}
	}
	if again > 0 {
		if _, err := a.dec.Recover(a.pcm, packet, int(again)); err != nil {
			clear(a.pcm)
		}
		if err := a.write(int(again), emit); err != nil {
			return err
		}
	}
	clear(a.pcm)
	for left := n - made - again; left > 0; left -= plcMax {
		if err := a.write(int(min(left, plcMax)), emit); err != nil {
			return err
		}
	}
	return nil
}
