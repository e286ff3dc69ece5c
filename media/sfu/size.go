package sfu

import (
	"braid/media"
	"braid/media/av1"
	"braid/media/h264"
	"braid/media/h265"
	"braid/media/vp9"
)

// pictureSize reads a picture's width and height in pixels from an RTP payload
// at which keyFrameStart is true: from an H.264 or H.265 sequence parameter set,
// alone or in an aggregate, from a VP8 or VP9 key frame's header, from VP9's
// scalability structure or AV1's sequence header, which tell the size of the largest
// layer. ok is false where there is none.
func pictureSize(c media.Codec, payload []byte) (width, height int, ok bool) {
	switch c {
	case media.H264:
		return h264Size(payload)
	case media.VP8:
		return vp8Size(vp8Frame(payload))
	case media.VP9:
		return vp9Size(payload)
	case media.AV1:
		return av1Size(payload)
	case media.H265:
		return h265Size(payload)
	}
	return 0, 0, false
}

func h264Size(p []byte) (width, height int, ok bool) {
	if h264.Type(p) == nalSTAPA {
		p = aggregated(p, nalSPS)
	}
	if h264.Type(p) != nalSPS {
		return 0, 0, false
	}
	s, err := h264.ParseSPS(p)
	return s.Width, s.Height, err == nil
}

// aggregated finds the first NAL unit of a type in a STAP-A (RFC 6184 section
// 5.7.1).
func aggregated(p []byte, kind byte) []byte {
	for p = p[1:]; len(p) > 2; {
		size := int(p[0])<<8 | int(p[1])
		if size == 0 || size > len(p)-2 {
			return nil
		}
		if unit := p[2 : 2+size]; h264.Type(unit) == kind {
			return unit
		}
		p = p[2+size:]
	}
	return nil
}

// vp8Size reads the header of a key frame: a tag of three bytes, a start code,
// then 14 bits each of width and height below two bits of scale (RFC 6386
// section 9.1).
func vp8Size(f []byte) (width, height int, ok bool) {
	if len(f) < 10 || f[0]&1 != 0 || f[3] != 0x9d || f[4] != 0x01 || f[5] != 0x2a {
		return 0, 0, false
	}
	width, height = int(f[6])|int(f[7]&0x3f)<<8, int(f[8])|int(f[9]&0x3f)<<8
	return width, height, width > 0 && height > 0
}

func vp9Size(p []byte) (width, height int, ok bool) {
	d, frame, ok := vp9.ParseDescriptor(p)
	if !ok || !d.Begin {
		return 0, 0, false
	}
	if d.Width > 0 && d.Height > 0 {
		return d.Width, d.Height, true
	}
	h, ok := vp9.ParseHeader(frame)
	return h.Width, h.Height, ok && h.Key
}

// av1Size looks for the sequence header, which is first but for a temporal
// delimiter.
func av1Size(p []byte) (width, height int, ok bool) {
	a, ok := av1.ParsePayload(p)
	if !ok || a.Continues {
		return 0, 0, false
	}
	for element, more := a.Next(); more; element, more = a.Next() {
		o, _, ok := av1.ParseOBU(element)
		if ok && o.Type == av1.TypeSequenceHeader {
			s, ok := av1.ParseSequence(o.Payload)
			return s.Width, s.Height, ok
		}
		if !ok || o.Type != av1.TypeTemporalDelimiter {
			break
		}
	}
	return 0, 0, false
}

func h265Size(p []byte) (width, height int, ok bool) {
	if h265.Type(p) == h265.TypeAP {
		for rest := p[h265.HeaderSize:]; ; {
			if p, rest, ok = h265Next(rest); !ok {
				return 0, 0, false
			}
			if h265.Type(p) == h265.TypeSPS {
				break
			}
		}
	}
	if h265.Type(p) != h265.TypeSPS {
		return 0, 0, false
	}
	s, err := h265.ParseSPS(p)
	return s.Width, s.Height, err == nil
}
