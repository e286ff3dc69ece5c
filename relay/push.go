package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/rtmp"
)

// A push hides at most queueTime of delay; what is older is dropped. It tries again
// after firstBackoff, doubled up to lastBackoff, and takes a connection that has
// carried media for healthyAfter as a good one.
const (
	queueTime    = 3 * time.Second
	queueBytes   = 8 << 20
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = 15 * time.Second
	healthyAfter = 10 * time.Second
	dialTimeout  = 8 * time.Second // name, TCP, TLS and RTMP together
	keyInterval  = 2 * time.Second // between requests while a key frame is missing
)

// Phase is where a push stands.
type Phase string

const (
	PhaseConnecting Phase = "connecting" // up to the first media sent
	PhaseLive       Phase = "live"
	PhaseWaiting    Phase = "waiting" // before the next try
	PhaseClosed     Phase = "closed"
)

// PushState is a push at one moment.
type PushState struct {
	Phase Phase
	// Reason says why the last connection ended, "" when none has: "refused", "dns",
	// "tls", "forbidden" (the address guard), "rejected" or "rejected (code)" with the
	// origin's code, "stalled" (no answer or no progress), "lost", "url".
	Reason     string
	Since      time.Time // when the phase began
	Bytes      uint64    // of coded media, sent to the connection
	Dropped    uint64    // access units
	Reconnects uint64    // tries after the first
}

// PushConfig says what a push carries and where to.
type PushConfig struct {
	URL string // rtmp or rtmps
	// Sign makes the URL that is dialled of URL, anew for each try; nil: URL is dialled
	// as it is. Called by Run, must not block.
	Sign    func(url string) string
	Video   bool            // each session begins with a key frame; else with the first access unit
	Audio   flv.AudioConfig // zero: AAC is left out
	FPS     float64         // for the metadata; 0: not known
	NeedKey func()          // asks for a key frame; nil: they come by themselves. Called by Run
	State   func(PushState) // told each change of phase; may be nil. Called by Run, must not block
	Log     *slog.Logger
	Dial    rtmp.Options // the address guard, TLS
}

// Push is a Sink that carries access units to one URL as long as Run runs. A
// session begins at timestamp 0 with metadata, sequence header and key frame; after
// a failure another begins.
//
//	connecting → live → waiting → connecting → … → closed
//	     └───────────────┘
type Push struct {
	cfg   PushConfig
	queue pushQueue

	mu    sync.Mutex
	state PushState
}

// NewPush makes a push; Run starts it.
func NewPush(cfg PushConfig) *Push {
	p := &Push{cfg: cfg, queue: pushQueue{ready: make(chan struct{}, 1)}}
	p.state = PushState{Phase: PhaseConnecting, Since: time.Now()}
	return p
}

// Write takes an H.264 or AAC access unit. It never blocks. While there is no
// connection the unit is left out; when the origin is slower than the stream for
// longer than 3 s (or by more than 8 MiB), pictures are dropped up to a key frame
// and counted; sound only when it is 6 s late.
func (p *Push) Write(au *media.AccessUnit) {
	if au.Codec == media.AAC && p.cfg.Audio == (flv.AudioConfig{}) {
		return
	}
	p.queue.put(au, time.Now())
}

// State is the push at this moment.
func (p *Push) State() PushState {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state
	s.Dropped = p.queue.droppedUnits()
	return s
}

// set changes the phase and tells it.
func (p *Push) set(phase Phase, reason string) {
	p.mu.Lock()
	p.state.Phase, p.state.Reason, p.state.Since = phase, reason, time.Now()
	p.mu.Unlock()
	if p.cfg.State != nil {
		p.cfg.State(p.State())
	}
}

