package live

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"time"

	"braid/event"
	"braid/media"
	"braid/media/sfu"
	"braid/relay"
)

type key struct{ app, id string }

// place names a channel or a task.
type place struct {
	App string `json:"app"`
	ID  string `json:"id"`
}

// channel is an open channel. Users is nil where only others have changed.
type channel struct {
	place
	Opened time.Time `json:"opened"`
	Users  []user    `json:"users"`
	*heard           // nil in changes
}

// heard is how loud people are.
type heard struct {
	Levels   map[string]int `json:"levels"`
	Speakers []string       `json:"speakers"`
}

type user struct {
	ID          string         `json:"id"`
	Name        string         `json:"display_name,omitempty"`
	Session     string         `json:"session"`
	Joined      time.Time      `json:"joined"`
	Role        string         `json:"role"`
	Client      event.Client   `json:"client"`
	Connections int            `json:"connections"`
	Sources     []media.Source `json:"sources"`
	Tracks      []track        `json:"tracks"`
	Receives    receives       `json:"receives"`
	Quality     *quality       `json:"quality,omitempty"`
}

type track struct {
	Source  sfu.Source  `json:"source"`
	Codec   media.Codec `json:"codec"`
	Width   int         `json:"width,omitempty"`
	Height  int         `json:"height,omitempty"`
	Bitrate int         `json:"bitrate"`
	Loss    float64     `json:"loss"`
	Muted   bool        `json:"muted"`
}

type receives struct {
	Audio  bool `json:"audio"`
	Video  bool `json:"video"`
	Width  int  `json:"width,omitempty"`
	Height int  `json:"height,omitempty"`
}

type quality struct {
	Up      int      `json:"up"`
	Down    int      `json:"down"`
	Reasons []string `json:"reasons"`
}

type task struct {
	place
	Channel string           `json:"channel"`
	Auto    bool             `json:"auto"`
	Mode    string           `json:"mode"`
	Created time.Time        `json:"created"`
	URLs    []relay.URLState `json:"urls"`
}

// view is everything at one moment. It is immutable.
type view struct {
	channels []channel // by application and id
	tasks    []task
}

// snapshot and change are the data of the events.
type snapshot struct {
	Channels []channel `json:"channels"`
	Tasks    []task    `json:"tasks"`
}

type change struct {
	Channels     []changed `json:"channels,omitempty"`
	GoneChannels []place   `json:"gone_channels,omitempty"`
	Tasks        []task    `json:"tasks,omitempty"`
	GoneTasks    []place   `json:"gone_tasks,omitempty"`
}

type changed struct {
	channel
	Gone []string `json:"gone,omitempty"`
}

type levels struct {
	place
	heard
}

func newView(infos []sfu.ChannelInfo, measured []sfu.ChannelLive, states []relay.TaskState) *view {
	seen := make(map[key]sfu.ChannelLive, len(measured))
	for _, m := range measured {
		seen[key{m.App, m.Channel}] = m
	}
	v := &view{channels: []channel{}, tasks: []task{}}
	for _, c := range infos {
		live := seen[key{c.App, c.Channel}]
		out := channel{place: place{c.App, c.Channel}, Opened: c.Opened.UTC(), Users: []user{},
			heard: &heard{Levels: map[string]int{}, Speakers: append([]string{}, live.Levels.Speakers...)}}
		maps.Copy(out.Levels, live.Levels.Users)
		for _, u := range c.Users {
			out.Users = append(out.Users, showUser(u, live.Users[u.ID]))
		}
		v.channels = append(v.channels, out)
	}
	for _, t := range states {
		v.tasks = append(v.tasks, showTask(t))
	}
	return v
}

func showUser(u sfu.UserInfo, live sfu.UserLive) user {
	out := user{ID: u.ID, Name: u.DisplayName, Session: u.Session, Joined: u.Joined.UTC(), Role: "streamer", Client: u.Client,
		Connections: u.Sessions, Sources: append([]media.Source{}, u.Sources...), Tracks: []track{},
		Receives: receives{u.Receives.Audio, u.Receives.Video, u.Receives.Width, u.Receives.Height}}
	if u.Role == event.Viewer {
		out.Role = "viewer"
	}
	for _, t := range live.Tracks {
		out.Tracks = append(out.Tracks, track{t.Source, t.Codec, t.Width, t.Height, round(t.Bitrate), math.Round(t.Loss*1000) / 10, t.Muted})
	}
	if q := live.Quality; q != nil {
		out.Quality = &quality{q.Up, q.Down, append([]string{}, q.Reasons...)}
	}
	return out
}

