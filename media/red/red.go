// Package red reads and writes redundant audio (RFC 2198), a packet that repeats
// earlier frames in front of its own, and finds the lost packets that such repeats
// bring back. It knows no codec and no connection, has no lock and starts no
// goroutine.
//
//	| header, 4 bytes, one for each repeat | header, 1 byte | repeats | the packet's own frame |
package red

import (
	"encoding/binary"
	"errors"
)

// Limits of a repeat's header (RFC 2198 section 3): 14 bits of timestamp offset,
// 10 bits of length.
const (
	MaxOffset = 1<<14 - 1
	MaxLength = 1<<10 - 1
)

// maxBlocks bounds what Parse takes of one packet: browsers send 2, at most 10.
const maxBlocks = 32

// Block is a coded frame in a packet.
type Block struct {
	PayloadType uint8
	Offset      uint32 // how much older than the packet's timestamp; 0 in its own frame
	Data        []byte
}

var errCut = errors.New("red: cut short")

// Parse appends a payload's blocks to dst in the packet's order: repeats, the
// oldest first, then the packet's own frame, always the last one. Their Data lie in
// payload; that of the own frame may be empty, repeats without data are left out.
func Parse(dst []Block, payload []byte) ([]Block, error) {
	begin := len(dst)
	body := 0 // where the repeats begin: behind all headers
	for {
		if body >= len(payload) {
			return dst[:begin], errCut
		}
		if payload[body]&0x80 == 0 { // F: this is the last header
			break
		}
		body += 4
	}
	if body/4 >= maxBlocks {
		return dst[:begin], errors.New("red: over 31 repeats")
	}
	own := payload[body] & 0x7f
	rest := payload[body+1:]
	for h := payload[:body]; len(h) > 0; h = h[4:] {
		word := binary.BigEndian.Uint32(h)
		size := int(word & MaxLength)
		if size > len(rest) {
			return dst[:begin], errCut
		}
		if size > 0 {
			dst = append(dst, Block{PayloadType: h[0] & 0x7f, Offset: word >> 10 & MaxOffset, Data: rest[:size:size]})
		}
		rest = rest[size:]
	}
	return append(dst, Block{PayloadType: own, Data: rest}), nil
}

// Append appends to dst what goes in front of a frame: the headers and the
// repeats, which are to be the oldest first. The frame's own bytes follow as they
// are. A block that the format cannot hold (without data, or over MaxLength bytes;
// Offset 0 or over MaxOffset) is left out.
func Append(dst []byte, payloadType uint8, repeats []Block) []byte {
	for _, b := range repeats {
		if b.fits() {
			word := 1<<31 | uint32(b.PayloadType&0x7f)<<24 | b.Offset<<10 | uint32(len(b.Data))
			dst = binary.BigEndian.AppendUint32(dst, word)
		}
	}
	dst = append(dst, payloadType&0x7f)
	for _, b := range repeats {
		if b.fits() {
			dst = append(dst, b.Data...)
		}
	}
	return dst
}

func (b Block) fits() bool {
	return len(b.Data) > 0 && len(b.Data) <= MaxLength && b.Offset > 0 && b.Offset <= MaxOffset
}
