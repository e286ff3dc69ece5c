package mixer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"braid/media"
	"braid/mixer/wire"
)

const (
	stillWorker = "stills"        // its own: a picture that crashes the decoder hurts no mix
	stillsMax   = 8               // under way at a time; more wait
	stillWithin = 8 * time.Second // for one picture, with the start of a worker
	// The worker stays for the next picture: starting it takes longer than making one.
	stillLinger = 30 * time.Second
)

// stills is what a Pool keeps of the worker that makes JPEG files.
type stills struct {
	slots chan struct{}
	idle  *time.Timer // lets the worker go; owned by Pool.mu
	held  *worker     // kept for the next picture; owned by Pool.mu
}

// still is one request; done is closed when file or err stands.
type still struct {
	ask  *wire.Still
	file []byte
	err  error
	done chan struct{}
}

// errWorkerEnded is for stills that were on their way when their worker died.
var errWorkerEnded = errors.New("the media worker ended")

// JPEG decodes one key frame and returns it as a JPEG file, width pixels wide and as
// high as its shape says, never larger than it was sent; width is 16..4096, 0 for
// the picture's own. It is made in a worker that does nothing else. At most eight are made at
// a time, others wait; one takes eight seconds at most.
//
// Errors: media.ErrInvalid for what is no key frame of a codec that is known or for
// a width out of range, media.ErrLimit over 8 MiB, media.ErrClosed after Close; in
// words what the decoder says, such as a picture that is too large.
func (p *Pool) JPEG(ctx context.Context, codec media.Codec, au *media.AccessUnit, width int) ([]byte, error) {
	if err := checkStill(codec, au, width); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, stillWithin)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	select {
	case p.stills.slots <- struct{}{}:
		defer func() { <-p.stills.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("mixer: JPEG: %d others first: %w", stillsMax, ctx.Err())
	}
	w := p.acquireStills()
	if w == nil {
		return nil, fmt.Errorf("mixer: JPEG: %w", media.ErrClosed)
	}
	defer p.releaseStills(w)
	file, err := w.still(ctx, &wire.Still{Codec: codec, Width: uint16(width), Units: au.Units})
	if err != nil {
		return nil, fmt.Errorf("mixer: JPEG: %w", err)
	}
	return file, nil
}

// maxStill is what the decoders take, in bytes.
const maxStill = 8 << 20

func checkStill(codec media.Codec, au *media.AccessUnit, width int) error {
	switch {
	case !codec.Video():
		return fmt.Errorf("mixer: JPEG: codec %q: %w", codec, media.ErrInvalid)
	case !au.Key:
		return fmt.Errorf("mixer: JPEG: not a key frame: %w", media.ErrInvalid)
	case width != 0 && (width < 16 || width > 4096):
		return fmt.Errorf("mixer: JPEG: width %d, want 16..4096, or 0 for the picture's own: %w", width, media.ErrInvalid)
	case au.Size() > maxStill:
		return fmt.Errorf("mixer: JPEG: key frame of %d bytes, at most %d: %w", au.Size(), maxStill, media.ErrLimit)
	}
	return nil
}

// acquireStills gives the worker, nil after Close.
func (p *Pool) acquireStills() *worker {
	w := p.acquire(stillWorker, pictureGather)
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.stills
	if p.closed {
		w.refs--
		return nil
	}
	if s.held == nil {
		s.held = w
		w.refs++
	}
	if s.idle != nil {
		s.idle.Stop()
	}
	return w
}

// releaseStills gives it back; the last one's worker stays for stillLinger.
func (p *Pool) releaseStills(w *worker) {
	p.mu.Lock()
	s := &p.stills
	if w.refs == 2 && s.held == w { // the caller's and ours
		var timer *time.Timer
		timer = time.AfterFunc(stillLinger, func() {
			p.mu.Lock()
			held := s.held
			if s.idle != timer || held.refs > 1 {
				p.mu.Unlock()
				return
			}
			s.held = nil
			p.mu.Unlock()
			p.release(held)
		})
		s.idle = timer
	}
	p.mu.Unlock()
	p.release(w)
}

// still asks for a JPEG file and waits for it.
func (w *worker) still(ctx context.Context, ask *wire.Still) ([]byte, error) {
	s := &still{ask: ask, done: make(chan struct{})}
	w.mu.Lock()
	w.next++
	ask.Still = w.next
	w.asked[ask.Still] = s
	w.sendLocked(ask)
	w.mu.Unlock()
	select {
	case <-s.done:
		return s.file, s.err
	case <-ctx.Done():
		w.mu.Lock()
		delete(w.asked, ask.Still)
		w.mu.Unlock()
		return nil, ctx.Err()
	}
}

// stillMade answers a request.
func (w *worker) stillMade(id uint32, file []byte, err error) {
	w.mu.Lock()
	s := w.asked[id]
	delete(w.asked, id)
	w.mu.Unlock()
	if s != nil {
		s.file, s.err = file, err
		close(s.done)
	}
}

// stillsLost fails what a process took with it: one of the pictures may be what
// killed it.
func (w *worker) stillsLost() {
	w.mu.Lock()
	lost := w.asked
	w.asked = make(map[uint32]*still)
	w.mu.Unlock()
	for _, s := range lost {
		s.err = errWorkerEnded
		close(s.done)
	}
}
