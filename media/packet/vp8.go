package packet

import (
	"encoding/binary"
	"slices"
)

// addVP8 takes one packet's payload into the open frame. It is false when the
// payload breaks RFC 7741 or the frame's beginning is missing.
func (a *Assembler) addVP8(b []byte) bool {
	data, first, ok := vp8Payload(b)
	if !ok || first != (len(a.cur.units) == 0) {
		return false
	}
	a.cur.units = append(a.cur.units, data)
	return true
}

// vp8Payload takes off the payload descriptor (RFC 7741 section 4.2). first
// tells whether a frame begins here (S set, partition 0).
func vp8Payload(b []byte) (data []byte, first, ok bool) {
	if len(b) == 0 {
		return nil, false, false
	}
	first = b[0]&0x10 != 0 && b[0]&0x07 == 0
	n := 1
	if b[0]&0x80 != 0 { // X: the extension octet says what follows
		if len(b) < 2 {
			return nil, false, false
		}
		x := b[1]
		n++
		if x&0x80 != 0 { // I: picture id of 7 or, with its M bit, 15 bits
			if len(b) <= n {
				return nil, false, false
			}
			n += 1 + int(b[n]>>7)
		}
		if x&0x40 != 0 { // L: TL0PICIDX
			n++
		}
		if x&0x30 != 0 { // T, K: one octet for both
			n++
		}
	}
	if len(b) <= n { // section 4.2: a payload is not empty
		return nil, false, false
	}
	return b[n:], first, true
}

// finishVP8 joins the payloads to the frame.
func (a *Assembler) finishVP8(parts [][]byte) (_ [][]byte, key, ok bool) {
	if len(parts) == 0 {
		return nil, false, false
	}
	frame := parts[0]
	if len(parts) > 1 {
		frame = slices.Concat(parts...)
	}
	// RFC 6386 section 9.1: a frame tag has 3 bytes, its lowest bit is 0 in a
	// key frame.
	if len(frame) < 3 {
		return nil, false, false
	}
	if key = frame[0]&1 == 0; key {
		_, _, ok = VP8Size(frame)
		return [][]byte{frame}, true, ok
	}
	return [][]byte{frame}, false, true
}

// VP8Size is the picture size in a key frame's header (RFC 6386 section 9.1).
// ok is false for any other frame.
func VP8Size(frame []byte) (w, h int, ok bool) {
	if len(frame) < 10 || frame[0]&1 != 0 || frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
		return 0, 0, false
	}
	// The two bits above the size ask the player to scale; the decoder does not.
	w = int(binary.LittleEndian.Uint16(frame[6:]) & 0x3fff)
	h = int(binary.LittleEndian.Uint16(frame[8:]) & 0x3fff)
	return w, h, w > 0 && h > 0
}
