package rtmp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	gortmp "github.com/yutopp/go-rtmp/message"

	"braid/media"
)

const (
	handshakeTimeout = 5 * time.Second
	setupTimeout     = 15 * time.Second // from accept to publish or play
	setupBudget      = 64 << 10         // bytes a client may send before it publishes or plays
	setupAlloc       = 512              // bytes; first allocation for one of its messages
	idleTimeout      = 10 * time.Second // a publisher is pinged after one, gone after three
	viewerTimeout    = 10 * time.Second // a viewer that takes nothing for so long is closed
	maxStreams       = 8                // message streams at a time
)

// Status codes (RTMP 1.0 section 7.2.2 names some; the others are what servers send).
const (
	codeConnected      = "NetConnection.Connect.Success"
	codeConnectBad     = "NetConnection.Connect.Rejected"
	codePublishStart   = "NetStream.Publish.Start"
	codePublishBadName = "NetStream.Publish.BadName"
	codePublishDenied  = "NetStream.Publish.Denied"
	codeUnpublish      = "NetStream.Unpublish.Success"
	codePlayReset      = "NetStream.Play.Reset"
	codePlayStart      = "NetStream.Play.Start"
	codePlayStop       = "NetStream.Play.Stop"
	codePlayNotFound   = "NetStream.Play.StreamNotFound"
	codePlayFailed     = "NetStream.Play.Failed"
	codeUnpublished    = "NetStream.Play.UnpublishNotify"
)

// Serve answers one client until it leaves or ctx ends, and closes nc. A client may
// publish or play, one stream at a time. It returns nil when the client left in
// an orderly way, and then nothing of the session runs. A viewer has one goroutine
// of its own, which waits in Playback.Next.
//
// Limits: handshake 5 s, 15 s and 64 KiB until publish or play, messages of 4 MiB for
// media and 64 KiB for all else, 32 chunk streams, 8 message streams, half-read
// messages of 8 MiB in all, 30 s without a byte from a publisher (it is pinged
// meanwhile), 10 s without progress to a viewer.
func Serve(ctx context.Context, nc net.Conn, h Handler, log *slog.Logger) (err error) {
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	tuneSocket(nc, 4*sendBuffer, viewerTimeout)

	outside := ctx
	ctx, cancel := context.WithCancel(ctx)
	s := &server{ctx: ctx, cancel: cancel, h: h, log: log}
	r := &timedReader{nc: nc, ping: s.ping, until: time.Now().Add(handshakeTimeout)}
	s.r, s.conn = r, newConn(nc, r, viewerTimeout)
	s.in.limit, s.in.alloc, s.in.budget = setupBudget, setupAlloc, setupBudget
	err = s.guard(s.run)
	publishing := s.ingest != nil
	err = errors.Join(err, s.guard(s.close))
	if outside.Err() != nil {
		return nil
	}
	return s.orderly(err, publishing)
}

// guard turns a panic of go-rtmp or a Handler into an error.
func (s *server) guard(f func() error) (err error) {
	defer recoverTo(&err)
	return f()
}

// orderly is nil for the ways in which a session ends by itself: the client closed, or
// the stream it watched ended. Viewers often close with data unread, which the
// kernel reports as a reset; for a publisher that is a fault.
func (s *server) orderly(err error, publishing bool) error {
	v := s.viewer
	switch {
	case v != nil && v.err != nil && !errors.Is(v.err, io.EOF) && !left(v.err):
		return fmt.Errorf("rtmp: play: %w", v.err)
	case errors.Is(err, io.EOF), v != nil && errors.Is(v.err, io.EOF):
		return nil
	case s.invited && !publishing && left(err):
		return nil
	}
	return err
}

func left(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// server is one client's session. The reading goroutine owns it; the viewer's
// goroutine uses conn's way out, playback and ctx alone.
//
//	handshake → connect → createStream → publish ⇄ idle
//	                                   → play    ⇄ idle
type server struct {
	*conn
	r      *timedReader
	ctx    context.Context
	cancel context.CancelFunc
	h      Handler
	log    *slog.Logger

	app       string
	appQuery  string
	host      string // of the client's tcUrl
	connected bool
	streams   map[uint32]bool
	lastID    uint32

	ingest  Ingest  // while publishing
	viewer  *viewer // while playing, and after it
	active  uint32  // message stream that publishes or plays
	invited bool    // a Handler has accepted the client once: the setup limits are lifted
}

// viewer is the goroutine that plays.
type viewer struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	err    error // why it ended by itself; read it after done. io.EOF: the stream has ended
}

