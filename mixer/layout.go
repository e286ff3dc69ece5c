package mixer

import (
	"cmp"
	"slices"

	"braid/media"
	"braid/mixer/wire"
)

// StreamType says which media of a user are taken (artc-api.md section 4.2).
type StreamType int

const (
	Original  StreamType = 0 // audio and video
	AudioOnly StreamType = 1
	VideoOnly StreamType = 2
)

// UserRef names a user's stream.
type UserRef struct {
	User    string
	Channel string // empty: the task's own
	Type    StreamType
	Source  media.Source
}

// Pane is one rectangle of a layout, in shares of the canvas.
type Pane struct {
	X, Y, W, H float64 // 0 to 1, finite, inside the canvas
	ZOrder     int     // 0 (bottom) to 99
	Crop       bool
	Background string   // URL of the image shown while the user sends no picture; empty: none
	User       *UserRef // nil: filled in join order
}

// Image is a picture file behind an http or https URL.
type Image struct {
	URL  string
	Crop bool // fill and cut; else whole with bars
}

// Seat is a pane and who sits in it.
type Seat struct {
	Pane
	ID   int      // the pane's place in the layout, SEI's paneid
	User *UserRef // nil: nobody
}

// Seats puts the present users into panes: first those that a pane names, then
// the others in the order given (join order), one pane each. A user who is
// named but absent leaves the pane empty. Audio-only users take no pane.
func Seats(panes []Pane, present []UserRef) []Seat {
	seats := make([]Seat, len(panes))
	taken := make(map[UserRef]bool)
	for i, p := range panes {
		seats[i] = Seat{Pane: p, ID: i}
		if p.User == nil {
			continue
		}
		for j := range present {
			if sameStream(&present[j], p.User) && present[j].Type != AudioOnly {
				seats[i].User = &present[j]
				taken[present[j]] = true
			}
		}
	}
	next := 0
	for i := range seats {
		if seats[i].Pane.User != nil {
			continue
		}
		for ; next < len(present); next++ {
			if p := &present[next]; p.Type != AudioOnly && !taken[*p] {
				seats[i].User = p
				next++
				break
			}
		}
	}
	return seats
}

func sameStream(a, b *UserRef) bool {
	return a.User == b.User && a.Channel == b.Channel && a.Source == b.Source
}

// rects turns seats into the worker's panes for a canvas of w x h pixels, in
// drawing order. Edges that touch in shares touch in pixels: each edge is
// rounded by itself, to even numbers as 4:2:0 wants.
func rects(seats []Seat, w, h int, input func(*UserRef) uint32, image func(url string) uint32) []wire.Pane {
	order := slices.Clone(seats)
	slices.SortStableFunc(order, func(a, b Seat) int { return cmp.Compare(a.ZOrder, b.ZOrder) })
	panes := make([]wire.Pane, 0, len(order))
	for _, s := range order {
		p := wire.Pane{X: even(s.X, w), Y: even(s.Y, h), Fit: wire.FitInside}
		p.W, p.H = even(s.X+s.W, w)-p.X, even(s.Y+s.H, h)-p.Y
		if p.W <= 0 || p.H <= 0 {
			continue
		}
		if s.Crop {
			p.Fit = wire.FitCrop
		}
		if s.User != nil {
			p.Input = input(s.User)
		}
		if s.Background != "" {
			p.Image = image(s.Background)
		}
		panes = append(panes, p)
	}
	return panes
}

func even(share float64, size int) int {
	return min(int(share*float64(size)/2+0.5)*2, size)
}
