package codec

/*
#cgo pkg-config: libavcodec libavutil
#include <stdlib.h>
#include <libavutil/pixdesc.h>
#include "native.h"
*/
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"braid/media"
	"braid/media/h264"
)

var (
	// ErrTooLarge: the stream announces pictures over the decoder's maximum.
	ErrTooLarge = fmt.Errorf("picture %w", media.ErrLimit)
	// ErrNeedKey: nothing can be shown before the next key frame, because none
	// came yet or because data was lost or damaged. Ask the publisher for one.
	ErrNeedKey = errors.New("key frame needed")
)

const (
	// maxSide bounds the maximum that NewVideoDecoder takes.
	maxSide = 4096
	// maxAccessUnit bounds what one Decode takes, in bytes: over ten times the
	// key frame of a good 1080p stream.
	maxAccessUnit = 8 << 20
)

// VideoDecoder decodes H.264 or VP8 into 8 bit 4:2:0 pictures of limited range.
// It has no delay: a picture comes out of the call that put it in.
type VideoDecoder struct {
	c                   *C.braid_decoder
	codec               media.Codec
	maxWidth, maxHeight int
	needKey             bool
}

// NewVideoDecoder opens a decoder of media.H264 or media.VP8 for pictures of at
// most maxWidth x maxHeight (16..4096 each), upright or turned by 90 degrees.
func NewVideoDecoder(c media.Codec, maxWidth, maxHeight int) (*VideoDecoder, error) {
	names := map[media.Codec]string{media.H264: "h264", media.VP8: "vp8"}
	err := errors.Join(oneOf("codec", c, media.H264, media.VP8),
		inRange("maximum width", maxWidth, 16, maxSide), inRange("maximum height", maxHeight, 16, maxSide))
	if err != nil {
		return nil, fmt.Errorf("codec: video decoder: %w", err)
	}
	name := C.CString(names[c])
	defer C.free(unsafe.Pointer(name))
	d := C.braid_decoder_open(name, C.int64_t(macroblocks(maxWidth)*macroblocks(maxHeight)*16*16))
	if d == nil {
		return nil, fmt.Errorf("codec: video decoder: libavcodec does not open %s", c)
	}
	return &VideoDecoder{c: d, codec: c, maxWidth: maxWidth, maxHeight: maxHeight, needKey: true}, nil
}

// Decoded is a picture in the decoder's memory. It is read only and lives until Free.
type Decoded struct {
	Picture
	PTS   time.Duration // as given to Decode with this picture
	frame *C.AVFrame
}

// Free gives the picture's memory back; its planes are nil afterwards. It may be
// called again, on a nil Decoded, and after the decoder's Close.
func (d *Decoded) Free() {
	if d == nil || d.frame == nil {
		return
	}
	C.av_frame_free(&d.frame)
	d.Picture = Picture{}
}

// Decode takes one access unit: H.264 NAL units without start codes, or one VP8
// frame. It returns the newest picture, which the caller frees, or nil when none
// came of it. units are not kept.
//
// Errors: ErrTooLarge, before anything is allocated for the size. ErrNeedKey
// after loss or damage: the damaged picture is not returned, and each call up to
// the next key frame answers the same. Others name a format that the mixer does
// not take. After any error the decoder goes on with the next key frame.
func (d *VideoDecoder) Decode(units [][]byte, pts time.Duration) (*Decoded, error) {
	if d.c == nil {
		return nil, fmt.Errorf("codec: decode: %w", media.ErrClosed)
	}
	info, err := d.look(units)
	if err != nil {
		d.Flush()
		return nil, fmt.Errorf("codec: decode %s: %w", d.codec, err)
	}
	if d.needKey && info.picture && !info.key {
		return nil, fmt.Errorf("codec: decode %s: %w", d.codec, ErrNeedKey)
	}
	pic, err := d.decode(units, info.size, pts)
	if err != nil {
		d.Flush()
		return nil, fmt.Errorf("codec: decode %s: %w", d.codec, err)
	}
	if info.key {
		d.needKey = false
	}
	return pic, nil
}

// Flush forgets the pictures that later ones refer to: data was lost, or another
// layer begins. Decoding goes on with the next key frame.
func (d *VideoDecoder) Flush() {
	d.needKey = true
	if d.c != nil {
		C.braid_decoder_flush(d.c)
	}
}

// Close frees the decoder, not the pictures it gave. It may be called again.
func (d *VideoDecoder) Close() {
	C.braid_decoder_close(d.c)
	d.c = nil
}

