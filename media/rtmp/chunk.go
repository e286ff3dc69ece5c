package rtmp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits on what a connection may make us hold. A message is stored as its
// bytes arrive, never by what its length field promises.
const (
	maxChunkStreams   = 32        // as nginx-rtmp's max_streams
	maxMediaMessage   = 4 << 20   // one key frame of a very rich picture
	maxControlMessage = 64 << 10  // commands, data, protocol control
	maxPartial        = 8 << 20   // all messages of a connection that are half read
	firstAlloc        = 256 << 10 // for one message; it grows from there as bytes arrive

	extended = 0xffffff // marks an extended timestamp (RTMP 5.3.1.3)
)

// message is one RTMP message (RTMP 1.0 section 6.1).
type message struct {
	chunkStream uint32
	typ         byte
	timestamp   uint32 // ms
	stream      uint32 // message stream id
	payload     []byte
}

// chunkReader joins chunks to messages (RTMP 1.0 section 5.3).
//
// It takes two liberties that real encoders need: a zero-length message is
// read as such, and the extended timestamp in type 3 chunks, which some
// encoders leave out, is taken only if it repeats the header's.
type chunkReader struct {
	r       *bufio.Reader
	size    uint32 // the other side's chunk size
	limit   int    // of media messages; all others have at most maxControlMessage
	alloc   int    // first allocation for a message
	budget  uint64 // most bytes to read; 0: any
	partial int    // bytes of half-read messages
	read    uint64 // bytes taken from r
	streams map[uint32]*chunkIn
}

type chunkIn struct {
	seen        bool
	typ         byte
	hasExt      bool
	timestamp   uint32
	delta       uint32 // of the last header; type 3 chunks repeat it
	ext         uint32 // the extended field's value, as sent
	length      int
	stream      uint32
	buf         []byte
	inside      bool // a message is half read
	messageTime uint32
}

func newChunkReader(r *bufio.Reader) *chunkReader {
	return &chunkReader{r: r, size: 128, limit: maxMediaMessage, alloc: firstAlloc, streams: map[uint32]*chunkIn{}}
}

// next reads one whole message. The payload belongs to the caller.
func (c *chunkReader) next() (*message, error) {
	for {
		m, err := c.readChunk()
		if err != nil || m != nil {
			return m, err
		}
	}
}

// abort forgets a half-read message (RTMP 1.0 section 5.4.2).
func (c *chunkReader) abort(chunkStream uint32) {
	if s := c.streams[chunkStream]; s != nil && s.inside {
		c.partial -= len(s.buf)
		s.buf, s.inside = nil, false
	}
}

func (c *chunkReader) readChunk() (*message, error) {
	format, id, err := c.readBasicHeader()
	if err != nil {
		return nil, err
	}
	s := c.streams[id]
	if s == nil {
		if len(c.streams) >= maxChunkStreams {
			return nil, fmt.Errorf("%w: more than %d chunk streams", ErrProtocol, maxChunkStreams)
		}
		s = &chunkIn{}
		c.streams[id] = s
	}
	if err := c.readMessageHeader(format, s); err != nil {
		return nil, err
	}
	if err := c.readData(s); err != nil {
		return nil, err
	}
	if len(s.buf) < s.length {
		return nil, nil
	}
	c.partial -= len(s.buf)
	m := &message{chunkStream: id, typ: s.typ, timestamp: s.messageTime, stream: s.stream, payload: s.buf}
	s.buf, s.inside = nil, false
	return m, nil
}

// readBasicHeader reads the chunk's format and chunk stream id (section 5.3.1.1).
func (c *chunkReader) readBasicHeader() (format byte, id uint32, err error) {
	b, err := c.r.ReadByte()
	if err != nil {
		return 0, 0, err // io.EOF between chunks is a clean end
	}
	c.read++
	if c.budget > 0 && c.read > c.budget {
		return 0, 0, fmt.Errorf("%w: more than %d bytes before publish or play", ErrProtocol, c.budget)
	}
	format, id = b>>6, uint32(b&63)
	var buf [2]byte
	switch id {
	case 0:
		err = c.fill(buf[:1])
		id = 64 + uint32(buf[0])
	case 1:
		err = c.fill(buf[:2])
		id = 64 + uint32(buf[0]) + uint32(buf[1])<<8
	}
	return format, id, err
}

// readMessageHeader reads the message header and starts a message, or checks
// that a half-read one goes on (section 5.3.1.2).
func (c *chunkReader) readMessageHeader(format byte, s *chunkIn) error {
	if s.inside && format != 3 {
		return fmt.Errorf("%w: chunk of type %d inside a message", ErrProtocol, format)
	}
	if !s.seen && format > 1 { // librtmp opens its control stream with type 1
		return fmt.Errorf("%w: chunk stream begins with type %d", ErrProtocol, format)
	}
	var buf [11]byte
	n := [4]int{11, 7, 3, 0}[format]
	if err := c.fill(buf[:n]); err != nil {
		return err
	}
	if format < 3 {
		s.ext = uint24(buf[:])
		s.hasExt = s.ext == extended
	}
	if format < 2 {
		s.length, s.typ = int(uint24(buf[3:])), buf[6]
	}
	if format == 0 {
		s.stream = binary.LittleEndian.Uint32(buf[7:])
	}
	s.seen = true
	if err := c.readExtended(format, s); err != nil {
		return err
	}
	if s.inside {
		return nil
	}
	switch format {
	case 0:
		s.timestamp, s.delta = s.ext, 0
	case 1, 2:
		s.delta = s.ext
		s.timestamp += s.delta
	case 3: // a new message with the header of the one before
		s.timestamp += s.delta
	}
	return c.begin(s)
}

