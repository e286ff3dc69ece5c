// Package sfu receives users' audio and video over WebRTC and forwards it to
// those who watch. It is the only package that knows Pion; to the rest of
// braid a publisher is a media.User with media.Tracks, found through
// media.Channels. It makes no access decisions and speaks no HTTP: signaling
// hands it SDP offers of people it has let in. Publishers that do not speak
// WebRTC are put in by Inject. What happens in the channels is told as events.
//
//	UDP or TCP → Pion → track: own copy, no extensions, no holes left by padding
//	                      └→ receivers: forward (a viewer), mixer, relay
//
// Goroutines: Pion's own; one per session (Session.run, which alone decides
// about its life); one reader and one RTCP reader per layer of a published track, one
// that asks for key frames per layer of a video; one that chooses layers
// (Server.steer), one that sends what waits (pacing); timers for what happens later in a channel (its closing).
// Server.Close returns when all of them have ended.
package sfu

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"braid/event"
	"braid/media"
)

// ErrUnsupported says that an offer is readable but asks for something this
// server does not do: another codec, a second camera, a data channel.
var ErrUnsupported = errors.New("not supported")

// MaxOffer bounds an SDP offer in bytes; Chromium's with simulcast is near 10 KiB.
const MaxOffer = 64 << 10

// Config is what a server needs. The zero value of each field but Listen works.
type Config struct {
	// Listen is host:port for media, one UDP socket and one TCP listener with
	// the same number. Port 0 takes a free one; an empty host means every
	// address of the machine.
	Listen string
	// PublicIPs are advertised instead of the machine's own addresses: the
	// outside of a 1:1 NAT.
	PublicIPs []string
	// STUNServers (host:port) are asked now and then, from the media socket, under
	// which address the world sees it; what they say is advertised before the
	// machine's own addresses. The first to answer counts. Empty: nobody is asked.
	// New waits 3 s at most for the first answer, and does not need one.
	STUNServers []string
	// MaxSessions bounds publishers and viewers together; 0 means 1000.
	MaxSessions int
	// ConnectTimeout is how long a session may take to connect; 0 means 15 s.
	ConnectTimeout time.Duration
	// SilenceTimeout is how long a connected client may send nothing at all
	// before its session ends; 0 means 10 s. Below 8 s live clients are lost:
	// browsers check consent every 2 to 6 s (RFC 7675), other viewers send no
	// more than a receiver report every 5 s.
	SilenceTimeout time.Duration
	// Events is told what happens, in order: ChannelOpen, UserJoin, UserRole,
	// Publish* and Unpublish*, UserLeave, ChannelClose, with Time, without ID. It
	// is called with a lock held, so it must not block and not call the Server.
	// nil: nobody is told.
	Events func(event.Event)
	// Linger is how long a channel stays open after its last user has left; 0
	// means 10 s, a negative value that it closes at once.
	Linger time.Duration
	// Voices is how many microphones of a channel its participants receive at
	// once: the loudest, by the levels that publishers tell (RFC 6464). 0 means 8,
	// a negative value all.
	Voices int
	Log    *slog.Logger // nil: nowhere
}

// Server is an SFU. It implements media.Channels. All methods may be called
// from any goroutine.
type Server struct {
	cfg  Config
	log  *slog.Logger
	net  *network
	cert webrtc.Certificate
	dir  *directory

	mu       sync.Mutex
	closed   bool
	sessions map[string]*Session

	goodbyes goodbyes

	started  time.Time
	hurried  chan struct{} // asks steer for a look; one place
	stop     chan struct{} // closed by the first Close
	steering sync.WaitGroup
	pacing   pacing
	counters counters

	receptions receptions
}

