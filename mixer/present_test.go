package mixer

import (
	"testing"

	"braid/media"
)

// house is several rooms.
type house map[string]*room

func (h house) Channel(_, name string) (media.Channel, bool) { r, ok := h[name]; return r, ok }
func (h house) ChannelsChanged() <-chan struct{}             { return nil }

// Without a list of users everybody in the channel takes part with the camera,
// and beside them whom a pane names: screen shares, guests of other channels.
func TestPresentWithoutList(t *testing.T) {
	p := new(player)
	m := &Mix{cfg: MixConfig{App: "app", Channel: "room", Channels: house{
		"room":  newRoom(&media.User{ID: "ann", Video: p, Screen: p}, &media.User{ID: "zed"}, &media.User{ID: "bob", Audio: p}),
		"other": newRoom(&media.User{ID: "eve", Video: p}, &media.User{ID: "fay", Video: p}),
	}}}
	screen := UserRef{User: "ann", Source: media.ShareScreen}
	eve := UserRef{User: "eve", Channel: "other", Source: media.Camera}
	m.plan.Panes = []Pane{{W: 1, H: 1, User: &screen}, {W: 1, H: 1, User: &eve}, {W: 1, H: 1}}
	users, _ := m.users()
	present, tracks := m.present(users)
	want := []UserRef{{User: "ann", Source: media.Camera}, {User: "bob", Source: media.Camera}, screen, eve}
	if len(present) != len(want) {
		t.Fatalf("present: %+v, want %+v", present, want)
	}
	for i, ref := range want {
		if present[i] != ref {
			t.Errorf("present[%d]: %+v, want %+v", i, present[i], ref)
		}
	}
	if tracks[eve].video != p || tracks[screen].audio != nil {
		t.Errorf("tracks: eve %+v, screen %+v", tracks[eve], tracks[screen])
	}
	for i, name := range []string{"ann", "eve", "ann"} {
		if seat := Seats(m.plan.Panes, present)[i]; seat.User == nil || seat.User.User != name {
			t.Errorf("pane %d shows %+v, want %s", i, seat.User, name)
		}
	}
}
