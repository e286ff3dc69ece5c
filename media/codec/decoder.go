package codec

/*
#cgo pkg-config: libavcodec libavutil
#include <stdlib.h>
#include <libavutil/pixdesc.h>
#include "native.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"braid/media"
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

// VideoDecoder decodes into 8 bit 4:2:0 pictures of limited range; VP9, AV1 and
// H.265 of 10 bits are taken, too. It has no delay: a picture comes out of the call
// that put it in. Only one made by NewFeedDecoder puts pictures that were coded out
// of order back into it, and one of an H.265 stream that says it has such pictures;
// then they come some calls later.
type VideoDecoder struct {
	c                   *C.braid_decoder // nil after Flush until the next key frame
	codec               media.Codec
	maxWidth, maxHeight int
	feed                bool
	needKey, closed     bool
}

// NewVideoDecoder opens a decoder of any video codec for pictures of at most
// maxWidth x maxHeight (16..4096 each, counted in macroblocks of 16x16), upright or
// turned by 90 degrees. AV1 wants a libavcodec with libdav1d.
func NewVideoDecoder(c media.Codec, maxWidth, maxHeight int) (*VideoDecoder, error) {
	err := errors.Join(oneOf("codec", c, media.H264, media.VP8, media.VP9, media.AV1, media.H265),
		inRange("maximum width", maxWidth, 16, maxSide), inRange("maximum height", maxHeight, 16, maxSide))
	if err != nil {
		return nil, fmt.Errorf("codec: video decoder: %w", err)
	}
	d := &VideoDecoder{codec: c, maxWidth: maxWidth, maxHeight: maxHeight, needKey: true}
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("codec: video decoder: %w", err)
	}
	return d, nil
}

// NewFeedDecoder opens a decoder of what production encoders (OBS, ffmpeg) send
// beside the H.264 of browsers: B-frames, fields, 4:2:2, 4:4:4, gray, 10 bits.
// Pictures come in display order and are converted to 8 bit 4:2:0. A recovery
// point (open groups of pictures, intra refresh) counts as a key frame; the first
// picture may come some calls after it.
func NewFeedDecoder(maxWidth, maxHeight int) (*VideoDecoder, error) {
	d, err := NewVideoDecoder(media.H264, maxWidth, maxHeight)
	if err != nil {
		return nil, err
	}
	d.feed = true
	C.braid_decoder_close(d.c)
	d.c = nil // opened, with feed, by the first picture
	return d, nil
}

// decoderName is libavcodec's. Its own "av1" works with hardware alone.
func decoderName(c media.Codec) string {
	switch c {
	case media.AV1:
		return "libdav1d"
	case media.H265:
		return "hevc"
	}
	return strings.ToLower(string(c))
}

func (d *VideoDecoder) open() error {
	name := C.CString(decoderName(d.codec))
	defer C.free(unsafe.Pointer(name))
	// libavcodec compares with sides that it has aligned for its vectors.
	d.c = C.braid_decoder_open(name, C.int64_t((d.maxWidth+63)&^63*((d.maxHeight+63)&^63)), flag(!d.feed))
	if d.c == nil {
		return fmt.Errorf("libavcodec does not open %s", d.codec)
	}
	return nil
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

// Decode takes one access unit, as media.AccessUnit has them. It returns the newest
// picture, which the caller frees, or nil when none came of it: of several layers
// of one picture the highest. units are not kept.
//
// Errors: ErrTooLarge, before anything is allocated for the size. ErrNeedKey
// after loss or damage: the damaged picture is not returned, and each call up to
// the next key frame answers the same. Others name a format that the mixer does
// not take. After any error the decoder goes on with the next key frame.
func (d *VideoDecoder) Decode(units [][]byte, pts time.Duration) (*Decoded, error) {
	if d.closed {
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

// Flush forgets all of the stream: data was lost, or another layer begins.
// Decoding goes on with the next key frame. Loss of whole access units can only
// be told this way: libavcodec hides it and VP8 has no trace of it.
func (d *VideoDecoder) Flush() {
	// avcodec_flush_buffers is not enough: coefficients of a macroblock that
	// broke off stay behind and spoil the next key frame (FFmpeg 5.1, H.264).
	C.braid_decoder_close(d.c)
	d.c = nil
	d.needKey = true
}

// Close frees the decoder, not the pictures it gave. It may be called again.
func (d *VideoDecoder) Close() {
	d.Flush()
	d.closed = true
}

// decode hands the units to libavcodec and takes the newest picture.
func (d *VideoDecoder) decode(units [][]byte, size int, pts time.Duration) (*Decoded, error) {
	if size == 0 {
		return nil, nil // an empty packet would put libavcodec into draining
	}
	if d.c == nil {
		if err := d.open(); err != nil {
			return nil, err
		}
	}
	data := C.braid_decoder_input(d.c, C.int(size))
	if data == nil {
		return nil, errors.New("out of memory")
	}
	d.write(unsafe.Slice((*byte)(data), size), units)
	return d.take(C.braid_decoder_decode(d.c, C.int64_t(pts)))
}

// take checks what came out of libavcodec.
func (d *VideoDecoder) take(out C.braid_decoded) (*Decoded, error) {
	pic := &Decoded{frame: out.frame}
	if out.err < 0 || out.damaged != 0 {
		pic.Free()
		return nil, fmt.Errorf("%w: %s", ErrNeedKey, reason(out.err))
	}
	if pic.frame == nil {
		return nil, nil
	}
	if err := pic.view(d.converts()); err != nil {
		pic.Free()
		return nil, err
	}
	if err := d.checkSize(pic.W, pic.H); err != nil { // an AV1 frame may be larger than its sequence says
		pic.Free()
		return nil, err
	}
	return pic, nil
}

// converts tells whether other formats than 8 bit 4:2:0 are made that.
func (d *VideoDecoder) converts() bool {
	return d.feed || d.codec == media.VP9 || d.codec == media.AV1 || d.codec == media.H265
}

// nal tells whether the codec has NAL units, which libavcodec wants behind start
// codes.
func (d *VideoDecoder) nal() bool { return d.codec == media.H264 || d.codec == media.H265 }

func (d *VideoDecoder) write(dst []byte, units [][]byte) {
	for _, u := range units {
		if d.nal() && len(u) > 0 {
			dst = dst[copy(dst, startCode):]
		}
		dst = dst[copy(dst, u):]
	}
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// view points the picture's planes into its frame.
func (d *Decoded) view(convert bool) error {
	format := d.frame.format
	if r := C.braid_frame_check(&d.frame, flag(convert)); r == C.AVERROR_PATCHWELCOME {
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

// drain gives the picture that the decoder still holds, if any.
func (d *VideoDecoder) drain() (*Decoded, error) {
	if d.c == nil {
		return nil, nil
	}
	return d.take(C.braid_decoder_drain(d.c))
}
