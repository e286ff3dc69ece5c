package wire

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"braid/media"
)

type kind uint8

const (
	kindHello kind = iota + 1
	kindOpenInput
	kindCloseInput
	kindOpenMix
	kindOpenTranscode
	kindCloseOutput
	kindKeyFrame
	kindLayout
	kindImage
	kindMedia
	kindReady
	kindOutput
	kindNeedKey
	kindFailed
	kindStill
	kindJPEG
)

// Conn carries messages over a byte stream. Write may be called from many
// goroutines, Read from one.
type Conn struct {
	r *bufio.Reader

	mu  sync.Mutex
	w   io.Writer
	buf []byte // of the message being written
}

// NewConn speaks over rw; it never closes it.
func NewConn(rw io.ReadWriter) *Conn {
	return &Conn{r: bufio.NewReaderSize(rw, 64<<10), w: rw}
}

// Write sends messages, given by pointer, in one piece, and blocks while the
// peer does not read. It keeps nothing of them.
func (c *Conn) Write(msgs ...any) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	buf := c.buf[:0]
	for _, msg := range msgs {
		if buf, err = Append(buf, msg); err != nil {
			return err
		}
	}
	if cap(buf) <= 1<<20 {
		c.buf = buf
	}
	_, err = c.w.Write(buf)
	return err
}

// Read returns the next message as a pointer to one of this package's structs.
// Its byte slices are its own. io.EOF comes only between messages.
func (c *Conn) Read() (any, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > MaxMessage {
		return nil, fmt.Errorf("wire: message of %d bytes, limit %d", n, MaxMessage)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return nil, fmt.Errorf("wire: cut message: %w", err)
	}
	return Parse(body)
}

// Append appends one whole message, with its length, to dst.
func Append(dst []byte, msg any) ([]byte, error) {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	switch m := msg.(type) {
	case *Media:
		dst = append(dst, byte(kindMedia))
		dst = appendMedia(dst, m)
	case *Output:
		dst = append(dst, byte(kindOutput))
		dst = appendOutput(dst, m)
	case *Image:
		dst = append(dst, byte(kindImage))
		dst = appendFile(dst, m.Image, m.Data)
	case *JPEG:
		dst = append(dst, byte(kindJPEG))
		dst = appendFile(dst, m.Still, m.Data)
	case *Still:
		dst = append(dst, byte(kindStill))
		dst = appendStill(dst, m)
	default:
		k, ok := kindOf(msg)
		if !ok {
			return nil, fmt.Errorf("wire: cannot send %T", msg)
		}
		body, err := json.Marshal(msg)
		if err != nil {
			return nil, fmt.Errorf("wire: %T: %w", msg, err)
		}
		dst = append(append(dst, byte(k)), body...)
	}
	n := len(dst) - start - 4
	if n > MaxMessage {
		return nil, fmt.Errorf("wire: %T of %d bytes, limit %d", msg, n, MaxMessage)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(n))
	return dst, nil
}

func kindOf(msg any) (kind, bool) {
	switch msg.(type) {
	case *Hello:
		return kindHello, true
	case *OpenInput:
		return kindOpenInput, true
	case *CloseInput:
		return kindCloseInput, true
	case *OpenMix:
		return kindOpenMix, true
	case *OpenTranscode:
		return kindOpenTranscode, true
	case *CloseOutput:
		return kindCloseOutput, true
	case *KeyFrame:
		return kindKeyFrame, true
	case *Layout:
		return kindLayout, true
	case *Ready:
		return kindReady, true
	case *NeedKey:
		return kindNeedKey, true
	case *Failed:
		return kindFailed, true
	}
	return 0, false
}

// Parse reads the type and body of one message. The message aliases b.
func Parse(b []byte) (any, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("wire: empty message")
	}
	k, body := kind(b[0]), b[1:]
	var msg any
	switch k {
	case kindMedia:
		return parseMedia(body)
	case kindOutput:
		return parseOutput(body)
	case kindImage:
		id, file, err := parseFile(body)
		return &Image{Image: id, Data: file}, err
	case kindJPEG:
		id, file, err := parseFile(body)
		return &JPEG{Still: id, Data: file}, err
	case kindStill:
		return parseStill(body)
	case kindHello:
		msg = new(Hello)
	case kindOpenInput:
		msg = new(OpenInput)
	case kindCloseInput:
		msg = new(CloseInput)
	case kindOpenMix:
		msg = new(OpenMix)
	case kindOpenTranscode:
		msg = new(OpenTranscode)
	case kindCloseOutput:
		msg = new(CloseOutput)
	case kindKeyFrame:
		msg = new(KeyFrame)
	case kindLayout:
		msg = new(Layout)
	case kindReady:
		msg = new(Ready)
	case kindNeedKey:
		msg = new(NeedKey)
	case kindFailed:
		msg = new(Failed)
	default:
		return nil, fmt.Errorf("wire: message type %d is unknown", k)
	}
	if err := json.Unmarshal(body, msg); err != nil {
		return nil, fmt.Errorf("wire: %T: %w", msg, err)
	}
	return msg, nil
}

