// Package ingest makes an RTMP publisher (OBS, ffmpeg) a user of a channel like
// any other: H.264 goes on as it is when WebRTC viewers can take it and through a
// media worker when not (B-frames, 4:4:4, 10 bits, key frames more than 6 s apart
// or replaced by intra refresh), AAC becomes Opus, and both become RTP packets on
// one clock.
//
//	FLV tag → access unit → timeline ─┬ H.264 for everyone ──────────────→ RTP ─┐
//	                                  ├ other H.264 → worker (no B-frames) → RTP ─┼→ sfu.Injection
//	                                  └ AAC ────────→ worker (Opus) ───────→ RTP ─┘
//
// Over RTMP nobody can ask for a key frame: who joins a stream that goes on as it
// is sees the first picture at the publisher's next one. Set the encoder to one
// each second or two. A stream that goes through the worker has one when asked.
//
// It starts no goroutine: tags come in the RTMP connection's, and what a worker
// makes in that worker's.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"braid/event"
	"braid/media"
	"braid/media/rtmp"
	"braid/media/sfu"
	"braid/mixer"
	"braid/store"
)

const (
	idLength      = 32              // hex digits of store.Address.ID
	lookupTimeout = 5 * time.Second // for Addresses
	// silentAfter is how long a publisher must have sent nothing for another one to
	// take its address: an encoder sends sound each 21 ms, and OBS comes back 2 s
	// after it lost its connection at the earliest, while TCP may hold the old one
	// for half a minute.
	silentAfter = 1500 * time.Millisecond
)

// Config is what a Server needs.
type Config struct {
	// Addresses finds what CreateRoomRealTimeStreamAddress has made;
	// media.ErrNotFound when it is unknown or expired or its application disabled.
	Addresses func(ctx context.Context, id string) (store.Address, error)
	SFU       *sfu.Server
	Mixer     *mixer.Pool
	Log       *slog.Logger
}

// Server takes RTMP publishers. It ends with its publishers' connections.
type Server struct {
	cfg Config

	mu   sync.Mutex
	busy map[string]*publisher // by address
}

// New is a server without publishers.
func New(cfg Config) *Server {
	return &Server{cfg: cfg, busy: make(map[string]*publisher)}
}

// Publish is for origin.Config.Ingest. The stream is an address's ID. The user is in
// the channel when it returns, and each medium published with its first packet.
//
// One publisher has an address at a time: a second one is refused, unless the
// first has been silent for 1.5 s, which it then replaces. Errors, all a
// *rtmp.Refusal: media.ErrNotFound for an address that does not hold,
// media.ErrExists when somebody publishes to it or the user is in the channel,
// and those of sfu.Server.Inject.
func (s *Server) Publish(r rtmp.Request) (rtmp.Ingest, error) {
	a, err := s.address(r.Stream)
	if err != nil {
		return nil, err
	}
	p := newPublisher(s, a, r.Remote)
	old, err := s.take(p)
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.leave(event.Replaced)
	}
	if err := p.join(); err != nil {
		s.free(p)
		return nil, err
	}
	p.log.Info("ingest: RTMP publisher", "remote", r.Remote)
	return p, nil
}

func (s *Server) address(id string) (store.Address, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	if !validID(id) {
		return store.Address{}, refuse("no such address", media.ErrNotFound)
	}
	a, err := s.cfg.Addresses(ctx, id)
	switch {
	case errors.Is(err, media.ErrNotFound), err == nil && a.Kind != store.RTMPAddress:
		return store.Address{}, refuse("no such address, or it has expired", media.ErrNotFound)
	case err != nil:
		return store.Address{}, refuse("the server cannot look the address up", err)
	}
	return a, nil
}

func validID(id string) bool {
	if len(id) != idLength {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// take gives p its address; old is who loses it.
func (s *Server) take(p *publisher) (old *publisher, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old = s.busy[p.address.ID]
	if old != nil && !old.silent(time.Now()) {
		return nil, refuse("somebody publishes to this address already", media.ErrExists)
	}
	s.busy[p.address.ID] = p
	return old, nil
}

func (s *Server) free(p *publisher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[p.address.ID] == p {
		delete(s.busy, p.address.ID)
	}
}

func refuse(words string, err error) error {
	return &rtmp.Refusal{Words: words, Err: fmt.Errorf("ingest: %w", err)}
}
