//go:build cgo

package codec

import (
	"fmt"
	"image"
	"time"

	"braid/media"
)

// DecodeStill decodes one key frame by itself; its size may be maxWidth x maxHeight
// as NewVideoDecoder has it. H.264 may be of any form that NewFeedDecoder takes.
// The caller frees the picture. ErrNeedKey: it is no key frame, or damaged.
func DecodeStill(c media.Codec, units [][]byte, maxWidth, maxHeight int) (*Decoded, error) {
	newDecoder := func() (*VideoDecoder, error) { return NewVideoDecoder(c, maxWidth, maxHeight) }
	if c == media.H264 {
		newDecoder = func() (*VideoDecoder, error) { return NewFeedDecoder(maxWidth, maxHeight) }
	}
	d, err := newDecoder()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	const anyTime time.Duration = 0
	pic, err := d.Decode(units, anyTime)
	if pic != nil || err != nil {
		return pic, err
	}
	if pic, err = d.drain(); err == nil && pic == nil {
		err = ErrNeedKey
	}
	if err != nil {
		return nil, fmt.Errorf("codec: decode %s: %w", c, err)
	}
	return pic, nil
}

// YCbCr is the picture in full range, as JPEG files have it (JFIF), in memory of
// its own.
func (p *Picture) YCbCr() *image.YCbCr {
	p.check()
	img := image.NewYCbCr(image.Rect(0, 0, p.W, p.H), image.YCbCrSubsampleRatio420)
	luma, chroma := fullRange()
	cw, ch := (p.W+1)/2, (p.H+1)/2
	widen(img.Y, img.YStride, p.Y, p.YStride, p.W, p.H, &luma)
	widen(img.Cb, img.CStride, p.U, p.UStride, cw, ch, &chroma)
	widen(img.Cr, img.CStride, p.V, p.VStride, cw, ch, &chroma)
	return img
}

func widen(dst []byte, dstStride int, src []byte, stride, w, h int, table *[256]byte) {
	for y := range h {
		to, from := dst[y*dstStride:][:w], src[y*stride:][:w]
		for x, v := range from {
			to[x] = table[v]
		}
	}
}

// fullRange maps limited range samples (luma 16..235, chroma 16..240 around 128)
// to 0..255.
func fullRange() (luma, chroma [256]byte) {
	for v := range 256 {
		luma[v] = clamp((2*255*(v-16) + 219) / (2 * 219))
		chroma[v] = clamp(128 + (2*255*(v-128)+sign(v-128)*224)/(2*224))
	}
	return luma, chroma
}

func sign(v int) int {
	if v < 0 {
		return -1
	}
	return 1
}

func clamp(v int) byte { return byte(min(max(v, 0), 255)) }
