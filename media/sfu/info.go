package sfu

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"braid/event"
	"braid/media"
)

// ChannelInfo is a channel as the console shows it. Users is empty for a
// channel that stays open for a while after its last user has left.
type ChannelInfo struct {
	App     string     `json:"app"`
	Channel string     `json:"channel"`
	Opened  time.Time  `json:"opened"`
	Users   []UserInfo `json:"users"`
}

// UserInfo is a user of a channel: what it publishes, with the codec of each
// track ("" for none), how many sessions it has, watching included, and what
// it receives.
type UserInfo struct {
	ID          string         `json:"id"`
	DisplayName string         `json:"displayName,omitempty"`
	Session     string         `json:"session"` // names the stay in the channel, as events do
	Joined      time.Time      `json:"joined"`
	Role        event.Role     `json:"role"`
	Client      event.Client   `json:"client"`
	Sources     []media.Source `json:"sources"`
	Audio       media.Codec    `json:"audio,omitempty"`
	Video       media.Codec    `json:"video,omitempty"`
	Screen      media.Codec    `json:"screen,omitempty"`
	ScreenAudio media.Codec    `json:"screenAudio,omitempty"`
	Sessions    int            `json:"sessions"`
	Receives    Receives       `json:"receives,omitzero"`
}

// Receives is what flows to a user at this moment, over all its sessions.
type Receives struct {
	Audio bool `json:"audio,omitempty"`
	Video bool `json:"video,omitempty"`
	// Width and Height are the biggest picture's by area, in pixels, as its last
	// key frame said; 0 while no picture's size is known.
	Width  int `json:"width,omitempty"`
	Height int `json:"height,omitempty"`
}

func (d *directory) snapshot() []ChannelInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]ChannelInfo, 0, len(d.channels))
	for _, c := range d.sortedLocked() {
		info := ChannelInfo{App: c.where.app, Channel: c.where.channel, Opened: c.opened, Users: make([]UserInfo, len(c.members))}
		for i, m := range c.members {
			info.Users[i] = m.info()
		}
		all = append(all, info)
	}
	return all
}

// sortedLocked lists the channels by application and channel.
func (d *directory) sortedLocked() []*channel {
	return slices.SortedFunc(maps.Values(d.channels), func(a, b *channel) int {
		return cmp.Or(cmp.Compare(a.where.app, b.where.app), cmp.Compare(a.where.channel, b.where.channel))
	})
}

func (m *member) info() UserInfo {
	u := m.user()
	info := UserInfo{
		ID:          m.id,
		DisplayName: m.name,
		Session:     m.stay,
		Joined:      m.joined,
		Role:        m.role,
		Client:      m.client,
		Sources:     []media.Source{},
		Audio:       codecOf(u.Audio),
		Video:       codecOf(u.Video),
		Screen:      codecOf(u.Screen),
		ScreenAudio: codecOf(u.ScreenAudio),
		Sessions:    len(m.sessions),
	}
	for _, source := range []media.Source{media.Camera, media.ShareScreen} {
		if m.pubs[source] != nil {
			info.Sources = append(info.Sources, source)
		}
	}
	for _, s := range m.sessions {
		for _, f := range s.sends {
			info.Receives.add(f.track)
		}
		if s.participant != nil {
			for _, t := range s.participant.receiving() {
				info.Receives.add(t)
			}
		}
	}
	return info
}

// add counts a track that is sent to the user.
func (r *Receives) add(t *track) {
	switch {
	case t.flowing() == nil:
	case !t.codec.name.Video():
		r.Audio = true
	default:
		r.Video = true
		if w, h := t.size(); w*h > r.Width*r.Height {
			r.Width, r.Height = w, h
		}
	}
}

func codecOf(t media.Track) media.Codec {
	if t == nil {
		return ""
	}
	return t.Codec()
}
