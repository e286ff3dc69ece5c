package relay

import "braid/media"

// The automatic mix shows at most nine cameras, and beside a screen share at
// most five; who comes later is heard, and seen when a pane is free.
const (
	mostCameras = 9
	mostBeside  = 5
)

// autoPanes is the layout for who is there, in join order: one fills the
// canvas, two sit side by side, up to four and up to nine in a grid (the sizes
// of artc-api.md section 7.2; that what does not fill the grid is centred is
// braid's own). A screen share gets the big pane, with cameras
// in a column at its right (braid's own). With no picture at all there is one
// empty pane.
func autoPanes(users []*media.User) []Pane {
	var cameras, screens []UserRef
	for _, u := range users {
		if u.Video != nil {
			cameras = append(cameras, UserRef{User: u.ID, Source: media.Camera})
		}
		if u.Screen != nil {
			screens = append(screens, UserRef{User: u.ID, Source: media.ShareScreen})
		}
	}
	if len(screens) > 0 {
		return besideScreen(screens[0], append(screens[1:], cameras...))
	}
	n := min(len(cameras), mostCameras)
	panes := grid(n)
	for i := range n {
		panes[i].User = &cameras[i]
	}
	return panes
}

func grid(n int) []Pane {
	switch {
	case n <= 1:
		return []Pane{{W: 1, H: 1, Crop: true}}
	case n == 2:
		return squares(n, []float64{0.0021, 0.501}, []float64{0.2516}, 0.4968)
	case n <= 4:
		return squares(n, []float64{0.013, 0.5065}, []float64{0.013, 0.5065}, 0.4805)
	}
	thirds := []float64{0.00625, 0.3375, 0.6688}
	return squares(n, thirds, thirds, 0.325)
}

// squares are n panes of one size, row by row; rows that are not full, and rows
// that do not fill the canvas, are centred.
func squares(n int, xs, ys []float64, size float64) []Pane {
	rows := (n + len(xs) - 1) / len(xs)
	down := centre(ys, rows, size)
	panes := make([]Pane, 0, n)
	for row := range rows {
		across := min(len(xs), n-row*len(xs))
		right := centre(xs, across, size)
		for column := range across {
			panes = append(panes, Pane{X: xs[column] + right, Y: ys[row] + down, W: size, H: size, Crop: true})
		}
	}
	return panes
}

// centre is how far the first n of some places move to be in the middle.
func centre(places []float64, n int, size float64) float64 {
	if n == len(places) {
		return 0 // the documented places are not quite even: they stay
	}
	return (1-(places[n-1]+size-places[0]))/2 - places[0]
}

// besideScreen shows a screen whole and up to five others in a column.
func besideScreen(screen UserRef, others []UserRef) []Pane {
	if len(others) == 0 {
		return []Pane{{W: 1, H: 1, User: &screen}}
	}
	const column = 0.2
	panes := []Pane{{Y: column / 2, W: 1 - column, H: 1 - column, User: &screen}}
	n := min(len(others), mostBeside)
	top := (1 - column*float64(n)) / 2
	for i := range n {
		panes = append(panes, Pane{
			X: 1 - column, Y: top + column*float64(i), W: column, H: column,
			Crop: others[i].Source == media.Camera, User: &others[i],
		})
	}
	return panes
}
