package mixer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"braid/media"
	"braid/mixer/wire"
)

const (
	readyWithin   = 10 * time.Second       // a loaded machine starts a process in well under one
	killAfter     = time.Second            // a worker ends when its socket closes; this is for one that hangs
	mediaMax      = 512                    // frames waiting for a worker; more and it is not keeping up
	pictureGather = 16 * time.Millisecond  // half a frame: what batching costs in delay, at most
	soundGather   = 160 * time.Millisecond // for players that buffer seconds; eight packets in one go cost well under half
	brokenWait    = 5 * time.Second        // before an output that failed is opened again
	firstWait     = 50 * time.Millisecond
	longestWait   = 5 * time.Second // between restarts of a worker that dies at once
	hungAfter     = 5               // seconds without a word from a worker that mixes, which it does by the clock
)

// worker is one braid-mixer process and what it should be doing. The desired
// state is ours: a process that dies is started again and told everything anew.
type worker struct {
	cfg    Config
	key    string
	zero   time.Time
	log    *slog.Logger
	gather time.Duration // how long frames wait for each other
	refs   int           // owned by Pool
	cancel context.CancelFunc

	restarts atomic.Int64
	pid      atomic.Int64
	count    *counts     // of the pool
	hung     atomic.Bool // the present process is given up because it is silent
	heard    atomic.Bool // a message came since watch last looked

	mu      sync.Mutex
	next    uint32
	inputs  map[uint32]*input
	outputs map[uint32]*output
	images  map[uint32][]byte
	asked   map[uint32]*still
	up      bool
	queue   []any       // for the writer; control messages are never dropped
	frames  int         // Media in queue
	flush   *time.Timer // set when the queue begins to fill
}

type input struct {
	open    *wire.OpenInput
	needKey func()
	failed  func(reason string) // nil: nobody wants to know
	skip    bool                // frames were dropped: nothing until the next key frame
	lost    bool
}

type output struct {
	open   any // *wire.OpenMix or *wire.OpenTranscode
	layout *wire.Layout
	handle func(*wire.Output)
	failed func(reason string)
	broken bool // the process has said that it does not work
}

func newWorker(cfg Config, key string, gather time.Duration, zero time.Time) *worker {
	return &worker{
		cfg: cfg, key: key, gather: gather, zero: zero, log: cfg.Log.With("worker", key),
		inputs: make(map[uint32]*input), outputs: make(map[uint32]*output), images: make(map[uint32][]byte), asked: make(map[uint32]*still),
		flush: time.NewTimer(0), count: newCounts(),
	}
}

// openInput announces coded media, with a number of its own; needKey is called, from any goroutine, when it
// cannot be decoded until the next key frame.
func (w *worker) openInput(open wire.OpenInput, needKey func()) uint32 {
	return w.openInputTold(open, needKey, nil)
}

// openInputTold is openInput for one who wants to know, from the worker's goroutine,
// why nothing of it can be decoded.
func (w *worker) openInputTold(open wire.OpenInput, needKey func(), failed func(reason string)) uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	open.Input = w.next
	w.inputs[w.next] = &input{open: &open, needKey: needKey, failed: failed}
	w.sendLocked(&open)
	return w.next
}

func (w *worker) isUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up
}

func (w *worker) closeInput(id uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.inputs, id)
	w.sendLocked(&wire.CloseInput{Input: id})
}

// media hands a frame over. It never blocks: a worker that is away or behind
// loses frames up to the next key frame, which is asked for until it comes.
func (w *worker) media(id uint32, au *media.AccessUnit, lost bool) {
	if needKey := w.queueMedia(id, au, lost); needKey != nil {
		needKey()
	}
}

// queueMedia returns whom to ask for a key frame, nil for nobody.
func (w *worker) queueMedia(id uint32, au *media.AccessUnit, lost bool) (needKey func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := w.inputs[id]
	if in == nil || !w.up {
		return nil
	}
	if w.frames >= mediaMax {
		w.count.dropped.Add(1)
		in.lost, in.skip = true, au.Codec.Video()
		return nil
	}
	if in.skip && !au.Key {
		return in.needKey
	}
	lost = lost || in.lost
	in.skip, in.lost = false, false
	w.frames++
	w.sendLocked(&wire.Media{Input: id, PTS: au.PTS, Key: au.Key, Lost: lost, Units: au.Units})
	return nil
}

