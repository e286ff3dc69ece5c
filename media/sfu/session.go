package sfu

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"braid/event"
	"braid/media"
)

// Session is one WebRTC connection: a publisher's or a viewer's. Inside, it is
// also what an Injection is made of: a publisher without a connection.
//
//	Publish/Subscribe → connecting → connected → ended
//	                        └──────────────────────┘
//
// run owns these steps; everyone else only asks for the end.
type Session struct {
	id     string
	srv    *Server
	where  key
	user   string
	name   string       // for people
	source media.Source // what it publishes or watches; "" for a participant
	client event.Client
	role   event.Role // as the participant says; 0: by what is published; under directory.mu
	log    *slog.Logger
	pc     *webrtc.PeerConnection
	wire   *wire // over pc, of a viewer

	pub     *publication // what it publishes; nil for a viewer
	watched *publication // what it watches; nil for a publisher
	sends   []*forward   // one per forwarded track

	participant *Participant // that it stands for; nil for WHIP, WHEP and injections

	patching sync.Mutex // one PATCH at a time
	offer    string     // as Pion was given it; under patching
	etag     string     // under patching

	poked    chan struct{} // the connection's state may have changed; never closed
	stopping chan struct{} // closed by end
	stopOnce sync.Once
	reason   string       // written before stopping is closed
	why      event.Reason // the same for machines

	workMu  sync.Mutex
	closing bool
	work    sync.WaitGroup // its own goroutines, but run

	done chan struct{} // closed by run, last
}

// publication is what one session publishes: one source of a user. A
// participant whose tracks come and go has one publication after the other.
type publication struct {
	session      *Session
	source       media.Source
	audio, video *track        // nil: not offered
	ended        chan struct{} // closed by the session

	// Owned by directory.mu, after a publication has been replaced by this one.
	held    []event.Media // taken over, and not flowing yet
	release func()        // takes back the timer that empties held
}

// newSession makes a session and reserves its place.
func (s *Server) newSession(app, channel, user string, source media.Source, client event.Client) (*Session, error) {
	if app == "" || channel == "" || user == "" {
		return nil, fmt.Errorf("sfu: %w: application, channel and user must be named", media.ErrInvalid)
	}
	sess := &Session{
		id:       random128(),
		srv:      s,
		where:    key{app, channel},
		user:     user,
		source:   source,
		client:   client,
		etag:     random128(),
		poked:    make(chan struct{}, 1),
		stopping: make(chan struct{}),
		done:     make(chan struct{}),
	}
	sess.log = s.log.With("session", sess.id[:8], "app", app, "channel", channel, "user", user, "source", source)
	if err := s.admit(sess); err != nil {
		return nil, err
	}
	return sess, nil
}

func random128() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// ID is 128 random bits in hex: knowing it is half of the right to end the session.
func (s *Session) ID() string { return s.id }

// ETag names the session's current ICE generation (RFC 9725 section 4.3); a
// restart changes it. It comes without quotes.
func (s *Session) ETag() string {
	s.patching.Lock()
	defer s.patching.Unlock()
	return s.etag
}

// App, Channel and User say whose session it is.
func (s *Session) App() string     { return s.where.app }
func (s *Session) Channel() string { return s.where.channel }
func (s *Session) User() string    { return s.user }

// Publisher tells whether the session publishes; else it watches.
func (s *Session) Publisher() bool { return s.pub != nil }