// Run connects, sends and reconnects until ctx ends; then it closes the stream
// within 2 s and returns nil. It returns an error at once when the URL cannot be used.
// Call it once. It runs no goroutine after its return.
func (p *Push) Run(ctx context.Context) error {
	if err := rtmp.CheckURL(p.cfg.URL); err != nil {
		p.set(PhaseClosed, "url")
		return fmt.Errorf("relay: push: %w", err)
	}
	log := p.cfg.Log.With("url", rtmp.Redact(p.cfg.URL))
	backoff, reason := firstBackoff, ""
	for {
		p.set(PhaseConnecting, reason)
		live, err := p.session(ctx, log)
		if ctx.Err() != nil {
			p.set(PhaseClosed, "")
			return nil
		}
		if live >= healthyAfter {
			backoff = firstBackoff
		}
		wait := backoff/2 + rand.N(backoff) // half to one and a half: many pushes do not come back at once
		reason = reasonOf(err)
		log.Warn("push ended, will try again", "reason", reason, "error", err, "live", live.Round(time.Millisecond), "wait", wait.Round(time.Millisecond))
		p.set(PhaseWaiting, reason)
		if !sleep(ctx, wait) {
			p.set(PhaseClosed, "")
			return nil
		}
		backoff = min(2*backoff, lastBackoff)
		p.mu.Lock()
		p.state.Reconnects++
		p.mu.Unlock()
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// session is one connection. It returns how long media went over it, and why it
// ended.
func (p *Push) session(ctx context.Context, log *slog.Logger) (live time.Duration, err error) {
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	url := p.cfg.URL
	if p.cfg.Sign != nil {
		url = p.cfg.Sign(url)
	}
	pub, err := rtmp.Dial(dialCtx, url, p.cfg.Dial)
	cancel()
	if err != nil {
		return 0, err
	}
	defer pub.Close()
	defer cutStuck(ctx, pub)()
	s := &pushSession{
		push: p, log: log, pub: pub,
		mux: flv.NewMuxer(flv.Config{Audio: p.cfg.Audio, Video: p.cfg.Video, FPS: p.cfg.FPS}),
	}
	p.queue.open(p.cfg.Video)
	defer p.queue.close()
	err = s.run(ctx)
	if !s.since.IsZero() {
		live = time.Since(s.since)
	}
	return live, err
}

// cutStuck closes the session 1 s after ctx has ended if it is still in a write then;
// the returned func ends that watch.
func cutStuck(ctx context.Context, pub *rtmp.Publisher) (end func()) {
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		t := time.NewTimer(time.Second)
		defer t.Stop()
		select {
		case <-ended:
		case <-t.C:
			pub.Close()
		}
	})
	return func() {
		close(ended)
		wg.Wait()
	}
}

// pushSession is owned by Run.
type pushSession struct {
	push    *Push
	log     *slog.Logger
	pub     *rtmp.Publisher
	mux     *flv.Muxer
	tags    []*flv.Tag
	since   time.Time // of the first media sent
	asked   time.Time // when a key frame was last asked for
	dropped uint64    // as last logged
	refused bool      // a unit the muxer refused has been logged
}

func (s *pushSession) run(ctx context.Context) error {
	s.dropped = s.push.queue.droppedUnits()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	s.wantKey()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.pub.Done():
			return s.pub.Err()
		case <-second.C:
			s.logDropped()
			s.wantKey()
		case <-s.push.queue.ready:
			if err := s.drain(ctx); err != nil {
				return err
			}
			s.wantKey()
		}
	}
}

// drain sends what the queue holds.
func (s *pushSession) drain(ctx context.Context) error {
	for ctx.Err() == nil {
		au := s.push.queue.take()
		if au == nil {
			return nil
		}
		if err := s.send(au); err != nil {
			return err
		}
	}
	return nil
}

func (s *pushSession) send(au *media.AccessUnit) error {
	var err error
	s.tags, err = s.mux.Append(s.tags[:0], au)
	if err != nil {
		s.push.queue.refuse(au)
		if !s.refused {
			s.refused = true
			s.log.Warn("push leaves out what it cannot send", "error", err)
		}
		return nil
	}
	for _, t := range s.tags {
		if err := s.pub.Write(t); err != nil {
			if s.pub.Err() != nil { // the origin's last word says more than our failed write
				return s.pub.Err()
			}
			return err
		}
	}
	if len(s.tags) == 0 {
		return nil
	}
	s.push.mu.Lock()
	s.push.state.Bytes += uint64(au.Size())
	s.push.mu.Unlock()
	if s.since.IsZero() {
		s.since = time.Now()
		s.push.set(PhaseLive, "")
	}
	return nil
}

// wantKey asks for a key frame while one is missing, at most each keyInterval.
func (s *pushSession) wantKey() {
	if s.push.cfg.NeedKey == nil || !s.push.queue.wantsKey() || time.Since(s.asked) < keyInterval {
		return
	}
	s.asked = time.Now()
	s.push.cfg.NeedKey()
}

