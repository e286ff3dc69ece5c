// Package av1 reads the parts of AV1 that a server needs: OBUs and their headers
// (AV1 bitstream specification with errata 1) and RTP payloads (AOM's RTP Payload
// Format For AV1, version 1.0). Any input is safe; only AppendSized may allocate.
package av1

import "braid/media/bits"

// OBU types (section 6.2.2).
const (
	TypeSequenceHeader    = 1
	TypeTemporalDelimiter = 2
	TypeFrameHeader       = 3
	TypeTileGroup         = 4
	TypeMetadata          = 5
	TypeFrame             = 6
	TypeRedundantHeader   = 7
	TypeTileList          = 8
	TypePadding           = 15
)

// OBU is an open bitstream unit.
type OBU struct {
	Type    int
	Spatial int    // spatial_id, 0 without an extension
	Header  []byte // one byte or two
	Payload []byte // without its size
}

// ParseOBU reads the OBU at b's beginning; rest is what follows it, which is
// nothing when the OBU does not say its size. ok is false when it breaks off.
func ParseOBU(b []byte) (o OBU, rest []byte, ok bool) {
	if len(b) == 0 || b[0]&0x80 != 0 { // obu_forbidden_bit
		return OBU{}, nil, false
	}
	n := 1
	o.Type = int(b[0] >> 3 & 15)
	if b[0]&0x04 != 0 { // obu_extension_flag
		if n++; len(b) < n {
			return OBU{}, nil, false
		}
		o.Spatial = int(b[1] >> 3 & 3)
	}
	o.Header, o.Payload = b[:n:n], b[n:]
	if b[0]&0x02 == 0 { // obu_has_size_field
		return o, nil, true
	}
	size, m := Leb128(o.Payload)
	if m == 0 || size > len(o.Payload)-m {
		return OBU{}, nil, false
	}
	end := m + size
	o.Payload, rest = o.Payload[m:end:end], o.Payload[end:]
	return o, rest, true
}

// AppendSized appends an OBU with its size, as files and decoders want it.
func AppendSized(dst []byte, o OBU) []byte {
	dst = append(dst, o.Header[0]|0x02)
	dst = append(dst, o.Header[1:]...)
	n := uint(len(o.Payload))
	for ; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	dst = append(dst, byte(n))
	return append(dst, o.Payload...)
}

// Leb128 reads a number (section 4.10.5) and how many bytes it has; 0 bytes when it
// is cut short or over 32 bits.
func Leb128(b []byte) (v, n int) {
	for i := 0; i < 8 && i < len(b); i++ {
		v |= int(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			if v > 1<<32-1 {
				return 0, 0
			}
			return v, i + 1
		}
	}
	return 0, 0
}

// Sequence is the beginning of a sequence header.
type Sequence struct {
	Profile       int
	Reduced       bool // reduced_still_picture_header
	Width, Height int  // the most that a frame has, in pixels, at most 65536
}

// ParseSequence reads a sequence header's payload (section 5.5.1). ok is false when
// it breaks off.
func ParseSequence(payload []byte) (s Sequence, ok bool) {
	r := bits.Reader{B: payload}
	s.Profile = int(r.U(3))
	r.Bit() // still_picture
	if s.Reduced = r.Flag(); s.Reduced {
		r.U(5) // seq_level_idx
	} else {
		operatingPoints(&r)
	}
	w, h := int(r.U(4))+1, int(r.U(4))+1
	s.Width, s.Height = int(r.U(w))+1, int(r.U(h))+1
	return s, !r.Over()
}

// operatingPoints reads a sequence header up to the last of them.
func operatingPoints(r *bits.Reader) {
	model, delay := false, 0
	if r.Flag() { // timing_info_present_flag
		r.U(32)
		r.U(32)
		if r.Flag() { // equal_picture_interval
			r.UE()
		}
		if model = r.Flag(); model { // decoder_model_info_present_flag
			delay = int(r.U(5)) + 1
			r.U(32)
			r.U(5 + 5)
		}
	}
	display := r.Flag() // initial_display_delay_present_flag
	for range r.U(5) + 1 {
		r.U(12)         // operating_point_idc
		if r.U(5) > 7 { // seq_level_idx
			r.Bit() // seq_tier
		}
		if model && r.Flag() { // decoder_model_present_for_this_op
			r.U(delay)
			r.U(delay)
			r.Bit()
		}
		if display && r.Flag() {
			r.U(4)
		}
	}
}

// Size is the width and height in pixels that the first whole sequence header
// among OBUs says; zeros without one.
func Size(obus []byte) (width, height int) {
	for len(obus) > 0 {
		o, rest, ok := ParseOBU(obus)
		if !ok {
			break
		}
		if o.Type == TypeSequenceHeader {
			if s, ok := ParseSequence(o.Payload); ok {
				return s.Width, s.Height
			}
		}
		obus = rest
	}
	return 0, 0
}

// IsKey tells whether a temporal unit, whose OBUs have sizes, is one at which a
// decoder can start: a sequence header, and then a shown key frame first of all.
func IsKey(unit []byte) bool {
	for sequence, reduced := false, false; len(unit) > 0; {
		o, rest, ok := ParseOBU(unit)
		if !ok {
			return false
		}
		switch unit = rest; o.Type {
		case TypeSequenceHeader:
			s, ok := ParseSequence(o.Payload)
			if !ok {
				return false
			}
			sequence, reduced = true, s.Reduced
		case TypeFrame, TypeFrameHeader:
			if !sequence || reduced {
				return sequence
			}
			// show_existing_frame 0, frame_type KEY_FRAME, show_frame 1 (section 5.9.2)
			return len(o.Payload) > 0 && o.Payload[0]&0xf0 == 0x10
		}
	}
	return false
}
