// Package mixer weaves users into one picture and one sound. It decides who
// sits where (layout.go, pure), keeps the media workers that decode, compose
// and encode (worker.go: one braid-mixer process for each channel that is
// mixed), and feeds them coded media. It links no codec and knows neither the
// SFU nor the relay: it is handed media.Channels and a function for the result.
//
// Goroutines: four for each worker process, one for each mix, one for each track
// that a mix reads. Close of the Pool returns when all have ended.
package mixer

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Config says where workers come from and what they may do.
type Config struct {
	Program             string // path of braid-mixer
	MaxWidth, MaxHeight int    // pixels; larger pictures are refused before decoding
	// Fetch gets an image behind a URL, for backgrounds. It bounds size and time.
	Fetch func(ctx context.Context, url string) ([]byte, error)
	// Hold is how long a mix shows its last picture when nobody in it publishes any
	// more; zero: five seconds, negative: not at all.
	Hold time.Duration
	// Slate makes the PNG or JPEG file that an application's mix of some size shows
	// then, if its plan has no pictures; nil: black. It must not block for long.
	Slate func(app string, width, height int) ([]byte, error)
	Log   *slog.Logger
}

// Pool keeps the media workers.
type Pool struct {
	cfg   Config
	zero  time.Time
	count *counts

	mu      sync.Mutex
	workers map[string]*worker
	closed  bool
	stills  stills
	wg      sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc
}

// NewPool starts nothing yet; workers start when they are needed.
func NewPool(cfg Config) *Pool {
	p := &Pool{cfg: cfg, zero: time.Now(), count: newCounts(), workers: make(map[string]*worker), stills: stills{slots: make(chan struct{}, stillsMax)}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Zero is the time from which every PTS of this pool counts.
func (p *Pool) Zero() time.Time { return p.zero }

// Takes tells whether pictures of this coded size are decoded, upright or turned.
func (p *Pool) Takes(width, height int) bool {
	w, h := (p.cfg.MaxWidth+15)&^15, (p.cfg.MaxHeight+15)&^15
	return width <= w && height <= h || height <= w && width <= h
}

// Close ends all workers and waits for them. Mixes and transcodes give nothing
// any more.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
}

// acquire gives the worker of a key, started if need be; each acquire wants a
// release. gather is the first one's word.
func (p *Pool) acquire(key string, gather time.Duration) *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.workers[key]
	if w == nil {
		w = newWorker(p.cfg, key, gather, p.zero)
		w.count = p.count
		p.workers[key] = w
		if !p.closed {
			ctx, cancel := context.WithCancel(p.ctx)
			w.cancel = cancel
			p.wg.Go(func() { w.run(ctx) })
		}
	}
	w.refs++
	return w
}

func (p *Pool) release(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.refs--; w.refs > 0 {
		return
	}
	delete(p.workers, w.key)
	if w.cancel != nil {
		w.cancel()
	}
}

// Stats counts the workers that run and their restarts.
func (p *Pool) Stats() (running int, restarts int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		running++
		restarts += w.restarts.Load()
	}
	return running, restarts
}
