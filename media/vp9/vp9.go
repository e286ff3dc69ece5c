// Package vp9 reads the parts of VP9 that a server needs: the RTP payload
// descriptor (RFC 9628), frame headers, superframes (VP9 bitstream specification,
// version 0.6). Any input is safe; nothing but Join allocates.
package vp9

import "braid/media/bits"

// Header is the beginning of a frame's uncompressed header (section 6.2).
type Header struct {
	Key     bool // frame_type is KEY_FRAME: a decoder can start here
	Shown   bool // the frame comes out by itself
	Profile int  // 0 to 3
	// Width and Height are those that the frame announces, in pixels, at most 65536;
	// 0 when it takes the size of a frame before it.
	Width, Height int
}

// ParseHeader reads a frame's header. ok is false when it is none.
func ParseHeader(frame []byte) (h Header, ok bool) {
	r := bits.Reader{B: frame}
	if r.U(2) != 2 { // frame_marker
		return Header{}, false
	}
	h.Profile = int(r.Bit() | r.Bit()<<1)
	if h.Profile == 3 && r.Flag() {
		return Header{}, false
	}
	if r.Flag() { // show_existing_frame
		h.Shown = true
		return h, !r.Over()
	}
	h.Key = !r.Flag()
	h.Shown = r.Flag()
	resilient := r.Flag()
	switch {
	case h.Key:
		ok = synced(&r) && h.color(&r)
		h.size(&r)
	case !h.Shown && r.Flag(): // intra_only
		reset(&r, resilient)
		ok = synced(&r) && (h.Profile == 0 || h.color(&r))
		r.U(8) // refresh_frame_flags
		h.size(&r)
	default:
		reset(&r, resilient)
		ok = true
		h.inter(&r)
	}
	return h, ok && !r.Over()
}

func reset(r *bits.Reader, resilient bool) {
	if !resilient {
		r.U(2) // reset_frame_context
	}
}

func synced(r *bits.Reader) bool { return r.U(24) == 0x498342 }

// color reads color_config (section 7.2.2).
func (h *Header) color(r *bits.Reader) bool {
	if h.Profile >= 2 {
		r.Bit() // ten_or_twelve_bit
	}
	odd := h.Profile&1 == 1
	if r.U(3) != 7 { // color_space, 7 is RGB
		r.Bit() // color_range
		if odd {
			r.U(3) // subsampling
		}
		return true
	}
	if odd {
		r.Bit()
	}
	return odd
}

func (h *Header) size(r *bits.Reader) {
	h.Width, h.Height = int(r.U(16))+1, int(r.U(16))+1
}

// inter reads frame_size_with_refs (section 7.2.5) and what stands before it.
func (h *Header) inter(r *bits.Reader) {
	r.U(8)     // refresh_frame_flags
	r.U(3 * 4) // ref_frame_idx and sign bias of three
	for range 3 {
		if r.Flag() { // found_ref
			return
		}
	}
	h.size(r)
}

// maxFrames is how many frames a superframe holds (annex B).
const maxFrames = 8

// Superframe is a superframe's frames one by one; a frame without an index is its
// only one.
type Superframe struct {
	data  []byte
	index []byte // their sizes, little endian; nil when there is no index
	wide  int    // bytes of a size
}

// Split reads a superframe's index (annex B). ok is false when the index is wrong;
// the superframe is then empty.
func Split(b []byte) (s Superframe, ok bool) {
	if len(b) == 0 {
		return Superframe{}, false
	}
	s = Superframe{data: b}
	marker := b[len(b)-1]
	if marker&0xe0 != 0xc0 {
		return s, true
	}
	wide, n := int(marker>>3&3)+1, int(marker&7)+1
	begin := len(b) - 2 - wide*n
	if begin < 0 || b[begin] != marker {
		return s, true
	}
	s = Superframe{data: b[:begin:begin], index: b[begin+1 : len(b)-1], wide: wide}
	total := 0
	for i := range n {
		total += s.sizeOf(s.index[i*wide:])
	}
	if total > begin {
		return Superframe{}, false
	}
	return s, true
}

func (s *Superframe) sizeOf(b []byte) (n int) {
	for i := range s.wide {
		n |= int(b[i]) << (8 * i)
	}
	return n
}

// Next takes the next frame, which is empty when its size in the index is 0; ok is
// false behind the last.
func (s *Superframe) Next() (frame []byte, ok bool) {
	switch {
	case s.wide == 0: // no index
		frame, s.data = s.data, nil
		return frame, len(frame) > 0
	case len(s.index) == 0:
		return nil, false
	}
	n := s.sizeOf(s.index)
	s.index = s.index[s.wide:]
	frame, s.data = s.data[:n:n], s.data[n:]
	return frame, true
}

// Join makes one superframe of frames, at most 8; one frame stays as it is. It is
// nil when there are none or too many.
func Join(frames [][]byte) []byte {
	switch {
	case len(frames) == 1:
		return frames[0]
	case len(frames) == 0 || len(frames) > maxFrames:
		return nil
	}
	const wide = 4
	total := 2 + wide*len(frames)
	for _, f := range frames {
		total += len(f)
	}
	b := make([]byte, 0, total)
	for _, f := range frames {
		b = append(b, f...)
	}
	marker := byte(0xc0 | (wide-1)<<3 | (len(frames) - 1))
	b = append(b, marker)
	for _, f := range frames {
		n := len(f)
		b = append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	return append(b, marker)
}
