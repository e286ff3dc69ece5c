package sfu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"braid/event"
	"braid/media"
)

// Source is one stream that a user publishes, finer than media.Source: a camera
// and its microphone are one media.Source, a screen and its sound another.
type Source string

const (
	Microphone  Source = "microphone"
	Camera      Source = "camera"
	ShareScreen Source = "shareScreen"
	ShareAudio  Source = "shareAudio"
)

// sources lists all, in the order in which others have them.
var sources = [...]Source{Microphone, Camera, ShareScreen, ShareAudio}

// Valid tells whether there is such a source.
func (s Source) Valid() bool {
	return s == Microphone || s == Camera || s == ShareScreen || s == ShareAudio
}

// Of is the media.Source that it is a part of.
func (s Source) Of() media.Source {
	if s == ShareScreen || s == ShareAudio {
		return media.ShareScreen
	}
	return media.Camera
}

// Video tells whether the source shows pictures.
func (s Source) Video() bool { return s == Camera || s == ShareScreen }

// kind is the source's in SDP.
func (s Source) kind() string {
	if s.Video() {
		return "video"
	}
	return "audio"
}

// JoinRequest asks to put a user into a channel.
type JoinRequest struct {
	App, Channel, User string
	DisplayName        string     // for people; may be empty
	Role               event.Role // 0: Viewer
	SubscribeAll       bool       // to what others publish, now and later
}

// Participant is a user who is in a channel by a session of its own, with media
// or without. It has at most two connections: up, which the client offers and
// publishes on, and down, which the server offers and the client receives on.
// To everyone else in braid what it publishes is like what WHIP brings.
//
// What happens to others is told as Notices. All methods may be called from any
// goroutine; after the end they return media.ErrClosed or do nothing.
//
//	client ── offer ──→ up ──→ publication, one for camera and one for screen
//	client ←─ offer ── down ←── lanes ←── forwards ←── subscriptions
//
// Locks, each taken only while those left of it may be held:
// directory.mu → mu, and up.mu, down.mu → directory.mu.
type Participant struct {
	session *Session
	room    *room // of its channel; set by directory.join
	up      up
	down    down

	mu      sync.Mutex // nothing is called with it held
	inbox   []Notice
	ready   chan struct{} // holds one token when inbox may be filled
	all     bool          // subscribes to everything
	subs    map[wanted]*subscription
	lost    []*publication // taken by another session of the user, to be cleared away
	rtt     time.Duration  // of the signalling connection; 0 unknown
	pokes   chan struct{}  // subs, lost or a connection's state have changed
	started time.Time
}

// Join puts a user into a channel at once. A Participant of the same user there
// is replaced: it ends with event.Replaced, and nobody is told that the user
// left or joined. The users are those who are there, others only; Notices tell
// what has happened since.
//
// Errors: media.ErrInvalid, media.ErrLimit (it counts as a session),
// media.ErrClosed.
func (s *Server) Join(r JoinRequest) (p *Participant, users []UserState, err error) {
	if r.Role != 0 && r.Role != event.Streamer && r.Role != event.Viewer {
		return nil, nil, fmt.Errorf("sfu: %w: role %d", media.ErrInvalid, r.Role)
	}
	sess, err := s.newSession(r.App, r.Channel, r.User, "", event.WebRTC)
	if err != nil {
		return nil, nil, err
	}
	p = &Participant{
		session: sess,
		ready:   make(chan struct{}, 1),
		all:     r.SubscribeAll,
		subs:    map[wanted]*subscription{},
		pokes:   make(chan struct{}, 1),
		started: time.Now(),
	}
	p.up.init()
	sess.participant, sess.name, sess.role = p, r.DisplayName, r.Role
	if sess.role == 0 {
		sess.role = event.Viewer
	}
	old, users, err := s.dir.join(p)
	if err != nil {
		sess.end(event.Normal, err.Error())
		sess.shut()
		return nil, nil, err
	}
	if old != nil {
		old.end(event.Replaced, "replaced by a newer session of the same user")
	}
	sess.log.Info("participant joined", "role", sess.role)
	go p.run()
	return p, users, nil
}

// ID is 128 random bits in hex.
func (p *Participant) ID() string { return p.session.id }

// App, Channel and User say who it is and where.
func (p *Participant) App() string     { return p.session.where.app }
func (p *Participant) Channel() string { return p.session.where.channel }
func (p *Participant) User() string    { return p.session.user }

// Done is closed when the participant has ended, Stopping when that begins.
func (p *Participant) Done() <-chan struct{}     { return p.session.done }
func (p *Participant) Stopping() <-chan struct{} { return p.session.stopping }

// Why says why the participant ended, 0 while it lives; Reason says it in words.
func (p *Participant) Why() event.Reason {
	if p.session.stopped() {
		return p.session.why
	}
	return 0
}
func (p *Participant) Reason() string { return p.session.Reason() }

// Close ends the participant with the reason that UserLeave gives, and returns
// when nothing of it runs. It may be called again.
func (p *Participant) Close(why event.Reason, reason string) {
	p.session.end(why, reason)
	<-p.session.done
}

