package h264

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// DecoderConfig is the AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section
// 5.3.3.1) for one SPS and one PPS, with NAL lengths of four bytes. It is nil
// when the two cannot stand in a record: another NAL type, no profile and level
// in the SPS, or over 65535 bytes.
func DecoderConfig(sps, pps []byte) []byte {
	if Type(sps) != TypeSPS || Type(pps) != TypePPS || len(sps) < 4 || len(sps) > 0xffff || len(pps) > 0xffff {
		return nil
	}
	b := make([]byte, 0, 15+len(sps)+len(pps))
	b = append(b, 1, sps[1], sps[2], sps[3],
		0xfc|3, // lengthSizeMinusOne
		0xe0|1) // numOfSequenceParameterSets
	b = binary.BigEndian.AppendUint16(b, uint16(len(sps)))
	b = append(b, sps...)
	b = append(b, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(len(pps)))
	b = append(b, pps...)
	switch sps[1] {
	case 66, 77, 88: // Baseline, Main, Extended: the record ends here
	default:
		if s, err := ParseSPS(sps); err == nil {
			b = append(b,
				0xfc|byte(s.ChromaFormat),
				0xf8|byte(s.BitDepthLuma-8),
				0xf8|byte(s.BitDepthChroma-8),
				0) // numOfSequenceParameterSetExt
		}
	}
	return b
}

// ParseDecoderConfig reads an AVCDecoderConfigurationRecord. lengthSize is the
// size of a NAL length in bytes: 1, 2 or 4. Empty parameter sets are left out;
// what follows the picture parameter sets is not read. The sets share b's memory.
func ParseDecoderConfig(b []byte) (sps, pps [][]byte, lengthSize int, err error) {
	if len(b) < 6 {
		return nil, nil, 0, fmt.Errorf("h264: parse decoder config: %d bytes", len(b))
	}
	if b[0] != 1 {
		return nil, nil, 0, fmt.Errorf("h264: parse decoder config: version %d", b[0])
	}
	lengthSize = int(b[4]&3) + 1
	if lengthSize == 3 {
		return nil, nil, 0, errors.New("h264: parse decoder config: NAL lengths of 3 bytes")
	}
	sps, rest, ok := parseSets(int(b[5]&0x1f), b[6:])
	if !ok || len(rest) == 0 {
		return nil, nil, 0, errors.New("h264: parse decoder config: cut short in the sequence parameter sets")
	}
	pps, _, ok = parseSets(int(rest[0]), rest[1:])
	if !ok {
		return nil, nil, 0, errors.New("h264: parse decoder config: cut short in the picture parameter sets")
	}
	return sps, pps, lengthSize, nil
}

// parseSets reads n parameter sets, each after its length in two bytes.
func parseSets(n int, b []byte) (sets [][]byte, rest []byte, ok bool) {
	for range n {
		if len(b) < 2 {
			return nil, nil, false
		}
		size := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; size > len(b) {
			return nil, nil, false
		}
		if size > 0 {
			sets = append(sets, b[:size:size])
		}
		b = b[size:]
	}
	return sets, b, true
}
