package mixer

import (
	"braid/media"
	"braid/mixer/wire"
)

// Renditions are several H.264 streams made of one, which is decoded once. They keep
// its timestamps, and where it has a key frame so have they. It is a media.Sink.
type Renditions struct {
	pool    *Pool
	w       *worker
	input   uint32
	outputs []uint32 // 0: dropped; owned by the caller
}

// RenditionsConfig is what NewRenditions needs.
type RenditionsConfig struct {
	Worker  string // workers are shared by key
	Codec   media.Codec
	Feed    bool          // as in wire.OpenInput
	Encodes []wire.Encode // Follow is set by NewRenditions
	// NeedKey is called, from any goroutine, when decoding waits for a key frame.
	NeedKey func()
	// Emit gets the pictures of each of Encodes, Failed why there are none: of one, or
	// with -1 of all, since the source cannot be decoded. Both are called from the
	// worker's goroutine and must not block.
	Emit   func(i int, au *media.AccessUnit)
	Failed func(i int, reason string)
}

// NewRenditions starts them; Close ends them.
func (p *Pool) NewRenditions(c RenditionsConfig) *Renditions {
	r := &Renditions{pool: p, w: p.acquire(c.Worker, pictureGather)}
	r.input = r.w.openInputTold(wire.OpenInput{Codec: c.Codec, Feed: c.Feed}, c.NeedKey, func(reason string) { c.Failed(-1, reason) })
	for i, e := range c.Encodes {
		e.Follow = true
		r.outputs = append(r.outputs, r.w.openOutput(func(id uint32) any {
			return &wire.OpenTranscode{Output: id, Input: r.input, Encode: e}
		}, func(o *wire.Output) { c.Emit(i, accessUnit(o)) }, func(reason string) { c.Failed(i, reason) }))
	}
	return r
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
