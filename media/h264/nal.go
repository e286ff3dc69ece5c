// Package h264 reads and writes the byte layer of H.264 (ITU-T H.264, ISO/IEC
// 14496-10): NAL units in Annex B and in AVCC form, emulation prevention, the
// sequence parameter set and the AVCDecoderConfigurationRecord. It decodes no
// picture, keeps no state and starts no goroutine.
//
// A NAL unit here is the bytes from the NAL header on, without start code or
// length, with its emulation prevention bytes in place.
package h264

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// NAL unit types (H.264 table 7-1).
const (
	TypeSlice  = 1
	TypeIDR    = 5
	TypeSEI    = 6
	TypeSPS    = 7
	TypePPS    = 8
	TypeAUD    = 9
	TypeEndSeq = 10
	TypeEnd    = 11
	TypeFiller = 12
	TypePrefix = 14 // in front of a slice: annex H (SVC, MVC)
)

// Type is the NAL unit type, 0 (unspecified) for an empty unit.
func Type(nal []byte) byte {
	if len(nal) == 0 {
		return 0
	}
	return nal[0] & 0x1f
}

// IsSlice tells whether the unit carries coded picture data (a VCL NAL unit,
// types 1 to 5: slices, data partitions and IDR slices).
func IsSlice(nal []byte) bool {
	t := Type(nal)
	return t >= TypeSlice && t <= TypeIDR
}

// IsKey tells whether the units hold an IDR slice.
func IsKey(units [][]byte) bool {
	return slices.ContainsFunc(units, func(u []byte) bool { return Type(u) == TypeIDR })
}

// seiRecoveryPoint is a payloadType of SEI messages (annex D.1.8).
const seiRecoveryPoint = 6

// IsRecoveryPoint tells whether the units hold an SEI message that a decoder can
// begin here without an IDR picture: open groups of pictures, and intra refresh,
// where it has a whole picture some frames later (H.264 annex D.2.8).
func IsRecoveryPoint(units [][]byte) bool {
	return slices.ContainsFunc(units, func(u []byte) bool { return Type(u) == TypeSEI && hasMessage(u[1:], seiRecoveryPoint) })
}

// hasMessage walks through the SEI messages of a unit without its header (7.3.2.3).
func hasMessage(b []byte, want int) bool {
	b = UnescapeRBSP(nil, b)
	number := func() (n int) {
		for ; len(b) > 0 && b[0] == 0xff; b = b[1:] {
			n += 0xff
		}
		if len(b) > 0 {
			n, b = n+int(b[0]), b[1:]
		}
		return n
	}
	for len(b) > 1 { // the last byte is rbsp_trailing_bits
		kind, size := number(), number()
		if size >= len(b) {
			return false
		}
		if kind == want {
			return true
		}
		b = b[size:]
	}
	return false
}

// StartCode is the index of the first three-byte start code (00 00 01), or -1.
// A well-formed NAL unit holds none.
func StartCode(b []byte) int { return bytes.Index(b, []byte{0, 0, 1}) }

// SplitAnnexB appends the NAL units of a byte stream (H.264 annex B) to dst.
// Start codes have three or four bytes; zeros behind a unit belong to no unit,
// bytes before the first start code are skipped and empty units left out. The
// units share b's memory.
func SplitAnnexB(dst [][]byte, b []byte) [][]byte {
	i := StartCode(b)
	for i >= 0 {
		b = b[i+3:]
		i = StartCode(b)
		unit := b
		if i >= 0 {
			unit = b[:i]
		}
		// 7.4.1: the last byte of a NAL unit is not zero, so these are
		// trailing_zero_8bits or the next start code's zero_byte.
		if unit = bytes.TrimRight(unit, "\x00"); len(unit) > 0 {
			dst = append(dst, unit[:len(unit):len(unit)])
		}
	}
	return dst
}

// AppendAnnexB appends the units to dst, each after a four-byte start code.
func AppendAnnexB(dst []byte, units [][]byte) []byte {
	for _, u := range units {
		dst = append(dst, 0, 0, 0, 1)
		dst = append(dst, u...)
	}
	return dst
}

// SplitAVCC appends the NAL units of a sample with four-byte lengths (ISO/IEC
// 14496-15 section 5.3.2) to dst; empty units are left out. The units share b's
// memory. On an error dst comes back as it was.
func SplitAVCC(dst [][]byte, b []byte) ([][]byte, error) {
	n := len(dst)
	for len(b) > 0 {
		if len(b) < 4 {
			return dst[:n], fmt.Errorf("h264: split AVCC: %d bytes left, a length has 4", len(b))
		}
		size := binary.BigEndian.Uint32(b)
		b = b[4:]
		if uint64(size) > uint64(len(b)) {
			return dst[:n], fmt.Errorf("h264: split AVCC: unit of %d bytes, %d left", size, len(b))
		}
		if size > 0 {
			dst = append(dst, b[:size:size])
		}
		b = b[size:]
	}
	return dst, nil
}

// AppendAVCC appends the units to dst, each after its length in four bytes.
func AppendAVCC(dst []byte, units [][]byte) []byte {
	for _, u := range units {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(u)))
		dst = append(dst, u...)
	}
	return dst
}
