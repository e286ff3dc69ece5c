package engine

import (
	"braid/media/codec"
	"braid/mixer/wire"
)

// Black in limited range 4:2:0.
const blackY, blackUV = 16, 128

// compose fills the pane r of the canvas with src. Scaling goes straight into the
// canvas; a picture of the pane's size is copied.
func compose(canvas *codec.Picture, r rect, src *codec.Picture, fit wire.Fit) {
	from, to := place(src.W, src.H, r.W, r.H, fit)
	if from.W == 0 {
		fill(canvas, r)
		return
	}
	bars(canvas, r, to)
	part := src
	if from.W != src.W || from.H != src.H {
		part = src.Crop(from.X, from.Y, from.W, from.H)
	}
	dst := canvas.Crop(r.X+to.X, r.Y+to.Y, to.W, to.H)
	if part.W == dst.W && part.H == dst.H {
		codec.Copy(dst, part)
	} else {
		codec.Scale(dst, part)
	}
}

// bars blackens what inner leaves free of the pane r.
func bars(canvas *codec.Picture, r, inner rect) {
	if inner.Y > 0 || inner.H < r.H {
		fill(canvas, rect{r.X, r.Y, r.W, inner.Y})
		end := inner.Y + inner.H
		fill(canvas, rect{r.X, r.Y + end, r.W, r.H - end})
	}
	if inner.X > 0 || inner.W < r.W {
		fill(canvas, rect{r.X, r.Y, inner.X, r.H})
		end := inner.X + inner.W
		fill(canvas, rect{r.X + end, r.Y, r.W - end, r.H})
	}
}

func fill(canvas *codec.Picture, r rect) {
	if r.W > 0 && r.H > 0 {
		canvas.Crop(r.X, r.Y, r.W, r.H).Fill(blackY, blackUV, blackUV)
	}
}
