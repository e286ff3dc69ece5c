package mixer

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"braid/media"
	"braid/mixer/wire"
)

func cam(user string) UserRef { return UserRef{User: user, Source: media.Camera} }

func TestSeats(t *testing.T) {
	named := func(u UserRef) Pane { return Pane{User: &u} }
	screen := UserRef{User: "a", Source: media.ShareScreen}
	quiet := UserRef{User: "q", Source: media.Camera, Type: AudioOnly}
	tests := []struct {
		name    string
		panes   []Pane
		present []UserRef
		want    []string // user of each pane
	}{
		{"join order", []Pane{{}, {}, {}}, []UserRef{cam("b"), cam("a")}, []string{"b", "a", ""}},
		{"more users than panes", []Pane{{}}, []UserRef{cam("a"), cam("b")}, []string{"a"}},
		{"named first, others around", []Pane{{}, named(cam("a")), {}}, []UserRef{cam("a"), cam("b"), cam("c")}, []string{"b", "a", "c"}},
		{"named but absent stays empty", []Pane{named(cam("z")), {}}, []UserRef{cam("a")}, []string{"", "a"}},
		{"audio only takes no pane", []Pane{{}, {}}, []UserRef{quiet, cam("b")}, []string{"b", ""}},
		{"camera and screen are two streams", []Pane{named(screen), named(cam("a"))}, []UserRef{cam("a"), screen}, []string{"a", "a"}},
		{"nobody", []Pane{{}}, nil, []string{""}},
	}
	for _, tt := range tests {
		var got []string
		for i, s := range Seats(tt.panes, tt.present) {
			if s.ID != i {
				t.Errorf("%s: pane %d has id %d", tt.name, i, s.ID)
			}
			name := ""
			if s.User != nil {
				name = s.User.User
			}
			got = append(got, name)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestRects(t *testing.T) {
	a, b := cam("a"), cam("b")
	seats := []Seat{
		{Pane: Pane{X: 0.5, Y: 0.25, W: 0.5, H: 0.5, ZOrder: 1, Crop: true}, User: &b},
		{Pane: Pane{X: 0, Y: 0, W: 0.501, H: 1, Background: "http://x/y.png"}, User: &a},
		{Pane: Pane{X: 1, W: 0.0001, H: 1}},
	}
	ids := map[string]uint32{"a": 1, "b": 2}
	got := rects(seats, 1280, 720, func(r *UserRef) uint32 { return ids[r.User] }, func(string) uint32 { return 9 })
	want := []wire.Pane{
		{X: 0, Y: 0, W: 642, H: 720, Fit: wire.FitInside, Input: 1, Image: 9},
		{X: 640, Y: 180, W: 640, H: 360, Fit: wire.FitCrop, Input: 2},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Whatever the shares, panes are even and inside the canvas.
func TestRectsStayInside(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		w, h := 2*(1+rng.IntN(960)), 2*(1+rng.IntN(960))
		x, y := rng.Float64(), rng.Float64()
		p := Pane{X: x, Y: y, W: rng.Float64() * (1 - x), H: rng.Float64() * (1 - y)}
		for _, r := range rects([]Seat{{Pane: p}}, w, h, nil, nil) {
			if r.X%2+r.Y%2+r.W%2+r.H%2 != 0 || r.X < 0 || r.Y < 0 || r.W < 2 || r.H < 2 || r.X+r.W > w || r.Y+r.H > h {
				t.Fatalf("%+v on %dx%d became %+v", p, w, h, r)
			}
		}
	}
}
