// Package origin is the embedded live origin: publishers come in over RTMP,
// viewers watch over RTMP, HTTP-FLV and HLS. A viewer gets the newest group of
// pictures at once. Tags pass through as the publisher made them, with whatever
// SEI is in their pictures; only HLS takes them apart, into MPEG-TS.
//
// Who may publish and play is decided by Config.Access. It does not transcode,
// record or call back. Goroutines: two at most
// for each RTMP connection (media/rtmp), one for each stream that is watched as
// HLS; HTTP-FLV runs in the HTTP server's.
package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/rtmp"
)

// maxConns bounds RTMP connections of one listener, publishers and viewers
// together: at 64 KiB of buffers each this is 64 MiB, and about two cores of
// 2.5 Mbit/s viewers.
const maxConns = 1024

// IngestApp is the RTMP application whose publishers go to Config.Ingest.
const IngestApp = "rtc"

// Config is what an Origin needs.
type Config struct {
	// Ingest takes publishers of the application IngestApp in place of the hub; see
	// rtmp.Handler. nil: IngestApp is like any other. With it, nobody plays there.
	Ingest func(rtmp.Request) (rtmp.Ingest, error)
	// Access decides who may publish and play, with names that are valid; nil:
	// everyone may. An error's kind is answered as by rtmp.Handler, ErrDenied as it says.
	Access func(context.Context, Request) (Grant, error)
	// Changed is told of each stream that goes on air or has ended, in order, one at
	// a time, from the goroutine that made it so; it must not block.
	Changed func(Change)
	// Picture is the newest JPEG picture of a stream, and when it was taken; nil: there
	// are none.
	Picture func(app, name string) (file []byte, taken time.Time, ok bool)
	Log     *slog.Logger
}

// Origin is a Hub with its ways in and out.
type Origin struct {
	*Hub
	cfg Config
	log *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // HLS goroutines

	sessions sessions
	counts

	mu  sync.Mutex
	hls map[hlsKey]*hlsStream
}

// New is an origin without streams. Close must be called at last.
func New(cfg Config) *Origin {
	ctx, cancel := context.WithCancel(context.Background())
	return &Origin{Hub: newHub(cfg.Changed), cfg: cfg, log: cfg.Log, ctx: ctx, cancel: cancel, hls: make(map[hlsKey]*hlsStream)}
}

// Close ends all streams and their viewers, so that HTTP-FLV responses end too,
// and waits for the origin's own goroutines. ServeRTMP ends with its context.
func (o *Origin) Close() {
	o.Hub.Close()
	o.cancel()
	o.wg.Wait()
}

// ServeRTMP serves RTMP until ctx ends or the listener fails for good; then it
// closes the listener and all connections, and returns when nothing of it runs.
// The error is nil when ctx ended.
func (o *Origin) ServeRTMP(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer ln.Close()
	context.AfterFunc(ctx, func() { ln.Close() })

	slots := make(chan struct{}, maxConns)
	for {
		nc, err := accept(ctx, ln, o.log)
		if ctx.Err() != nil {
			if err == nil {
				nc.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("origin: accept RTMP: %w", err)
		}
		select {
		case slots <- struct{}{}:
		default:
			o.log.Warn("origin: RTMP connection refused", "remote", nc.RemoteAddr(), "limit", maxConns)
			nc.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := rtmp.Serve(ctx, nc, rtmpHandler{o}, o.log); err != nil && ctx.Err() == nil {
				o.log.Info("origin: RTMP session", "remote", nc.RemoteAddr(), "err", err)
			}
		})
	}
}

// accept waits out what passes by itself, such as a process without free file
// descriptors, and returns only errors that stay.
func accept(ctx context.Context, ln net.Listener, log *slog.Logger) (net.Conn, error) {
	for {
		nc, err := ln.Accept()
		if err == nil || ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nc, err
		}
		log.Warn("origin: accept RTMP", "err", err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// rtmpHandler lets RTMP clients publish to and play from the hub.
type rtmpHandler struct{ o *Origin }

func (h rtmpHandler) Publish(r rtmp.Request) (rtmp.Ingest, error) {
	if h.elsewhere(r.App) {
		in, err := h.o.cfg.Ingest(r)
		if errors.Is(err, media.ErrNotFound) {
			h.o.noPublish.Add(1)
		}
		return in, err
	}
	g, err := h.o.access(h.o.ctx, request(r, true))
	if err != nil {
		if errors.Is(err, ErrDenied) {
			h.o.noPublish.Add(1)
		}
		return nil, err
	}
	in, err := h.o.PublishAs(Publisher{Domain: g.Domain, App: r.App, Name: r.Stream, Remote: r.Remote.String()})
	if err != nil {
		return nil, err // not a nil *Ingest in an interface
	}
	return in, nil
}

func (h rtmpHandler) Play(r rtmp.Request) (rtmp.Playback, error) {
	if h.elsewhere(r.App) {
		return nil, fmt.Errorf("origin: play %s/…: nothing is played there: %w", r.App, media.ErrNotFound)
	}
	only, err := readOnly(r.Query)
	if err != nil {
		return nil, err
	}
	if _, err := h.o.access(h.o.ctx, request(r, false)); err != nil {
		if errors.Is(err, ErrDenied) {
			h.o.noPlay.Add(1)
		}
		return nil, err
	}
	v, err := h.o.PlayOnly(r.App, r.Stream, only)
	if err != nil {
		return nil, err
	}
	h.o.rtmp.Add(1)
	return &rtmpPlayback{viewer: v, left: sync.OnceFunc(func() { h.o.rtmp.Add(-1) })}, nil
}

func request(r rtmp.Request, publish bool) Request {
	return Request{
		Publish: publish, Host: r.Host, App: r.App, Name: r.Stream, Path: "/" + r.App + "/" + r.Stream, Query: r.Query, Remote: r.Remote.String(),
	}
}

func (h rtmpHandler) elsewhere(app string) bool { return app == IngestApp && h.o.cfg.Ingest != nil }

// rtmpPlayback is a Viewer in RTMP's words.
type rtmpPlayback struct {
	viewer *Viewer
	left   func() // counts it out, once
	tags   []*flv.Tag
}

func (p *rtmpPlayback) Next(ctx context.Context) ([]*flv.Tag, error) {
	clear(p.tags)
	p.tags = p.tags[:0]
	tags, err := p.viewer.Next(ctx)
	for _, t := range tags {
		p.tags = append(p.tags, &t.Tag)
	}
	return p.tags, err
}

func (p *rtmpPlayback) Close() {
	p.viewer.Close()
	p.left()
}
