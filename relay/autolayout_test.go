package relay

import (
	"fmt"
	"strings"
	"testing"

	"braid/media"
)

// who makes users of words: "ann" sends a camera, "ann:s" a screen, "ann:cs" both,
// "ann:a" sound, "ann:-" nothing.
func who(words ...string) []*media.User {
	var users []*media.User
	for _, w := range words {
		name, what, given := strings.Cut(w, ":")
		if !given {
			what = "c"
		}
		u := &media.User{ID: name}
		for _, c := range what {
			switch c {
			case 'c':
				u.Video = &silent{codec: media.H264}
			case 's':
				u.Screen = &silent{codec: media.H264}
			case 'S':
				u.ScreenAudio = &silent{codec: media.Opus}
			case 'a':
				u.Audio = &silent{codec: media.Opus}
			}
		}
		users = append(users, u)
	}
	return users
}

func drawing(panes []Pane) string {
	var lines []string
	for _, p := range panes {
		user := "nobody"
		if p.User != nil {
			user = p.User.User + "/" + string(p.User.Source)
		}
		fit := "fit"
		if p.Crop {
			fit = "crop"
		}
		lines = append(lines, fmt.Sprintf("%.5g,%.5g %.5gx%.5g %s %s", p.X, p.Y, p.W, p.H, fit, user))
	}
	return strings.Join(lines, "\n")
}

func TestAutoPanes(t *testing.T) {
	for _, c := range []struct {
		name  string
		users []*media.User
		want  []string
	}{
		{"nobody sends pictures", who("ann:a", "bob:-"), []string{"0,0 1x1 crop nobody"}},
		{"one", who("ann"), []string{"0,0 1x1 crop ann/camera"}},
		{"one of three has a camera", who("ann:a", "bob", "cat:-"), []string{"0,0 1x1 crop bob/camera"}},
		{"two", who("ann", "bob"), []string{
			"0.0021,0.2516 0.4968x0.4968 crop ann/camera",
			"0.501,0.2516 0.4968x0.4968 crop bob/camera"}},
		{"three", who("ann", "bob", "cat"), []string{
			"0.013,0.013 0.4805x0.4805 crop ann/camera",
			"0.5065,0.013 0.4805x0.4805 crop bob/camera",
			"0.25975,0.5065 0.4805x0.4805 crop cat/camera"}},
		{"five", who("a", "b", "c", "d", "e"), []string{
			"0.00625,0.17187 0.325x0.325 crop a/camera",
			"0.3375,0.17187 0.325x0.325 crop b/camera",
			"0.6688,0.17187 0.325x0.325 crop c/camera",
			"0.17187,0.50312 0.325x0.325 crop d/camera",
			"0.50312,0.50312 0.325x0.325 crop e/camera"}},
		{"a screen alone", who("ann:s"), []string{"0,0 1x1 fit ann/shareScreen"}},
		{"a screen and two cameras", who("ann", "bob:cs"), []string{
			"0,0.1 0.8x0.8 fit bob/shareScreen",
			"0.8,0.3 0.2x0.2 crop ann/camera",
			"0.8,0.5 0.2x0.2 crop bob/camera"}},
		{"two screens and six cameras", who("a:cs", "b:cs", "c", "d", "e", "f"), []string{
			"0,0.1 0.8x0.8 fit a/shareScreen",
			"0.8,0 0.2x0.2 fit b/shareScreen",
			"0.8,0.2 0.2x0.2 crop a/camera",
			"0.8,0.4 0.2x0.2 crop b/camera",
			"0.8,0.6 0.2x0.2 crop c/camera",
			"0.8,0.8 0.2x0.2 crop d/camera"}},
	} {
		if got, want := drawing(autoPanes(c.users)), strings.Join(c.want, "\n"); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, want)
		}
	}
}

// No number of users makes a pane that leaves the canvas, or two for one picture.
func TestAutoPanesFit(t *testing.T) {
	for n := range 20 {
		for _, what := range []string{"c", "cs", "s"} {
			var words []string
			for i := range n {
				words = append(words, fmt.Sprintf("u%d:%s", i, what))
			}
			panes := autoPanes(who(words...))
			if len(panes) == 0 || len(panes) > mostCameras {
				t.Fatalf("%d users of %q: %d panes", n, what, len(panes))
			}
			seen := make(map[UserRef]bool)
			for i, p := range panes {
				if p.X < 0 || p.Y < 0 || p.W <= 0 || p.H <= 0 || p.X+p.W > 1+1e-9 || p.Y+p.H > 1+1e-9 {
					t.Errorf("%d users of %q: pane %d is outside: %+v", n, what, i, p)
				}
				if p.User != nil && seen[*p.User] {
					t.Errorf("%d users of %q: %+v sits in two panes", n, what, p.User)
				}
				if p.User != nil {
					seen[*p.User] = true
				}
			}
		}
	}
}