// openOutput starts a mix or a transcode; open makes the message for the id.
// handle gets what comes out, failed why nothing does; both are called from the
// worker's goroutine and must not block.
func (w *worker) openOutput(open func(id uint32) any, handle func(*wire.Output), failed func(string)) uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	msg := open(w.next)
	w.outputs[w.next] = &output{open: msg, handle: handle, failed: failed}
	w.sendLocked(msg)
	return w.next
}

func (w *worker) closeOutput(id uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.outputs, id)
	w.sendLocked(&wire.CloseOutput{Output: id})
}

// setLayout gives a mix its layout; l is not changed any more.
func (w *worker) setLayout(l *wire.Layout) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.outputs[l.Output]; o != nil {
		o.layout = l
		w.sendLocked(l)
	}
}

func (w *worker) keyFrame(output uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sendLocked(&wire.KeyFrame{Output: output})
}

// newID reserves an id, for an image (setImage brings the file later) or a group.
func (w *worker) newID() uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	return w.next
}

func (w *worker) setImage(id uint32, file []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if file == nil {
		delete(w.images, id)
	} else {
		w.images[id] = file
	}
	w.sendLocked(&wire.Image{Image: id, Data: file})
}

// sendLocked queues a message if there is a process to send it to; if not, the
// next process hears of it from the desired state.
func (w *worker) sendLocked(msg any) {
	if !w.up {
		return
	}
	if len(w.queue) == 0 {
		w.flush.Reset(w.gather - time.Since(w.zero)%w.gather)
	}
	w.queue = append(w.queue, msg)
}

// run keeps a process alive until ctx ends.
func (w *worker) run(ctx context.Context) {
	wait := time.Duration(0)
	for {
		started := time.Now()
		err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		w.ended()
		w.restarts.Add(1)
		if time.Since(started) > 2*longestWait {
			wait = 0
		}
		w.log.Warn("media worker ended, starting it again", "error", err, "after", time.Since(started).Round(time.Millisecond), "wait", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(max(2*wait, firstWait), longestWait)
	}
}

// session is the life of one process.
func (w *worker) session(ctx context.Context) error {
	sock, cmd, err := w.start()
	if err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	defer func() {
		sock.Close()
		kill := time.AfterFunc(killAfter, func() { cmd.Process.Kill() })
		<-exited
		kill.Stop()
	}()
	stop := context.AfterFunc(ctx, func() { sock.Close() })
	defer stop()

	conn := wire.NewConn(sock)
	if err := w.greet(sock, conn); err != nil {
		return err
	}
	w.pid.Store(int64(cmd.Process.Pid))
	needKeys := w.replay()
	var helpers sync.WaitGroup
	done := make(chan struct{})
	helpers.Go(func() { w.write(conn, done); sock.Close() })
	helpers.Go(func() { w.watch(done); sock.Close() })
	for _, need := range needKeys {
		need()
	}
	err = w.read(conn)
	w.mu.Lock()
	w.up = false
	w.mu.Unlock()
	close(done)
	sock.Close()
	helpers.Wait()
	w.stillsLost()
	return err
}

// start runs the program with one end of a socket pair as descriptor 3.
func (w *worker) start() (net.Conn, *exec.Cmd, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("mixer: socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "server"), os.NewFile(uintptr(fds[1]), "worker")
	defer ours.Close()
	defer theirs.Close()
	sock, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, fmt.Errorf("mixer: socket pair: %w", err)
	}
	cmd := exec.Command(w.cfg.Program, "-fd", "3")
	cmd.ExtraFiles = []*os.File{theirs}
	// Nothing of our environment is the worker's business. One processor is enough
	// for its Go code: codecs run beside it in C, and a second would be woken for
	// each frame only to find nothing to do.
	cmd.Env = []string{"GOTRACEBACK=single", "GOMAXPROCS=1"}
	cmd.Stderr = &lineLog{log: w.log}
	if err := cmd.Start(); err != nil {
		sock.Close()
		return nil, nil, fmt.Errorf("mixer: start the media worker: %w", err)
	}
	return sock, cmd, nil
}

func (w *worker) greet(sock net.Conn, conn *wire.Conn) error {
	sock.SetDeadline(time.Now().Add(readyWithin))
	defer sock.SetDeadline(time.Time{})
	hello := &wire.Hello{Version: wire.Version, Elapsed: time.Since(w.zero), MaxWidth: w.cfg.MaxWidth, MaxHeight: w.cfg.MaxHeight}
	if err := conn.Write(hello); err != nil {
		return fmt.Errorf("mixer: greet the media worker: %w", err)
	}
	msg, err := conn.Read()
	if err != nil {
		return fmt.Errorf("mixer: the media worker does not answer: %w", err)
	}
	if ready, ok := msg.(*wire.Ready); !ok || ready.Version != wire.Version {
		return fmt.Errorf("mixer: the media worker answers %+v, want version %d: build both programs from one source", msg, wire.Version)
	}
	// The first Hello waited while the process started; this one sets the clock.
	hello.Elapsed = time.Since(w.zero)
	return conn.Write(hello)
}

// replay tells a new process all it should be doing, in an order that never
// names what is not yet open, and returns whom to ask for key frames.
func (w *worker) replay() (needKeys []func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up, w.queue, w.frames = true, nil, 0
	for id, file := range w.images {
		w.sendLocked(&wire.Image{Image: id, Data: file})
	}
	for _, in := range w.inputs {
		in.skip, in.lost = in.open.Codec.Video(), false
		w.sendLocked(in.open)
		needKeys = append(needKeys, in.needKey)
	}
	for _, o := range w.outputs {
		w.openLocked(o)
	}
	for _, s := range w.asked {
		w.sendLocked(s.ask)
	}
	return needKeys
}

// write sends what is queued in batches: a frame waits for those of
// other users, so that the worker wakes once for all of them.
func (w *worker) write(conn *wire.Conn, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-w.flush.C:
		}
		w.mu.Lock()
		batch := w.queue
		w.queue, w.frames = nil, 0
		w.mu.Unlock()
		if len(batch) > 0 && conn.Write(batch...) != nil {
			return
		}
	}
}