// timedReader bounds each wait for data. While publishing it pings a silent client.
type timedReader struct {
	nc    net.Conn
	ping  func() error
	until time.Time // hard end of the setup; zero: none
	idle  bool      // bound the silence: true while publishing
}

func (r *timedReader) Read(b []byte) (int, error) {
	for try := 1; ; try++ {
		var deadline time.Time
		switch {
		case !r.until.IsZero():
			deadline = r.until
		case r.idle:
			deadline = time.Now().Add(idleTimeout)
		default:
			return r.nc.Read(b) // a viewer says nothing for hours; its end may be bounded by halfClose
		}
		if err := r.nc.SetReadDeadline(deadline); err != nil {
			return 0, err
		}
		n, err := r.nc.Read(b)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !r.idle || try == 3 {
			return n, err
		}
		if err := r.ping(); err != nil {
			return 0, err
		}
	}
}

func (s *server) ping() error {
	return s.sendNow(chunkControl, 0, &gortmp.UserCtrl{Event: &gortmp.UserCtrlEventPingRequest{}})
}

func (s *server) run() error {
	if err := s.handshake(true); err != nil {
		return fmt.Errorf("rtmp: handshake: %w", err)
	}
	s.r.until = time.Now().Add(setupTimeout)
	for {
		m, err := s.read()
		if err != nil {
			return fmt.Errorf("rtmp: receive: %w", err)
		}
		if err := s.take(m); err != nil {
			return err
		}
	}
}

func (s *server) take(m *message) error {
	if m.typ == typeCommand {
		c, ok := parseCall(m)
		if !ok {
			return nil
		}
		if err := s.command(c); err != nil {
			return err
		}
		return s.flush()
	}
	if s.ingest == nil || m.stream != s.active {
		return nil
	}
	t := tagOf(m)
	if t == nil || len(t.Payload) == 0 {
		return nil
	}
	s.ingest.WriteTag(t)
	if e, ok := s.ingest.(Ender); ok {
		if err := e.Err(); err != nil {
			return s.refuse(s.active, refusalCode(err), fmt.Errorf("rtmp: publish: %w", err))
		}
	}
	return nil
}

func refusalCode(err error) string {
	if errors.Is(err, media.ErrExists) {
		return codePublishBadName
	}
	return codePublishDenied
}

func (s *server) command(c *call) error {
	if c.name == "connect" {
		return s.connect(c)
	}
	if !s.connected {
		return fmt.Errorf("%w: %.20q before connect", ErrProtocol, c.name)
	}
	switch c.name {
	case "createStream":
		return s.createStream(c)
	case "publish":
		return s.publish(c)
	case "play":
		return s.play(c)
	case "releaseStream", "FCPublish":
		return s.conn.command(0, "_result", int64(c.transaction), nil, nil)
	case "FCUnpublish":
		s.end() // names the stream; a client has one
		return s.conn.command(0, "_result", int64(c.transaction), nil, nil)
	case "closeStream":
		return s.endStream(c.stream)
	case "deleteStream":
		return s.deleteStream(c)
	}
	s.log.Debug("rtmp: command ignored", "name", fmt.Sprintf("%.40s", c.name))
	return nil
}