func (s *pushSession) logDropped() {
	if n := s.push.queue.droppedUnits(); n != s.dropped {
		s.log.Warn("push is slower than the stream", "dropped", n-s.dropped, "dropped_total", n)
		s.dropped = n
	}
}

// reasonOf puts an error in a word that a person can act on.
func reasonOf(err error) string {
	var rejected *rtmp.RejectedError
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &rejected) && rejected.Code != "":
		return "rejected (" + rejected.Code + ")"
	case rejected != nil:
		return "rejected"
	case errors.Is(err, rtmp.ErrForbidden):
		return "forbidden"
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, rtmp.ErrStalled), errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "stalled"
	case errors.Is(err, rtmp.ErrTLS):
		return "tls"
	}
	return "lost"
}

// pushQueue holds access units between Write and Run, in the order of Write.
type pushQueue struct {
	ready chan struct{} // holds one token when there may be something to take; sent by put

	mu      sync.Mutex
	isOpen  bool
	units   []queued
	bytes   int
	skip    bool // pictures are dropped up to the next key frame
	dropped uint64
}

type queued struct {
	au      *media.AccessUnit
	arrived time.Time
}

// open empties the queue for a new session; with video it begins at a key frame.
func (q *pushQueue) open(video bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.isOpen, q.skip = true, video
}

// close makes put leave everything out.
func (q *pushQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.isOpen = false
	q.dropped += uint64(len(q.units))
	clear(q.units)
	q.units, q.bytes = q.units[:0], 0
}

func (q *pushQueue) put(au *media.AccessUnit, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.isOpen {
		return
	}
	if q.skip && au.Codec.Video() {
		if !au.Key {
			q.dropped++
			return
		}
		q.skip = false
	}
	q.units = append(q.units, queued{au, now})
	q.bytes += au.Size()
	if q.bytes > queueBytes || q.lateLocked(now, true, queueTime) {
		q.dropVideoLocked(now)
	}
	for q.bytes > queueBytes || q.lateLocked(now, false, 2*queueTime) { // the sound alone is late
		q.dropped++
		q.bytes -= q.units[0].au.Size()
		q.units = q.units[1:]
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// lateLocked tells whether the oldest unit, or the oldest picture, waits for longer
// than the limit.
func (q *pushQueue) lateLocked(now time.Time, video bool, limit time.Duration) bool {
	for _, u := range q.units {
		if now.Sub(u.arrived) <= limit {
			return false // the rest is younger
		}
		if !video || u.au.Codec.Video() {
			return true
		}
	}
	return false
}

// dropVideoLocked drops the pictures before the newest key frame if that is young
// enough to be worth it and the rest is small enough, else all of them and those that
// come before the next one.
func (q *pushQueue) dropVideoLocked(now time.Time) {
	from := len(q.units)
	for i, u := range q.units {
		if u.au.Codec.Video() && u.au.Key && now.Sub(u.arrived) <= queueTime/2 {
			from = i
		}
	}
	q.skip = from == len(q.units) || q.skip
	q.removeVideoLocked(from)
	if q.bytes > queueBytes {
		q.skip = true
		q.removeVideoLocked(len(q.units))
	}
}

func (q *pushQueue) removeVideoLocked(before int) {
	kept := q.units[:0]
	for i, u := range q.units {
		if i < before && u.au.Codec.Video() {
			q.dropped++
			q.bytes -= u.au.Size()
			continue
		}
		kept = append(kept, u)
	}
	clear(q.units[len(kept):])
	q.units = kept
}

// take removes the oldest unit, nil when there is none.
func (q *pushQueue) take() *media.AccessUnit {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.units) == 0 {
		return nil
	}
	au := q.units[0].au
	q.units[0] = queued{}
	q.units = q.units[1:]
	q.bytes -= au.Size()
	return au
}

// refuse counts a unit that was taken and cannot be sent; pictures wait for a key frame.
func (q *pushQueue) refuse(au *media.AccessUnit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped++
	q.skip = q.skip || au.Codec.Video()
}

func (q *pushQueue) wantsKey() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.skip
}

func (q *pushQueue) droppedUnits() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}
