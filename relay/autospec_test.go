package relay

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"braid/media"
	"braid/store"
)

func TestAutoSpecs(t *testing.T) {
	all := func(string) bool { return true }
	none := func(string) bool { return false }
	single := &wish{app: "app", base: "rtmp://h/live", settings: store.RelaySettings{Single: true, Domain: "d"}}
	mix := &wish{app: "app", base: "rtmp://h/live", settings: store.RelaySettings{Mix: true}}
	both := &wish{app: "app", base: "rtmp://h/live", settings: store.RelaySettings{Single: true, Mix: true}}
	for _, c := range []struct {
		name  string
		wish  *wish
		users []*media.User
		alone func(string) bool
		want  []string // names of streams
	}{
		{"viewers alone", both, who("ann:-"), all, nil},
		{"camera and sound", single, who("ann:ca"), all, []string{"app_room_ann_camera"}},
		{"sound, not yet for long", single, who("ann:a"), none, nil},
		{"sound alone", single, who("ann:a"), all, []string{"app_room_ann_audio"}},
		{"screen and sound", single, who("ann:as"), all, []string{"app_room_ann_audio", "app_room_ann_shareScreen"}},
		{"two", both, who("ann", "bob:cs"), all, []string{
			"app_room_ann_camera", "app_room_bob_camera", "app_room_bob_shareScreen", "app_room_mix"}},
		{"sound makes a mix", mix, who("ann:a"), none, []string{"app_room_mix"}},
	} {
		var got []string
		for _, s := range c.wish.specs("room", c.users, c.alone) {
			name, ok := strings.CutPrefix(s.URLs[0], "rtmp://h/live/")
			if !ok || len(s.URLs) != 1 || s.Auto == nil || s.Auto.URL != s.URLs[0] || s.Auto.Domain != c.wish.settings.Domain {
				t.Errorf("%s: URL %q, origin %+v", c.name, s.URLs, s.Auto)
			}
			if len(s.Task) > maxTask || s.App != "app" || s.Channel != "room" {
				t.Errorf("%s: %s/%s/%s", c.name, s.App, s.Channel, s.Task)
			}
			got = append(got, name)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got streams %q, want %q", c.name, got, c.want)
		}
	}
	screen := single.specs("room", who("ann:sS"), all)[0].From
	if want := (UserRef{User: "ann", Type: Original, Source: media.ShareScreen}); screen != want {
		t.Errorf("a screen with sound: got %+v, want %+v", screen, want)
	}
}

func TestAutoTask(t *testing.T) {
	fits, long := strings.Repeat("c", 51), strings.Repeat("c", 52)
	for _, c := range []struct{ prefix, about, want string }{
		{"mix_", "room", "mix_room"},
		{"mix_", fits, "mix_" + fits},
		// printf %s cccc… (52) | sha256sum
		{"mix_", long, "mix_d270772c1239382c5e490fdd8120013bc675e315c8c4ff40dd3"},
		// printf room/ann | sha256sum
		{"cam_", "room/ann", "cam_0df7deefdee0e1be6b94b0a5785024ca3a2bc197c1fc1a82bfb"},
	} {
		if got := autoTask(c.prefix, c.about); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.prefix, c.about, got, c.want)
		}
	}
}

func TestWishOf(t *testing.T) {
	domains := map[string]store.Domain{"d": {Name: "d", Ingest: "rtmps://push.example:444/"}}
	on := store.RelaySettings{Enabled: true, Mix: true}
	with := func(change func(*store.Application)) *store.Application {
		a := &store.Application{ID: "app", Relay: on}
		change(a)
		return a
	}
	for _, c := range []struct {
		name string
		app  *store.Application
		base string // "": nothing is wanted
		err  bool
	}{
		{"the embedded origin", with(func(*store.Application) {}), "rtmp://127.0.0.1:1935/live", false},
		{"a domain", with(func(a *store.Application) { a.Relay.Domain, a.Relay.AppName = "d", "a=b" }), "rtmps://push.example:444/a=b", false},
		{"no such domain", with(func(a *store.Application) { a.Relay.Domain = "x" }), "", true},
		{"off", with(func(a *store.Application) { a.Relay.Enabled = false }), "", false},
		{"neither single nor mix", with(func(a *store.Application) { a.Relay.Mix = false }), "", false},
		{"disabled", with(func(a *store.Application) { a.Disabled = true }), "", false},
	} {
		w, err := wishOf(c.app, domains, "rtmp://127.0.0.1:1935")
		base := ""
		if w != nil {
			base = w.base
		}
		if base != c.base || (err != nil) != c.err {
			t.Errorf("%s: got %q, %v", c.name, base, err)
		}
	}
}

