package rtmp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gortmp "github.com/yutopp/go-rtmp/message"

	"braid/media"
	"braid/media/flv"
)

// Options of Dial and Play; the zero value is good.
type Options struct {
	// Control sees each address after name resolution and before the connection
	// (net.Dialer.Control); its error refuses the address.
	Control func(network, address string, c syscall.RawConn) error
	// TLS configures rtmps; ServerName is filled in from the URL.
	TLS *tls.Config
}

// A peer that takes no data is found after at most writeTimeout plus what the
// socket's buffer holds.
const (
	writeTimeout = 5 * time.Second
	userTimeout  = 8 * time.Second
	sendBuffer   = 128 << 10
	closeTimeout = 500 * time.Millisecond
)

// client is what Publisher and Puller share: a session up to createStream.
type client struct {
	*conn
	target *target
	stream uint32 // message stream id the origin gave
	next   int64  // transaction id
}

// open connects and creates a stream. When ctx ends, the connection ends; stop
// lifts that and reports whether it came in time.
func open(ctx context.Context, rawURL string, opt Options, publish bool) (c *client, stop func() bool, err error) {
	t, err := parseURL(rawURL)
	if err != nil {
		return nil, nil, err
	}
	nc, err := dial(ctx, t, opt)
	if err != nil {
		return nil, nil, err
	}
	stop = context.AfterFunc(ctx, func() { nc.Close() })
	c = &client{conn: newConn(nc, nc, writeTimeout), target: t}
	if err := c.begin(publish); err != nil {
		nc.Close()
		stop()
		return nil, nil, endedBy(ctx, err)
	}
	return c, stop, nil
}

func dial(ctx context.Context, t *target, opt Options) (net.Conn, error) {
	d := net.Dialer{Control: opt.Control}
	nc, err := d.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, fmt.Errorf("rtmp: connect: %w", err)
	}
	tuneSocket(nc, sendBuffer, userTimeout)
	if !t.tls {
		return nc, nil
	}
	cfg := opt.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if cfg.ServerName == "" {
		cfg.ServerName = t.host
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, fmt.Errorf("rtmp: %w: %w", ErrTLS, err)
	}
	return tc, nil
}

// endedBy prefers ctx's reason to the "use of closed connection" it causes.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("rtmp: set up session: %w", context.Cause(ctx))
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("rtmp: set up session: %w", err)
}

// begin runs handshake, connect and createStream (RTMP 1.0 section 7.2.1).
func (c *client) begin(publish bool) (err error) {
	defer recoverTo(&err)
	if err := c.handshake(false); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if err := c.connect(); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if publish { // older origins free and reserve the name here
		for _, name := range []string{"releaseStream", "FCPublish"} {
			if _, err := c.invoke(0, name, nil, c.target.stream); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	id, err := c.invoke(0, "createStream", nil)
	if err != nil {
		return fmt.Errorf("createStream: %w", err)
	}
	result, err := c.result(id)
	if err != nil {
		return fmt.Errorf("createStream: %w", err)
	}
	for _, v := range result.args {
		if n, ok := v.(float64); ok && n >= 1 && n < 1<<31 {
			c.stream = uint32(n)
			return nil
		}
	}
	return fmt.Errorf("createStream: %w: no stream id", ErrProtocol)
}

func (c *client) connect() error {
	id, err := c.invoke(0, "connect", gortmp.NetConnectionConnectCommand{
		App: c.target.app, Type: "nonprivate", FlashVer: "FMLE/3.0 (compatible; braid)", TCURL: c.target.tcURL,
		Capabilities: 15, AudioCodecs: 0x0fff, VideoCodecs: 0x00ff, VideoFunction: 1, // what RTMP 1.0 section 7.2.1.1 has
	})
	if err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	if _, err := c.result(id); err != nil {
		return err
	}
	if err := c.send(chunkControl, 0, &gortmp.WinAckSize{Size: publishWindow}); err != nil {
		return err
	}
	return c.sendChunkSize()
}

// invoke buffers a command with a fresh transaction id.
func (c *client) invoke(stream uint32, name string, values ...any) (id int64, err error) {
	c.next++
	return c.next, c.command(stream, name, c.next, values...)
}

// result sends what is buffered and waits for the answer to one transaction.
// Answers to others, which some origins send and some do not, are passed over.
func (c *client) result(id int64) (*call, error) {
	if err := c.flush(); err != nil {
		return nil, err
	}
	for {
		m, err := c.read()
		if err != nil {
			return nil, err
		}
		a, ok := answer(m)
		if !ok {
			continue
		}
		switch {
		case a.name == "_result" && a.transaction == float64(id):
			return a, nil
		case a.name == "_error" && a.transaction == float64(id):
			return nil, c.rejected(a)
		case a.name == "onStatus" && a.info().text("level") == "error":
			return nil, c.rejected(a)
		}
	}
}

// started sends what is buffered and waits for onStatus with the code; another
// code that begins with the prefix is a refusal.
func (c *client) started(prefix, code string) error {
	if err := c.flush(); err != nil {
		return err
	}
	for {
		m, err := c.read()
		if err != nil {
			return err
		}
		a, ok := answer(m)
		if !ok || a.name != "onStatus" {
			continue
		}
		switch got := a.info().text("code"); {
		case got == code:
			return nil
		case a.info().text("level") == "error", strings.HasPrefix(got, prefix) && got != prefix+"Reset":
			return c.rejected(a)
		}
	}
}

func answer(m *message) (*call, bool) {
	if m.typ != typeCommand {
		return nil, false
	}
	return parseCall(m)
}

func (c *client) rejected(a *call) error {
	o := a.info()
	return &RejectedError{Code: plainCode(o.text("code")), Description: c.target.scrub(o.text("description"))}
}

// plainCode is a status code made of letters and dots as all known ones are; other
// text might hold a secret and becomes "".
func plainCode(code string) string {
	for _, r := range code {
		if r != '.' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return ""
		}
	}
	return code[:min(len(code), 64)]
}

// recoverTo turns a panic into an error: go-rtmp's code answers odd input so.
func recoverTo(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("rtmp: panic: %v\n%s", r, debug.Stack())
	}
}

