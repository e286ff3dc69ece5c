package h264

import (
	"errors"
	"fmt"
)

// SPS is what braid needs from a sequence parameter set (H.264 section
// 7.3.2.1.1).
type SPS struct {
	Profile     byte // profile_idc
	Constraints byte // constraint_set0_flag is the highest bit
	Level       byte // level_idc, 31 is level 3.1
	ID          int  // 0 to 31

	Width, Height     int // in luma samples, after cropping
	MbWidth, MbHeight int // of a coded frame in macroblocks of 16x16, before cropping

	Interlaced     bool // frame_mbs_only_flag is 0: fields or MBAFF may occur
	ChromaFormat   int  // 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4
	BitDepthLuma   int  // 8 to 14
	BitDepthChroma int  // 8 to 14

	// Reorder is how many pictures may precede a picture in decoding order and
	// follow it in display order (max_num_reorder_frames); above 0 there may be
	// B-frames out of order. -1 when the SPS does not say.
	Reorder int
}

// maxMb is the largest width and height in macroblocks that ParseSPS takes:
// 65536 samples. Level 6.2 ends at 1055 (A.3.1); larger values up to here are
// reported, so that the caller's own cap can refuse them by their size.
const maxMb = 4096

// ParseSPS reads a NAL unit of type 7. It accepts every profile and takes nothing
// but Reorder from the VUI, whose faults are no error. Any input is safe; the work
// is bounded by the unit's length.
func ParseSPS(nal []byte) (SPS, error) {
	if Type(nal) != TypeSPS {
		return SPS{}, fmt.Errorf("h264: parse SPS: NAL unit of type %d", Type(nal))
	}
	// All that is read fits even with the longest scaling lists (12 of 64 codes
	// of 17 bits) and picture order cycle (255 codes of 63 bits).
	const enough = 4096
	r := &bitReader{b: UnescapeRBSP(make([]byte, 0, min(len(nal), enough)), nal[1:min(len(nal), enough)])}
	s := SPS{
		Profile:      byte(r.u(8)),
		Constraints:  byte(r.u(8)),
		Level:        byte(r.u(8)),
		ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8,
	}
	order, err := s.parse(r)
	if err == nil && r.over {
		err = errors.New("cut short, or a number over 32 bits")
	}
	if err != nil {
		return SPS{}, fmt.Errorf("h264: parse SPS: %w", err)
	}
	s.parseReorder(r, order)
	return s, nil
}

// parse reads up to the cropping; order is pic_order_cnt_type.
func (s *SPS) parse(r *bitReader) (order uint32, err error) {
	id := r.ue()
	if id > 31 {
		return 0, fmt.Errorf("seq_parameter_set_id %d", id)
	}
	s.ID = int(id)
	separate := false
	if hasChroma(s.Profile) {
		if separate, err = s.parseChroma(r); err != nil {
			return 0, err
		}
	}
	r.ue() // log2_max_frame_num_minus4
	if order, err = skipOrder(r); err != nil {
		return 0, err
	}
	r.ue()  // max_num_ref_frames
	r.bit() // gaps_in_frame_num_value_allowed_flag
	width, height := r.ue(), r.ue()
	if width >= maxMb || height >= maxMb {
		return 0, fmt.Errorf("%d x %d macroblocks", uint64(width)+1, uint64(height)+1)
	}
	s.MbWidth, s.MbHeight = int(width)+1, int(height)+1
	if r.bit() == 0 { // frame_mbs_only_flag: the height counts pairs of fields' rows
		s.Interlaced = true
		s.MbHeight *= 2
		r.bit() // mb_adaptive_frame_field_flag
	}
	if s.MbHeight > maxMb {
		return 0, fmt.Errorf("%d macroblock rows", s.MbHeight)
	}
	r.bit() // direct_8x8_inference_flag
	return order, s.crop(r, separate)
}

// hasChroma lists the profiles whose SPS has chroma format, bit depth and
// scaling lists (section 7.3.2.1.1).
func hasChroma(profile byte) bool {
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		return true
	}
	return false
}

func (s *SPS) parseChroma(r *bitReader) (separate bool, err error) {
	chroma := r.ue()
	if chroma > 3 {
		return false, fmt.Errorf("chroma_format_idc %d", chroma)
	}
	if chroma == 3 {
		separate = r.bit() == 1
	}
	luma, color := r.ue(), r.ue()
	if luma > 6 || color > 6 {
		return false, fmt.Errorf("bit_depth_luma_minus8 %d, bit_depth_chroma_minus8 %d", luma, color)
	}
	s.ChromaFormat, s.BitDepthLuma, s.BitDepthChroma = int(chroma), int(luma)+8, int(color)+8
	r.bit() // qpprime_y_zero_transform_bypass_flag
	if r.bit() == 1 {
		skipScaling(r, chroma)
	}
	return separate, nil
}

// skipScaling passes over the scaling lists (section 7.3.2.1.1.1).
func skipScaling(r *bitReader, chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if r.bit() == 0 {
			continue
		}
		size := 64
		if i < 6 {
			size = 16
		}
		last := int32(8)
		for range size {
			// next 0 means: the rest repeats the last value and is not coded.
			next := (last + r.se()) & 0xff
			if next == 0 || r.over {
				break
			}
			last = next
		}
	}
}

// skipOrder passes over the picture order count's parameters.
func skipOrder(r *bitReader) (kind uint32, err error) {
	switch kind = r.ue(); kind {
	case 0:
		r.ue() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		r.bit() // delta_pic_order_always_zero_flag
		r.se()  // offset_for_non_ref_pic
		r.se()  // offset_for_top_to_bottom_field
		n := r.ue()
		if n > 255 {
			return kind, fmt.Errorf("num_ref_frames_in_pic_order_cnt_cycle %d", n)
		}
		for range n {
			r.se()
		}
	case 2:
	default:
		return kind, fmt.Errorf("pic_order_cnt_type %d", kind)
	}
	return kind, nil
}

// crop reads the cropping rectangle and sets Width and Height (section
// 7.4.2.1.1, formulas 7-19 to 7-22).
func (s *SPS) crop(r *bitReader, separate bool) error {
	s.Width, s.Height = s.MbWidth*16, s.MbHeight*16
	if r.bit() == 0 {
		return nil
	}
	unitX, unitY := 1, 1
	if !separate && (s.ChromaFormat == 1 || s.ChromaFormat == 2) {
		unitX = 2
	}
	if !separate && s.ChromaFormat == 1 {
		unitY = 2
	}
	if s.Interlaced {
		unitY *= 2
	}
	left, right, top, bottom := int(r.ue()), int(r.ue()), int(r.ue()), int(r.ue())
	x, y := (left+right)*unitX, (top+bottom)*unitY
	if x >= s.Width || y >= s.Height {
		return fmt.Errorf("cropping %d x %d of %d x %d", x, y, s.Width, s.Height)
	}
	s.Width, s.Height = s.Width-x, s.Height-y
	return nil
}

// PPSID is the pic_parameter_set_id of a NAL unit of type 8, 0 to 255.
func PPSID(nal []byte) (id int, ok bool) {
	if Type(nal) != TypePPS {
		return 0, false
	}
	const enough = 8 // an Exp-Golomb code of 17 bits
	r := &bitReader{b: UnescapeRBSP(make([]byte, 0, enough), nal[1:min(len(nal), 1+enough)])}
	v := r.ue()
	return int(v), !r.over && v <= 255
}
