package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
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
	Reached    time.Time // when the other side last agreed to a session; zero: never
	Held       bool      // live for long enough to count as healthy
	Bytes      uint64    // of coded media, sent to the connection
	Dropped    uint64    // access units
	Reconnects uint64    // tries after the first
}

// PushConfig says what a push carries and where to.
type PushConfig struct {
	URL string // see CheckURL
	// Sign makes the URL that is dialled of URL, anew for each try; nil: URL is dialled
	// as it is. Called by Run, must not block.
	Sign    func(url string) string
	Video   bool            // each session begins with a key frame; else with the first access unit
	Audio   flv.AudioConfig // zero: AAC is left out
	FPS     float64         // for the metadata; 0: not known
	NeedKey func()          // asks for a key frame; nil: they come by themselves. Called by Run
	// Timeline makes the timestamps, and knows where those of the URL's earlier pushes
	// ended; nil: each is its unit's PTS. Used by Run.
	Timeline *Timeline
	// State is told each change of phase, and when a live one has held; may be nil.
	// Called by Run, must not block.
	State func(PushState)
	Log   *slog.Logger
	Dial  rtmp.Options // the address guard, TLS
}

// Push is a Sink that carries access units to one URL as long as Run runs. Each
// session begins with all that a decoder needs and a key frame; after a failure
// another begins, and its timestamps go on where the stream is by then.
//
//	connecting → live → waiting → connecting → … → closed
//	     └───────────────┘
type Push struct {
	cfg   PushConfig
	to    Destination
	queue pushQueue

	mu    sync.Mutex
	state PushState
}

// NewPush makes a push; Run starts it.
func NewPush(cfg PushConfig) *Push {
	p := &Push{cfg: cfg, queue: pushQueue{ready: make(chan struct{}, 1)}}
	p.cfg.Dial.Control = guarded(cfg.Dial.Control)
	p.to = destinationOf(&p.cfg)
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
	p.state.Phase, p.state.Reason, p.state.Since, p.state.Held = phase, reason, time.Now(), false
	p.mu.Unlock()
	if p.cfg.State != nil {
		p.cfg.State(p.State())
	}
}

// held tells, once for each session, that it is a healthy one.
func (p *Push) held() {
	p.mu.Lock()
	first := !p.state.Held
	p.state.Held = true
	p.mu.Unlock()
	if first && p.cfg.State != nil {
		p.cfg.State(p.State())
	}
}

// Run connects, sends and reconnects until ctx ends; then it closes the stream
// within 2 s and returns nil. It returns an error at once when the URL cannot be used.
// Call it once. It runs no goroutine after its return.
func (p *Push) Run(ctx context.Context) error {
	if err := CheckURL(p.cfg.URL); err != nil {
		p.set(PhaseClosed, "url")
		return fmt.Errorf("relay: push: %w", err)
	}
	log := p.cfg.Log.With("url", Redact(p.cfg.URL))
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
	out, err := p.to.Dial(dialCtx, url)
	cancel()
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	p.state.Reached = time.Now()
	p.mu.Unlock()
	defer out.Close()
	defer cutStuck(ctx, out)()
	s := &pushSession{push: p, log: log, out: out}
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
func cutStuck(ctx context.Context, out Session) (end func()) {
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
			out.Close()
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
	out     Session
	since   time.Time // of the first media sent
	asked   time.Time // when a key frame was last asked for
	dropped uint64    // as last logged
	refused bool      // a unit that cannot be sent has been logged
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
		case <-s.out.Done():
			return s.out.Err()
		case <-second.C:
			s.logDropped()
			s.wantKey()
			if !s.since.IsZero() && time.Since(s.since) >= healthyAfter {
				s.push.held()
			}
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
	sent, err := s.out.Write(au)
	switch {
	case errors.Is(err, errUnsendable):
		s.push.queue.refuse(au)
		if !s.refused {
			s.refused = true
			s.log.Warn("push leaves out what it cannot send", "error", err)
		}
		return nil
	case err != nil && s.out.Err() != nil: // the other side's last word says more than our failed write
		return s.out.Err()
	case err != nil:
		return err
	case !sent:
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
