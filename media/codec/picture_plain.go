//go:build cgo

package codec

// The plain twins of the libyuv kernels: what they must compute, in Go.

func plainRows(dst []byte, dstStride int, w, h int, row func(dst []byte, y int)) {
	for y := range h {
		row(dst[y*dstStride:][:w], y)
	}
}

func (p *Picture) plainFill(y, u, v byte) {
	set := func(c byte) func([]byte, int) {
		return func(row []byte, _ int) {
			for i := range row {
				row[i] = c
			}
		}
	}
	plainRows(p.Y, p.YStride, p.W, p.H, set(y))
	plainRows(p.U, p.UStride, (p.W+1)/2, (p.H+1)/2, set(u))
	plainRows(p.V, p.VStride, (p.W+1)/2, (p.H+1)/2, set(v))
}

func plainCopy(dst, src *Picture) {
	from := func(plane []byte, stride int) func([]byte, int) {
		return func(row []byte, y int) { copy(row, plane[y*stride:]) }
	}
	plainRows(dst.Y, dst.YStride, dst.W, dst.H, from(src.Y, src.YStride))
	plainRows(dst.U, dst.UStride, (dst.W+1)/2, (dst.H+1)/2, from(src.U, src.UStride))
	plainRows(dst.V, dst.VStride, (dst.W+1)/2, (dst.H+1)/2, from(src.V, src.VStride))
}

// plainHalve is Scale to half the width and height: the rounded mean of 2x2
// samples. dst's sides are even.
func plainHalve(dst, src *Picture) {
	from := func(plane []byte, stride int) func([]byte, int) {
		return func(row []byte, y int) {
			a, b := plane[2*y*stride:], plane[(2*y+1)*stride:]
			for x := range row {
				row[x] = byte((int(a[2*x]) + int(a[2*x+1]) + int(b[2*x]) + int(b[2*x+1]) + 2) / 4)
			}
		}
	}
	plainRows(dst.Y, dst.YStride, dst.W, dst.H, from(src.Y, src.YStride))
	plainRows(dst.U, dst.UStride, dst.W/2, dst.H/2, from(src.U, src.UStride))
	plainRows(dst.V, dst.VStride, dst.W/2, dst.H/2, from(src.V, src.VStride))
}