const (
	flagKey  = 1
	flagLost = 2
)

// Media: input u32 | pts i64 ns | flags u8 | units
func appendMedia(dst []byte, m *Media) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Input)
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.PTS))
	var flags byte
	if m.Key {
		flags |= flagKey
	}
	if m.Lost {
		flags |= flagLost
	}
	return appendUnits(append(dst, flags), m.Units)
}

func parseMedia(b []byte) (*Media, error) {
	p := parser{b: b}
	m := &Media{Input: p.u32(), PTS: time.Duration(p.u64())}
	flags := p.u8()
	m.Key, m.Lost = flags&flagKey != 0, flags&flagLost != 0
	m.Units = p.units()
	return m, p.err
}

// Output: output u32 | codec u8 | pts i64 ns | flags u8 | revision u32 |
// levels u8 | (input u32, vol u8, vad u8)... | units
func appendOutput(dst []byte, m *Output) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Output)
	dst = append(dst, codecByte(m.Codec))
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.PTS))
	var flags byte
	if m.Key {
		flags |= flagKey
	}
	dst = append(dst, flags)
	dst = binary.BigEndian.AppendUint32(dst, m.Revision)
	levels := m.Levels[:min(len(m.Levels), math.MaxUint8)]
	dst = append(dst, byte(len(levels)))
	for _, l := range levels {
		dst = binary.BigEndian.AppendUint32(dst, l.Input)
		dst = append(dst, l.Vol, l.Vad)
	}
	return appendUnits(dst, m.Units)
}

func parseOutput(b []byte) (*Output, error) {
	p := parser{b: b}
	m := &Output{Output: p.u32(), Codec: p.codec(), PTS: time.Duration(p.u64())}
	m.Key = p.u8()&flagKey != 0
	m.Revision = p.u32()
	if n := int(p.u8()); n > 0 && p.err == nil {
		m.Levels = make([]Level, 0, n)
		for range n {
			m.Levels = append(m.Levels, Level{Input: p.u32(), Vol: p.u8(), Vad: p.u8()})
		}
	}
	m.Units = p.units()
	return m, p.err
}

// Image, JPEG: id u32 | the file
func appendFile(dst []byte, id uint32, file []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, id), file...)
}

func parseFile(b []byte) (id uint32, file []byte, err error) {
	if len(b) < 4 {
		return 0, nil, errCut
	}
	return binary.BigEndian.Uint32(b), b[4:], nil
}

// Still: still u32 | codec u8 | width u16 | units
func appendStill(dst []byte, m *Still) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Still)
	dst = append(dst, codecByte(m.Codec))
	return appendUnits(binary.BigEndian.AppendUint16(dst, m.Width), m.Units)
}

func parseStill(b []byte) (*Still, error) {
	p := parser{b: b}
	m := &Still{Still: p.u32(), Codec: p.codec(), Width: p.u16()}
	m.Units = p.units()
	return m, p.err
}

// units: (length u32, bytes)... to the end
func appendUnits(dst []byte, units [][]byte) []byte {
	for _, u := range units {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(u)))
		dst = append(dst, u...)
	}
	return dst
}

var codecs = [...]media.Codec{1: media.H264, 2: media.VP8, 3: media.Opus, 4: media.AAC, 5: media.VP9, 6: media.AV1, 7: media.H265, 8: media.MP3}

func codecByte(c media.Codec) byte {
	for i, known := range codecs {
		if i > 0 && known == c {
			return byte(i)
		}
	}
	return 0
}

var errCut = fmt.Errorf("wire: cut message")

// parser reads fields from the front of b; after an error it gives zeros.
type parser struct {
	b   []byte
	err error
}

func (p *parser) take(n int) []byte {
	if p.err != nil || n > len(p.b) {
		p.err = errCut
		return make([]byte, min(n, 8))
	}
	v := p.b[:n:n]
	p.b = p.b[n:]
	return v
}

func (p *parser) u8() byte    { return p.take(1)[0] }
func (p *parser) u16() uint16 { return binary.BigEndian.Uint16(p.take(2)) }
func (p *parser) u32() uint32 { return binary.BigEndian.Uint32(p.take(4)) }
func (p *parser) u64() uint64 { return binary.BigEndian.Uint64(p.take(8)) }

func (p *parser) codec() media.Codec {
	i := p.u8()
	if p.err == nil && (i == 0 || int(i) >= len(codecs)) {
		p.err = fmt.Errorf("wire: codec %d is unknown", i)
		return ""
	}
	return codecs[i]
}

func (p *parser) units() (units [][]byte) {
	for p.err == nil && len(p.b) > 0 {
		n := p.u32()
		if uint64(n) > uint64(len(p.b)) {
			p.err = errCut
			return nil
		}
		units = append(units, p.take(int(n)))
	}
	return units
}