// Close ends the session and returns when nothing of it runs.
func (s *Session) Close() error {
	s.end(event.Normal, "closed by the client")
	<-s.done
	return nil
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Reason says in words why the session ended; empty while it lives.
func (s *Session) Reason() string {
	if s.stopped() {
		return s.reason
	}
	return ""
}

// stopped tells whether the session was asked to end.
func (s *Session) stopped() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// end asks run to end the session. Only the first reason counts; first tells
// whether it is this one.
func (s *Session) end(why event.Reason, reason string) (first bool) {
	s.stopOnce.Do(func() {
		s.why, s.reason, first = why, reason, true
		close(s.stopping)
	})
	return first
}

// start runs f in a goroutine that the session's end waits for; it does
// nothing when the session is ending.
func (s *Session) start(f func()) {
	s.workMu.Lock()
	defer s.workMu.Unlock()
	if !s.closing {
		s.work.Go(f)
	}
}

// poke is Pion's callback for state changes. Pion may run several at once and
// out of order, so run looks at the state itself.
func (s *Session) poke(webrtc.PeerConnectionState) {
	select {
	case s.poked <- struct{}{}:
	default:
	}
}

// run is the session's life after the answer.
func (s *Session) run() {
	s.live()
	s.finish()
}

// finish is the end of a session that has begun.
func (s *Session) finish() {
	s.log.Info("session ended", "reason", s.reason)
	s.srv.dir.leave(s)
	s.shut()
}

// live returns when the session has to end.
func (s *Session) live() {
	connected := false
	timeout := time.NewTimer(s.srv.cfg.ConnectTimeout)
	defer timeout.Stop()
	var ended <-chan struct{}
	if s.watched != nil {
		ended = s.watched.ended
	}
	for {
		select {
		case <-s.stopping:
			return
		case <-timeout.C:
			if !connected {
				s.end(event.TimedOut, fmt.Sprintf("did not connect within %v", s.srv.cfg.ConnectTimeout))
			}
		case <-ended:
			s.end(event.Normal, "the publication ended")
		case <-s.poked:
			switch state := s.pc.ConnectionState(); state {
			case webrtc.PeerConnectionStateConnected:
				if !connected {
					connected = true
					s.connect()
				}
			case webrtc.PeerConnectionStateFailed: // silence
				s.end(event.TimedOut, "the connection is failed")
			case webrtc.PeerConnectionStateClosed: // the client's DTLS alert
				s.end(event.Normal, hungUp)
			}
		}
	}
}

// connect puts the session into its channel and lets media flow.
func (s *Session) connect() {
	old, err := s.srv.dir.enter(s, false)
	if err != nil {
		s.end(event.TimedOut, err.Error())
		return
	}
	if old != nil {
		old.end(event.Replaced, "replaced by a newer session of the same user")
	}
	for _, f := range s.sends {
		f.open()
	}
	s.log.Info("session connected", "publishes", s.pub != nil)
}

// shut releases everything the session holds. The publication's viewers notice
// at once; Pion tells the other end by a DTLS alert.
func (s *Session) shut() {
	ended := s.srv.net.traces.end(s)
	for _, f := range s.sends {
		f.end()
	}
	if s.participant != nil {
		s.participant.shut()
	}
	if s.pub != nil {
		s.pub.audio.end()
		s.pub.video.end()
		close(s.pub.ended)
	}
	s.workMu.Lock()
	s.closing = true
	s.workMu.Unlock()
	if s.pc != nil {
		if err := s.pc.GracefulClose(); err != nil {
			s.log.Debug("close the connection", "err", err)
		}
	}
	s.work.Wait()
	ended()
	s.srv.forget(s)
	close(s.done)
}

// negotiate answers the (checked and reduced) offer.
func (s *Session) negotiate(ctx context.Context, offer string) (answer string, err error) {
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("sfu: %w: read the offer: %w", media.ErrInvalid, err)
	}
	answer, err = s.answer(ctx)
	if err == nil {
		s.offer = offer
	}
	return answer, err
}

// answer makes the local description with all candidates in it.
func (s *Session) answer(ctx context.Context) (string, error) {
	desc, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("sfu: make the answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(desc); err != nil {
		return "", fmt.Errorf("sfu: take the answer: %w", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", fmt.Errorf("sfu: gather candidates: %w", context.Cause(ctx))
	}
	text, err := s.srv.net.complete(s.pc, s.pc.RemoteDescription().SDP)
	if err != nil {
		return "", fmt.Errorf("sfu: write the answer: %w", err)
	}
	return text, nil
}
