package rtmp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	gortmp "github.com/yutopp/go-rtmp/message"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/flv"
)

func ctx5(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// What is published is what a viewer gets, tag by tag.
func TestPublishAndPlay(t *testing.T) {
	testkit.NoLeaks(t)
	hub := newTestHub()
	s := startServer(t, hub, nil)
	tags := readFLV(t, sampleFLV)

	p, err := Dial(ctx5(t), s.url("live/cam?token=a%20b&x"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := Play(ctx5(t), s.url("live/cam?u=1"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, tag := range tags {
		if err := p.Write(tag); err != nil {
			t.Fatal(err)
		}
	}
	p.Close()
	p.Close()
	if err := p.Write(tags[0]); err == nil {
		t.Error("Write after Close: got nil, want an error")
	}
	got := readAll(t, v)
	if len(got) != len(tags) {
		t.Fatalf("the viewer got %d tags, want %d", len(got), len(tags))
	}
	for i := range tags {
		if !reflect.DeepEqual(got[i], tags[i]) {
			t.Fatalf("tag %d: got type %d at %d of %d bytes, want %d at %d of %d", i,
				got[i].Type, got[i].Timestamp, len(got[i].Payload), tags[i].Type, tags[i].Timestamp, len(tags[i].Payload))
		}
	}
	v.Close()
	for range 2 {
		if err := s.ended(t); err != nil {
			t.Errorf("session: %v", err)
		}
	}
	if want := []string{"token=a%20b&x", "u=1"}; !reflect.DeepEqual(hub.queries, want) {
		t.Errorf("queries: got %q, want %q", hub.queries, want)
	}
}

func readAll(t testing.TB, v *Puller) (tags []*flv.Tag) {
	t.Helper()
	for {
		tag, err := v.Read()
		if err == io.EOF {
			return tags
		}
		if err != nil {
			t.Fatalf("after %d tags: %v", len(tags), err)
		}
		tags = append(tags, tag)
	}
}

func TestRefusals(t *testing.T) {
	testkit.NoLeaks(t)
	hub := newTestHub()
	s := startServer(t, hub, nil)
	first, err := Dial(ctx5(t), s.url("live/taken"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	rejected := func(err error, code, words string) {
		t.Helper()
		var r *RejectedError
		if !errors.As(err, &r) {
			t.Errorf("got %v, want a RejectedError", err)
		} else if r.Code != code || r.Description != words {
			t.Errorf("got %q %q, want %q %q", r.Code, r.Description, code, words)
		}
	}
	_, err = Dial(ctx5(t), s.url("live/taken"), Options{})
	rejected(err, codePublishBadName, "somebody publishes this stream already")
	if err := s.ended(t); !errors.Is(err, media.ErrExists) {
		t.Errorf("taken name: the session ended with %v", err)
	}
	_, err = Play(ctx5(t), s.url("live/none"), Options{})
	rejected(err, codePlayNotFound, "nobody publishes this stream")
	for _, tt := range []struct {
		deny  error
		words string
	}{
		{errors.New("secret reason"), "refused"},
		{fmt.Errorf("secret reason: %w", media.ErrInvalid), "the name of the application or of the stream is not allowed"},
		{fmt.Errorf("secret reason: %w", media.ErrClosed), "the server shuts down"},
	} {
		hub.mu.Lock()
		hub.deny = tt.deny
		hub.mu.Unlock()
		_, err = Dial(ctx5(t), s.url("live/other"), Options{})
		rejected(err, codePublishDenied, tt.words)
	}
}

// The name is free again once Close has returned and the server has seen it.
func TestPublishAgain(t *testing.T) {
	testkit.NoLeaks(t)
	hub := newTestHub()
	s := startServer(t, hub, nil)
	for range 20 {
		p, err := Dial(ctx5(t), s.url("live/cam"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		if hub.stream("live/cam") != nil {
			t.Fatal("the stream is still there after Close")
		}
	}
}

func TestControlRefusesAddress(t *testing.T) {
	testkit.NoLeaks(t)
	refused := errors.New("private address")
	opt := Options{Control: func(_, address string, _ syscall.RawConn) error {
		if strings.HasPrefix(address, "127.") {
			return refused
		}
		return nil
	}}
	if _, err := Dial(ctx5(t), "rtmp://localhost:1/live/cam", opt); !errors.Is(err, refused) {
		t.Fatalf("got %v, want the guard's error", err)
	}
}

func TestTLS(t *testing.T) {
	testkit.NoLeaks(t)
	cert, pool := testkit.Certificate(t, "", time.Now().Add(time.Hour))
	hub := newTestHub()
	s := startServer(t, hub, &tls.Config{Certificates: []tls.Certificate{cert}})
	url := "rtmps://" + s.addr + "/live/secretkey"
	_, err := Dial(ctx5(t), url, Options{})
	if !errors.Is(err, ErrTLS) || strings.Contains(err.Error(), "secretkey") {
		t.Fatalf("unknown authority: got %v, want ErrTLS", err)
	}
	p, err := Dial(ctx5(t), url, Options{TLS: &tls.Config{RootCAs: pool}})
	if err != nil {
		t.Fatal(err)
	}
	tag := &flv.Tag{Type: flv.Audio, Payload: []byte{0xaf, 0, 0x11, 0x90}}
	if err := p.Write(tag); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the tag", func() bool { return len(hub.stream("live/secretkey").tags()) == 1 })
	p.Close()
}

// fakeOrigin accepts one connection after the other and plays a script.
func fakeOrigin(t testing.TB, script func(c *conn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			_ = nc.SetReadDeadline(time.Now().Add(20 * time.Second))
			script(newConn(nc, nc, 5*time.Second))
			nc.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return "rtmp://" + l.Addr().String() + "/live/secretkey?sign=secretsign"
}

// await reads up to a command and returns it; nil when the connection ends.
func (c *conn) await(name string) *call {
	for {
		m, err := c.read()
		if err != nil {
			return nil
		}
		if a, ok := answer(m); ok && a.name == name {
			return a
		}
	}
}

// until reads up to the end of the connection.
func (c *conn) drain() {
	for {
		if _, err := c.read(); err != nil {
			return
		}
	}
}

func (c *conn) reply(t testing.TB, stream uint32, name string, id int64, values ...any) {
	if err := c.command(stream, name, id, values...); err != nil {
		t.Errorf("origin: %v", err)
	}
	if err := c.flush(); err != nil {
		t.Logf("origin: %v", err)
	}
}

// toPublish plays a good origin up to the publish command.
func (c *conn) toPublish(t testing.TB) {
	if err := c.handshake(true); err != nil {
		t.Logf("origin: %v", err)
		return
	}
	if a := c.await("connect"); a != nil {
		c.reply(t, 0, "_result", 1, nil, status{"status", codeConnected, ""})
	}
	if a := c.await("createStream"); a != nil {
		c.reply(t, 0, "_result", int64(a.transaction), nil, 1)
	}
	c.await("publish")
}

// Each way in which an origin can fail gives an error soon, tells no secret and
// leaves nothing running.
func TestBadOrigins(t *testing.T) {
	var rejected *RejectedError
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	reject := func(code string) func(error) bool {
		return func(err error) bool { return errors.As(err, &rejected) && rejected.Code == code }
	}
	for _, c := range []struct {
		name   string
		script func(t *testing.T, c *conn)
		want   func(error) bool
	}{
		{"accepts and stays silent", func(_ *testing.T, c *conn) { _, _ = io.Copy(io.Discard, c.nc) }, is(context.DeadlineExceeded)},
		{"closes at once", func(*testing.T, *conn) {}, func(err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
		}},
		{"silent after the handshake", func(t *testing.T, c *conn) { _ = c.handshake(true); c.drain() }, is(context.DeadlineExceeded)},
		{"closes after connect, as nginx-rtmp for an unknown app", func(t *testing.T, c *conn) {
			_ = c.handshake(true)
			c.await("connect")
		}, is(io.ErrUnexpectedEOF)},
		{"rejects with null properties", func(t *testing.T, c *conn) {
			_ = c.handshake(true)
			c.await("connect")
			c.reply(t, 0, "_error", 1, nil, status{"error", "NetConnection.Connect.Rejected", "no secretkey"})
			c.drain()
		}, reject("NetConnection.Connect.Rejected")},
		{"rejects with nothing at all", func(t *testing.T, c *conn) {
			_ = c.handshake(true)
			c.await("connect")
			c.reply(t, 0, "_error", 1)
			c.drain()
		}, reject("")},
		{"createStream without an id", func(t *testing.T, c *conn) {
			_ = c.handshake(true)
			c.await("connect")
			c.reply(t, 0, "_result", 1, nil, nil)
			if a := c.await("createStream"); a != nil {
				c.reply(t, 0, "_result", int64(a.transaction), nil, "one")
			}
			c.drain()
		}, is(ErrProtocol)},
		{"results nobody asked for, then bad name", func(t *testing.T, c *conn) {
			c.toPublish(t)
			c.reply(t, 0, "_result", 77, nil)
			c.reply(t, 0, "onBWDone", 0)
			c.reply(t, 1, "onStatus", 0, nil, status{"error", "NetStream.Publish.BadName", "secretkey?sign=secretsign is in use"})
			c.drain()
		}, reject("NetStream.Publish.BadName")},
		{"a refusal that calls itself status", func(t *testing.T, c *conn) {
			c.toPublish(t)
			c.reply(t, 1, "onStatus", 0, nil, status{"status", "NetStream.Publish.Denied", ""})
			c.drain()
		}, reject("NetStream.Publish.Denied")},
		{"speaks HTTP", func(t *testing.T, c *conn) {
			_, _ = c.nc.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n" + strings.Repeat("x", 4000)))
			_, _ = io.Copy(io.Discard, c.nc)
		}, func(err error) bool { return err != nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			url := fakeOrigin(t, func(cn *conn) { c.script(t, cn) })
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			p, err := Dial(ctx, url, Options{})
			if err == nil {
				p.Close()
				t.Fatal("got a session")
			}
			if !c.want(err) {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the key: %v", err)
			}
			if d := time.Since(start); d > 3*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestOriginRefusesLater(t *testing.T) {
	testkit.NoLeaks(t)
	goOn := make(chan struct{})
	url := fakeOrigin(t, func(c *conn) {
		c.toPublish(t)
		c.reply(t, 1, "onStatus", 0, nil, status{"status", codePublishStart, ""})
		<-goOn
		c.reply(t, 1, "onStatus", 0, nil, status{"error", "NetStream.Publish.Failed", "quota"})
		c.drain()
	})
	p, err := Dial(ctx5(t), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Err() != nil {
		t.Fatalf("Err while it runs: %v", p.Err())
	}
	close(goOn)
	<-p.Done()
	var r *RejectedError
	if !errors.As(p.Err(), &r) || r.Description != "quota" {
		t.Fatalf("got %v, want the refusal", p.Err())
	}
}

// The publisher answers pings and sees acknowledgements.
func TestPublisherPingAndAck(t *testing.T) {
	testkit.NoLeaks(t)
	pong := make(chan uint32, 1)
	url := fakeOrigin(t, func(c *conn) {
		c.toPublish(t)
		c.reply(t, 1, "onStatus", 0, nil, status{"status", codePublishStart, ""})
		if err := errors.Join(
			c.send(chunkControl, 0, &gortmp.Ack{SequenceNumber: 1234}),
			c.sendNow(chunkControl, 0, &gortmp.UserCtrl{Event: &gortmp.UserCtrlEventPingRequest{Timestamp: 77}}),
		); err != nil {
			t.Error(err)
		}
		for {
			m, err := c.in.next()
			if err != nil {
				return
			}
			if m.typ == typeUserControl && len(m.payload) == 6 && m.payload[1] == 7 {
				pong <- uint32(m.payload[5])
			}
		}
	})
	p, err := Dial(ctx5(t), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	select {
	case got := <-pong:
		if got != 77 {
			t.Errorf("pong: got %d, want 77", got)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no pong")
	}
	testkit.Eventually(t, "the acknowledgement", func() bool { return p.Acked() == 1234 })
}

// An origin that stops reading is found: the writes end with ErrStalled, and
// Close does not hang.
func TestPublisherStall(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 6 s")
	}
	testkit.NoLeaks(t)
	release := make(chan struct{})
	url := fakeOrigin(t, func(c *conn) {
		c.toPublish(t)
		c.reply(t, 1, "onStatus", 0, nil, status{"status", codePublishStart, ""})
		<-release
	})
	defer close(release)
	p, err := Dial(ctx5(t), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	tag := &flv.Tag{Type: flv.Video, Payload: make([]byte, 20_000)}
	for ; err == nil; tag.Timestamp += 33 {
		err = p.Write(tag)
	}
	if !errors.Is(err, media.ErrStalled) {
		t.Errorf("got %v, want ErrStalled", err)
	}
	if d := time.Since(start); d > 9*time.Second {
		t.Errorf("found after %v", d)
	}
	start = time.Now()
	p.Close()
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("Close took %v", d)
	}
}

// Timestamps beyond 2^24 ms, from the first one on or reached by and by, arrive.
func TestLargeTimestamps(t *testing.T) {
	testkit.NoLeaks(t)
	hub := newTestHub()
	s := startServer(t, hub, nil)
	p, err := Dial(ctx5(t), s.url("live/cam"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	want := []uint32{20_000_000, 20_000_033, 40_000_000, 4_294_967_290, 5, 16_777_215, 16_777_214}
	for _, ts := range want {
		if err := p.Write(&flv.Tag{Type: flv.Video, Timestamp: ts, Payload: make([]byte, 200_000)}); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "all tags", func() bool { return len(hub.stream("live/cam").tags()) == len(want) })
	for i, tag := range hub.stream("live/cam").tags() {
		if tag.Timestamp != want[i] || len(tag.Payload) != 200_000 {
			t.Errorf("tag %d: got %d, %d bytes; want %d", i, tag.Timestamp, len(tag.Payload), want[i])
		}
	}
}

// A client that sends nothing, or half a handshake, is gone after 5 s.
func TestServerHandshakeTimeout(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 s")
	}
	testkit.NoLeaks(t)
	s := startServer(t, newTestHub(), nil)
	for _, hello := range [][]byte{nil, append([]byte{3}, make([]byte, 700)...)} {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.Write(hello); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	for range 2 {
		if err := s.ended(t); err == nil {
			t.Error("got nil, want a timeout")
		}
	}
	if d := time.Since(start); d > 7*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestServerRefusesOtherProtocols(t *testing.T) {
	testkit.NoLeaks(t)
	s := startServer(t, newTestHub(), nil)
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := s.ended(t); !errors.Is(err, ErrProtocol) {
		t.Fatalf("got %v, want ErrProtocol", err)
	}
}

// A hostile client cannot make the server hold or read more than its budget before
// it publishes.
func TestServerBudget(t *testing.T) {
	testkit.NoLeaks(t)
	s := startServer(t, newTestHub(), nil)
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := newConn(nc, nc, time.Second)
	if err := c.handshake(false); err != nil {
		t.Fatal(err)
	}
	var sent int
	for ; sent < 1<<20; sent += 1000 {
		m := &message{chunkStream: 3, typ: typeData, timestamp: 1, payload: make([]byte, 1000)}
		if errors.Join(c.sendRaw(m), c.flush()) != nil {
			break
		}
	}
	if err := s.ended(t); !errors.Is(err, ErrProtocol) {
		t.Fatalf("got %v, want ErrProtocol", err)
	}
}

// Clients that have not published hold little memory, whatever they promise.
func TestServerMemory(t *testing.T) {
	testkit.NoLeaks(t)
	s := startServer(t, newTestHub(), nil)
	const clients = 300
	before := heap()
	for range clients {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		// A handshake, then the beginning of a large message on each chunk stream.
		hello := append([]byte{3}, make([]byte, handshakeSize-1)...)
		for id := range byte(maxChunkStreams) {
			hello = append(hello, 2+id, 0, 0, 0, 0, 0xff, 0, 20, 0, 0, 0, 0)
			hello = append(hello, make([]byte, 128)...)
		}
		if _, err := nc.Write(hello); err != nil {
			t.Fatal(err)
		}
		// The server's handshake has come, so it has seen ours.
		if _, err := io.ReadFull(nc, make([]byte, handshakeSize)); err != nil {
			t.Fatal(err)
		}
	}
	if each := int64(heap()-before) / clients; each > 80<<10 {
		t.Errorf("%d bytes for each client, want at most 80 KiB", each)
	} else {
		t.Logf("%d bytes for each client", each)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A viewer that stops reading is closed; the stream goes on for the others.
func TestSlowViewer(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 11 s")
	}
	testkit.NoLeaks(t)
	hub := newTestHub()
	s := startServer(t, hub, nil)
	p, err := Dial(ctx5(t), s.url("live/cam"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	v, err := Play(ctx5(t), s.url("live/cam"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for i := range uint32(1000) { // 20 MB: more than the sockets' buffers hold
		if err := p.Write(&flv.Tag{Type: flv.Video, Timestamp: 33 * i, Payload: make([]byte, 20_000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ended(t); !errors.Is(err, media.ErrStalled) && !errors.Is(err, syscall.ETIMEDOUT) {
		t.Fatalf("the slow viewer's session ended with %v", err)
	}
	if err := p.Write(&flv.Tag{Type: flv.Audio, Payload: []byte{0xaf, 1, 0}}); err != nil {
		t.Fatalf("the publisher: %v", err)
	}
}

// Ending the server's context ends publisher and viewer.
func TestServeEndsWithContext(t *testing.T) {
	testkit.NoLeaks(t)
	hub := newTestHub()
	t.Run("server", func(t *testing.T) {
		s := startServer(t, hub, nil)
		p, err := Dial(ctx5(t), s.url("live/cam"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		v, err := Play(ctx5(t), s.url("live/cam"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // runs after the server's own cleanup was registered, so before it
			go func() {
				<-p.Done()
				v.Close()
				p.Close()
			}()
		})
	})
	if hub.stream("live/cam") != nil {
		t.Error("the stream is still there")
	}
}

// Commands in a wrong order end the session; unknown ones are passed over.
func TestServerCommands(t *testing.T) {
	type step struct {
		stream uint32
		name   string
		args   []any
	}
	connect := step{0, "connect", []any{map[string]any{"app": "live/"}}}
	create := step{0, "createStream", []any{nil}}
	for _, c := range []struct {
		name  string
		steps []step
		want  string // the last answer: its name and code; "" when the session ends
	}{
		{"publish", []step{connect, create, {1, "publish", []any{nil, "x", "live"}}}, "onStatus " + codePublishStart},
		{"unknown commands", []step{connect, {0, "_checkbw", []any{nil}}, {0, "getStreamLength", []any{nil, "x"}}, create,
			{1, "publish", []any{nil, "x"}}}, "onStatus " + codePublishStart},
		{"publish, unpublish, publish", []step{connect, create, {1, "publish", []any{nil, "x"}}, {0, "FCUnpublish", []any{nil, "x"}},
			{1, "publish", []any{nil, "x"}}}, "onStatus " + codePublishStart},
		{"publish, delete, create, publish", []step{connect, create, {1, "publish", []any{nil, "x"}}, {0, "deleteStream", []any{nil, 1}}, create,
			{2, "publish", []any{nil, "x"}}}, "onStatus " + codePublishStart},
		{"close", []step{connect, create, {1, "publish", []any{nil, "x"}}, {1, "closeStream", []any{nil}}}, "onStatus " + codeUnpublish},
		{"publish before connect", []step{{1, "publish", []any{nil, "x"}}}, ""},
		{"publish without a stream", []step{connect, {1, "publish", []any{nil, "x"}}}, ""},
		{"connect twice", []step{connect, connect}, ""},
		{"connect without an object", []step{{0, "connect", nil}}, ""},
		{"connect without an app", []step{{0, "connect", []any{map[string]any{"app": 7}}}}, "_error " + codeConnectBad},
		{"publish twice", []step{connect, create, {1, "publish", []any{nil, "x"}}, {1, "publish", []any{nil, "y"}}}, ""},
		{"nine streams", []step{connect, create, create, create, create, create, create, create, create, create}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			s := startServer(t, newTestHub(), nil)
			nc, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
			cn := newConn(nc, nc, time.Second)
			if err := cn.handshake(false); err != nil {
				t.Fatal(err)
			}
			for i, st := range c.steps {
				if err := cn.command(st.stream, st.name, int64(i+1), st.args...); err != nil {
					t.Fatal(err)
				}
			}
			// A last command with an answer marks the end of the answers.
			_ = errors.Join(cn.command(0, "releaseStream", 99, nil, "end"), cn.flush())
			got := ""
			for {
				m, err := cn.read()
				if err != nil {
					if c.want == "" {
						got = ""
					}
					break
				}
				a, ok := answer(m)
				if !ok {
					continue
				}
				if a.transaction == 99 {
					break
				}
				got = a.name + " " + a.info().text("code")
			}
			if got != c.want {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}
