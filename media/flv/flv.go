// Package flv turns access units into FLV tags and back, and writes the FLV
// framing (Adobe Flash Video File Format Specification 10.1, annex E). RTMP
// carries the same tag payloads, so media/rtmp speaks in these tags too.
//
// Video is H.264, audio is AAC. Enhanced RTMP payloads (other codecs, FourCC)
// pass through as bytes but are not understood. It starts no goroutine.
package flv

import "errors"

// Tag types (annex E.4.1).
const (
	Audio  byte = 8
	Video  byte = 9
	Script byte = 18
)

// ErrUnsupported is returned for a codec other than H.264 and AAC, and for
// Enhanced RTMP payloads.
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

// IsVideoKey tells whether a video payload is a key frame, the H.264 sequence
// header included. It looks at the first byte alone, so it also holds for
// Enhanced RTMP.
func IsVideoKey(payload []byte) bool {
	return len(payload) > 0 && payload[0]>>4&7 == frameKey
}

// IsSequenceHeader tells whether the tag carries decoder configuration (avcC or
// AudioSpecificConfig, or the Enhanced RTMP sequence start) and no media.
func IsSequenceHeader(t *Tag) bool {
	p := t.Payload
	switch {
	case len(p) < 2:
		return false
	case t.Type == Video && p[0]&0x80 != 0: // Enhanced RTMP: the low bits are the packet type
		return p[0]&15 == packetHeader
	case t.Type == Video:
		return p[0]&15 == codecAVC && p[1] == packetHeader
	case t.Type == Audio:
		return p[0]>>4 == codecAAC && p[1] == packetHeader
	}
	return false
}
