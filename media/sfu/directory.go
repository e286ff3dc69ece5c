package sfu

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"braid/media"
)

type key struct{ app, channel string }

// ChannelInfo is a channel as the console shows it.
type ChannelInfo struct {
	App     string     `json:"app"`
	Channel string     `json:"channel"`
	Users   []UserInfo `json:"users"`
}

// UserInfo is a user of a channel: what it publishes, with the codec of each
// track ("" for none), and how many sessions it has, watching included.
type UserInfo struct {
	ID          string         `json:"id"`
	Sources     []media.Source `json:"sources"`
	Audio       media.Codec    `json:"audio,omitempty"`
	Video       media.Codec    `json:"video,omitempty"`
	Screen      media.Codec    `json:"screen,omitempty"`
	ScreenAudio media.Codec    `json:"screenAudio,omitempty"`
	Sessions    int            `json:"sessions"`
}

// directory knows who is in which channel. A user is in a channel while it has
// a connected session there. What others see are immutable views, swapped
// whole.
type directory struct {
	mu       sync.Mutex
	channels map[key]*channel
	list     chan struct{} // closed when a channel opens or closes
	any      chan struct{} // closed at any change
}

func newDirectory() directory {
	return directory{
		channels: map[key]*channel{},
		list:     make(chan struct{}),
		any:      make(chan struct{}),
	}
}

// channel implements media.Channel. After its last user has left it stays
// empty for those who still hold it.
type channel struct {
	members []*member // in join order, owned by directory.mu
	view    atomic.Pointer[view]
}

type view struct {
	users   []*media.User
	changed chan struct{}
}

type member struct {
	id       string
	sessions int
	pubs     map[media.Source]*publication
}

func (c *channel) Users() []*media.User     { return c.view.Load().users }
func (c *channel) Changed() <-chan struct{} { return c.view.Load().changed }

func (d *directory) find(k key) (*channel, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.channels[k]
	return c, ok
}

func (d *directory) opened() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list
}

func (d *directory) anything() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.any
}

// publication finds what a user publishes.
func (d *directory) publication(k key, user string, source media.Source) (*publication, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.channels[k]
	if !ok {
		return nil, false
	}
	m := c.member(user)
	if m == nil || m.pubs[source] == nil {
		return nil, false
	}
	return m.pubs[source], true
}

func (c *channel) member(user string) *member {
	for _, m := range c.members {
		if m.id == user {
			return m
		}
	}
	return nil
}

// enter adds a session that has connected and returns the session whose
// publication it replaces, if any.
func (d *directory) enter(s *Session) (replaced *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.channels[s.where]
	if !ok {
		c = &channel{}
		c.view.Store(&view{changed: make(chan struct{})})
		d.channels[s.where] = c
		close(d.list)
		d.list = make(chan struct{})
	}
	m := c.member(s.user)
	if m == nil {
		m = &member{id: s.user, pubs: map[media.Source]*publication{}}
		c.members = append(c.members, m)
	}
	m.sessions++
	if s.pub != nil {
		if old := m.pubs[s.source]; old != nil {
			replaced = old.session
		}
		m.pubs[s.source] = s.pub
	}
	d.swapLocked(c)
	return replaced
}

// leave removes a session that entered.
func (d *directory) leave(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.channels[s.where]
	m := c.member(s.user)
	m.sessions--
	if s.pub != nil && m.pubs[s.source] == s.pub {
		delete(m.pubs, s.source)
	}
	if m.sessions == 0 {
		c.members = slices.DeleteFunc(c.members, func(o *member) bool { return o == m })
	}
	if len(c.members) == 0 {
		delete(d.channels, s.where)
		close(d.list)
		d.list = make(chan struct{})
	}
	d.swapLocked(c)
}

// refresh shows that a track of a user has begun to flow.
func (d *directory) refresh(k key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, ok := d.channels[k]; ok {
		d.swapLocked(c)
	}
}

// swapLocked publishes a channel's members as a new view.
func (d *directory) swapLocked(c *channel) {
	next := &view{users: make([]*media.User, len(c.members)), changed: make(chan struct{})}
	for i, m := range c.members {
		next.users[i] = m.user()
	}
	old := c.view.Swap(next)
	close(old.changed)
	close(d.any)
	d.any = make(chan struct{})
}

func (m *member) user() *media.User {
	u := &media.User{ID: m.id}
	if p := m.pubs[media.Camera]; p != nil {
		u.Audio, u.Video = p.audio.flowing(), p.video.flowing()
	}
	if p := m.pubs[media.ShareScreen]; p != nil {
		u.ScreenAudio, u.Screen = p.audio.flowing(), p.video.flowing()
	}
	return u
}

func (d *directory) snapshot() []ChannelInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]ChannelInfo, 0, len(d.channels))
	for k, c := range d.channels {
		info := ChannelInfo{App: k.app, Channel: k.channel, Users: make([]UserInfo, len(c.members))}
		for i, m := range c.members {
			info.Users[i] = m.info()
		}
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b ChannelInfo) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Channel, b.Channel))
	})
	return all
}

func (m *member) info() UserInfo {
	u := m.user()
	info := UserInfo{
		ID:          m.id,
		Sources:     []media.Source{},
		Audio:       codecOf(u.Audio),
		Video:       codecOf(u.Video),
		Screen:      codecOf(u.Screen),
		ScreenAudio: codecOf(u.ScreenAudio),
		Sessions:    m.sessions,
	}
	for _, source := range []media.Source{media.Camera, media.ShareScreen} {
		if m.pubs[source] != nil {
			info.Sources = append(info.Sources, source)
		}
	}
	return info
}

func codecOf(t media.Track) media.Codec {
	if t == nil {
		return ""
	}
	return t.Codec()
}