// Publisher is a session that sends one stream to an origin.
type Publisher struct {
	c     *client
	done  chan struct{} // closed by readLoop
	err   error         // written by readLoop before it closes done
	close sync.Once

	stalled atomic.Bool    // set by watch before it ends the connection, and by Write
	running sync.WaitGroup // readLoop and watch
}

// Dial connects to rtmp://host[:port]/app/stream or rtmps, and returns when the
// origin has said NetStream.Publish.Start. ctx bounds the setup alone.
//
// Errors: *RejectedError when the origin refuses, ErrTLS, *net.DNSError,
// syscall.ECONNREFUSED and others of net through errors.As and Is, ctx's cause.
// Two goroutines run until Close, or until the session is over: one reads, one
// looks each second whether the origin still takes what is sent, and ends the
// session with media.ErrStalled when for 6 s it has not.
func Dial(ctx context.Context, rawURL string, opt Options) (*Publisher, error) {
	c, stop, err := open(ctx, rawURL, opt, true)
	if err != nil {
		return nil, err
	}
	err = c.publish()
	if !stop() || err != nil {
		c.nc.Close()
		return nil, endedBy(ctx, err)
	}
	p := &Publisher{c: c, done: make(chan struct{})}
	p.running.Go(p.readLoop)
	p.running.Go(p.watch)
	return p, nil
}

func (c *client) publish() (err error) {
	defer recoverTo(&err)
	if _, err := c.invoke(c.stream, "publish", nil, c.target.stream, "live"); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := c.started("NetStream.Publish.", "NetStream.Publish.Start"); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// Write sends one tag. A script tag must begin with the string "onMetaData"; it goes
// out as @setDataFrame. Timestamps should begin at 0 and run forward for each
// type. It blocks while the origin is slower than the stream; media.ErrStalled after 5 s
// in which nothing was taken. After an error the session is over. For one goroutine.
func (p *Publisher) Write(t *flv.Tag) error {
	select {
	case <-p.done:
		return p.err
	default:
	}
	err := p.c.sendTag(p.c.stream, t, setDataFrame)
	if err == nil {
		err = p.c.flush()
	}
	if err != nil {
		if errors.Is(err, media.ErrStalled) {
			p.stalled.Store(true)
			resetOnClose(p.c.nc) // what waits in the socket is late; the origin should free the name
		}
		if errors.Is(err, net.ErrClosed) { // by readLoop or watch, which know why
			<-p.done
			return p.err
		}
		return fmt.Errorf("rtmp: send: %w", err)
	}
	return nil
}

// resetOnClose makes Close drop unsent data and send a reset.
func resetOnClose(nc net.Conn) {
	if tc, ok := bare(nc).(*net.TCPConn); ok {
		_ = tc.SetLinger(0)
	}
}

// bare is the connection below TLS, whose own Close waits to say goodbye.
func bare(nc net.Conn) net.Conn {
	if tc, ok := nc.(*tls.Conn); ok {
		return tc.NetConn()
	}
	return nc
}

// readLoop answers pings, counts acknowledgements and waits for the end.
func (p *Publisher) readLoop() {
	defer close(p.done)
	defer p.c.nc.Close()
	defer recoverTo(&p.err)
	for {
		m, err := p.c.read()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			if p.stalled.Load() {
				err = media.ErrStalled
			}
			p.err = fmt.Errorf("rtmp: receive: %w", err)
			return
		}
		if a, ok := answer(m); ok && a.name == "onStatus" && a.info().text("level") == "error" {
			p.err = p.c.rejected(a)
			return
		}
	}
}

