// Package engine is what runs inside a media worker: it decodes the inputs of
// one channel, composes chosen pictures into one, mixes chosen voices into one,
// codes both, and turns single inputs into H.264 or AAC. The server says what
// to do by the messages of mixer/wire; the engine knows nothing of users, RTP
// or RTMP.
//
//	        ┌─ input (one goroutine each): decode at once ─┬─ transcodes of it
//	reader ─┤                            pictures, voice   │
//	        └─ layouts, images ──┐            ↓            │
//	                             └─ mix (one goroutine each): tick → compose → encode
//	                                                  ↓
//	                                          the connection
//
// Time is the server's timeline from Hello on: every PTS counts from its zero,
// and every deadline is computed from it. A mix that is late skips ticks.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"syscall"
	"time"

	"braid/mixer/wire"
)

// Limits of one worker. They stop a server that opens and never closes, not one
// that has much to do: one worker carries the sound of all single-stream relays,
// and each mix of a channel has inputs of its own for everybody in it.
const (
	maxInputs  = 2048
	maxOutputs = 2048
	maxImages  = 64
	maxPanes   = 64

	defaultMaxWidth, defaultMaxHeight = 1920, 1088
)

// engine is one conversation with the server.
type engine struct {
	clock               clock
	maxWidth, maxHeight int
	conn                *wire.Conn
	log                 *slog.Logger
	ctx                 context.Context // ends with the conversation
	tasks               sync.WaitGroup  // every goroutine

	inputs registry[*input] // with those that are closed but still shown
	images *images
	stills chan *wire.Still // sent by the reader, never closed; full: refuse
	mixes  registry[*mix]
	slots  chan struct{} // one a core: decoders take turns, encoders do not wait for them

	// Owned by Run.
	open    map[uint32]*input // not closed
	groups  map[uint32]*group
	outputs map[uint32]output
}

// output is a mix or a transcode.
type output interface {
	requestKey()
	close() // when it returns, nothing of it is sent any more
}

// Run serves the server at the other end of rw until ctx ends, rw ends (which is
// no error) or the server breaks the protocol. When it returns, all that it
// started has ended. It closes rw if rw is an io.Closer; if not, ctx's end is
// noticed with the next message only. The server must read while it writes.
func Run(ctx context.Context, rw io.ReadWriter, log *slog.Logger) error {
	inner, end := context.WithCancel(ctx)
	closed := make(chan struct{})
	go func() { // ends a read or a write that is under way
		defer close(closed)
		<-inner.Done()
		if c, ok := rw.(io.Closer); ok {
			c.Close()
		}
	}()
	e, err := greet(inner, wire.NewConn(rw), log)
	if err == nil {
		err = e.serve()
	}
	end()
	<-closed
	if e != nil {
		e.tasks.Wait()
	}
	if ctx.Err() != nil || hungUp(err) {
		return nil
	}
	return err
}

// hungUp tells whether err means that the server is gone, be it in the middle of
// a message.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// greet waits for Hello and answers Ready. While a process starts, Hello waits
// and its Elapsed grows old: the server may say Hello again before it opens
// anything, and the clock follows.
func greet(ctx context.Context, conn *wire.Conn, log *slog.Logger) (*engine, error) {
	msg, err := conn.Read()
	if err != nil {
		return nil, err
	}
	hello, ok := msg.(*wire.Hello)
	if !ok {
		return nil, fmt.Errorf("engine: first message is %T, want Hello", msg)
	}
	e := &engine{
		clock: newClock(hello.Elapsed), conn: conn, log: log, ctx: ctx,
		maxWidth: hello.MaxWidth, maxHeight: hello.MaxHeight,
		slots:   make(chan struct{}, runtime.NumCPU()),
		open:    make(map[uint32]*input),
		groups:  make(map[uint32]*group),
		outputs: make(map[uint32]output),
		stills:  make(chan *wire.Still, maxStills),
	}
	if e.maxWidth <= 0 || e.maxHeight <= 0 {
		e.maxWidth, e.maxHeight = defaultMaxWidth, defaultMaxHeight
	}
	if err := conn.Write(&wire.Ready{Version: wire.Version}); err != nil {
		return nil, err
	}
	if hello.Version != wire.Version {
		return nil, fmt.Errorf("engine: the server speaks version %d, this worker %d", hello.Version, wire.Version)
	}
	e.images = newImages(e)
	e.start(e.makeStills)
	return e, nil
}

// serve handles messages until the connection ends.
func (e *engine) serve() error {
	for {
		msg, err := e.conn.Read()
		if err != nil {
			return err
		}
		if err := e.handle(msg); err != nil {
			return err
		}
	}
}

func (e *engine) handle(msg any) error {
	switch m := msg.(type) {
	case *wire.Media:
		if in := e.open[m.Input]; in != nil {
			in.deliver(m)
		}
	case *wire.Hello:
		if len(e.open)+len(e.outputs) > 0 {
			return errors.New("engine: the time cannot change any more")
		}
		e.clock = newClock(m.Elapsed)
	case *wire.OpenInput:
		e.refuse(wire.Failed{Input: m.Input}, e.openInput(m))
	case *wire.CloseInput:
		e.closeInput(m.Input)
	case *wire.OpenMix:
		e.refuse(wire.Failed{Output: m.Output}, e.openMix(m))
	case *wire.OpenTranscode:
		e.refuse(wire.Failed{Output: m.Output}, e.openTranscode(m))
	case *wire.CloseOutput:
		if out := e.outputs[m.Output]; out != nil {
			delete(e.outputs, m.Output)
			out.close()
		}
	case *wire.KeyFrame:
		if out := e.outputs[m.Output]; out != nil {
			out.requestKey()
		}
	case *wire.Layout:
		e.refuse(wire.Failed{Output: m.Output}, e.setLayout(m))
	case *wire.Image:
		e.refuse(wire.Failed{Image: m.Image}, e.images.set(m.Image, m.Data))
	case *wire.Still:
		e.refuse(wire.Failed{Still: m.Still}, e.queueStill(m))
	default:
		return fmt.Errorf("engine: a server does not send %T", msg)
	}
	return nil
}

// refuse tells the server why a request is not carried out.
func (e *engine) refuse(f wire.Failed, err error) {
	if err != nil {
		f.Reason = err.Error()
		e.failed(&f)
	}
}

func (e *engine) failed(f *wire.Failed) {
	e.log.Warn("failed", "input", f.Input, "output", f.Output, "image", f.Image, "still", f.Still, "reason", f.Reason)
	e.write(f)
}

// write sends a message; an error means that the reader is about to end, too.
func (e *engine) write(msgs ...any) {
	if err := e.conn.Write(msgs...); err != nil && e.ctx.Err() == nil {
		e.log.Debug("write", "err", err)
	}
}

func (e *engine) start(f func()) {
	e.tasks.Add(1)
	go func() {
		defer e.tasks.Done()
		f()
	}()
}

// wait lasts d or until the conversation ends.
func (e *engine) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-e.ctx.Done():
	case <-t.C:
	}
}

// mixing tells whether anybody mixes; inputs decode only for somebody.
func (e *engine) mixing() bool { return len(e.mixes.all()) > 0 }

// slowest is the time of the oldest picture that some mix has yet to make: up
// to lateMost before now. What was due before it is not looked for any more.
func (e *engine) slowest(now time.Duration) time.Duration {
	t := now
	for _, x := range e.mixes.all() {
		if x.picture != nil {
			t = min(t, time.Duration(x.at.Load()))
		}
	}
	return max(t, now-lateMost)
}
