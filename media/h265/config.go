package h265

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ParseDecoderConfig reads the parameter sets of an HEVCDecoderConfigurationRecord
// (hvcC, ISO/IEC 14496-15 section 8.3.3.1): VPS, SPS and PPS in the record's order;
// empty ones and other units are left out. lengthSize is the size of a NAL length in
// bytes: 1, 2 or 4. The sets share b's memory.
func ParseDecoderConfig(b []byte) (sets [][]byte, lengthSize int, err error) {
	const arrays = 22 // what stands before them says again what is in the sets
	if len(b) <= arrays {
		return nil, 0, fmt.Errorf("h265: parse decoder config: %d bytes", len(b))
	}
	if b[0] > 1 { // writers before the standard was out left 0 there
		return nil, 0, fmt.Errorf("h265: parse decoder config: version %d", b[0])
	}
	if lengthSize = int(b[21]&3) + 1; lengthSize == 3 {
		return nil, 0, errors.New("h265: parse decoder config: NAL lengths of 3 bytes")
	}
	n, rest := int(b[arrays]), b[arrays+1:]
	for range n {
		if len(rest) < 3 {
			return nil, 0, errConfig
		}
		count := int(binary.BigEndian.Uint16(rest[1:]))
		rest = rest[3:]
		for range count {
			if len(rest) < 2 {
				return nil, 0, errConfig
			}
			size := int(binary.BigEndian.Uint16(rest))
			if rest = rest[2:]; size > len(rest) {
				return nil, 0, errConfig
			}
			if t := Type(rest[:size]); t == TypeVPS || t == TypeSPS || t == TypePPS {
				sets = append(sets, rest[:size:size])
			}
			rest = rest[size:]
		}
	}
	return sets, lengthSize, nil
}

var errConfig = errors.New("h265: parse decoder config: cut short in the parameter sets")
