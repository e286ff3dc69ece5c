package rtc

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"braid/event"
	"braid/media/sfu"
	"braid/signaling/token"
)

const (
	maxKept      = 1000             // events kept for a resume
	maxKeptLen   = maxQueuedLen / 2 // bytes of these: a resume queues them all at once
	requestRate  = 100              // a second
	requestBurst = 200
	dataRate     = 50 // a second
	dataBurst    = 100
	refusalBurst = 500 // answers "limit" before a client that does not care is cut off
	expiryNotice = 30 * time.Second
)

// session is one user's stay, over however many sockets.
//
//	join → live ⇄ without socket ─ grace ─→ ended
//	         └── leave, end of participant, expiry, drain ──┘
type session struct {
	srv *Server
	p   *sfu.Participant
	log *slog.Logger

	requests chan input    // from the readers of sockets; run answers
	takeover chan takeover // from joins that resume
	draining chan time.Duration
	stopping chan struct{} // closed by stop
	stopOnce sync.Once
	ended    chan struct{} // closed by run, last but for its own return

	// The rest is owned by run.
	claims   token.Claims
	role     token.Role
	sock     *socket  // nil while there is none
	seq      int64    // of the newest event
	kept     [][]byte // events seq-len(kept)+1 to seq
	keptLen  int      // bytes in kept
	rate     *rate.Limiter
	data     *rate.Limiter
	refusals *rate.Limiter
	layouts  sync.WaitGroup
}

// takeover is a socket that wants the session.
type takeover struct {
	sock   *socket
	claims token.Claims
	id     int64
	seq    int64
	done   chan bool // gets whether it has it
}

// join answers the first message of a socket: it finds or makes the session.
func (s *Server) join(sock *socket, in input) (*session, error) {
	if in.err != nil {
		return nil, in.err
	}
	b, ok := in.body.(*joinBody)
	if !ok {
		return nil, &failure{invalid, "type", "type: the first request is join"}
	}
	claims, err := s.authorize(b.Token)
	if err != nil {
		return nil, err
	}
	if b.Resume != nil {
		if sess := s.resume(sock, in.id, b.Resume, claims); sess != nil {
			return sess, nil
		}
		if reason := s.ending(b.Resume.Session); reason != "" {
			return nil, &overError{reason}
		}
	}
	role, err := roleFor(b.Role, claims)
	if err != nil {
		return nil, err
	}
	return s.begin(sock, in.id, b, claims, role)
}

// roleFor is the role to begin with.
func roleFor(asked token.Role, c token.Claims) (token.Role, error) {
	publishes := c.Camera || c.ShareScreen
	switch {
	case asked == token.Streamer && !publishes:
		return "", &failure{forbidden, "role", "role: the token grants nothing to publish"}
	case asked != "":
		return asked, nil
	case c.Role != "":
		return c.Role, nil
	case publishes:
		return token.Streamer, nil
	}
	return token.Viewer, nil
}

// resume hands the socket to a session that lives; nil when there is none.
func (s *Server) resume(sock *socket, id int64, r *resumeBody, c token.Claims) *session {
	sess := s.find(r.Session)
	if sess == nil || sess.p.App() != c.App || sess.p.Channel() != c.Channel || sess.p.User() != c.User {
		return nil
	}
	t := takeover{sock, c, id, r.Seq, make(chan bool, 1)}
	select {
	case sess.takeover <- t:
	case <-sess.ended:
		return nil
	}
	select {
	case ok := <-t.done:
		if ok {
			return sess
		}
	case <-sess.ended:
	}
	return nil
}