func (s *server) connect(c *call) error {
	if s.connected || len(c.args) == 0 {
		return fmt.Errorf("%w: connect twice or without an object", ErrProtocol)
	}
	args, _ := c.args[0].(object)
	app, query, _ := strings.Cut(args.text("app"), "?")
	s.app, s.appQuery, s.host = strings.Trim(app, "/"), query, hostOf(args.text("tcUrl"))
	if err := errors.Join(
		s.send(chunkControl, 0, &gortmp.WinAckSize{Size: ackWindow}),
		s.send(chunkControl, 0, &gortmp.SetPeerBandwidth{Size: ackWindow, Limit: gortmp.LimitTypeDynamic}),
		s.sendChunkSize(),
	); err != nil {
		return err
	}
	if s.app == "" {
		_ = s.conn.command(0, "_error", int64(c.transaction), nil, status{"error", codeConnectBad, "no app"})
		return s.bye(fmt.Errorf("%w: connect without an app", ErrProtocol))
	}
	s.connected = true
	s.streams = map[uint32]bool{}
	return s.conn.command(0, "_result", int64(c.transaction),
		greeting(args),
		struct {
			Level          string `amf0:"level"`
			Code           string `amf0:"code"`
			Description    string `amf0:"description"`
			ObjectEncoding int    `amf0:"objectEncoding"`
		}{"status", codeConnected, "Connection succeeded.", 0})
}

func (s *server) createStream(c *call) error {
	if len(s.streams) >= maxStreams {
		return fmt.Errorf("%w: more than %d message streams", ErrProtocol, maxStreams)
	}
	s.lastID++
	s.streams[s.lastID] = true
	return s.conn.command(0, "_result", int64(c.transaction), nil, s.lastID)
}

func (s *server) onStatus(stream uint32, level, code, description string) error {
	return s.conn.command(stream, "onStatus", 0, nil, status{level, code, description})
}

// refuse tells the client why, and ends the session with err.
func (s *server) refuse(stream uint32, code string, err error) error {
	if e := s.onStatus(stream, "error", code, refusal(err)); e != nil {
		return e
	}
	return s.bye(err)
}

// refusal says what kind of error it is, in the words that players and
// encoders show to people.
func refusal(err error) string {
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return r.Words
	case errors.Is(err, media.ErrExists):
		return "somebody publishes this stream already"
	case errors.Is(err, media.ErrNotFound):
		return "nobody publishes this stream"
	case errors.Is(err, media.ErrInvalid):
		return "the name of the application or of the stream is not allowed"
	case errors.Is(err, media.ErrClosed):
		return "the server shuts down"
	}
	return "refused"
}

// bye sends what is buffered and reads on until the client has closed too, so
// that the last words are not lost to a reset. It returns err.
func (s *server) bye(err error) error {
	if e := s.flush(); e != nil {
		return err
	}
	s.r.until, s.r.idle = time.Time{}, false
	s.halfClose(closeTimeout)
	_, _ = io.Copy(io.Discard, io.LimitReader(s.nc, maxPartial))
	return err
}

// request is what publish and play ask for; arg is a stream's name and query.
func (s *server) request(arg string) Request {
	stream, query, _ := strings.Cut(arg, "?")
	if s.appQuery != "" {
		query = strings.TrimPrefix(query+"&"+s.appQuery, "&")
	}
	return Request{App: s.app, Stream: stream, Query: query, Host: s.host, Remote: s.nc.RemoteAddr()}
}

// hostOf is the host in a tcUrl. Encoders write all kinds of text there, so it is
// cut out, not parsed: what lies between "://" and the next slash, without port.
func hostOf(tcURL string) string {
	_, rest, ok := strings.Cut(tcURL, "://")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if strings.HasPrefix(rest, "[") { // an IPv6 address
		host, _, _ := strings.Cut(rest[1:], "]")
		return strings.ToLower(host)
	}
	host, _, _ := strings.Cut(rest, ":")
	return strings.ToLower(host)
}

// mayBegin checks that a client that is not busy names a stream it has created.
func (s *server) mayBegin(c *call) error {
	if !s.streams[c.stream] {
		return fmt.Errorf("%w: %s on a stream that was not created", ErrProtocol, c.name)
	}
	if s.active != 0 {
		return fmt.Errorf("%w: %s while the session is busy", ErrProtocol, c.name)
	}
	return nil
}

func (s *server) publish(c *call) error {
	if err := s.mayBegin(c); err != nil {
		return err
	}
	ingest, err := s.h.Publish(s.request(c.text(1)))
	if err != nil {
		return s.refuse(c.stream, refusalCode(err), fmt.Errorf("rtmp: publish: %w", err))
	}
	s.ingest, s.active = ingest, c.stream
	s.invite(true)
	return s.onStatus(c.stream, "status", codePublishStart, "Publishing.")
}

