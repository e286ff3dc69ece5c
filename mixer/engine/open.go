package engine

import (
	"context"
	"fmt"

	"braid/media"
	"braid/mixer/wire"
)

func (e *engine) openInput(m *wire.OpenInput) error {
	switch {
	case m.Input == 0 || e.open[m.Input] != nil:
		return fmt.Errorf("input %d: %w", m.Input, media.ErrExists)
	case len(e.open) >= maxInputs:
		return fmt.Errorf("input %d: %d inputs: %w", m.Input, maxInputs, media.ErrLimit)
	}
	in, err := e.newInput(m)
	if err != nil {
		return fmt.Errorf("input %d: %w", m.Input, err)
	}
	ctx, stop := context.WithCancel(e.ctx)
	in.stop = stop
	e.open[m.Input] = in
	e.inputs.set(m.Input, in)
	e.start(func() { in.run(ctx) })
	return nil
}

func (e *engine) newInput(m *wire.OpenInput) (*input, error) {
	in := &input{
		id: m.Input, codec: m.Codec, feed: m.Feed, setup: m.Config, e: e, group: e.groupOf(m.Group),
		log:   e.log.With("input", m.Input),
		queue: make(chan *wire.Media, inputQueue),
	}
	if m.Feed || m.Codec == media.AAC {
		in.queue = make(chan *wire.Media, feedQueue)
	}
	switch {
	case m.Feed && m.Codec != media.H264:
		return nil, fmt.Errorf("a feed of codec %q: %w", m.Codec, media.ErrInvalid)
	case m.Codec.Video():
		in.pictures = new(pictures)
	case m.Codec == media.AAC && len(m.Config) == 0:
		return nil, fmt.Errorf("AAC without its AudioSpecificConfig: %w", media.ErrInvalid)
	case m.Codec == media.AAC: // each transcode has a decoder of its own
	case m.Codec == media.Opus:
		voice, err := newVoice()
		if err != nil {
			return nil, err
		}
		in.voice = voice
	default:
		return nil, fmt.Errorf("codec %q: %w", m.Codec, media.ErrInvalid)
	}
	return in, nil
}

// groupOf is the person that inputs of a group number share; number 0 is nobody,
// each such input is alone.
func (e *engine) groupOf(id uint32) *group {
	g := e.groups[id]
	if g == nil || id == 0 {
		g = newGroup()
		e.groups[id] = g
	}
	return g
}

func (e *engine) closeInput(id uint32) {
	in := e.open[id]
	if in == nil {
		return
	}
	delete(e.open, id)
	in.closed.Store(true)
	in.stop()
	used := make(map[*group]bool)
	for _, other := range e.open {
		used[other.group] = true
	}
	for id, g := range e.groups {
		if !used[g] {
			delete(e.groups, id)
		}
	}
}

func (e *engine) canOpen(id uint32) error {
	switch {
	case id == 0 || e.outputs[id] != nil:
		return fmt.Errorf("output %d: %w", id, media.ErrExists)
	case len(e.outputs) >= maxOutputs:
		return fmt.Errorf("output %d: %d outputs: %w", id, maxOutputs, media.ErrLimit)
	}
	return nil
}

func (e *engine) openMix(m *wire.OpenMix) error {
	if err := e.canOpen(m.Output); err != nil {
		return err
	}
	x, err := newMix(e, m)
	if err != nil {
		return fmt.Errorf("output %d: %w", m.Output, err)
	}
	e.outputs[m.Output] = x
	x.start()
	return nil
}

func (e *engine) openTranscode(m *wire.OpenTranscode) error {
	if err := e.canOpen(m.Output); err != nil {
		return err
	}
	in := e.open[m.Input]
	if in == nil {
		return fmt.Errorf("output %d: input %d: %w", m.Output, m.Input, media.ErrNotFound)
	}
	t, err := newTranscode(in, m)
	if err != nil {
		return fmt.Errorf("output %d: %w", m.Output, err)
	}
	e.outputs[m.Output] = t
	in.tap(t)
	return nil
}

func (e *engine) setLayout(m *wire.Layout) error {
	x, ok := e.outputs[m.Output].(*mix)
	if !ok {
		return fmt.Errorf("layout: mix %d: %w", m.Output, media.ErrNotFound)
	}
	p, err := newPlan(m, x.encode.Width, x.encode.Height)
	if err != nil {
		return fmt.Errorf("layout %d: %w", m.Revision, err)
	}
	c := &coming{plan: p, at: e.clock.now()}
	if before := x.next.Load(); before != nil {
		c.at = before.at // a stream of changes does not wait for ever
	}
	x.next.Store(c)
	return nil
}
