package mixer

import (
	"braid/media"
	"braid/mixer/wire"
)

// Renditions are several H.264 streams made of one, which is decoded once. They keep
// its timestamps, and where it has a key frame so have they. It is a media.Sink.
type Renditions struct {
	pool    *Pool
	cfg     RenditionsConfig
	w       *worker
	input   uint32
	outputs []uint32 // 0: does not run; owned by the caller
}

// RenditionsConfig is what NewRenditions needs.
type RenditionsConfig struct {
	Worker  string // workers are shared by key
	Codec   media.Codec
	Feed    bool          // as in wire.OpenInput
	Encodes []wire.Encode // Follow is set by Add
	// NeedKey is called, from any goroutine, when decoding waits for a key frame.
	NeedKey func()
	// Emit gets the pictures of each of Encodes, Failed why there are none: of one, or
	// with -1 of all, since the source cannot be decoded. Both are called from the
	// worker's goroutine and must not block.
	Emit   func(i int, au *media.AccessUnit)
	Failed func(i int, reason string)
}

// NewRenditions starts the decoder, Add each of them; Close ends all.
func (p *Pool) NewRenditions(c RenditionsConfig) *Renditions {
	r := &Renditions{pool: p, cfg: c, w: p.acquire(c.Worker, pictureGather), outputs: make([]uint32, len(c.Encodes))}
	r.input = r.w.openInputTold(wire.OpenInput{Codec: c.Codec, Feed: c.Feed}, c.NeedKey, func(reason string) { c.Failed(-1, reason) })
	return r
}

// Add starts one of Encodes that does not run. Its first picture is a key frame,
// whatever the source's is.
func (r *Renditions) Add(i int) {
	e := r.cfg.Encodes[i]
	e.Follow = true
	r.outputs[i] = r.w.openOutput(func(id uint32) any {
		return &wire.OpenTranscode{Output: id, Input: r.input, Encode: e}
	}, func(o *wire.Output) { r.cfg.Emit(i, accessUnit(o)) }, func(reason string) { r.cfg.Failed(i, reason) })
}

// Write hands over one picture and never blocks.
func (r *Renditions) Write(au *media.AccessUnit) { r.w.media(r.input, au, false) }

// Drop ends one of them; at most one Emit of it that was under way is still seen.
func (r *Renditions) Drop(i int) {
	if r.outputs[i] != 0 {
		r.w.closeOutput(r.outputs[i])
		r.outputs[i] = 0
	}
}

// Close ends them all, as Drop does each.
func (r *Renditions) Close() {
	for i := range r.outputs {
		r.Drop(i)
	}
	r.w.closeInput(r.input)
	r.pool.release(r.w)
}
