package sfu

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"braid/event"
	"braid/media"
)

type key struct{ app, channel string }

// directory knows who is in which channel, and tells what happens there. A user
// is in a channel while it has a connected session there; a channel stays open
// for a while after its last user has left. What others see are immutable
// views, swapped whole.
//
//	first user ─→ open ─ last user leaves ─→ lingering ─ time ─→ closed
//	                └──── a user comes ─────────┘
type directory struct {
	events func(event.Event) // called with mu held: the order of calls is the order of events
	linger time.Duration     // negative: a channel closes with its last user
	voices int               // how many microphones are heard at once; 0 or less: all

	mu       sync.Mutex
	closed   bool
	channels map[key]*channel
	list     chan struct{} // closed when a channel opens or closes
	any      chan struct{} // closed at any change
	watchers int           // who want all channels measured

	timers sync.WaitGroup // those that afterLocked set
}

func newDirectory(events func(event.Event), linger time.Duration, voices int) *directory {
	return &directory{
		events:   events,
		linger:   linger,
		voices:   voices,
		channels: map[key]*channel{},
		list:     make(chan struct{}),
		any:      make(chan struct{}),
	}
}

// channel implements media.Channel. After it has closed it stays empty for
// those who still hold it. All but view is owned by directory.mu.
type channel struct {
	where   key
	opened  time.Time
	members []*member // in join order
	keep    func()    // takes back the closing; nil when there are members
	room    room      // those who are told what happens
	stage   stage     // whom these hear
	view    atomic.Pointer[view]
}

type view struct {
	users   []*media.User
	changed chan struct{}
}

func (c *channel) Users() []*media.User     { return c.view.Load().users }
func (c *channel) Changed() <-chan struct{} { return c.view.Load().changed }

func (c *channel) member(user string) *member {
	for _, m := range c.members {
		if m.id == user {
			return m
		}
	}
	return nil
}

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

// enter adds a session that has connected and returns the session whose
// publication it replaces, if any; that one is no longer in the channel. alone asks that the user is not in the
// channel yet. A session that was ended meanwhile is not let in.
func (d *directory) enter(s *Session, alone bool) (replaced *Session, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || s.stopped() {
		return nil, fmt.Errorf("sfu: %w: the session ended before it was in the channel", media.ErrClosed)
	}
	c, ok := d.channels[s.where]
	if ok && alone && c.member(s.user) != nil {
		return nil, fmt.Errorf("sfu: %w: user %s is in channel %s", media.ErrExists, s.user, s.where.channel)
	}
	if !ok {
		c = d.openLocked(s.where)
	}
	if c.keep != nil {
		c.keep()
		c.keep = nil
	}
	m := c.member(s.user)
	if m == nil {
		m = d.joinLocked(c, s)
	}
	m.sessions = append(m.sessions, s)
	if s.pub != nil {
		replaced = d.publishLocked(c, m, s.pub)
	}
	d.announceLocked(c, m)
	d.swapLocked(c)
	return replaced, nil
}

// leave removes a session; it does nothing for one that never entered or was
// expelled.
func (d *directory) leave(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.channels[s.where]
	if !ok {
		return
	}
	m := c.member(s.user)
	if m == nil || !slices.Contains(m.sessions, s) {
		return
	}
	m.forget(s)
	d.deafenLocked(c, s)
	if len(m.sessions) > 0 {
		d.announceLocked(c, m)
	} else {
		d.removeLocked(c, m, s.why)
		d.lingerLocked(c)
	}
	d.swapLocked(c)
}

// refresh shows that a track of a session has begun to flow.
func (d *directory) refresh(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.channels[s.where]
	if !ok {
		return
	}
	if m := c.member(s.user); m != nil && slices.Contains(m.sessions, s) {
		d.announceLocked(c, m)
		d.swapLocked(c)
	}
}

