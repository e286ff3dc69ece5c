package codec

/*
#cgo LDFLAGS: -lyuv
#include <libyuv.h>
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// Picture is a planar 4:2:0 picture of 8 bit samples, limited range. A plane is
// a run of rows, one every stride bytes; the chroma planes have half the width
// and height, rounded up. Planes may lie in Go or in C memory and may be shared
// with other pictures (Crop).
type Picture struct {
	W, H                      int
	Y, U, V                   []byte
	YStride, UStride, VStride int
}

// align is the row alignment of NewPicture: a cache line, and the widest vector.
const align = 64

// NewPicture makes a black picture in Go memory with rows aligned to 64 bytes.
// It panics unless w and h are 1..16384.
func NewPicture(w, h int) *Picture {
	if w < 1 || h < 1 || w > 16384 || h > 16384 {
		panic(fmt.Sprintf("codec: NewPicture(%d, %d): sides are 1..16384", w, h))
	}
	ys := (w + align - 1) &^ (align - 1)
	cs := ((w+1)/2 + align - 1) &^ (align - 1)
	yn, cn := ys*h, cs*((h+1)/2)
	mem := make([]byte, yn+2*cn+align)
	mem = mem[-uintptr(unsafe.Pointer(&mem[0]))&(align-1):]
	p := &Picture{
		W: w, H: h,
		Y: mem[:yn:yn], U: mem[yn : yn+cn : yn+cn], V: mem[yn+cn : yn+2*cn : yn+2*cn],
		YStride: ys, UStride: cs, VStride: cs,
	}
	p.Fill(16, 128, 128)
	return p
}

// Crop is the part of p of w by h samples whose upper left corner is at x, y. It
// shares p's memory. x and y must be even and the part inside p, else it panics.
func (p *Picture) Crop(x, y, w, h int) *Picture {
	if x < 0 || y < 0 || w < 1 || h < 1 || x > p.W-w || y > p.H-h || (x|y)&1 != 0 {
		panic(fmt.Sprintf("codec: crop %dx%d at %d,%d of a %dx%d picture", w, h, x, y, p.W, p.H))
	}
	return &Picture{
		W: w, H: h,
		Y: p.Y[y*p.YStride+x:], U: p.U[y/2*p.UStride+x/2:], V: p.V[y/2*p.VStride+x/2:],
		YStride: p.YStride, UStride: p.UStride, VStride: p.VStride,
	}
}

// check panics when a plane is too short for the picture's size: the C side
// would run over its end.
func (p *Picture) check() {
	cw, ch := (p.W+1)/2, (p.H+1)/2
	if p.W < 1 || p.H < 1 || !holds(p.Y, p.YStride, p.W, p.H) || !holds(p.U, p.UStride, cw, ch) || !holds(p.V, p.VStride, cw, ch) {
		panic(fmt.Sprintf("codec: %dx%d picture with planes of %d, %d, %d bytes and strides %d, %d, %d",
			p.W, p.H, len(p.Y), len(p.U), len(p.V), p.YStride, p.UStride, p.VStride))
	}
}

func holds(plane []byte, stride, w, h int) bool {
	return stride >= w && len(plane) >= stride*(h-1)+w
}

func ptr(b []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.SliceData(b)) }

// Fill sets every sample; limited range black is 16, 128, 128.
func (p *Picture) Fill(y, u, v byte) {
	p.check()
	C.I420Rect(ptr(p.Y), C.int(p.YStride), ptr(p.U), C.int(p.UStride), ptr(p.V), C.int(p.VStride),
		0, 0, C.int(p.W), C.int(p.H), C.int(y), C.int(u), C.int(v))
}

// Copy copies src to dst. It panics unless both have the same size.
func Copy(dst, src *Picture) {
	dst.check()
	src.check()
	if dst.W != src.W || dst.H != src.H {
		panic(fmt.Sprintf("codec: copy of a %dx%d picture to one of %dx%d", src.W, src.H, dst.W, dst.H))
	}
	C.I420Copy(ptr(src.Y), C.int(src.YStride), ptr(src.U), C.int(src.UStride), ptr(src.V), C.int(src.VStride),
		ptr(dst.Y), C.int(dst.YStride), ptr(dst.U), C.int(dst.UStride), ptr(dst.V), C.int(dst.VStride),
		C.int(dst.W), C.int(dst.H))
}

// Scale fills dst with src, whatever their sizes: each sample is the mean of
// those it covers when shrinking, interpolated when growing. Pictures of the
// same size are copied.
func Scale(dst, src *Picture) {
	if dst.W == src.W && dst.H == src.H {
		Copy(dst, src)
		return
	}
	dst.check()
	src.check()
	C.I420Scale(ptr(src.Y), C.int(src.YStride), ptr(src.U), C.int(src.UStride), ptr(src.V), C.int(src.VStride),
		C.int(src.W), C.int(src.H),
		ptr(dst.Y), C.int(dst.YStride), ptr(dst.U), C.int(dst.UStride), ptr(dst.V), C.int(dst.VStride),
		C.int(dst.W), C.int(dst.H), C.kFilterBox)
}
