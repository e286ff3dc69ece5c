package mixer

import (
	"braid/media"
	"braid/mixer/wire"
)

// Transcode turns one stream of coded media into H.264, AAC, Opus or MP3, keeping its
// timestamps. It is a media.Sink with loss marks.
type Transcode struct {
	pool          *Pool
	w             *worker
	input, output uint32
}

// TranscodeConfig is what NewTranscode needs.
type TranscodeConfig struct {
	Worker string // workers are shared by key
	Codec  media.Codec
	Feed   bool   // as in wire.OpenInput
	Config []byte // as in wire.OpenInput
	Encode wire.Encode
	// Live sound waits for company on its way to the worker no longer than
	// pictures do: people answer each other. It counts for the first of a Worker.
	Live bool
	// NeedKey is called, from any goroutine, when decoding waits for a key frame,
	// Emit for each access unit (vol and vad say how loud sound is, as in SEI) from
	// the worker's goroutine; they must not block.
	NeedKey func()
	Emit    func(au *media.AccessUnit, vol, vad uint8)
	Failed  func(reason string)
}

// NewTranscode starts one; Close ends it.
func (p *Pool) NewTranscode(c TranscodeConfig) *Transcode {
	gather := soundGather
	if c.Codec.Video() || c.Live {
		gather = pictureGather
	}
	t := &Transcode{pool: p, w: p.acquire(c.Worker, gather)}
	t.input = t.w.openInput(wire.OpenInput{Codec: c.Codec, Feed: c.Feed, Config: c.Config}, c.NeedKey)
	t.output = t.w.openOutput(func(id uint32) any {
		return &wire.OpenTranscode{Output: id, Input: t.input, Encode: c.Encode}
	}, func(o *wire.Output) {
		var level wire.Level
		if len(o.Levels) > 0 {
			level = o.Levels[0]
		}
		c.Emit(accessUnit(o), level.Vol, level.Vad)
	}, c.Failed)
	return t
}

// Write hands over one frame and never blocks.
func (t *Transcode) Write(au *media.AccessUnit, lost bool) { t.w.media(t.input, au, lost) }

// Up tells whether there is a worker at this moment that takes what is written: while
// its process starts, or starts again, it is lost.
func (t *Transcode) Up() bool { return t.w.isUp() }

// KeyFrame makes the next picture an IDR.
func (t *Transcode) KeyFrame() { t.w.keyFrame(t.output) }

// Close ends the transcode; at most one Emit that was under way is still seen.
func (t *Transcode) Close() {
	t.w.closeOutput(t.output)
	t.w.closeInput(t.input)
	t.pool.release(t.w)
}

func accessUnit(o *wire.Output) *media.AccessUnit {
	return &media.AccessUnit{Codec: o.Codec, PTS: o.PTS, Key: o.Key || !o.Codec.Video(), Units: o.Units}
}