// watch returns when the worker hangs, or with done.
func (w *worker) watch(done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for quiet := 0; quiet < hungAfter; {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		quiet++
		if w.heard.Swap(false) || !w.expected() {
			quiet = 0
		}
	}
	w.hung.Store(true)
	w.log.Warn("media worker hangs", "silent_seconds", hungAfter)
}

// expected tells whether the worker should be heard: it mixes, or makes a JPEG.
func (w *worker) expected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) > 0 {
		return true
	}
	for _, o := range w.outputs {
		if _, mix := o.open.(*wire.OpenMix); mix && !o.broken {
			return true
		}
	}
	return false
}

func (w *worker) read(conn *wire.Conn) error {
	for {
		msg, err := conn.Read()
		if err != nil {
			return err
		}
		w.heard.Store(true)
		switch m := msg.(type) {
		case *wire.Output:
			if o := w.output(m.Output); o != nil {
				w.came(o, m)
				o.handle(m)
			}
		case *wire.NeedKey:
			if in := w.input(m.Input); in != nil {
				in.needKey()
			}
		case *wire.JPEG:
			w.stillMade(m.Still, m.Data, nil)
		case *wire.Failed:
			if m.Still != 0 {
				w.stillMade(m.Still, nil, errors.New(m.Reason))
				continue
			}
			w.log.Warn("media worker", "input", m.Input, "output", m.Output, "image", m.Image, "reason", m.Reason)
			if in := w.input(m.Input); in != nil && in.failed != nil {
				in.failed(m.Reason)
			}
			w.fail(m)
		default:
			return fmt.Errorf("mixer: the media worker sent %T", msg)
		}
	}
}

// fail tells whose output does not work, and opens it anew after a while: what
// broke it may pass, and nobody else would try.
func (w *worker) fail(m *wire.Failed) {
	w.mu.Lock()
	o := w.outputs[m.Output]
	if o == nil || o.broken {
		w.mu.Unlock()
		return
	}
	o.broken = true
	w.mu.Unlock()
	o.failed(m.Reason)
	time.AfterFunc(brokenWait, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.outputs[m.Output] == o && o.broken {
			w.sendLocked(&wire.CloseOutput{Output: m.Output})
			w.openLocked(o)
		}
	})
}

// openLocked sends what makes an output.
func (w *worker) openLocked(o *output) {
	o.broken = false
	w.sendLocked(o.open)
	if o.layout != nil {
		w.sendLocked(o.layout)
	}
}

func (w *worker) output(id uint32) *output {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.outputs[id]
}

func (w *worker) input(id uint32) *input {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inputs[id]
}

// lineLog passes what a worker writes to stderr on, a line an entry.
type lineLog struct {
	log  *slog.Logger
	rest []byte
}

func (l *lineLog) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		n, line, err := bufio.ScanLines(l.rest, false)
		if err != nil || n == 0 {
			break
		}
		l.log.Info("media worker says", "line", string(line))
		l.rest = slices.Delete(l.rest, 0, n)
	}
	if len(l.rest) > 8<<10 {
		l.rest = l.rest[:0]
	}
	return len(b), nil
}