// decode hands the units to libavcodec and takes the newest picture.
func (d *VideoDecoder) decode(units [][]byte, size int, pts time.Duration) (*Decoded, error) {
	if size == 0 {
		return nil, nil // an empty packet would put libavcodec into draining
	}
	data := C.braid_decoder_input(d.c, C.int(size))
	if data == nil {
		return nil, errors.New("out of memory")
	}
	d.write(unsafe.Slice((*byte)(data), size), units)
	out := C.braid_decoder_decode(d.c, C.int64_t(pts))
	pic := &Decoded{frame: out.frame}
	if out.err < 0 || out.damaged != 0 {
		pic.Free()
		return nil, fmt.Errorf("%w: %s", ErrNeedKey, reason(out.err))
	}
	if pic.frame == nil {
		return nil, nil
	}
	if err := pic.view(); err != nil {
		pic.Free()
		return nil, err
	}
	return pic, nil
}

func (d *VideoDecoder) write(dst []byte, units [][]byte) {
	for _, u := range units {
		if d.codec == media.H264 && len(u) > 0 {
			dst = dst[copy(dst, startCode):]
		}
		dst = dst[copy(dst, u):]
	}
}

// view points the picture's planes into its frame.
func (d *Decoded) view() error {
	format := d.frame.format
	if r := C.braid_frame_check(&d.frame); r == C.AVERROR_PATCHWELCOME {
		return fmt.Errorf("%w: pixel format %s, want yuv420p", media.ErrInvalid, C.GoString(C.av_get_pix_fmt_name(int32(format))))
	} else if r < 0 {
		return errors.New(reason(r))
	}
	f := d.frame
	w, h := int(f.width), int(f.height)
	plane := func(i, w, h int) ([]byte, int) {
		stride := int(f.linesize[i])
		return unsafe.Slice((*byte)(f.data[i]), stride*(h-1)+w), stride
	}
	d.W, d.H = w, h
	d.Y, d.YStride = plane(0, w, h)
	d.U, d.UStride = plane(1, (w+1)/2, (h+1)/2)
	d.V, d.VStride = plane(2, (w+1)/2, (h+1)/2)
	d.PTS = time.Duration(f.pts)
	return nil
}

func reason(code C.int) string {
	if code >= 0 {
		return "damaged picture"
	}
	var text [C.AV_ERROR_MAX_STRING_SIZE]C.char
	C.av_strerror(code, &text[0], C.AV_ERROR_MAX_STRING_SIZE)
	return C.GoString(&text[0])
}

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
	if d.codec == media.VP8 {
		return d.lookVP8(units)
	}
	return d.lookH264(units)
}

func (d *VideoDecoder) lookH264(units [][]byte) (content, error) {
	var c content
	for _, u := range units {
		if len(u) == 0 {
			continue
		}
		if c.size += len(startCode) + len(u); c.size > maxAccessUnit {
			return c, fmt.Errorf("%w: access unit over %d bytes", media.ErrLimit, maxAccessUnit)
		}
		// libavcodec would see another unit there, an unchecked SPS for one.
		// H.264 clause 7.4.1 forbids it.
		if bytes.Contains(u, startCode[1:]) {
			return c, fmt.Errorf("%w: start code inside a NAL unit", media.ErrInvalid)
		}
		switch t := h264.Type(u); t {
		case 1, 2, 3, 4, 5: // slices (H.264 table 7-1); 5 is of an IDR
			c.picture = true
			c.key = c.key || t == h264.TypeIDR
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
	if s.ChromaFormat != 1 || s.BitDepthLuma != 8 || s.BitDepthChroma != 8 {
		return fmt.Errorf("%w: chroma format %d of %d and %d bits, want 4:2:0 (1) of 8 bits",
			media.ErrInvalid, s.ChromaFormat, s.BitDepthLuma, s.BitDepthChroma)
	}
	// The coded size: cropping shows less than it allocates.
	return d.checkSize(s.MbWidth*16, s.MbHeight*16)
}

// lookVP8 reads the frame header of RFC 6386 section 9.1.
func (d *VideoDecoder) lookVP8(units [][]byte) (content, error) {
	if len(units) != 1 || len(units[0]) == 0 {
		return content{}, fmt.Errorf("%w: %d units, want one frame", media.ErrInvalid, len(units))
	}
	f := units[0]
	c := content{picture: true, key: f[0]&1 == 0, size: len(f)}
	if c.size > maxAccessUnit {
		return c, fmt.Errorf("%w: frame over %d bytes", media.ErrLimit, maxAccessUnit)
	}
	if !c.key {
		return c, nil
	}
	if len(f) < 10 || !bytes.Equal(f[3:6], []byte{0x9d, 0x01, 0x2a}) {
		return c, fmt.Errorf("%w: key frame without its header", media.ErrInvalid)
	}
	w, h := int(f[6])|int(f[7]&0x3f)<<8, int(f[8])|int(f[9]&0x3f)<<8
	return c, d.checkSize(w, h)
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