// kick takes a user out of a channel and ends its sessions, and others of the
// user that are not in the channel yet. It returns all of them; found is false
// when there was nobody to kick.
func (d *directory) kick(k key, user string, others []*Session) (ending []*Session, found bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.channels[k]; c != nil {
		if m := c.member(user); m != nil {
			found = true
			others = append(others, m.sessions...)
			d.removeLocked(c, m, event.Kicked)
			d.lingerLocked(c)
			d.swapLocked(c)
		}
	}
	return others, endLocked(others, event.Kicked, "the user was kicked") || found
}

// dismiss takes everyone out of a channel, as kick does, and closes it.
func (d *directory) dismiss(k key, others []*Session) (ending []*Session, found bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, found := d.channels[k]
	if found {
		for _, m := range slices.Clone(c.members) {
			others = append(others, m.sessions...)
			d.removeLocked(c, m, event.Dismissed)
		}
		d.closeLocked(c)
		d.swapLocked(c)
	}
	return others, endLocked(others, event.Dismissed, "the channel was dismissed") || found
}

// endLocked ends sessions and tells whether one of them was not ending yet. It
// wants mu held, so that none of them can enter any more.
func endLocked(all []*Session, why event.Reason, text string) (first bool) {
	for _, s := range all {
		first = s.end(why, text) || first
	}
	return first
}

// close sends everyone away and closes every channel. It returns when no timer
// of the directory runs.
func (d *directory) close() {
	d.mu.Lock()
	d.closed = true
	for _, c := range d.sortedLocked() {
		for _, m := range slices.Clone(c.members) {
			d.removeLocked(c, m, event.TimedOut)
		}
		d.closeLocked(c)
		d.swapLocked(c)
	}
	d.mu.Unlock()
	d.timers.Wait()
}

func (d *directory) openLocked(k key) *channel {
	c := &channel{where: k, opened: time.Now(), stage: stage{places: d.voices}}
	c.view.Store(&view{changed: make(chan struct{})})
	d.channels[k] = c
	d.meterLocked(c)
	d.listLocked()
	d.tellLocked(c, event.ChannelOpen, nil)
	return c
}

// lingerLocked lets a channel that has lost its last user close in time.
func (d *directory) lingerLocked(c *channel) {
	switch {
	case len(c.members) > 0:
	case d.linger < 0:
		d.closeLocked(c)
	default:
		c.keep = d.afterLocked(d.linger, func() {
			d.closeLocked(c)
			d.swapLocked(c)
		})
	}
}

func (d *directory) closeLocked(c *channel) {
	if c.keep != nil {
		c.keep()
		c.keep = nil
	}
	delete(d.channels, c.where)
	d.meterLocked(c)
	d.listLocked()
	d.tellLocked(c, event.ChannelClose, nil)
}

func (d *directory) listLocked() {
	close(d.list)
	d.list = make(chan struct{})
}

// swapLocked publishes a channel's members as a new view.
func (d *directory) swapLocked(c *channel) {
	next := &view{users: make([]*media.User, len(c.members)), changed: make(chan struct{})}
	var microphones []*track
	for i, m := range c.members {
		next.users[i] = m.user()
		if t := m.track(Microphone); t.flowing() != nil {
			microphones = append(microphones, t)
		}
	}
	c.stage.cast(microphones)
	old := c.view.Swap(next)
	close(old.changed)
	close(d.any)
	d.any = make(chan struct{})
}

// tellLocked tells an event of a channel; participants hear of people here, and
// of what these publish in showLocked.
func (d *directory) tellLocked(c *channel, t event.Type, u *event.User) {
	if d.events != nil {
		d.events(event.Event{App: c.where.app, Channel: c.where.channel, Type: t, Time: time.Now(), User: u})
	}
	d.hearLocked(c, t, u)
}

// afterLocked calls f with mu held after a time, unless stop is called before;
// stop wants mu held too.
func (d *directory) afterLocked(wait time.Duration, f func()) (stop func()) {
	stopped := false // owned by mu: a timer may have fired and wait for mu when it is stopped
	d.timers.Add(1)
	timer := time.AfterFunc(wait, func() {
		defer d.timers.Done()
		d.mu.Lock()
		defer d.mu.Unlock()
		if !stopped {
			f()
		}
	})
	return func() {
		stopped = true
		if timer.Stop() {
			d.timers.Done()
		}
	}
}
