//go:build cgo

package codec

import (
	"bytes"
	"fmt"

	"braid/media"
	"braid/media/av1"
	"braid/media/h264"
	"braid/media/h265"
	"braid/media/vp9"
)

var startCode = []byte{0, 0, 0, 1}

func macroblocks(side int) int { return (side + 15) / 16 }

// content is what Decode must know of an access unit before libavcodec sees it.
type content struct {
	picture bool // it holds (part of) a picture
	key     bool // a decoder can start here
	size    int  // bytes in the form that libavcodec takes
}

// look checks the access unit in Go: sizes that are announced, and nothing that
// libavcodec would read differently than we do.
func (d *VideoDecoder) look(units [][]byte) (content, error) {
	switch d.codec {
	case media.H264:
		return d.lookH264(units)
	case media.H265:
		return d.lookH265(units)
	}
	c, err := oneUnit(units)
	if err != nil {
		return c, err
	}
	switch d.codec {
	case media.VP9:
		c.key, err = d.lookVP9(units[0])
	case media.AV1:
		c.key, err = d.lookAV1(units[0])
	default:
		c.key, err = d.lookVP8(units[0])
	}
	return c, err
}

// oneUnit is for codecs whose access unit is one frame.
func oneUnit(units [][]byte) (content, error) {
	if len(units) != 1 || len(units[0]) == 0 {
		return content{}, fmt.Errorf("%w: %d units, want one frame", media.ErrInvalid, len(units))
	}
	c := content{picture: true, size: len(units[0])}
	if c.size > maxAccessUnit {
		return c, fmt.Errorf("%w: frame over %d bytes", media.ErrLimit, maxAccessUnit)
	}
	return c, nil
}

// addNAL counts a NAL unit.
func (c *content) addNAL(u []byte) error {
	if c.size += len(startCode) + len(u); c.size > maxAccessUnit {
		return fmt.Errorf("%w: access unit over %d bytes", media.ErrLimit, maxAccessUnit)
	}
	// libavcodec would see another unit there, an unchecked SPS for one.
	// H.264 and H.265 clause 7.4.1 and 7.4.2 forbid it.
	if bytes.Contains(u, startCode[1:]) {
		return fmt.Errorf("%w: start code inside a NAL unit", media.ErrInvalid)
	}
	return nil
}