// Users lists the others who are in the channel now. Notices that wait are
// older than it.
func (p *Participant) Users() []UserState { return p.session.srv.dir.users(p.session) }

// Ready gets a token when Take may give something. One goroutine reads it.
func (p *Participant) Ready() <-chan struct{} { return p.ready }

// Take removes and returns what has happened since, the oldest first. Somebody
// has to take now and then: what waits has no bound.
func (p *Participant) Take() []Notice {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.inbox
	p.inbox = nil
	return all
}

// tell adds a notice; it may be called with directory.mu held.
func (p *Participant) tell(n Notice) {
	p.mu.Lock()
	p.inbox = append(p.inbox, n)
	p.mu.Unlock()
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

func (p *Participant) poke() {
	select {
	case p.pokes <- struct{}{}:
	default:
	}
}

// SetRole changes the role. A viewer publishes nothing: what it published ends.
func (p *Participant) SetRole(r event.Role) error {
	if r != event.Streamer && r != event.Viewer {
		return fmt.Errorf("sfu: %w: role %d", media.ErrInvalid, r)
	}
	if p.session.stopped() {
		return p.closed()
	}
	if r == event.Viewer {
		p.up.drop(p, sources[:]...)
	}
	p.session.srv.dir.setRole(p.session, r)
	return nil
}

// Mute says that a source is silent or dark on purpose, or no longer. It holds
// until the source ends. The error is media.ErrNotFound when it is not
// published.
func (p *Participant) Mute(s Source, muted bool) error {
	t := p.up.track(s)
	if t == nil {
		return fmt.Errorf("sfu: %w: %s is not published", media.ErrNotFound, s)
	}
	t.muted.Store(muted)
	p.session.srv.dir.refresh(p.session)
	return nil
}

// Send gives a message to other participants: to those named, or to all when to
// is nil. missing are those named who are not there. Unless it is reliable it
// may be left out by a receiver's signalling that is behind.
func (p *Participant) Send(to []string, topic string, payload json.RawMessage, reliable bool) (missing []string, err error) {
	if p.session.stopped() {
		return nil, p.closed()
	}
	return p.session.srv.dir.send(p.session, to, Data{From: p.User(), Topic: topic, Payload: payload, Lossy: !reliable}), nil
}

// SetRTT tells the round trip time of the signalling connection, which stands
// in for that of media where no receiver report tells it.
func (p *Participant) SetRTT(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rtt = d
}

func (p *Participant) closed() error {
	return fmt.Errorf("sfu: %w: %s", media.ErrClosed, p.session.reason)
}

// lose is called with directory.mu held when another session of the user has
// taken the place of what this one published.
func (p *Participant) lose(pub *publication) {
	p.mu.Lock()
	p.lost = append(p.lost, pub)
	p.mu.Unlock()
	p.poke()
}

// batch is how long changes of subscriptions are gathered for one offer:
// somebody who comes publishes several sources within that time, and nobody
// sees 20 ms.
const batch = 20 * time.Millisecond

// run is the participant's life.
func (p *Participant) run() {
	defer p.session.finish()
	wait := time.NewTimer(0)
	defer wait.Stop()
	if !wait.Stop() {
		<-wait.C
	}
	waiting := false
	for {
		select {
		case <-p.session.stopping:
			return
		case <-p.pokes:
			p.clearLost()
			p.up.check(p)
			if !waiting {
				waiting = true
				wait.Reset(batch)
			}
		case <-wait.C:
			waiting = false
			p.down.update(p)
		}
	}
}

// shut closes the connections and ends what was published; the session calls it
// after the participant has left.
func (p *Participant) shut() {
	p.down.close(p)
	p.up.close(p)
}

func (p *Participant) clearLost() {
	p.mu.Lock()
	lost := p.lost
	p.lost = nil
	p.mu.Unlock()
	for _, pub := range lost {
		for _, s := range p.up.taken(p, pub) {
			p.tell(Unpublished{p.User(), s})
		}
	}
}

// gathered makes a local description complete and returns it with the server's
// candidates. base is the description of the other side that an answer belongs
// to, "" for an offer.
func (p *Participant) gathered(ctx context.Context, pc *webrtc.PeerConnection, desc webrtc.SessionDescription, base string) (string, error) {
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(desc); err != nil {
		return "", fmt.Errorf("sfu: take the description: %w", err)
	}
	select {
	case <-done:
	case <-ctx.Done():
		return "", fmt.Errorf("sfu: gather candidates: %w", context.Cause(ctx))
	}
	text, err := p.session.srv.net.complete(pc, base)
	if err != nil {
		return "", fmt.Errorf("sfu: write the description: %w", err)
	}
	return text, nil
}

// closePeer ends a connection; what goes wrong on the way is nobody's concern.
func (p *Participant) closePeer(pc *webrtc.PeerConnection) {
	if pc == nil {
		return
	}
	if err := pc.GracefulClose(); err != nil && !errors.Is(err, webrtc.ErrConnectionClosed) {
		p.session.log.Debug("close a connection", "err", err)
	}
}
