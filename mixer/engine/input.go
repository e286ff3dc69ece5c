package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"braid/media"
	"braid/media/codec"
	"braid/mixer/wire"
)

const (
	// A second or two of frames: a decoder that is further behind will not
	// catch up by decoding.
	inputQueue = 64
	// What production encoders send is coded for viewers that are seconds behind, so
	// it may wait while a machine stalls; as AAC, which is of streams, too.
	feedQueue = 256
	keyEvery  = 500 * time.Millisecond // between two requests for a key frame
	// A closed input's last picture stays this long: people come back.
	linger = 3 * time.Second
	// Pictures that would have to wait longer have a wrong PTS: shown at once.
	tooEarly = time.Second
)

// input is one coded stream. Its goroutine decodes what comes at once; mixes
// take pictures and sound from pictures and voice at their own pace.
type input struct {
	id    uint32
	codec media.Codec
	feed  bool   // as in wire.OpenInput
	setup []byte // its Config
	group *group
	e     *engine
	log   *slog.Logger

	queue   chan *wire.Media // sent by the engine's reader, never closed; full: drop
	stop    context.CancelFunc
	closed  atomic.Bool
	gap     bool         // owned by the engine's reader: frames were dropped after the last one in the queue
	dropped atomic.Int64 // frames

	pictures *pictures // video only
	voice    *voice    // Opus only

	taps struct {
		sync.Mutex
		list []*transcode // immutable, swapped whole
	}

	// Owned by run.
	dec     *codec.VideoDecoder
	waitKey bool
	keys    keyTimes
	asked   time.Duration // when a key frame was last asked for
	refused bool          // pictures are too large or of no kind we know, and the server knows
	logged  time.Duration
}

// deliver hands over a frame. It never blocks; called by the engine's reader.
func (in *input) deliver(m *wire.Media) {
	m.Lost = m.Lost || in.gap
	select {
	case in.queue <- m:
		in.gap = false
	default:
		in.dropped.Add(1)
		in.gap = true
	}
}

func (in *input) run(ctx context.Context) {
	defer in.end(ctx)
	take := in.takeAudio
	if in.codec.Video() {
		take = in.takeVideo
	}
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-in.queue:
			take(m)
			if len(in.queue) == 0 {
				for _, t := range in.tapped() {
					t.flush()
				}
			}
			in.report()
		}
	}
}

// end frees what decodes, and the last picture when it has been seen long enough.
func (in *input) end(ctx context.Context) {
	in.group.forget(in)
	if in.dec != nil {
		in.dec.Close()
	}
	if in.voice != nil {
		in.voice.close()
	}
	if in.pictures != nil {
		in.e.wait(linger)
		in.pictures.clear()
	}
	in.e.inputs.remove(in.id, in)
}

// report logs drops, at most once a second.
func (in *input) report() {
	now := in.e.clock.now()
	if now-in.logged < time.Second {
		return
	}
	in.logged = now
	if n := in.dropped.Swap(0); n > 0 {
		in.log.Warn("input is too slow, frames dropped", "frames", n)
	}
}

// tap adds a transcode; untap takes it away again.
func (in *input) tap(t *transcode) {
	in.taps.Lock()
	in.taps.list = append(in.taps.list[:len(in.taps.list):len(in.taps.list)], t)
	in.taps.Unlock()
}

func (in *input) untap(t *transcode) {
	in.taps.Lock()
	var rest []*transcode
	for _, other := range in.taps.list {
		if other != t {
			rest = append(rest, other)
		}
	}
	in.taps.list = rest
	in.taps.Unlock()
}

func (in *input) tapped() []*transcode {
	in.taps.Lock()
	defer in.taps.Unlock()
	return in.taps.list
}

func (in *input) takeAudio(m *wire.Media) {
	for _, t := range in.tapped() {
		t.sound(m)
	}
	if in.voice == nil || !in.e.mixing() {
		return
	}
	now := in.e.clock.now()
	delay := in.group.observe(in, m.PTS, now)
	for _, packet := range m.Units {
		if err := in.voice.push(packet, m.PTS, delay, now, m.Lost); err != nil {
			in.log.Debug("sound packet", "err", err)
		}
	}
}

func (in *input) takeVideo(m *wire.Media) {
	taps := in.tapped()
	if len(taps) == 0 && !in.e.mixing() {
		in.waitKey = true
		in.pictures.clear() // the next mix shall not begin with an old one
		return
	}
	if m.Lost {
		in.waitKey = true
	}
	if in.waitKey && !m.Key {
		in.askKey()
		return
	}
	in.waitKey = false
	if m.Key {
		in.keys.add(m.PTS)
	}
	p := in.decode(m)
	if p == nil {
		return
	}
	p.key = in.keys.take(p.pts)
	for _, t := range taps {
		t.picture(p)
	}
	if !in.e.mixing() {
		p.release()
		return
	}
	now := in.e.clock.now()
	if p.pts > now+tooEarly {
		p.pts = now
	}
	delay := in.group.observe(in, p.pts, now)
	in.pictures.push(p, in.e.slowest(now)-delay)
}

// decode gives nil when there is no picture to show.
func (in *input) decode(m *wire.Media) *picture {
	d, err := in.decodeUnits(m)
	switch {
	case err == nil && d == nil:
		return nil
	case err == nil:
		in.refused = false
		return newPicture(d, d.PTS)
	}
	in.waitKey = true
	in.log.Debug("decode", "err", err)
	if errors.Is(err, codec.ErrNeedKey) {
		in.askKey()
		return nil
	}
	in.refuse(err)
	return nil
}

// refuse tells the server, once, that the input sends what cannot be decoded at
// all. The next key frame is tried again.
func (in *input) refuse(err error) {
	in.pictures.clear()
	if !in.refused {
		in.refused = true
		in.e.failed(&wire.Failed{Input: in.id, Reason: err.Error()})
	}
}

func (in *input) decodeUnits(m *wire.Media) (*codec.Decoded, error) {
	if in.dec == nil {
		dec, err := in.newDecoder()
		if err != nil {
			return nil, err
		}
		in.dec = dec
	}
	in.e.slots <- struct{}{}
	defer func() { <-in.e.slots }()
	return in.dec.Decode(m.Units, m.PTS)
}

func (in *input) newDecoder() (*codec.VideoDecoder, error) {
	if in.feed {
		return codec.NewFeedDecoder(in.e.maxWidth, in.e.maxHeight)
	}
	return codec.NewVideoDecoder(in.codec, in.e.maxWidth, in.e.maxHeight)
}

// askKey asks for a key frame, unless it was just done or would not help.
func (in *input) askKey() {
	now := in.e.clock.now()
	if in.refused || now-in.asked < keyEvery && in.asked != 0 {
		return
	}
	in.asked = now
	in.e.write(&wire.NeedKey{Input: in.id})
}