func (c *chunkReader) readExtended(format byte, s *chunkIn) error {
	if !s.hasExt {
		return nil
	}
	if format == 3 {
		b, err := c.r.Peek(4)
		if err != nil {
			return unexpected(err)
		}
		if binary.BigEndian.Uint32(b) != s.ext {
			return nil
		}
	}
	var b [4]byte
	if err := c.fill(b[:]); err != nil {
		return err
	}
	s.ext = binary.BigEndian.Uint32(b[:])
	return nil
}

func (c *chunkReader) begin(s *chunkIn) error {
	limit := maxControlMessage
	if s.typ == typeAudio || s.typ == typeVideo {
		limit = c.limit
	}
	limit = min(limit, c.limit)
	if s.length > limit {
		return fmt.Errorf("%w: message of %d bytes, the limit is %d", ErrProtocol, s.length, limit)
	}
	s.inside = true
	s.messageTime = s.timestamp
	s.buf = make([]byte, 0, min(s.length, c.alloc))
	return nil
}

// readData reads this chunk's share of the message.
func (c *chunkReader) readData(s *chunkIn) error {
	left := min(s.length-len(s.buf), int(c.size))
	if c.partial+left > maxPartial {
		return fmt.Errorf("%w: more than %d bytes in half-read messages", ErrProtocol, maxPartial)
	}
	for left > 0 {
		if len(s.buf) == cap(s.buf) {
			grown := make([]byte, len(s.buf), min(s.length, 4*cap(s.buf)))
			copy(grown, s.buf)
			s.buf = grown
		}
		n := min(left, cap(s.buf)-len(s.buf))
		if err := c.fill(s.buf[len(s.buf) : len(s.buf)+n]); err != nil {
			return err
		}
		s.buf = s.buf[:len(s.buf)+n]
		c.partial += n
		left -= n
	}
	return nil
}

func (c *chunkReader) fill(b []byte) error {
	n, err := io.ReadFull(c.r, b)
	c.read += uint64(n)
	return unexpected(err)
}

// unexpected turns an end of data inside a chunk into io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func uint24(b []byte) uint32 {
	return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
}

// chunkWriter splits messages into chunks. Chunks of two messages are never
// mixed. It is not safe for two goroutines.
type chunkWriter struct {
	w       *bufio.Writer
	size    int
	streams map[uint32]*chunkOut
}

type chunkOut struct {
	timestamp uint32
	stream    uint32
}

func newChunkWriter(w *bufio.Writer) *chunkWriter {
	return &chunkWriter{w: w, size: 128, streams: map[uint32]*chunkOut{}}
}

// write buffers one message; chunkStream is 2 to 63. The first message of a chunk
// stream, a change of message stream and a step back in time take a full header
// (type 0), others a time difference (type 1): so timestamps beyond 2^24 ms need no
// extended field in a session that grows slowly, and older readers stay in step.
func (c *chunkWriter) write(m *message) error {
	var h [18]byte
	head := h[:1]
	s := c.streams[m.chunkStream]
	time, format := m.timestamp, byte(0)
	if s != nil && s.stream == m.stream && int32(m.timestamp-s.timestamp) >= 0 {
		time, format = m.timestamp-s.timestamp, 1
	}
	if s == nil {
		s = &chunkOut{}
		c.streams[m.chunkStream] = s
	}
	s.timestamp, s.stream = m.timestamp, m.stream

	head[0] = format<<6 | byte(m.chunkStream)
	field, n := min(time, extended), len(m.payload)
	head = append(head, byte(field>>16), byte(field>>8), byte(field), byte(n>>16), byte(n>>8), byte(n), m.typ)
	if format == 0 {
		head = binary.LittleEndian.AppendUint32(head, m.stream)
	}
	if field == extended {
		head = binary.BigEndian.AppendUint32(head, time)
	}
	return c.writeChunks(head, byte(m.chunkStream), field == extended, time, m.payload)
}

// writeChunks writes the first chunk with its header and the rest with type 3
// headers, which repeat the extended timestamp (section 5.3.1.3).
func (c *chunkWriter) writeChunks(head []byte, id byte, ext bool, time uint32, p []byte) error {
	for {
		if _, err := c.w.Write(head); err != nil {
			return err
		}
		n := min(len(p), c.size)
		if _, err := c.w.Write(p[:n]); err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		head = append(head[:0], 3<<6|id)
		if ext {
			head = binary.BigEndian.AppendUint32(head, time)
		}
	}
}
