//go:build cgo

package codec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

func randomPicture(w, h int) *Picture {
	p := NewPicture(w, h)
	for _, plane := range [][]byte{p.Y, p.U, p.V} {
		for i := range plane {
			plane[i] = byte(rand.Uint32())
		}
	}
	return p
}

func TestNewPictureIsBlack(t *testing.T) {
	p := NewPicture(33, 7)
	want := append(bytes.Repeat([]byte{16}, 33*7), bytes.Repeat([]byte{128}, 2*17*4)...)
	if got := pack(p); !bytes.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if p.YStride != 64 || p.UStride != 64 {
		t.Errorf("strides: got %d and %d, want 64", p.YStride, p.UStride)
	}
}

// The libyuv kernels and their plain twins give the same bytes and touch nothing
// outside the picture.
func TestKernelsEqualPlain(t *testing.T) {
	sizes := [][2]int{{2, 2}, {16, 16}, {34, 6}, {66, 34}, {426, 240}, {640, 360}}
	for _, s := range sizes {
		w, h := s[0], s[1]
		for _, k := range []struct {
			name       string
			srcW, srcH int
			fast       func(dst, src *Picture)
			plain      func(dst, src *Picture)
		}{
			{"copy", w, h, Copy, plainCopy},
			{"scale to the same size", w, h, Scale, plainCopy},
			{"halve", 2 * w, 2 * h, Scale, plainHalve},
			{"fill", w, h, func(d, _ *Picture) { d.Fill(1, 2, 3) }, func(d, _ *Picture) { d.plainFill(1, 2, 3) }},
		} {
			t.Run(fmt.Sprintf("%s to %dx%d", k.name, w, h), func(t *testing.T) {
				src := randomPicture(k.srcW+8, k.srcH+8).Crop(4, 2, k.srcW, k.srcH)
				canvas := randomPicture(w+20, h+12)
				twin := NewPicture(w+20, h+12)
				plainCopy(twin, canvas)
				k.fast(canvas.Crop(6, 4, w, h), src)
				k.plain(twin.Crop(6, 4, w, h), src)
				if got, want := pack(canvas), pack(twin); !bytes.Equal(got, want) {
					for i := range got {
						if got[i] != want[i] {
							t.Fatalf("byte %d of the canvas: got %d, want %d", i, got[i], want[i])
						}
					}
				}
			})
		}
	}
}

// Any ratio keeps a flat picture flat and a split picture split.
func TestScaleKeepsColours(t *testing.T) {
	for _, s := range [][4]int{{1280, 720, 426, 240}, {320, 180, 426, 240}, {640, 360, 640, 358}, {16, 16, 1920, 1080}, {1279, 719, 321, 181}} {
		src, dst := NewPicture(s[0], s[1]), NewPicture(s[2], s[3])
		src.Fill(200, 90, 30)
		src.Crop(0, 0, s[0]/2&^1, s[1]).Fill(50, 10, 240)
		Scale(dst, src)
		for _, at := range []struct {
			x       int
			y, u, v byte
		}{{s[2] / 4, 50, 10, 240}, {s[2] * 3 / 4, 200, 90, 30}} {
			row, chroma := s[3]/2*dst.YStride+at.x, s[3]/4*dst.UStride+at.x/2
			// libyuv's fixed point box rounds down by one at ratios that are not whole.
			if off(dst.Y[row], at.y) > 1 || off(dst.U[chroma], at.u) > 1 || off(dst.V[chroma], at.v) > 1 {
				t.Errorf("%v at column %d: got %d %d %d, want %d %d %d", s, at.x,
					dst.Y[row], dst.U[chroma], dst.V[chroma], at.y, at.u, at.v)
			}
		}
	}
}

func off(a, b byte) int { return max(int(a)-int(b), int(b)-int(a)) }

func TestPictureMisuse(t *testing.T) {
	p := NewPicture(64, 48)
	for name, do := range map[string]func(){
		"new 0x10":          func() { NewPicture(0, 10) },
		"new 10x20000":      func() { NewPicture(10, 20000) },
		"odd crop":          func() { p.Crop(1, 0, 10, 10) },
		"crop over the end": func() { p.Crop(60, 0, 6, 10) },
		"negative crop":     func() { p.Crop(-2, 0, 6, 10) },
		"crop overflow":     func() { p.Crop(2, 0, 1<<62, 10) },
		"copy other size":   func() { Copy(p, NewPicture(64, 46)) },
		"short plane": func() {
			Scale(p, &Picture{W: 8, H: 8, Y: make([]byte, 63), YStride: 8, U: make([]byte, 16), V: make([]byte, 16), UStride: 4, VStride: 4})
		},
		"freed picture":   func() { Copy(p, &Picture{}) },
		"negative stride": func() { (&Picture{W: 8, H: 8, Y: make([]byte, 64), YStride: -8}).Fill(0, 0, 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			do()
		}()
	}
}

func BenchmarkKernel(b *testing.B) {
	src, half, full := randomPicture(1280, 720), NewPicture(640, 360), NewPicture(1280, 720)
	third, quarter := NewPicture(426, 240), NewPicture(320, 180)
	for _, k := range []struct {
		name string
		do   func()
	}{
		{"copy720p/libyuv", func() { Copy(full, src) }},
		{"copy720p/plain", func() { plainCopy(full, src) }},
		{"halve720p/libyuv", func() { Scale(half, src) }},
		{"halve720p/plain", func() { plainHalve(half, src) }},
		{"fill720p/libyuv", func() { full.Fill(16, 128, 128) }},
		{"fill720p/plain", func() { full.plainFill(16, 128, 128) }},
		{"third720p/libyuv", func() { Scale(third, src) }},
		{"quarter720p/libyuv", func() { Scale(quarter, src) }},
	} {
		b.Run(k.name, func(b *testing.B) {
			b.ReportAllocs()
			reportCPU(b)
			for b.Loop() {
				k.do()
			}
		})
	}
}
