// Package rtc is the WebSocket border for calls: the session protocol of
// doc/protocol.md at /v1/rtc. It checks join tokens and what they grant, reads
// and writes JSON, and keeps a session while its socket is broken; people and
// media are sfu's.
//
//	WebSocket ⇄ socket ⇄ session ⇄ sfu.Participant
//
// Goroutines: one per session (session.run, which owns it); per socket the
// HTTP server's, which reads, one that writes and one that pings; one per
// layout request under way. Close returns when all but the HTTP server's own
// have ended.
package rtc

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"braid/media"
	"braid/media/sfu"
	"braid/signaling"
	"braid/signaling/token"
)

// Apps finds what an application's tokens are checked with.
type Apps interface {
	Application(id string) (a token.App, ok bool)
}

// Config is what the border needs.
type Config struct {
	SFU  *sfu.Server
	Apps Apps
	// Layout changes the panes of a channel's mixed stream, as a user asks whose
	// token grants it; panes is a JSON list. Errors that wrap media's sentinels are
	// told in their words. nil: nobody can.
	Layout func(ctx context.Context, app, channel, task string, panes json.RawMessage) error
	// ICEServers says what a user is told; nil: nothing.
	ICEServers func(user string) []signaling.ICEServer
	// Grace is how long a session lives on without a socket; 0 means 20 s.
	Grace time.Duration
	Log   *slog.Logger // nil: nowhere
}

const (
	joinWithin = 10 * time.Second
	maxWaiting = 1000 // sockets that have not joined yet
	layoutTime = 10 * time.Second
	closeTime  = time.Second // for goodbyes when the server ends
)

// Server serves /v1/rtc.
type Server struct {
	cfg    Config
	ctx    context.Context // of all sockets
	cancel context.CancelFunc

	mu       sync.Mutex
	draining bool
	closed   bool
	waiting  int // sockets that have not joined yet
	sessions map[string]*session
	endings  endings
	denied   atomic.Uint64
	runs     sync.WaitGroup // sessions
	sockets  sync.WaitGroup
}

// New makes the border.
func New(cfg Config) *Server {
	if cfg.Grace == 0 {
		cfg.Grace = 20 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.ICEServers == nil {
		cfg.ICEServers = func(string) []signaling.ICEServer { return []signaling.ICEServer{} }
	}
	s := &Server{cfg: cfg, sessions: map[string]*session{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// ServeHTTP takes one WebSocket and returns when it has ended. Any Origin is
// welcome: the proof is the token in the first message, and no cookie is looked
// at.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		w.Header().Set("Retry-After", "5")
		signaling.WriteProblem(w, http.StatusServiceUnavailable, "the server takes no new sessions now")
		return
	}
	defer s.sockets.Done()
	left := sync.OnceFunc(func() {
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	})
	defer left()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{"braid.v1"}, InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return // Accept has answered
	}
	conn.SetReadLimit(maxMessage)
	s.greet(conn, r.UserAgent(), left)
}

// Denied counts the joins that were refused for want of a token or its rights.
func (s *Server) Denied() uint64 { return s.denied.Load() }

// enter counts a socket, if there may be another.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.draining || s.waiting >= maxWaiting {
		return false
	}
	s.waiting++
	s.sockets.Add(1)
	return true
}

// greet reads the join and then serves the session until the socket ends.
func (s *Server) greet(conn *websocket.Conn, agent string, joined func()) {
	sock := newSocket(s.ctx, conn)
	sock.agent = agent
	defer sock.finish()
	ctx, cancel := context.WithTimeout(s.ctx, joinWithin)
	late := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			sock.close(closeNoJoin, "no join within 10 s")
		}
	})
	in, err := s.read(conn)
	late()
	cancel()
	if err != nil {
		return
	}
	found, err := s.join(sock, in)
	if err != nil {
		s.refuse(sock, in.id, err)
		for err = nil; err == nil; { // until the goodbye has gone
			_, _, err = conn.Read(s.ctx)
		}
		return
	}
	joined()
	sock.tellRTT(found.p)
	for {
		in, err := s.read(conn)
		if err != nil {
			return
		}
		in.sock = sock
		select {
		case found.requests <- in:
		case <-found.ended:
			// The goodbye is under way; reading lets it through.
		}
	}
}

// input is a client's message, read or not.
type input struct {
	request
	sock *socket
	err  error // of reading it
}

// read takes the next message; an error is the connection's end.
func (s *Server) read(conn *websocket.Conn) (in input, err error) {
	kind, text, err := conn.Read(s.ctx)
	if err != nil {
		return in, err
	}
	if kind != websocket.MessageText {
		in.err = &failure{invalid, "", "messages are text frames"}
		return in, nil
	}
	in.request, in.err = parse(text)
	return in, nil
}

// refuse answers a join that failed.
func (s *Server) refuse(sock *socket, id int64, err error) {
	var ended *overError
	if errors.As(err, &ended) {
		sock.send(encode(fields{"id": id, "type": "error", "code": over, "reason": ended.reason, "message": ended.Error()}))
		sock.close(closeEnded, ended.reason)
		return
	}
	f, told := failureOf(err)
	if !told {
		s.cfg.Log.Error("rtc: join", "err", err)
	}
	if f.code == unauthorized || f.code == forbidden {
		s.denied.Add(1)
	}
	sock.send(encode(fields{"id": id, "type": "error", "code": f.code, "field": f.field, "message": f.message}))
	if f.code == unauthorized {
		sock.close(closeUnauthorized, short(f.message))
		return
	}
	sock.close(closeRefused, short(f.message))
}

// short fits a close frame (RFC 6455 section 5.5: 125 bytes with the code).
func short(reason string) string {
	if len(reason) > 120 {
		return reason[:120]
	}
	return reason
}

// authorize checks a token.
func (s *Server) authorize(text string) (token.Claims, error) {
	c, err := token.Verify(text, s.cfg.Apps.Application, time.Now())
	switch {
	case errors.Is(err, token.ErrOff):
		return c, &failure{forbidden, "token", err.Error()}
	case err != nil:
		return c, &failure{unauthorized, "token", err.Error()}
	}
	for _, id := range []struct{ name, value string }{{"channel", c.Channel}, {"user", c.User}} {
		if !media.IsID(id.value, media.MaxID) {
			return c, wrong("token", "its %s: 1 to 64 of A-Z a-z 0-9 _ - are allowed", id.name)
		}
	}
	return c, nil
}

// find looks for a session that may be resumed.
func (s *Server) find(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

// Drain tells all clients that the server ends within a time, lets nobody in any
// more, and ends what is left when ctx or the time is over. It returns when no
// session is left.
func (s *Server) Drain(ctx context.Context, within time.Duration) {
	s.mu.Lock()
	s.draining = true
	for _, sess := range s.sessions {
		sess.drain(within)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.runs.Wait(); close(done) }()
	wait := time.NewTimer(within)
	defer wait.Stop()
	select {
	case <-done:
		return
	case <-wait.C:
	case <-ctx.Done():
	}
	s.endAll()
	<-done
}

// endAll ends the sessions with the reason draining.
func (s *Server) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for _, sess := range s.sessions {
		sess.stop()
	}
}

// Close ends all sessions and sockets and returns when nothing of them runs. It
// may be called again.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.endAll()
	s.runs.Wait()
	force := time.AfterFunc(closeTime, s.cancel)
	defer force.Stop()
	s.sockets.Wait()
	s.cancel()
}