// round gives a bitrate two digits: a person reads no more, and fewer changes
// are sent.
func round(bits int) int {
	unit := 1
	for bits/unit >= 100 {
		unit *= 10
	}
	return (bits + unit/2) / unit * unit
}

func showTask(t relay.TaskState) task {
	out := task{place: place{t.App, t.Task}, Channel: t.Channel, Auto: t.Auto, Mode: "mix", Created: t.Created.UTC(),
		URLs: append([]relay.URLState{}, t.URLs...)}
	if t.Mode == relay.Single {
		out.Mode = "single"
	}
	return out
}

// narrow is what of a view a filter takes.
func (v *view) narrow(f Filter) *view {
	if f == (Filter{}) {
		return v
	}
	out := &view{channels: []channel{}, tasks: []task{}}
	for _, c := range v.channels {
		if f.takes(c.App, c.ID) {
			out.channels = append(out.channels, c)
		}
	}
	for _, t := range v.tasks {
		if f.takes(t.App, t.Channel) {
			out.tasks = append(out.tasks, t)
		}
	}
	return out
}

func (v *view) all() snapshot { return snapshot{v.channels, v.tasks} }

// since is what has changed from an older view; any is false for nothing.
func (v *view) since(old *view) (d change, any bool) {
	was := map[key]channel{}
	for _, c := range old.channels {
		was[key{c.App, c.ID}] = c
	}
	for _, c := range v.channels {
		before, there := was[key{c.App, c.ID}]
		delete(was, key{c.App, c.ID})
		there = there && before.Opened.Equal(c.Opened)
		diff := changed{channel: channel{place: c.place, Opened: c.Opened}}
		diff.Users, diff.Gone = usersSince(c.Users, before.Users)
		if !there || len(diff.Users) > 0 || len(diff.Gone) > 0 {
			d.Channels = append(d.Channels, diff)
		}
	}
	for k := range was {
		d.GoneChannels = append(d.GoneChannels, place{k.app, k.id})
	}
	tasks := map[key]task{}
	for _, t := range old.tasks {
		tasks[key{t.App, t.ID}] = t
	}
	for _, t := range v.tasks {
		before, there := tasks[key{t.App, t.ID}]
		delete(tasks, key{t.App, t.ID})
		if !there || !reflect.DeepEqual(before, t) {
			d.Tasks = append(d.Tasks, t)
		}
	}
	for k := range tasks {
		d.GoneTasks = append(d.GoneTasks, place{k.app, k.id})
	}
	return d, len(d.Channels)+len(d.GoneChannels)+len(d.Tasks)+len(d.GoneTasks) > 0
}

// usersSince are those who came or changed, and those who left.
func usersSince(now, before []user) (some []user, gone []string) {
	was := make(map[string]user, len(before))
	for _, u := range before {
		was[u.ID] = u
	}
	some = []user{}
	for _, u := range now {
		old, there := was[u.ID]
		delete(was, u.ID)
		if !there || !reflect.DeepEqual(old, u) {
			some = append(some, u)
		}
	}
	return some, slices.Sorted(maps.Keys(was))
}

// heardSince are the channels where others are heard than in an older view.
func (v *view) heardSince(old *view) (all []levels) {
	was := map[key]*heard{}
	for _, c := range old.channels {
		was[key{c.App, c.ID}] = c.heard
	}
	for _, c := range v.channels {
		before := was[key{c.App, c.ID}]
		if before == nil {
			before = &heard{}
		}
		if !maps.Equal(before.Levels, c.Levels) || !slices.Equal(before.Speakers, c.Speakers) {
			all = append(all, levels{c.place, *c.heard})
		}
	}
	return all
}
