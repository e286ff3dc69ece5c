package engine

import "braid/mixer/wire"

// rect is in pixels; all four are even, because chroma has half the lines.
type rect struct{ X, Y, W, H int }

func (a rect) overlaps(b rect) bool {
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// place says which part of a w x h picture fills which part of a pw x ph pane.
// FitInside takes all of the picture and leaves bars, FitCrop fills the pane
// with the centred part. A difference of two pixels is not worth a bar or a
// scaling pass.
func place(w, h, pw, ph int, fit wire.Fit) (src, dst rect) {
	src = rect{0, 0, w &^ 1, h &^ 1}
	dst = rect{0, 0, pw, ph}
	if src.W == 0 || src.H == 0 || pw == 0 || ph == 0 {
		return rect{}, rect{}
	}
	wide := src.W*ph > pw*src.H // wider than the pane
	switch {
	case fit == wire.FitCrop && wide:
		src.W = near(even(src.H*pw, ph), src.W)
		src.X = (w - src.W) / 2 &^ 1
	case fit == wire.FitCrop:
		src.H = near(even(src.W*ph, pw), src.H)
		src.Y = (h - src.H) / 2 &^ 1
	case wide:
		dst.H = near(even(src.H*pw, src.W), ph)
		dst.Y = (ph - dst.H) / 2 &^ 1
	default:
		dst.W = near(even(src.W*ph, src.H), pw)
		dst.X = (pw - dst.W) / 2 &^ 1
	}
	return src, dst
}

// even is a/b rounded to the nearest even number, at least 2.
func even(a, b int) int { return max((a+b)/(2*b)*2, 2) }

// near is n, or full when they are as good as equal.
func near(n, full int) int {
	if n > full-4 && n < full+4 || n > full {
		return full
	}
	return n
}
