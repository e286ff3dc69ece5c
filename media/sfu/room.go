package sfu

import (
	"fmt"
	"slices"
	"sync/atomic"

	"braid/event"
	"braid/media"
)

// room is the participants of a channel: those who are told what happens there.
// It is owned by directory.mu.
type room struct {
	members []*Participant
	stop    chan struct{}          // ends the channel's meter; nil while there is nobody to tell
	speaker atomic.Pointer[string] // who was heard last; not owned by anyone
	seen    atomic.Pointer[seen]   // what the meter saw last; not owned by anyone
}

// shown is a source as participants were told of it.
type shown struct {
	track *track
	state SourceState
}

// join puts a participant into its channel; replaced is its user's older one.
func (d *directory) join(p *Participant) (replaced *Session, users []UserState, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := p.session
	if d.closed || s.stopped() {
		return nil, nil, fmt.Errorf("sfu: %w: the server shuts down", media.ErrClosed)
	}
	c, ok := d.channels[s.where]
	if !ok {
		c = d.openLocked(s.where)
	}
	if c.keep != nil {
		c.keep()
		c.keep = nil
	}
	p.room = &c.room
	m := c.member(s.user)
	if m == nil {
		m = d.joinLocked(c, s)
	} else if s.name != "" {
		m.name = s.name
	}
	m.sessions = append(m.sessions, s)
	for _, o := range m.sessions {
		if o != s && o.participant != nil {
			replaced = o
		}
	}
	if replaced != nil {
		m.forget(replaced)
		d.deafenLocked(c, replaced)
	}
	d.announceLocked(c, m)
	d.swapLocked(c)
	d.listenLocked(c, p)
	return replaced, c.usersBut(s.user), nil
}

// listenLocked lets a participant hear what happens from now on.
func (d *directory) listenLocked(c *channel, p *Participant) {
	c.room.members = append(slices.Clip(c.room.members), p)
	d.meterLocked(c)
	for _, m := range c.members {
		if m.id == p.User() {
			continue
		}
		for _, sh := range m.shown {
			p.see(m.id, sh.state.Source, sh.track)
		}
	}
}

// deafenLocked is the end of listenLocked.
func (d *directory) deafenLocked(c *channel, s *Session) {
	if s.participant == nil {
		return
	}
	c.room.members = slices.DeleteFunc(slices.Clone(c.room.members), func(o *Participant) bool { return o == s.participant })
	d.meterLocked(c)
}

// tellOthersLocked tells all participants but those of a user.
func (c *channel) tellOthersLocked(user string, n Notice) {
	for _, p := range c.room.members {
		if p.User() != user {
			p.tell(n)
		}
	}
}

// hearLocked tells participants what others come to know as events.
func (d *directory) hearLocked(c *channel, t event.Type, u *event.User) {
	if len(c.room.members) == 0 {
		return
	}
	switch t {
	case event.UserJoin:
		state := UserState{ID: u.ID, Role: u.Role}
		if m := c.member(u.ID); m != nil {
			state.Name = m.name
		}
		c.tellOthersLocked(u.ID, Joined{state})
	case event.UserLeave:
		for _, p := range c.room.members {
			p.unsee(u.ID)
		}
		c.tellOthersLocked(u.ID, Left{u.ID, u.Reason})
	case event.UserRole:
		c.tellOthersLocked(u.ID, RoleChanged{u.ID, u.Role})
	}
}

// showLocked tells participants what has changed about a member's sources.
func (d *directory) showLocked(c *channel, m *member) {
	was := m.shown
	m.shown = m.flowing()
	for _, w := range was {
		if !slices.ContainsFunc(m.shown, func(n shown) bool { return n.track == w.track }) {
			for _, p := range c.room.members {
				if p.User() != m.id {
					p.see(m.id, w.state.Source, nil)
					p.tell(Unpublished{m.id, w.state.Source})
				}
			}
		}
	}
	for _, n := range m.shown {
		i := slices.IndexFunc(was, func(w shown) bool { return n.track == w.track })
		switch {
		case i < 0:
			for _, p := range c.room.members {
				if p.User() != m.id {
					p.tell(Published{m.id, n.state})
					p.see(m.id, n.state.Source, n.track)
				}
			}
		case was[i].state.Width != n.state.Width || was[i].state.Height != n.state.Height:
			c.tellOthersLocked(m.id, Published{m.id, n.state})
		case was[i].state.Muted != n.state.Muted:
			c.tellOthersLocked(m.id, Muted{m.id, n.state.Source, n.state.Muted})
		}
	}
}

// flowing lists the member's sources that flow.
func (m *member) flowing() []shown {
	var all []shown
	for _, s := range sources {
		t := m.track(s)
		if t.flowing() == nil {
			continue
		}
		state := SourceState{Source: s, Muted: t.muted.Load(), Codec: t.codec.name}
		if s.Video() {
			state.Width, state.Height = t.size()
		}
		all = append(all, shown{t, state})
	}
	return all
}

// track is what the member publishes as a source; nil for nothing.
func (m *member) track(s Source) *track {
	p := m.pubs[s.Of()]
	switch {
	case p == nil:
		return nil
	case s.Video():
		return p.video
	}
	return p.audio
}

// users lists who else is in a session's channel.
func (d *directory) users(s *Session) []UserState {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.channels[s.where]
	if c == nil {
		return nil
	}
	return c.usersBut(s.user)
}

func (c *channel) usersBut(user string) []UserState {
	all := []UserState{}
	for _, m := range c.members {
		if m.id == user {
			continue
		}
		u := UserState{ID: m.id, Name: m.name, Role: m.role}
		for _, sh := range m.shown {
			u.Sources = append(u.Sources, sh.state)
		}
		all = append(all, u)
	}
	return all
}

// setRole takes what a participant says about its role.
func (d *directory) setRole(s *Session, r event.Role) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.channels[s.where]
	if c == nil {
		return
	}
	s.role = r
	if m := c.member(s.user); m != nil && slices.Contains(m.sessions, s) {
		d.announceLocked(c, m)
		d.swapLocked(c)
	}
}

// publish makes p what a participant publishes of a source, nil for nothing.
// replaced is a session of the same user that published it.
func (d *directory) publish(s *Session, source media.Source, p *publication) (replaced *Session, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.channels[s.where]
	if c == nil {
		return nil, media.ErrClosed
	}
	m := c.member(s.user)
	if m == nil || !slices.Contains(m.sessions, s) {
		return nil, media.ErrClosed
	}
	if p != nil {
		replaced = d.publishLocked(c, m, p)
	} else if old := m.pubs[source]; old != nil && old.session == s {
		old.releaseLocked()
		delete(m.pubs, source)
	}
	d.announceLocked(c, m)
	d.swapLocked(c)
	return replaced, nil
}

// find looks for a source of a user.
func (d *directory) source(k key, user string, s Source) (t *track, here bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.channels[k]
	if c == nil {
		return nil, false
	}
	m := c.member(user)
	if m == nil {
		return nil, false
	}
	for _, sh := range m.shown {
		if sh.state.Source == s {
			return sh.track, true
		}
	}
	return nil, true
}

// send gives a message to participants; missing are those named who are none.
func (d *directory) send(s *Session, to []string, n Data) (missing []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.channels[s.where]
	if c == nil {
		return to
	}
	if to == nil {
		c.tellOthersLocked(s.user, n)
		return nil
	}
	for _, user := range to {
		i := slices.IndexFunc(c.room.members, func(p *Participant) bool { return p.User() == user })
		if i < 0 {
			missing = append(missing, user)
			continue
		}
		c.room.members[i].tell(n)
	}
	return missing
}
