package rtmp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/yutopp/go-rtmp/handshake"
	gortmp "github.com/yutopp/go-rtmp/message"

	"braid/media"
	"braid/media/flv"
)

// Message types (RTMP 1.0 sections 5.4 and 7.1).
const (
	typeSetChunkSize = byte(gortmp.TypeIDSetChunkSize)
	typeAbort        = byte(gortmp.TypeIDAbortMessage)
	typeAck          = byte(gortmp.TypeIDAck)
	typeUserControl  = byte(gortmp.TypeIDUserCtrl)
	typeWindowAck    = byte(gortmp.TypeIDWinAckSize)
	typeBandwidth    = byte(gortmp.TypeIDSetPeerBandwidth)
	typeAudio        = byte(gortmp.TypeIDAudioMessage)
	typeVideo        = byte(gortmp.TypeIDVideoMessage)
	typeDataAMF3     = byte(gortmp.TypeIDDataMessageAMF3)
	typeCommandAMF3  = byte(gortmp.TypeIDCommandMessageAMF3)
	typeData         = byte(gortmp.TypeIDDataMessageAMF0)
	typeCommand      = byte(gortmp.TypeIDCommandMessageAMF0)
)

// Chunk streams: each kind of message has its own, so that each one's clock
// runs forward alone.
const (
	chunkControl  = 2 // fixed by section 5.4
	chunkCommand  = 3
	chunkAudio    = 4
	chunkData     = 5
	chunkVideo    = 6
	chunkOnStream = 8 // commands on a message stream: publish, play, onStatus
)

const (
	chunkSize  = 65536     // one chunk for nearly every frame; what SRS and nginx-rtmp take at most without asking
	ackWindow  = 2_500_000 // bytes; what we ask the other side to acknowledge by
	bufferSize = 16 << 10  // each way; larger writes and reads pass by the buffer
)

// conn is what client and server share: messages in, messages out, and the
// protocol control messages, which it answers by itself.
//
// One goroutine reads. Any may write: mu guards the way out.
type conn struct {
	nc net.Conn
	br *bufio.Reader
	in *chunkReader // owned by the reading goroutine

	window    uint64 // the other side's; owned by the reading goroutine
	ackedRead uint64 // bytes acknowledged to the other side

	acked atomic.Uint64 // bytes the other side has acknowledged; it counts modulo 2^32
	sent  atomic.Uint64 // bytes that nc has taken

	mu  sync.Mutex
	bw  *bufio.Writer
	out *chunkWriter
}

// newConn takes the connection; each write to the socket (at most 64 KiB)
// must be taken within writeTimeout.
func newConn(nc net.Conn, r io.Reader, writeTimeout time.Duration) *conn {
	c := &conn{nc: nc, br: bufio.NewReaderSize(r, bufferSize)}
	c.bw = bufio.NewWriterSize(&timedWriter{nc: nc, timeout: writeTimeout, sent: &c.sent}, bufferSize)
	c.in = newChunkReader(c.br)
	c.out = newChunkWriter(c.bw)
	return c
}

// timedWriter gives each write its own deadline: slow is allowed, stopped is not.
type timedWriter struct {
	nc      net.Conn
	timeout time.Duration
	sent    *atomic.Uint64
}

func (w *timedWriter) Write(b []byte) (int, error) {
	if err := w.nc.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return 0, err
	}
	n, err := w.nc.Write(b)
	w.sent.Add(uint64(n))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, media.ErrStalled
	}
	return n, err
}

// flushingReader sends what waits to be sent before it reads: the handshake
// then goes out in whole packets.
type flushingReader struct{ *conn }

func (f flushingReader) Read(b []byte) (int, error) {
	if err := f.bw.Flush(); err != nil {
		return 0, err
	}
	return f.br.Read(b)
}

// handshake shakes hands as a client or as a server. The plain form is spoken;
// clients that offer the digest form fall back to it.
func (c *conn) handshake(server bool) error {
	cfg := &handshake.Config{SkipHandshakeVerification: true} // several origins do not echo faithfully
	shake := handshake.HandshakeWithServer
	if server {
		if b, err := c.br.Peek(1); err != nil {
			return err
		} else if b[0] != 3 {
			return fmt.Errorf("%w: version %d", ErrProtocol, b[0]) // HTTP and TLS end here
		}
		shake = handshake.HandshakeWithClient
	}
	if err := shake(flushingReader{c}, c.bw, cfg); err != nil {
		return err
	}
	return c.flush()
}

// read returns the next message that is not protocol control.
func (c *conn) read() (*message, error) {
	for {
		m, err := c.in.next()
		if err != nil {
			return nil, err
		}
		if err := c.acknowledge(); err != nil {
			return nil, err
		}
		switch m.typ {
		case typeSetChunkSize, typeAbort, typeAck, typeUserControl, typeWindowAck, typeBandwidth:
			if err := c.control(m); err != nil {
				return nil, err
			}
		case typeCommandAMF3, typeDataAMF3:
			// A format byte, then AMF0 as long as nothing switches to AMF3.
			if len(m.payload) > 0 {
				m.payload = m.payload[1:]
			}
			m.typ += typeCommand - typeCommandAMF3
			return m, nil
		default:
			return m, nil
		}
	}
}

// acknowledge tells the other side how much has arrived, when it asked to know.
func (c *conn) acknowledge() error {
	if c.window == 0 || c.in.read-c.ackedRead < c.window/2 {
		return nil
	}
	c.ackedRead = c.in.read
	return c.sendNow(chunkControl, 0, &gortmp.Ack{SequenceNumber: uint32(c.in.read)})
}

