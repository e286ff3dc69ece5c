package mpegts

import (
	"fmt"

	"braid/media"
)

// adts is what an ADTS header says about a stream (ISO/IEC 13818-7 clause 6.2).
type adts struct {
	profile  byte // audio object type - 1, two bits
	rate     byte // sampling frequency index
	channels byte // channel configuration
}

// Audio object types (ISO/IEC 14496-3 table 1.1).
const (
	aacLTP = 4
	aacSBR = 5
	aacPS  = 29
)

// parseAudioConfig reads the part of an AudioSpecificConfig (ISO/IEC 14496-3
// clause 1.6.2.1) that ADTS can carry. With SBR or PS announced it takes the
// core stream: decoders find the extension in the frames themselves.
func parseAudioConfig(b []byte) (adts, error) {
	bad := func(why string) (adts, error) {
		return adts{}, fmt.Errorf("mpegts: AudioSpecificConfig %x: %s: %w", b, why, media.ErrInvalid)
	}
	if len(b) < 2 {
		return bad("shorter than 2 bytes")
	}
	object, rate, channels := b[0]>>3, b[0]&7<<1|b[1]>>7, b[1]>>3&15
	if rate == 15 {
		return bad("explicit sampling frequency")
	}
	if object == aacSBR || object == aacPS { // then follow the extension's rate (4 bits) and the core's object type (5 bits)
		if len(b) < 3 {
			return bad("cut off")
		}
		if b[1]&7<<1|b[2]>>7 == 15 {
			return bad("explicit extension frequency")
		}
		object = b[2] >> 2 & 31
	}
	switch {
	case object < 1 || object > aacLTP:
		return bad(fmt.Sprintf("audio object type %d", object))
	case rate > 12:
		return bad("reserved sampling frequency")
	case channels < 1 || channels > 7:
		return bad(fmt.Sprintf("channel configuration %d", channels))
	}
	return adts{profile: object - 1, rate: rate, channels: channels}, nil
}

// appendFrame appends one raw AAC frame behind its ADTS header.
func (a adts) appendFrame(dst, frame []byte) ([]byte, error) {
	n := len(frame) + 7
	if n > 1<<13-1 {
		return dst, fmt.Errorf("mpegts: AAC frame of %d bytes: %w", len(frame), media.ErrInvalid)
	}
	dst = append(dst,
		0xff, 0xf1, // sync word, MPEG-4, no CRC
		a.profile<<6|a.rate<<2|a.channels>>2,
		a.channels<<6|byte(n>>11),
		byte(n>>3),
		byte(n<<5)|0x1f, // buffer fullness 0x7ff: variable rate
		0xfc,
	)
	return append(dst, frame...), nil
}