func TestAutoSEI(t *testing.T) {
	for _, c := range []struct {
		settings store.RelaySettings
		want     *SEI
	}{
		{store.RelaySettings{}, nil},
		{store.RelaySettings{SEIInterval: 2 * time.Second}, &SEI{PayloadType: 5, Layout: &SEIRule{Interval: 2 * time.Second}}},
		{store.RelaySettings{SEIFollowIDR: true}, &SEI{PayloadType: 5, Layout: &SEIRule{FollowIDR: true}}},
	} {
		if got := (&wish{settings: c.settings}).sei(); !reflect.DeepEqual(got, c.want) {
			a, _ := json.Marshal(got)
			t.Errorf("%+v: got %s", c.settings, a)
		}
	}
}

// full is a spec with every field set.
func full() *Spec {
	return &Spec{
		App: "app", Channel: "room", Task: "t1", Mode: Mix, URLs: []string{"rtmp://h/a/1?k=v", "rtmps://h/a/2"},
		MaxIdle: 90 * time.Second,
		From:    UserRef{User: "ann", Type: VideoOnly, Source: media.ShareScreen},
		Users:   []UserRef{{User: "ann", Source: media.Camera}, {User: "bob", Channel: "other", Type: AudioOnly, Source: media.Camera}},
		Panes: []Pane{
			{X: 0.1, Y: 1.0 / 3, W: 0.25, H: 0.5, ZOrder: 9, Crop: true, Background: "http://h/i.png", User: &UserRef{User: "ann", Source: media.Camera}},
			{W: 1, H: 1},
		},
		Background: &Image{URL: "https://h/b.jpg", Crop: true},
		Encode: Encode{AudioKbps: 64, SampleRate: 44100, Channels: 1, Width: 640, Height: 360, FPS: 15, VideoKbps: 700, GOP: 30,
			Profile: "high", Preset: "veryfast"},
		SEI: &SEI{PayloadType: 100, Layout: &SEIRule{Interval: time.Second}, PassThrough: &SEIRule{FollowIDR: true}, Key: "udd", Content: `{"a":"ü"}`},
		Echo: map[string]any{
			"MixMode": "1", "StreamURL": "rtmp://h/a/1?k=v&x=<y>",
			"MultiStreamURL": []any{map[string]any{"URL": "rtmp://h/a/1", "IsAliCdn": true}},
			"SeiParams":      map[string]any{"LayoutVolume": map[string]any{}},
		},
		Auto: &Auto{URL: "rtmp://h/a/1?k=v", Domain: "d", Custom: true},
	}
}

// What the store gives back is what it was given.
func TestSpecRow(t *testing.T) {
	empty := &Spec{App: "app", Channel: "room", Task: "t2", URLs: []string{"rtmp://h/a/3"}}
	for _, want := range []*Spec{full(), empty, single1("t3", "rtmp://h/a/4")} {
		row, err := want.row("content", time.Time{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if row.App != want.App || row.ID != want.Task || row.Channel != want.Channel || row.Auto != (want.Auto != nil) || row.Content != "content" {
			t.Errorf("%s: row %+v", want.Task, row)
		}
		got, err := readSpec(row)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", want.Task, got, want)
		}
	}
	// A field that somebody adds to Spec has to be in full, or this test says nothing about it.
	v := reflect.ValueOf(*full())
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("full has no %s", v.Type().Field(i).Name)
		}
	}
}

func TestReadSpecRefuses(t *testing.T) {
	for name, change := range map[string]func(*store.Task){
		"not JSON":        func(r *store.Task) { r.Spec = []byte("{") },
		"empty":           func(r *store.Task) { r.Spec = nil },
		"another task":    func(r *store.Task) { r.ID = "t9" },
		"another app":     func(r *store.Task) { r.App = "x" },
		"another channel": func(r *store.Task) { r.Channel = "x" },
		"not automatic":   func(r *store.Task) { r.Auto = false },
		"no URL":          func(r *store.Task) { r.Spec = []byte(strings.Replace(string(r.Spec), `"URLs":[`, `"Other":[`, 1)) },
		"unknown mode":    func(r *store.Task) { r.Spec = []byte(strings.Replace(string(r.Spec), `"Mode":1`, `"Mode":7`, 1)) },
	} {
		row, err := full().row("", time.Time{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		change(row)
		if got, err := readSpec(row); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}
