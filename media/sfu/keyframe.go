package sfu

import (
	"braid/media"
	"braid/media/av1"
	"braid/media/h265"
	"braid/media/vp9"
)

// keyFrameStart tells whether an RTP payload begins a picture at which a
// decoder can start. It reads only what the payload format promises and is
// content with broken input: the answer is then false.
func keyFrameStart(c media.Codec, payload []byte) bool {
	switch c {
	case media.H264:
		return h264KeyStart(payload)
	case media.VP8:
		return vp8KeyStart(payload)
	case media.VP9:
		return vp9KeyStart(payload)
	case media.AV1:
		a, ok := av1.ParsePayload(payload)
		return ok && a.New && !a.Continues
	case media.H265:
		return h265KeyStart(payload)
	}
	return false
}

// NAL unit types (RFC 6184 section 5.2, H.264 table 7-1).
const (
	nalIDR   = 5
	nalSPS   = 7
	nalSTAPA = 24
	nalFUA   = 28
)

// h264KeyStart finds an SPS or the first slice of an IDR picture.
func h264KeyStart(p []byte) bool {
	if len(p) < 2 {
		return false
	}
	switch kind := p[0] & 0x1f; kind {
	case nalSTAPA:
		for p = p[1:]; len(p) > 3; {
			size := int(p[0])<<8 | int(p[1])
			if size == 0 || size > len(p)-2 {
				return false
			}
			if nalKeyStart(p[2]&0x1f, p[3:2+size]) {
				return true
			}
			p = p[2+size:]
		}
		return false
	case nalFUA:
		begins := p[1]&0x80 != 0
		return begins && nalKeyStart(p[1]&0x1f, p[2:])
	default:
		return nalKeyStart(kind, p[1:])
	}
}

// nalKeyStart: a first slice has first_mb_in_slice 0, which is a one bit
// (H.264 section 7.3.3 and 9.1).
func nalKeyStart(kind byte, body []byte) bool {
	return kind == nalSPS || kind == nalIDR && len(body) > 0 && body[0]&0x80 != 0
}

// vp8KeyStart finds the first packet of a key frame: start of partition 0, and
// the frame header's inverse key frame bit (RFC 7741 sections 4.2 and 4.3).
func vp8KeyStart(p []byte) bool {
	f := vp8Frame(p)
	return len(f) > 0 && f[0]&0x01 == 0
}

// vp8Frame is the beginning of a frame behind the payload descriptor; nil when
// the payload continues one.
func vp8Frame(p []byte) []byte {
	if len(p) < 2 || p[0]&0x17 != 0x10 {
		return nil
	}
	i := 1
	if p[0]&0x80 != 0 { // X: extensions follow
		ext := p[1]
		i = 2
		if ext&0x80 != 0 { // I: picture id, one or two bytes
			if i >= len(p) {
				return nil
			}
			if p[i]&0x80 != 0 {
				i++
			}
			i++
		}
		if ext&0x40 != 0 { // L: TL0PICIDX
			i++
		}
		if ext&0x30 != 0 { // T or K: TID/KEYIDX
			i++
		}
	}
	return p[min(i, len(p)):]
}

// vp9KeyStart finds the first packet of a key frame's lowest layer (RFC 9628
// section 4.2: B, not P, SID 0), and asks the frame itself: an intra frame needs no
// other frame either.
func vp9KeyStart(p []byte) bool {
	d, frame, ok := vp9.ParseDescriptor(p)
	if !ok || !d.Begin || d.Predicted || d.Spatial > 0 {
		return false
	}
	h, ok := vp9.ParseHeader(frame)
	return ok && h.Key
}

// h265KeyStart finds a VPS, an SPS or the first slice segment of a picture at which
// decoding can start, alone, in an aggregate (RFC 7798 section 4.4.2) or at the
// beginning of a fragment (section 4.4.3).
func h265KeyStart(p []byte) bool {
	switch h265.Type(p) {
	case h265.TypeAP:
		for p = p[h265.HeaderSize:]; len(p) > 2; {
			unit, rest, ok := h265Next(p)
			if !ok {
				return false
			}
			if h265UnitStart(h265.Type(unit), unit[h265.HeaderSize:]) {
				return true
			}
			p = rest
		}
		return false
	case h265.TypeFU:
		p = p[h265.HeaderSize:]
		return len(p) > 1 && p[0]&0x80 != 0 && h265UnitStart(p[0]&0x3f, p[1:])
	}
	return len(p) > h265.HeaderSize && h265UnitStart(h265.Type(p), p[h265.HeaderSize:])
}

// h265UnitStart: the first bit of a slice segment says that it is its picture's
// first (H.265 section 7.3.6.1).
func h265UnitStart(kind byte, body []byte) bool {
	if kind == h265.TypeVPS || kind == h265.TypeSPS {
		return true
	}
	return kind >= h265.TypeIRAP && kind <= 23 && len(body) > 0 && body[0]&0x80 != 0
}

// h265Next takes a unit, which has a header at least, off an aggregate.
func h265Next(p []byte) (unit, rest []byte, ok bool) {
	if len(p) < 2 {
		return nil, nil, false
	}
	size := int(p[0])<<8 | int(p[1])
	if size < h265.HeaderSize || size > len(p)-2 {
		return nil, nil, false
	}
	return p[2 : 2+size], p[2+size:], true
}
