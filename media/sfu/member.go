package sfu

import (
	"slices"
	"time"

	"braid/event"
	"braid/media"
)

// swapTime is how long a publication that replaces another may take until its
// media flow, before others are told that the user stopped publishing. It is
// connected by then; what is left is the encoder's start and the first packet,
// under a second even on slow phones.
const swapTime = 3 * time.Second

// member is a user in a channel, from its first session to its last. All is
// owned by directory.mu.
type member struct {
	id       string
	name     string // for people; may be empty
	stay     string // names this stay in events
	joined   time.Time
	client   event.Client
	sessions []*Session
	pubs     map[media.Source]*publication

	shown []shown // what participants were told of its sources

	// What others were told.
	role   event.Role
	medias []event.Media // immutable, in the order of event's constants
}

// joinLocked makes a member for its first session.
func (d *directory) joinLocked(c *channel, s *Session) *member {
	m := &member{
		id:     s.user,
		stay:   random128(),
		joined: time.Now(),
		client: s.client,
		pubs:   map[media.Source]*publication{},
		role:   event.Viewer,
	}
	if s.pub != nil || s.role == event.Streamer {
		m.role = event.Streamer
	}
	m.name = s.name
	c.members = append(c.members, m)
	d.tellLocked(c, event.UserJoin, m.about(event.Normal))
	return m
}

// publishLocked makes a publication the user's, and returns the session whose
// place it takes. Kinds of media that both have count as published while the
// new one starts. A participant stays when one of its sources is taken from it.
func (d *directory) publishLocked(c *channel, m *member, p *publication) (replaced *Session) {
	if old := m.pubs[p.source]; old != nil {
		switch {
		case old.session == p.session:
		case old.session.participant != nil:
			old.session.participant.lose(old)
		default:
			replaced = old.session
			m.sessions = slices.DeleteFunc(m.sessions, func(o *Session) bool { return o == replaced })
		}
		old.releaseLocked()
		for _, k := range m.medias {
			if sourceOf(k) == p.source && p.offers(k) && !p.flows(k) {
				p.held = append(p.held, k)
			}
		}
		if len(p.held) > 0 {
			p.release = d.afterLocked(swapTime, func() {
				p.held, p.release = nil, nil
				d.announceLocked(c, m)
			})
		}
	}
	m.pubs[p.source] = p
	m.client = p.session.client
	if p.session.name != "" {
		m.name = p.session.name
	}
	return replaced
}

// forget takes a session and what it publishes from a member.
func (m *member) forget(s *Session) {
	m.sessions = slices.DeleteFunc(m.sessions, func(o *Session) bool { return o == s })
	for source, p := range m.pubs {
		if p.session == s {
			p.releaseLocked()
			delete(m.pubs, source)
		}
	}
}

// streams tells whether the member is a streamer: it publishes, or says that it
// will.
func (m *member) streams() bool {
	return len(m.pubs) > 0 || slices.ContainsFunc(m.sessions, func(s *Session) bool { return s.role == event.Streamer })
}

// releaseLocked forgets what the publication took over.
func (p *publication) releaseLocked() {
	if p.release != nil {
		p.release()
	}
	p.held, p.release = nil, nil
}

// announceLocked tells what has changed about a member: what it no longer
// publishes, its role, what it publishes.
func (d *directory) announceLocked(c *channel, m *member) {
	now := m.published()
	d.unpublishLocked(c, m, now)
	role := event.Viewer
	if m.streams() {
		role = event.Streamer
	}
	if role != m.role {
		m.role = role
		d.tellLocked(c, event.UserRole, m.about(0))
	}
	for _, k := range now {
		if slices.Contains(m.medias, k) {
			continue
		}
		told := append(slices.Clone(m.medias), k)
		m.medias = slices.DeleteFunc(slices.Clone(now), func(k event.Media) bool { return !slices.Contains(told, k) })
		d.tellLocked(c, begins(k), m.about(0))
	}
	d.showLocked(c, m)
}

// unpublishLocked tells of all that a member no longer publishes.
func (d *directory) unpublishLocked(c *channel, m *member, keep []event.Media) {
	for _, k := range m.medias {
		if slices.Contains(keep, k) {
			continue
		}
		m.medias = slices.DeleteFunc(slices.Clone(m.medias), func(o event.Media) bool { return o == k })
		d.tellLocked(c, ends(k), m.about(0))
	}
}

// removeLocked takes a member out of its channel.
func (d *directory) removeLocked(c *channel, m *member, why event.Reason) {
	for _, p := range m.pubs {
		p.releaseLocked()
	}
	clear(m.pubs)
	for _, s := range m.sessions {
		d.deafenLocked(c, s)
	}
	d.unpublishLocked(c, m, nil)
	d.showLocked(c, m)
	c.members = slices.DeleteFunc(c.members, func(o *member) bool { return o == m })
	d.tellLocked(c, event.UserLeave, m.about(why))
}

// about is the member as events have it.
func (m *member) about(why event.Reason) *event.User {
	return &event.User{ID: m.id, Session: m.stay, Role: m.role, Reason: why, Medias: m.medias, Client: m.client}
}

// published lists what the member publishes now.
func (m *member) published() []event.Media {
	var all []event.Media
	for _, k := range []event.Media{event.Audio, event.Video, event.Screen} {
		if p := m.pubs[sourceOf(k)]; p != nil && (p.flows(k) || slices.Contains(p.held, k)) {
			all = append(all, k)
		}
	}
	return all
}

// user is the member as the rest of braid sees it.
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

// sourceOf is the source that a kind of media belongs to.
func sourceOf(k event.Media) media.Source {
	if k == event.Screen {
		return media.ShareScreen
	}
	return media.Camera
}

// tracks are those of a publication that make a kind of media. A screen's sound
// counts as the screen.
func (p *publication) tracks(k event.Media) []*track {
	switch k {
	case event.Audio:
		return []*track{p.audio}
	case event.Video:
		return []*track{p.video}
	}
	return []*track{p.audio, p.video}
}

func (p *publication) offers(k event.Media) bool {
	return slices.ContainsFunc(p.tracks(k), func(t *track) bool { return t != nil })
}

func (p *publication) flows(k event.Media) bool {
	return slices.ContainsFunc(p.tracks(k), func(t *track) bool { return t.flowing() != nil })
}

func begins(k event.Media) event.Type {
	switch k {
	case event.Audio:
		return event.PublishAudio
	case event.Video:
		return event.PublishVideo
	}
	return event.PublishScreen
}

func ends(k event.Media) event.Type {
	switch k {
	case event.Audio:
		return event.UnpublishAudio
	case event.Video:
		return event.UnpublishVideo
	}
	return event.UnpublishScreen
}
