package rtmp

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"braid/media/flv"
)

// capture is what a publishing ffmpeg sends after the handshake, cut to 48 KiB.
const capture = "testdata/ffmpeg-publish.bin"

var record = flag.Bool("record", false, "record "+capture+" anew")

// memoryConn feeds a session from memory and forgets what the session says.
type memoryConn struct {
	net.Conn
	r io.Reader
}

func (c memoryConn) Read(b []byte) (int, error)       { return c.r.Read(b) }
func (c memoryConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c memoryConn) Close() error                     { return nil }
func (c memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c memoryConn) SetWriteDeadline(time.Time) error { return nil }
func (c memoryConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// teeConn keeps what is read.
type teeConn struct {
	net.Conn
	kept *bytes.Buffer
}

func (c teeConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.kept.Write(b[:n])
	return n, err
}

const handshakeSize = 1 + 2*1536

func TestRecord(t *testing.T) {
	if !*record {
		t.Skip("run with -record")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var kept bytes.Buffer
	done := make(chan error, 1)
	go func() {
		nc, err := l.Accept()
		if err == nil {
			err = Serve(context.Background(), teeConn{nc, &kept}, newTestHub(), slog.New(slog.DiscardHandler))
		}
		done <- err
	}()
	if out, err := run(t, "ffmpeg", "-v", "error", "-i", sampleFLV, "-c", "copy", "-f", "flv", "rtmp://"+l.Addr().String()+"/live/cam?k=v"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b := kept.Bytes()[handshakeSize:]
	if err := os.WriteFile(capture, b[:min(len(b), 48<<10)], 0o644); err != nil {
		t.Fatal(err)
	}
}

// serveBytes runs a session on a client's bytes after its handshake, beside a
// stream live/old that has ended.
func serveBytes(t testing.TB, b []byte) (*testHub, error) {
	t.Helper()
	hub := newTestHub()
	old, err := hub.Publish(Request{App: "live", Stream: "old", Remote: &net.TCPAddr{}})
	if err != nil {
		t.Fatal(err)
	}
	old.WriteTag(&flv.Tag{Type: flv.Audio, Payload: []byte{0xaf, 1, 7}})
	old.Close()
	hub.streams["live/old"] = old.(*testStream)
	keepStreams(hub)
	hello := append([]byte{3}, make([]byte, handshakeSize-1)...)
	nc := memoryConn{r: bufio.NewReader(io.MultiReader(bytes.NewReader(hello), bytes.NewReader(b)))}
	return hub, Serve(context.Background(), nc, hub, slog.New(slog.DiscardHandler))
}

// The capture gives the very tags of the file that ffmpeg sent.
func TestCapture(t *testing.T) {
	b, err := os.ReadFile(capture)
	if err != nil {
		t.Fatal(err)
	}
	hub, err := serveBytes(t, b)
	if err != nil {
		t.Fatal(err)
	}
	var media [][]byte
	for _, tag := range hub.kept["live/cam"].tags() {
		if tag.Type != flv.Script {
			media = append(media, tag.Payload)
		}
	}
	i := 0
	for _, tag := range readFLV(t, sampleFLV) {
		if tag.Type == flv.Script || i >= len(media) {
			continue
		}
		if !bytes.Equal(media[i], tag.Payload) {
			t.Fatalf("tag %d differs from the file's", i)
		}
		i++
	}
	if i < 100 {
		t.Fatalf("got %d tags", i)
	}
}

// FuzzServe sends a session anything. It must end, without a panic, and hand out no
// more bytes than came.
func FuzzServe(f *testing.F) {
	b, err := os.ReadFile(capture)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:4096])
	f.Add(b)
	for _, c := range chunkCases {
		f.Add(c.in)
	}
	f.Add(playBytes(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		hub, err := serveBytes(t, b)
		if err != nil && bytes.Contains([]byte(err.Error()), []byte("panic")) {
			t.Fatal(err)
		}
		sum := 0
		for _, s := range hub.kept {
			if !s.closed {
				t.Fatal("the ingest was not closed")
			}
			for _, tag := range s.tags() {
				sum += len(tag.Payload)
			}
		}
		if sum > len(b) {
			t.Fatalf("%d bytes of tags from %d bytes", sum, len(b))
		}
	})
}

// playBytes is a viewer's side of a session.
func playBytes(t testing.TB) []byte {
	var b bytes.Buffer
	c := newConn(nil, nil, 0)
	c.bw = bufio.NewWriter(&b)
	c.out = newChunkWriter(c.bw)
	for i, err := range []error{
		c.command(0, "connect", 1, map[string]any{"app": "live"}),
		c.command(0, "createStream", 2, nil),
		c.command(1, "play", 3, nil, "old", -2000),
		c.flush(),
	} {
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	return b.Bytes()
}

func TestPlayBytes(t *testing.T) {
	if _, err := serveBytes(t, playBytes(t)); err != nil {
		t.Fatal(err)
	}
}