func (d *VideoDecoder) lookH264(units [][]byte) (content, error) {
	var c content
	for _, u := range units {
		if len(u) == 0 {
			continue
		}
		if err := c.addNAL(u); err != nil {
			return c, err
		}
		switch t := h264.Type(u); t {
		case 1, 2, 3, 4, 5: // slices (H.264 table 7-1); 5 is of an IDR
			c.picture = true
			c.key = c.key || t == h264.TypeIDR
		case h264.TypeSEI:
			c.key = c.key || d.feed && h264.IsRecoveryPoint([][]byte{u})
		case h264.TypeSPS:
			if err := d.checkSPS(u); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// h264Profiles are those whose SPS libavcodec and media/h264 read alike: what
// one takes for a scaling list must not be a size to the other.
var h264Profiles = []byte{44, 66, 77, 88, 100, 110, 122, 244}

func (d *VideoDecoder) checkSPS(nal []byte) error {
	s, err := h264.ParseSPS(nal)
	if err != nil {
		return fmt.Errorf("%w: %w", media.ErrInvalid, err)
	}
	if err := oneOf("H.264 profile", s.Profile, h264Profiles...); err != nil {
		return err
	}
	deep := s.BitDepthLuma == 10 && s.BitDepthChroma == 10
	if d.feed && (deep || s.BitDepthLuma == 8 && s.BitDepthChroma == 8) {
		return d.checkSize(s.MbWidth*16, s.MbHeight*16)
	}
	if s.ChromaFormat != 1 || s.BitDepthLuma != 8 || s.BitDepthChroma != 8 {
		return fmt.Errorf("%w: chroma format %d of %d and %d bits, want 4:2:0 (1) of 8 bits",
			media.ErrInvalid, s.ChromaFormat, s.BitDepthLuma, s.BitDepthChroma)
	}
	// The coded size: cropping shows less than it allocates.
	return d.checkSize(s.MbWidth*16, s.MbHeight*16)
}

func (d *VideoDecoder) lookH265(units [][]byte) (content, error) {
	var c content
	for _, u := range units {
		if len(u) == 0 {
			continue
		}
		if err := c.addNAL(u); err != nil {
			return c, err
		}
		switch {
		case len(u) < h265.HeaderSize || h265.Layer(u) > 0:
			return c, fmt.Errorf("%w: NAL unit of %d bytes, layer %d", media.ErrInvalid, len(u), h265.Layer(u))
		case h265.IsSlice(u):
			c.picture = true
			c.key = c.key || h265.IsIRAP(u)
		case h265.Type(u) == h265.TypeSPS:
			if err := d.checkH265(u); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

func (d *VideoDecoder) checkH265(nal []byte) error {
	s, err := h265.ParseSPS(nal)
	if err != nil {
		return fmt.Errorf("%w: %w", media.ErrInvalid, err)
	}
	if s.ChromaFormat != 1 || s.BitDepthLuma != s.BitDepthChroma || s.BitDepthLuma != 8 && s.BitDepthLuma != 10 {
		return fmt.Errorf("%w: chroma format %d of %d and %d bits, want 4:2:0 (1) of 8 or 10 bits",
			media.ErrInvalid, s.ChromaFormat, s.BitDepthLuma, s.BitDepthChroma)
	}
	return d.checkSize(s.CodedWidth, s.CodedHeight)
}

// lookVP8 reads the frame header of RFC 6386 section 9.1.
func (d *VideoDecoder) lookVP8(f []byte) (key bool, err error) {
	if f[0]&1 != 0 {
		return false, nil
	}
	if len(f) < 10 || !bytes.Equal(f[3:6], []byte{0x9d, 0x01, 0x2a}) {
		return true, fmt.Errorf("%w: key frame without its header", media.ErrInvalid)
	}
	w, h := int(f[6])|int(f[7]&0x3f)<<8, int(f[8])|int(f[9]&0x3f)<<8
	return true, d.checkSize(w, h)
}

// lookVP9 reads the headers of all frames of a superframe: each may have a size of
// its own.
func (d *VideoDecoder) lookVP9(b []byte) (key bool, err error) {
	frames, ok := vp9.Split(b)
	if !ok {
		return false, fmt.Errorf("%w: superframe whose index is wrong", media.ErrInvalid)
	}
	first := true
	for f, more := frames.Next(); more; f, more = frames.Next() {
		h, ok := vp9.ParseHeader(f)
		if !ok {
			return false, fmt.Errorf("%w: frame without its header", media.ErrInvalid)
		}
		if err := oneOf("VP9 profile", h.Profile, 0, 2); err != nil {
			return false, err
		}
		if h.Width > 0 {
			if err := d.checkSize(h.Width, h.Height); err != nil {
				return false, err
			}
		}
		key = key || first && h.Key
		first = false
	}
	return key, nil
}

// lookAV1 reads the sequence headers of a temporal unit.
func (d *VideoDecoder) lookAV1(unit []byte) (key bool, err error) {
	for rest := unit; len(rest) > 0; {
		o, next, ok := av1.ParseOBU(rest)
		if !ok || next == nil {
			return false, fmt.Errorf("%w: OBU that breaks off, or without its size", media.ErrInvalid)
		}
		rest = next
		if o.Type != av1.TypeSequenceHeader {
			continue
		}
		s, ok := av1.ParseSequence(o.Payload)
		if !ok {
			return false, fmt.Errorf("%w: sequence header that breaks off", media.ErrInvalid)
		}
		if err := oneOf("AV1 profile", s.Profile, 0); err != nil {
			return false, err
		}
		if err := d.checkSize(s.Width, s.Height); err != nil {
			return false, err
		}
	}
	return av1.IsKey(unit), nil
}

func (d *VideoDecoder) checkSize(w, h int) error {
	fits := func(w, h int) bool {
		return macroblocks(w) <= macroblocks(d.maxWidth) && macroblocks(h) <= macroblocks(d.maxHeight)
	}
	if w < 1 || h < 1 {
		return fmt.Errorf("%w: %dx%d picture", media.ErrInvalid, w, h)
	}
	if !fits(w, h) && !fits(h, w) {
		return fmt.Errorf("%w: %dx%d, at most %dx%d", ErrTooLarge, w, h, d.maxWidth, d.maxHeight)
	}
	return nil
}