// watch ends the session when the origin has stopped taking data.
func (p *Publisher) watch() {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	var seen progress
	for {
		select {
		case <-p.done:
			return
		case now := <-second.C:
			s := sample{sent: p.c.sent.Load(), acked: p.c.acked.Load()}
			s.queued, s.tcpAcked = tcpProgress(p.c.nc)
			if !seen.stalled(now, s) {
				continue
			}
			p.stalled.Store(true)
			resetOnClose(p.c.nc)
			bare(p.c.nc).Close()
			return
		}
	}
}

// Done is closed when the session is over.
func (p *Publisher) Done() <-chan struct{} { return p.done }

// Err says why the session is over; nil while it is not.
func (p *Publisher) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Acked is the number of bytes the origin has acknowledged, modulo 2^32; 0 if it
// never does.
func (p *Publisher) Acked() uint64 { return p.c.acked.Load() }

// Close ends the stream politely (FCUnpublish, deleteStream) within 1.5 s, or at
// once if a Write is under way. When it returns nothing of the session runs.
// It may be called from any goroutine and more than once.
func (p *Publisher) Close() {
	p.close.Do(func() {
		if p.Err() == nil && !p.stalled.Load() && p.c.mu.TryLock() {
			p.c.mu.Unlock()
			p.c.goodbye(true)
			p.wait(closeTimeout)
		}
		p.c.nc.Close()
	})
	p.running.Wait()
}

func (p *Publisher) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
	}
}

// goodbye says that the stream ends and closes our direction.
func (c *client) goodbye(publish bool) {
	guard := time.AfterFunc(time.Second, func() { c.nc.Close() }) // the socket may be full
	defer guard.Stop()
	if publish {
		if _, err := c.invoke(0, "FCUnpublish", nil, c.target.stream); err != nil {
			return
		}
	}
	if _, err := c.invoke(0, "deleteStream", nil, c.stream); err != nil {
		return
	}
	if c.flush() == nil {
		c.halfClose(closeTimeout)
	}
}

// Puller is a session that receives one stream from an origin.
type Puller struct {
	c     *client
	close sync.Once
}

// Play connects to a URL as Dial does and returns when the origin has said
// NetStream.Play.Start. ctx bounds the setup alone. It starts no goroutine.
func Play(ctx context.Context, rawURL string, opt Options) (*Puller, error) {
	c, stop, err := open(ctx, rawURL, opt, false)
	if err != nil {
		return nil, err
	}
	err = c.play()
	if !stop() || err != nil {
		c.nc.Close()
		return nil, endedBy(ctx, err)
	}
	return &Puller{c: c}, nil
}

func (c *client) play() (err error) {
	defer recoverTo(&err)
	if _, err := c.invoke(c.stream, "play", nil, c.target.stream, -2000); err != nil { // live, or recorded
		return fmt.Errorf("play: %w", err)
	}
	if err := c.send(chunkControl, 0, &gortmp.UserCtrl{
		Event: &gortmp.UserCtrlEventSetBufferLength{StreamID: c.stream, LengthMs: 1000},
	}); err != nil {
		return fmt.Errorf("play: %w", err)
	}
	if err := c.started("NetStream.Play.", "NetStream.Play.Start"); err != nil {
		return fmt.Errorf("play: %w", err)
	}
	return nil
}

// Read returns the next tag; io.EOF when the origin says that the stream has ended,
// *RejectedError when it ends with an error. It blocks until Close. For one goroutine.
func (p *Puller) Read() (t *flv.Tag, err error) {
	defer recoverTo(&err)
	for {
		m, err := p.c.read()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("rtmp: receive: %w", err)
		}
		if t := tagOf(m); t != nil {
			return t, nil
		}
		a, ok := answer(m)
		if !ok || a.name != "onStatus" {
			continue
		}
		switch o := a.info(); {
		case o.text("level") == "error":
			return nil, p.c.rejected(a)
		case o.text("code") == codeUnpublished, o.text("code") == codePlayStop:
			return nil, io.EOF
		}
	}
}

// tagOf is the tag a media or data message carries, or nil.
func tagOf(m *message) *flv.Tag {
	if len(m.payload) == 0 {
		return nil
	}
	t := &flv.Tag{Timestamp: m.timestamp, Payload: m.payload}
	switch m.typ {
	case typeAudio, typeVideo:
		t.Type = m.typ
	case typeData:
		t.Type = flv.Script
		t.Payload = []byte(strings.TrimPrefix(string(m.payload), string(setDataFrame)))
	default:
		return nil
	}
	return t
}

// Close ends the session; a Read under way returns with an error. It may be called
// from any goroutine and more than once.
func (p *Puller) Close() {
	p.close.Do(func() { p.c.nc.Close() })
}
