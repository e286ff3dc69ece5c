package h264

// parseReorder sets Reorder from the VUI parameters (H.264 annex E.1.1), which
// begin where r stands, or from what else rules B-frames out; order is
// pic_order_cnt_type.
func (s *SPS) parseReorder(r *bitReader, order uint32) {
	s.Reorder = -1
	if r.bit() == 1 { // vui_parameters_present_flag
		if n, ok := skipVUI(r); ok && !r.over && n <= 16 {
			s.Reorder = int(n)
			return
		}
	}
	const intraOnly = 0x10 // constraint_set3_flag (section A.2)
	switch {
	case order == 2: // section 8.2.1.3: output order is decoding order
	case s.Profile == 66: // Baseline has no B slices
	case s.Constraints&intraOnly != 0 && hasChroma(s.Profile):
	default:
		return
	}
	s.Reorder = 0
}

// skipVUI passes over the VUI up to max_num_reorder_frames; ok is false when it
// has none.
func skipVUI(r *bitReader) (reorder uint32, ok bool) {
	const extendedSAR = 255
	if r.bit() == 1 && r.u(8) == extendedSAR { // aspect_ratio_info
		r.u(32)
	}
	if r.bit() == 1 { // overscan_info
		r.bit()
	}
	if r.bit() == 1 { // video_signal_type
		r.u(4)
		if r.bit() == 1 { // colour_description
			r.u(24)
		}
	}
	if r.bit() == 1 { // chroma_loc_info
		r.ue()
		r.ue()
	}
	if r.bit() == 1 { // timing_info
		r.u(32)
		r.u(32)
		r.bit()
	}
	nal := r.bit() == 1
	if nal {
		skipHRD(r)
	}
	vcl := r.bit() == 1
	if vcl {
		skipHRD(r)
	}
	if nal || vcl {
		r.bit() // low_delay_hrd_flag
	}
	r.bit()           // pic_struct_present_flag
	if r.bit() == 0 { // bitstream_restriction_flag
		return 0, false
	}
	r.bit() // motion_vectors_over_pic_boundaries_flag
	for range 4 {
		r.ue() // max_bytes_per_pic_denom, max_bits_per_mb_denom, two mv lengths
	}
	return r.ue(), true
}

// skipHRD passes over hrd_parameters (annex E.1.2).
func skipHRD(r *bitReader) {
	n := r.ue() // cpb_cnt_minus1, 0 to 31
	r.u(8)
	for i := uint32(0); i <= n && !r.over; i++ {
		r.ue()
		r.ue()
		r.bit()
	}
	r.u(20)
}