// begin makes a session.
func (s *Server) begin(sock *socket, id int64, b *joinBody, c token.Claims, role token.Role) (*session, error) {
	p, users, err := s.cfg.SFU.Join(sfu.JoinRequest{
		App: c.App, Channel: c.Channel, User: c.User, DisplayName: b.Name,
		Role: eventRole(role), SubscribeAll: c.Subscribe && b.Subscribe != "manual",
	})
	if err != nil {
		return nil, err
	}
	p.SetAgent(sock.agent)
	sess := &session{
		srv: s, p: p, claims: c, role: role, sock: sock,
		log:      s.cfg.Log.With("session", p.ID()[:8], "app", c.App, "channel", c.Channel, "user", c.User),
		requests: make(chan input), takeover: make(chan takeover), draining: make(chan time.Duration, 1),
		stopping: make(chan struct{}), ended: make(chan struct{}),
		rate:     rate.NewLimiter(requestRate, requestBurst),
		data:     rate.NewLimiter(dataRate, dataBurst),
		refusals: rate.NewLimiter(requestRate, refusalBurst),
	}
	s.mu.Lock()
	if s.draining || s.closed {
		s.mu.Unlock()
		p.Close(event.Normal, "the server takes no new sessions")
		return nil, &failure{limited, "", "the server takes no new sessions now"}
	}
	s.sessions[p.ID()] = sess
	s.runs.Add(1)
	s.mu.Unlock()
	sess.welcome(id, users, false)
	go sess.run()
	return sess, nil
}

func eventRole(r token.Role) event.Role {
	if r == token.Streamer {
		return event.Streamer
	}
	return event.Viewer
}

// welcome answers a join.
func (s *session) welcome(id int64, users []sfu.UserState, resumed bool) {
	s.answer(s.sock, id, fields{
		"session": s.p.ID(), "app": s.claims.App, "channel": s.claims.Channel, "user": s.claims.User,
		"role": s.role, "users": usersOf(users), "grants": s.grants(), "ice_servers": s.srv.cfg.ICEServers(s.claims.User),
		"grace_ms": s.srv.cfg.Grace.Milliseconds(), "resumed": resumed, "seq": s.seq,
	})
}

func (s *session) grants() fields {
	return fields{
		"camera": s.claims.Camera, "shareScreen": s.claims.ShareScreen, "subscribe": s.claims.Subscribe, "mix": s.claims.Mix,
	}
}

// stop asks run to end the session because the server ends.
func (s *session) stop() { s.stopOnce.Do(func() { close(s.stopping) }) }

// drain asks run to warn the client.
func (s *session) drain(within time.Duration) {
	select {
	case s.draining <- within:
	default: // it is warned already
	}
}

// run is the session's life.
func (s *session) run() {
	defer s.srv.runs.Done()
	reason := s.live()
	s.finish(reason)
}

// live serves until the session has to end, and returns the reason as the
// protocol names it.
func (s *session) live() (reason string) {
	grace := time.NewTimer(0)
	grace.Stop()
	defer grace.Stop()
	expiring, expired := time.NewTimer(time.Until(s.claims.Expires)-expiryNotice), time.NewTimer(time.Until(s.claims.Expires))
	defer expiring.Stop()
	defer expired.Stop()
	for {
		select {
		case <-s.p.Stopping():
			return "" // finish knows
		case <-s.stopping:
			return "draining"
		case <-s.p.Ready():
			s.pump()
		case in := <-s.requests:
			if in.sock != s.sock {
				continue // from a socket that another has taken the place of
			}
			until := s.claims.Expires
			if s.do(in) {
				return "left"
			}
			if s.claims.Expires != until {
				s.rewind(expiring, expired)
			}
		case t := <-s.takeover:
			s.take(t)
			s.rewind(expiring, expired)
			grace.Stop()
		case <-s.gone():
			s.log.Info("rtc: the socket is gone", "reason", s.sock.ending())
			s.sock = nil
			grace.Reset(s.srv.cfg.Grace)
		case <-grace.C:
			return "timeout"
		case <-expiring.C:
			s.event("expiring", fields{"within_ms": max(0, time.Until(s.claims.Expires)).Milliseconds()})
		case <-expired.C:
			return "expired"
		case within := <-s.draining:
			s.event("draining", fields{"within_ms": within.Milliseconds()})
		}
	}
}

func (s *session) rewind(expiring, expired *time.Timer) {
	left := time.Until(s.claims.Expires)
	expiring.Reset(left - expiryNotice)
	expired.Reset(left)
}

// gone is closed when the socket has ended; nil, which never is, without one.
func (s *session) gone() <-chan struct{} {
	if s.sock == nil {
		return nil
	}
	return s.sock.gone
}