// New opens the sockets and starts serving.
func New(cfg Config) (*Server, error) {
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = 1000
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 15 * time.Second
	}
	if cfg.SilenceTimeout == 0 {
		cfg.SilenceTimeout = 10 * time.Second
	}
	if cfg.Linger == 0 {
		cfg.Linger = 10 * time.Second
	}
	if cfg.Voices == 0 {
		cfg.Voices = 8
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("sfu: make the DTLS key: %w", err)
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("sfu: make the DTLS certificate: %w", err)
	}
	network, err := listen(cfg)
	if err != nil {
		return nil, fmt.Errorf("sfu: listen on %q: %w", cfg.Listen, err)
	}
	s := &Server{
		cfg:      cfg,
		log:      cfg.Log,
		net:      network,
		cert:     *cert,
		dir:      newDirectory(cfg.Events, cfg.Linger, cfg.Voices),
		sessions: map[string]*Session{},
		started:  time.Now(),
		hurried:  make(chan struct{}, 1),
		stop:     make(chan struct{}),
	}
	s.pacing.wake = make(chan struct{}, 1)
	s.counters.init()
	s.receptions.init()
	s.steering.Go(func() { s.steer(s.stop) })
	s.steering.Go(func() { s.pacing.run(network.socket, s.stop) })
	s.steering.Go(func() { s.receptions.run(network.socket, s.stop) })
	return s, nil
}

// Port is the number of the UDP and the TCP port.
func (s *Server) Port() int { return s.net.port }

// Channel implements media.Channels.
func (s *Server) Channel(app, id string) (media.Channel, bool) {
	c, ok := s.dir.find(key{app, id})
	if !ok {
		return nil, false
	}
	return c, true
}

// ChannelsChanged implements media.Channels.
func (s *Server) ChannelsChanged() <-chan struct{} { return s.dir.opened() }

// Snapshot lists the channels and who is in them, sorted by application and
// channel, users in join order.
func (s *Server) Snapshot() []ChannelInfo { return s.dir.snapshot() }

// Changed is closed at the next change of Snapshot. Take it before Snapshot.
func (s *Server) Changed() <-chan struct{} { return s.dir.anything() }

// Session finds an open WebRTC session by its id; participants are not among them.
func (s *Server) Session(id string) (*Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, ok := s.sessions[id]
	if !ok || sess.client != event.WebRTC || sess.participant != nil {
		return nil, false
	}
	return sess, true
}

// Kick ends all sessions of a user in a channel, those that still connect
// included, and returns when nothing of them runs. The user may come again. The
// error is media.ErrNotFound when there is no such user.
func (s *Server) Kick(app, channel, user string) error {
	k := key{app, channel}
	all := s.pick(func(o *Session) bool { return o.where == k && o.user == user })
	ending, found := s.dir.kick(k, user, all)
	if !found {
		return fmt.Errorf("sfu: %w: user %s is not in channel %s", media.ErrNotFound, user, channel)
	}
	for _, o := range ending {
		<-o.done
	}
	return nil
}

// Dismiss ends all sessions in a channel, those that still connect included,
// and closes the channel at once. It returns when nothing of the sessions runs.
// The channel may open again. The error is media.ErrNotFound when there is no
// such channel.
func (s *Server) Dismiss(app, channel string) error {
	k := key{app, channel}
	all := s.pick(func(o *Session) bool { return o.where == k })
	ending, found := s.dir.dismiss(k, all)
	if !found {
		return fmt.Errorf("sfu: %w: there is no channel %s", media.ErrNotFound, channel)
	}
	for _, o := range ending {
		<-o.done
	}
	return nil
}

// pick lists the sessions that are meant.
func (s *Server) pick(meant func(*Session) bool) []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Session
	for _, sess := range s.sessions {
		if meant(sess) {
			all = append(all, sess)
		}
	}
	return all
}

// Close ends all sessions, closes all channels and then the sockets. It returns
// when nothing of the server runs and all events are told; it may be called
// again.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		close(s.stop)
	}
	s.closed = true
	open := slices.Collect(maps.Values(s.sessions))
	s.mu.Unlock()
	s.dir.close()
	for _, sess := range open {
		sess.end(event.TimedOut, "the server shuts down")
	}
	for _, sess := range open {
		<-sess.done
	}
	s.steering.Wait()
	return s.net.close()
}

// admit reserves a session's place.
func (s *Server) admit(sess *Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fmt.Errorf("sfu: %w: the server shuts down", media.ErrClosed)
	case len(s.sessions) >= s.cfg.MaxSessions:
		s.counters.refused.Add(1)
		return fmt.Errorf("sfu: %w: %d sessions are open", media.ErrLimit, len(s.sessions))
	}
	s.sessions[sess.id] = sess
	return nil
}

func (s *Server) forget(sess *Session) {
	s.goodbyes.add(sess)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, sess.id)
}