// invite lifts the limits of the setup.
func (s *server) invite(publishing bool) {
	s.invited = true
	s.in.limit, s.in.alloc, s.in.budget = maxMediaMessage, firstAlloc, 0
	s.r.until, s.r.idle = time.Time{}, publishing
	_ = s.nc.SetReadDeadline(time.Time{})
}

func (s *server) play(c *call) error {
	if err := s.mayBegin(c); err != nil {
		return err
	}
	playback, err := s.h.Play(s.request(c.text(1)))
	if err != nil {
		code := codePlayFailed
		if errors.Is(err, media.ErrNotFound) {
			code = codePlayNotFound
		}
		return s.refuse(c.stream, code, fmt.Errorf("rtmp: play: %w", err))
	}
	s.active = c.stream
	s.invite(false)
	ctx, cancel := context.WithCancel(s.ctx)
	v := &viewer{cancel: cancel}
	s.viewer = v
	v.done.Go(func() { v.err = s.watch(ctx, c.stream, playback) })
	return nil
}

// watch hands the stream to the viewer and ends the connection when the stream
// ends. It returns nil when the reading goroutine has ended it.
func (s *server) watch(ctx context.Context, stream uint32, p Playback) error {
	defer p.Close()
	err := s.copyTags(ctx, stream, p)
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		s.halfClose(closeTimeout)
	} else {
		s.nc.Close()
	}
	return err
}

// copyTags greets the viewer and sends the stream. It always returns an error.
func (s *server) copyTags(ctx context.Context, stream uint32, p Playback) (err error) {
	defer recoverTo(&err)
	if err := errors.Join(
		s.send(chunkControl, 0, &gortmp.UserCtrl{Event: &gortmp.UserCtrlEventStreamBegin{StreamID: stream}}),
		s.onStatus(stream, "status", codePlayReset, "Playing and resetting."),
		s.onStatus(stream, "status", codePlayStart, "Started playing."),
		s.flush(),
	); err != nil {
		return err
	}
	for {
		tags, err := p.Next(ctx)
		if errors.Is(err, io.EOF) {
			return s.sendEnd(stream)
		}
		if err != nil {
			return err
		}
		for _, t := range tags {
			if err := s.sendTag(stream, t, nil); err != nil {
				return err
			}
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

// sendEnd says that the stream has ended, in the words different players know. It
// returns io.EOF.
func (s *server) sendEnd(stream uint32) error {
	if err := errors.Join(
		s.send(chunkControl, 0, &gortmp.UserCtrl{Event: &gortmp.UserCtrlEventStreamEOF{StreamID: stream}}),
		s.onStatus(stream, "status", codeUnpublished, "The stream has ended."),
		s.onStatus(stream, "status", codePlayStop, "Stopped playing."),
		s.flush(),
	); err != nil {
		return err
	}
	return io.EOF
}

// endStream ends what runs on a message stream; the stream stays.
func (s *server) endStream(stream uint32) error {
	if stream == 0 || stream != s.active {
		return nil
	}
	publishing := s.ingest != nil
	s.end()
	if publishing {
		return s.onStatus(stream, "status", codeUnpublish, "Stopped publishing.")
	}
	return nil
}

func (s *server) deleteStream(c *call) error {
	for _, v := range c.args {
		if n, ok := v.(float64); ok && n == float64(uint32(n)) {
			err := s.endStream(uint32(n))
			delete(s.streams, uint32(n))
			return err
		}
	}
	return nil
}

// end stops publishing or playing and waits for it.
func (s *server) end() {
	if s.ingest != nil {
		s.ingest.Close()
		s.ingest = nil
	}
	if s.viewer != nil {
		s.viewer.cancel()
		s.viewer.done.Wait()
	}
	s.active = 0
	s.r.idle = false
	s.r.until = time.Now().Add(setupTimeout) // to begin anew, or leave
}

// close ends whatever runs; the connection is closed first, so that a write to a
// viewer does not hold it up.
func (s *server) close() error {
	s.cancel()
	s.nc.Close()
	s.end()
	return nil
}