// control obeys one protocol control message (sections 5.4 and 7.1.7).
func (c *conn) control(m *message) error {
	if m.typ == typeUserControl {
		return c.userControl(m.payload)
	}
	if m.typ == typeBandwidth {
		return nil // asks for an acknowledgement window; nobody waits for it
	}
	if len(m.payload) < 4 {
		return fmt.Errorf("%w: control message of %d bytes", ErrProtocol, len(m.payload))
	}
	v := binary.BigEndian.Uint32(m.payload)
	switch m.typ {
	case typeSetChunkSize:
		if v == 0 || v > 1<<31-1 {
			return fmt.Errorf("%w: chunk size %d", ErrProtocol, v)
		}
		c.in.size = min(v, 1<<24) // a message is no longer than that
	case typeAbort:
		c.in.abort(v)
	case typeAck:
		c.acked.Store(uint64(v))
	case typeWindowAck:
		c.window = uint64(v)
	}
	return nil
}

// userControl answers a ping; the other events need no answer.
func (c *conn) userControl(p []byte) error {
	const pingRequest = 6
	if len(p) < 6 || binary.BigEndian.Uint16(p) != pingRequest {
		return nil
	}
	return c.sendNow(chunkControl, 0, &gortmp.UserCtrl{
		Event: &gortmp.UserCtrlEventPingResponse{Timestamp: binary.BigEndian.Uint32(p[2:])},
	})
}

// send buffers one message; flush sends the buffer.
func (c *conn) send(chunkStream, stream uint32, m gortmp.Message) error {
	var b bytes.Buffer
	if err := gortmp.NewEncoder(&b).Encode(m); err != nil {
		return fmt.Errorf("rtmp: code message: %w", err)
	}
	return c.sendRaw(&message{chunkStream: chunkStream, typ: byte(m.TypeID()), stream: stream, payload: b.Bytes()})
}

func (c *conn) sendNow(chunkStream, stream uint32, m gortmp.Message) error {
	if err := c.send(chunkStream, stream, m); err != nil {
		return err
	}
	return c.flush()
}

func (c *conn) sendRaw(m *message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.write(m)
}

func (c *conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bw.Flush()
}

// sendChunkSize announces our chunk size and uses it from then on.
func (c *conn) sendChunkSize() error {
	if err := c.send(chunkControl, 0, &gortmp.SetChunkSize{ChunkSize: chunkSize}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.size = chunkSize
	return nil
}

// command buffers a command: name, transaction and AMF0 values.
func (c *conn) command(stream uint32, name string, transaction int64, values ...any) error {
	chunk := uint32(chunkCommand)
	if stream != 0 {
		chunk = chunkOnStream
	}
	return c.send(chunk, stream, &gortmp.CommandMessage{
		CommandName: name, TransactionID: transaction,
		Encoding: gortmp.EncodingTypeAMF0, Body: bytes.NewReader(writeAMF(values...)),
	})
}

// status is the information object of onStatus and connect's _result.
type status struct {
	Level       string `amf0:"level"`
	Code        string `amf0:"code"`
	Description string `amf0:"description"`
}

// sendTag buffers a tag as a message of a stream. A script tag's payload goes
// out as it is; data is what comes before it ("@setDataFrame" to an origin).
func (c *conn) sendTag(stream uint32, t *flv.Tag, data []byte) error {
	m := &message{typ: t.Type, timestamp: t.Timestamp, stream: stream, payload: t.Payload}
	switch t.Type {
	case flv.Audio:
		m.chunkStream = chunkAudio
	case flv.Video:
		m.chunkStream = chunkVideo
	case flv.Script:
		m.chunkStream = chunkData
		m.payload = append(data[:len(data):len(data)], t.Payload...)
	default:
		return fmt.Errorf("rtmp: tag of type %d", t.Type)
	}
	if len(m.payload) >= 1<<24 {
		return fmt.Errorf("rtmp: tag of %d bytes", len(m.payload))
	}
	return c.sendRaw(m)
}

// call is a command as it arrived.
type call struct {
	name        string
	transaction float64
	stream      uint32
	args        []any // after name and transaction
}

// parseCall reads a command. Values after a bad one are missing; a command without
// a transaction id, as ffmpeg sends some, has 0.
func parseCall(m *message) (*call, bool) {
	values, _ := readAMF(m.payload)
	if len(values) == 0 {
		return nil, false
	}
	name, ok := values[0].(string)
	if !ok {
		return nil, false
	}
	c := &call{name: name, stream: m.stream, args: values[1:]}
	if len(c.args) > 0 {
		if c.transaction, ok = c.args[0].(float64); ok {
			c.args = c.args[1:]
		}
	}
	return c, true
}

// info is the first object that carries a code, as in onStatus and _error.
func (c *call) info() object {
	for _, v := range c.args {
		if o, ok := v.(object); ok && o.text("code") != "" {
			return o
		}
	}
	return nil
}

func (c *call) text(i int) string {
	if i >= len(c.args) {
		return ""
	}
	s, _ := c.args[i].(string)
	return s
}

// halfClose ends our direction, so that what was sent last is not lost to a
// reset, and bounds the wait for the other side's end.
func (c *conn) halfClose(wait time.Duration) {
	if cw, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite()
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(wait))
}

var setDataFrame = writeAMF("@setDataFrame")
