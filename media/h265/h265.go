// Package h265 reads the parts of H.265 that a server needs: NAL unit headers and
// parameter sets (ITU-T H.265). Any input is safe; nothing allocates but errors.
package h265

import (
	"errors"
	"fmt"

	"braid/media/bits"
)

// NAL unit types (table 7-1), and those of RTP packets (RFC 7798 section 4.4).
const (
	TypeIRAP   = 16 // to 23: pictures at which decoding can start
	TypeVPS    = 32
	TypeSPS    = 33
	TypePPS    = 34
	TypeAUD    = 35
	TypeFiller = 38
	TypeAP     = 48
	TypeFU     = 49
	TypePACI   = 50
)

// HeaderSize is a NAL unit header's length in bytes.
const HeaderSize = 2

// Type is a unit's type; that of a unit without a whole header is 63.
func Type(nal []byte) byte {
	if len(nal) < HeaderSize {
		return 63
	}
	return nal[0] >> 1 & 0x3f
}

// Layer is a unit's nuh_layer_id: 0 for all that a decoder of version 1 looks at.
func Layer(nal []byte) byte {
	if len(nal) < HeaderSize {
		return 0
	}
	return nal[0]&1<<5 | nal[1]>>3
}

// IsSlice tells whether a unit is a slice segment.
func IsSlice(nal []byte) bool { return Type(nal) < 32 }

// IsIRAP tells whether a unit is a slice segment of a picture at which decoding can
// start (IDR, CRA, BLA).
func IsIRAP(nal []byte) bool { t := Type(nal); return t >= TypeIRAP && t <= 23 }

// StartsPicture tells whether a slice segment is its picture's first
// (first_slice_segment_in_pic_flag, section 7.3.6.1).
func StartsPicture(slice []byte) bool {
	return len(slice) > HeaderSize && slice[HeaderSize]&0x80 != 0
}

// SPS is what braid needs from a sequence parameter set (section 7.3.2.2.1).
type SPS struct {
	ID, VPS                      int
	Width, Height                int // in luma samples, after cropping
	CodedWidth, CodedHeight      int // before
	ChromaFormat                 int // 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4
	BitDepthLuma, BitDepthChroma int // 8 to 16
}

// maxSide is the largest side that ParseSPS takes; level 6.2 ends at 8444, and
// callers have their own limits.
const maxSide = 65536

var errSPS = errors.New("h265: parse SPS: cut short, or a number over 32 bits")

// ParseSPS reads a NAL unit of type 33.
func ParseSPS(nal []byte) (s SPS, err error) {
	if Type(nal) != TypeSPS || Layer(nal) != 0 {
		return SPS{}, fmt.Errorf("h265: parse SPS: NAL unit of type %d, layer %d", Type(nal), Layer(nal))
	}
	r := bits.Reader{B: nal[HeaderSize:], Emulation: true}
	s.VPS = int(r.U(4))
	sublayers := int(r.U(3))
	if sublayers > 6 {
		return SPS{}, fmt.Errorf("h265: parse SPS: sps_max_sub_layers_minus1 %d", sublayers)
	}
	r.Bit() // sps_temporal_id_nesting_flag
	skipProfile(&r, sublayers)
	id, chroma := r.UE(), r.UE()
	if id > 15 || chroma > 3 {
		return SPS{}, fmt.Errorf("h265: parse SPS: id %d, chroma_format_idc %d", id, chroma)
	}
	s.ID, s.ChromaFormat = int(id), int(chroma)
	separate := chroma == 3 && r.Flag()
	width, height := r.UE(), r.UE()
	if width == 0 || height == 0 || width > maxSide || height > maxSide {
		return SPS{}, fmt.Errorf("h265: parse SPS: picture of %d x %d", width, height)
	}
	s.CodedWidth, s.CodedHeight = int(width), int(height)
	if err := s.crop(&r, separate); err != nil {
		return SPS{}, err
	}
	luma, color := r.UE(), r.UE()
	if luma > 8 || color > 8 {
		return SPS{}, fmt.Errorf("h265: parse SPS: bit_depth_luma_minus8 %d, bit_depth_chroma_minus8 %d", luma, color)
	}
	s.BitDepthLuma, s.BitDepthChroma = int(luma)+8, int(color)+8
	if r.Over() {
		return SPS{}, errSPS
	}
	return s, nil
}

// skipProfile reads profile_tier_level (section 7.3.3).
func skipProfile(r *bits.Reader, sublayers int) {
	r.Skip(88 + 8)
	if sublayers == 0 {
		return
	}
	present := r.U(2 * 8) // two flags each for eight, the highest first
	for i := range sublayers {
		if present>>(15-2*i)&1 == 1 {
			r.Skip(88)
		}
		if present>>(14-2*i)&1 == 1 {
			r.Skip(8)
		}
	}
}

// crop reads the conformance window, in units of chroma samples.
func (s *SPS) crop(r *bits.Reader, separate bool) error {
	s.Width, s.Height = s.CodedWidth, s.CodedHeight
	if !r.Flag() {
		return nil
	}
	x, y := 1, 1
	if !separate && (s.ChromaFormat == 1 || s.ChromaFormat == 2) {
		x = 2
	}
	if !separate && s.ChromaFormat == 1 {
		y = 2
	}
	left, right, top, bottom := r.UE(), r.UE(), r.UE(), r.UE()
	if left > maxSide || right > maxSide || top > maxSide || bottom > maxSide {
		return errSPS
	}
	s.Width -= x * int(left+right)
	s.Height -= y * int(top+bottom)
	if s.Width <= 0 || s.Height <= 0 {
		return fmt.Errorf("h265: parse SPS: a window of %d x %d", s.Width, s.Height)
	}
	return nil
}

// SetID is the id of a VPS, SPS or PPS among its kind; ok is false for other units
// and for what cannot be read.
func SetID(nal []byte) (id int, ok bool) {
	switch Type(nal) {
	case TypeVPS:
		if len(nal) > HeaderSize {
			return int(nal[HeaderSize] >> 4), true
		}
	case TypeSPS:
		s, err := ParseSPS(nal)
		return s.ID, err == nil
	case TypePPS:
		r := bits.Reader{B: nal[HeaderSize:], Emulation: true}
		id := r.UE()
		return int(id), id < 64 && !r.Over()
	}
	return 0, false
}