// finish tells the end and takes the user out of the channel.
func (s *session) finish(reason string) {
	why := map[string]event.Reason{"left": event.Normal, "expired": event.TimedOut, "timeout": event.TimedOut, "draining": event.TimedOut}
	if reason != "" {
		s.p.Close(why[reason], "the session ended: "+reason)
	}
	s.srv.mu.Lock()
	delete(s.srv.sessions, s.p.ID())
	if reason == "" {
		reason = endOf(s.p.Why(), s.srv.draining)
	}
	s.srv.endings.keep(s.p.ID(), reason, time.Now(), s.srv.cfg.Grace)
	s.srv.mu.Unlock()
	s.pump()
	s.event("end", fields{"reason": reason})
	if s.sock != nil {
		s.sock.close(closeEnded, reason)
	}
	close(s.ended)
	<-s.p.Done()
	s.layouts.Wait()
	s.log.Info("rtc: session ended", "reason", reason)
}

// endOf names the reason of an end that the participant's was.
func endOf(r event.Reason, draining bool) string {
	switch r {
	case event.Replaced:
		return "replaced"
	case event.Kicked:
		return "kicked"
	case event.Dismissed:
		return "dismissed"
	case event.TimedOut:
		if draining {
			return "draining"
		}
		return "timeout"
	}
	return "left"
}

// pump turns notices into events.
func (s *session) pump() {
	for _, n := range s.p.Take() {
		if d, ok := n.(sfu.Data); ok && d.Lossy && (s.sock == nil || s.sock.behind()) {
			continue
		}
		s.event(eventOf(n))
	}
}

// event numbers, keeps and sends an event.
func (s *session) event(kind string, f fields) {
	s.seq++
	f["type"], f["seq"] = kind, s.seq
	text := encode(f)
	s.keep(text)
	if s.sock != nil {
		s.sock.send(text)
	}
}

// keep adds the newest event and forgets the oldest that are too many.
func (s *session) keep(text []byte) {
	s.keptLen += len(text)
	over := 0
	for over < len(s.kept) && (len(s.kept)-over >= maxKept || s.keptLen > maxKeptLen) {
		s.keptLen -= len(s.kept[over])
		over++
	}
	clear(s.kept[:over]) // the rest may stay in its place for long
	s.kept = append(s.kept[over:], text)
}

// take lets a new socket have the session, with the events that it lacks. When
// these are not all there, the answer's users are the truth, and an offer that
// waits for its answer is told again.
func (s *session) take(t takeover) {
	if s.p.Why() != 0 {
		t.done <- false
		return
	}
	if s.sock != nil {
		s.sock.close(closeElsewhere, "the session goes on on another socket")
	}
	s.pump()
	s.sock, s.claims = t.sock, t.claims
	s.heedGrants()
	missing := s.seq - t.seq
	whole := missing >= 0 && missing <= int64(len(s.kept))
	if whole {
		newest := s.seq
		s.seq = t.seq // for the answer: what follows it
		s.welcome(t.id, s.p.Users(), true)
		s.seq = newest
		for _, text := range s.kept[int64(len(s.kept))-missing:] {
			s.sock.send(text)
		}
	} else {
		s.welcome(t.id, s.p.Users(), true)
		s.p.Repeat()
	}
	t.done <- true
}

// heedGrants ends what a newer token does not grant any more.
func (s *session) heedGrants() {
	for _, src := range []sfu.Source{sfu.Microphone, sfu.Camera, sfu.ShareScreen, sfu.ShareAudio} {
		if !s.claims.MayPublish(src.Of()) {
			_ = s.p.Unpublish(src) // not_found is what is wanted
		}
	}
	if !s.claims.Subscribe {
		s.p.Deafen()
	}
}

// answer sends a request's success.
func (s *session) answer(sock *socket, id int64, f fields) {
	if f == nil {
		f = fields{}
	}
	f["id"], f["type"] = id, "ok"
	sock.send(encode(f))
}

// fail sends a request's failure.
func (s *session) fail(sock *socket, id int64, err error) {
	f, told := failureOf(err)
	if !told {
		s.log.Error("rtc: answer a request", "err", err)
	}
	out := fields{"id": id, "type": "error", "code": f.code, "message": f.message}
	if f.field != "" {
		out["field"] = f.field
	}
	sock.send(encode(out))
}
