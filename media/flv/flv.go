// Package flv turns access units into FLV tags and back, and writes the FLV
// framing (Adobe Flash Video File Format Specification 10.1, annex E). RTMP
// carries the same tag payloads, so media/rtmp speaks in these tags too.
//
// The Muxer writes H.264 and AAC. The Demuxer reads these and, by the headers of
// Enhanced RTMP, HEVC, AV1, VP9, VP8 and Opus too. It starts no goroutine.
package flv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Tag types (annex E.4.1).
const (
	Audio  byte = 8
	Video  byte = 9
	Script byte = 18
)

// ErrUnsupported is returned for a codec that braid does not know.
var ErrUnsupported = errors.New("flv: codec not supported")

// ErrMalformed is returned for bytes that are not what their header promises.
var ErrMalformed = errors.New("flv: malformed payload")

// Tag is one audio, video or script tag. It is immutable: whoever gets one may
// keep it and share it, nobody writes to Payload.
type Tag struct {
	Type      byte   // Audio, Video or Script
	Timestamp uint32 // ms; decoding time
	Payload   []byte // the tag's body, at most 2^24-1 bytes
}

// Header is the FLV file header with the first PreviousTagSize (13 bytes).
func Header(audio, video bool) []byte {
	var flags byte
	if audio {
		flags |= 4
	}
	if video {
		flags |= 1
	}
	return []byte{'F', 'L', 'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0}
}

// AppendTag appends the tag as it stands in an FLV file: an 11-byte header, the
// payload and the 4-byte PreviousTagSize that follows it.
func AppendTag(dst []byte, t *Tag) []byte {
	n, ts := len(t.Payload), t.Timestamp
	dst = append(dst, t.Type,
		byte(n>>16), byte(n>>8), byte(n),
		byte(ts>>16), byte(ts>>8), byte(ts), byte(ts>>24),
		0, 0, 0)
	dst = append(dst, t.Payload...)
	n += 11
	return append(dst, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// Codec identifiers and packet types inside payloads (annex E.4.2.1, E.4.3.1).
const (
	codecAVC = 7
	codecAAC = 10

	frameKey   = 1
	frameInter = 2

	packetHeader = 0 // sequence header: avcC or AudioSpecificConfig
	packetData   = 1
	packetEnd    = 2 // end of sequence, video only

	aacSoundFlags = codecAAC<<4 | 3<<2 | 1<<1 | 1 // AAC: always "44 kHz, 16 bit, stereo"
)

// IsVideoKey tells whether a video payload is a key frame, its sequence header
// included. It looks at the first byte alone, so it also holds for Enhanced RTMP.
func IsVideoKey(payload []byte) bool {
	return len(payload) > 0 && payload[0]>>4&7 == frameKey
}

// IsSequenceHeader tells whether the tag carries decoder configuration (a record
// such as avcC, hvcC or AudioSpecificConfig) and no media.
func IsSequenceHeader(t *Tag) bool {
	k, err := ParsePacket(t)
	return err == nil && k.Role == RoleConfig
}

// ReadHeader reads the file header and the PreviousTagSize after it.
func ReadHeader(r io.Reader) error {
	var h [13]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return fmt.Errorf("flv: read header: %w", err)
	}
	if string(h[:3]) != "FLV" || h[3] != 1 {
		return fmt.Errorf("%w: no FLV header", ErrMalformed)
	}
	extra := int64(binary.BigEndian.Uint32(h[5:])) - 9 // a longer header, from a later version
	if extra < 0 || extra > 1024 {
		return fmt.Errorf("%w: FLV header of %d bytes", ErrMalformed, extra+9)
	}
	if _, err := io.CopyN(io.Discard, r, extra); err != nil {
		return fmt.Errorf("flv: read header: %w", err)
	}
	return nil
}

// ReadTag reads one tag with the PreviousTagSize after it. io.EOF says that the
// file ends before a tag, io.ErrUnexpectedEOF that it ends inside one.
func ReadTag(r io.Reader) (*Tag, error) {
	var h [11]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	if h[0]&0x20 != 0 {
		return nil, fmt.Errorf("%w: encrypted tag", ErrUnsupported)
	}
	n := int64(h[1])<<16 | int64(h[2])<<8 | int64(h[3])
	var body bytes.Buffer // grows with what is there, not by what the header says
	if _, err := io.CopyN(&body, r, n+4); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return &Tag{
		Type:      h[0] & 0x1f,
		Timestamp: uint32(h[7])<<24 | uint32(h[4])<<16 | uint32(h[5])<<8 | uint32(h[6]),
		Payload:   body.Bytes()[:n:n],
	}, nil
}
