package sfu

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"braid/event"
	"braid/media"
)

// recorder keeps what a server tells.
type recorder struct {
	mu      sync.Mutex
	all     []event.Event
	seen    int // those that a test has taken by next
	changed chan struct{}
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) put(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) news() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// rest are the events that next has not given, as text.
func (r *recorder) rest() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, e := range r.all[r.seen:] {
		lines = append(lines, brief(e))
	}
	return lines
}

func (r *recorder) take(n int) []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen += n
	return r.all[r.seen-n : r.seen]
}

// next waits for as many events as are wanted; they must be these.
func (r *recorder) next(t *testing.T, want ...string) []event.Event {
	t.Helper()
	until(t, fmt.Sprintf("%d more events: %q", len(want), want), r.news, func() bool { return len(r.rest()) >= len(want) })
	r.mustBe(t, r.rest()[:len(want)], want)
	return r.take(len(want))
}

// last wants that exactly these events are there and no others.
func (r *recorder) last(t *testing.T, want ...string) {
	t.Helper()
	rest := r.rest()
	r.mustBe(t, rest, want)
	r.take(len(rest))
}

func (r *recorder) mustBe(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("events:\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// brief is an event as the tests write it: type, user, role (S or V), reason,
// what is published after it.
func brief(e event.Event) string {
	if e.User == nil {
		return string(e.Type)
	}
	s := fmt.Sprintf("%s %s %s", e.Type, e.User.ID, map[event.Role]string{event.Streamer: "S", event.Viewer: "V"}[e.User.Role])
	if e.User.Reason != 0 {
		s += fmt.Sprintf(" %d", e.User.Reason)
	}
	for _, m := range e.User.Medias {
		s += " " + string(m)
	}
	return s
}

// check follows the rules that hold for every run: nothing happens outside a
// channel, a user's events lie between its join and its leave under one session
// id, each media begins before it ends, and Medias is what the events before it
// say.
func (r *recorder) check(t *testing.T) {
	t.Helper()
	channels := map[string]map[string]*event.User{}
	stays := map[string]bool{}
	var last time.Time
	for i, e := range r.all {
		where := fmt.Sprintf("event %d, %s", i, brief(e))
		if e.Time.Before(last) || e.App != "app" || e.ID != "" {
			t.Errorf("%s: got %+v", where, e)
		}
		last = e.Time
		users, open := channels[e.Channel]
		if open == (e.Type == event.ChannelOpen) {
			t.Errorf("%s: the channel's being open is %v", where, open)
		}
		switch e.Type {
		case event.ChannelOpen:
			channels[e.Channel] = map[string]*event.User{}
			continue
		case event.ChannelClose:
			if len(users) > 0 {
				t.Errorf("%s: with %d users", where, len(users))
			}
			delete(channels, e.Channel)
			continue
		case event.UserJoin:
			if users[e.User.ID] != nil || stays[e.User.Session] || len(e.User.Session) != 32 || len(e.User.Medias) > 0 {
				t.Errorf("%s: joined twice, or under the session id %q", where, e.User.Session)
			}
			stays[e.User.Session] = true
			users[e.User.ID] = e.User
			continue
		}
		before := users[e.User.ID]
		if before == nil || before.Session != e.User.Session {
			t.Errorf("%s: no user with this session is in the channel", where)
			continue
		}
		checkStep(t, where, before, e)
		users[e.User.ID] = e.User
		if e.Type == event.UserLeave {
			delete(users, e.User.ID)
		}
	}
	if len(channels) > 0 {
		t.Errorf("channels are left open: %v", channels)
	}
}

func checkStep(t *testing.T, where string, before *event.User, e event.Event) {
	t.Helper()
	want := slices.Clone(before.Medias)
	_, kind, _ := strings.Cut(strings.ToLower(string(e.Type)), "publish")
	switch e.Type {
	case event.PublishAudio, event.PublishVideo, event.PublishScreen:
		want = append(want, event.Media(kind))
	case event.UnpublishAudio, event.UnpublishVideo, event.UnpublishScreen:
		want = slices.DeleteFunc(want, func(m event.Media) bool { return m == event.Media(kind) })
	case event.UserLeave:
		if len(before.Medias) > 0 || e.User.Reason == 0 {
			t.Errorf("%s: while %v is published", where, before.Medias)
		}
	}
	got := slices.Sorted(slices.Values(e.User.Medias))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got medias %v, want %v", where, e.User.Medias, want)
	}
	if (e.Type == event.UserRole) != (before.Role != e.User.Role) {
		t.Errorf("%s: the role before was %d", where, before.Role)
	}
}

// eventServer is a testServer whose events are recorded, and checked after its
// end.
func eventServer(t *testing.T, change ...func(*Config)) (*Server, *recorder) {
	t.Helper()
	r := newRecorder()
	t.Cleanup(func() {
		if !t.Failed() {
			r.check(t)
		}
	})
	return testServer(t, append(change, func(c *Config) { c.Events = r.put })...), r
}

func TestEventsOfOneUser(t *testing.T) {
	s, r := eventServer(t)
	video, _ := h264Feed(t)
	audio, _ := opusFeed(t)
	p := publish(t, s, "ann", video)
	joined := r.next(t, "ChannelOpen", "UserJoin ann S 1", "PublishVideo ann S video")
	if c := joined[1].User.Client; c != event.WebRTC {
		t.Errorf("got client %q", c)
	}
	screen := publishAs(t, s, PublishRequest{App: "app", Channel: "room", User: "ann", Source: media.ShareScreen}, audio)
	r.next(t, "PublishScreen ann S video screen") // sound alone is the screen too
	info := s.Snapshot()[0]
	if u := info.Users[0]; u.Session != joined[1].User.Session || u.Role != event.Streamer || u.Client != event.WebRTC || u.Sessions != 2 ||
		u.Joined.Before(info.Opened) || time.Since(info.Opened) > patience {
		t.Errorf("got %+v in %+v, want what the events say", u, info)
	}
	if err := p.session.Close(); err != nil {
		t.Fatal(err)
	}
	r.next(t, "UnpublishVideo ann S screen")
	if err := screen.pc.Close(); err != nil { // a DTLS alert
		t.Fatal(err)
	}
	r.next(t, "UnpublishScreen ann S", "UserLeave ann S 1", "ChannelClose")
	s.Close()
	r.last(t)
}

func TestEventsOfSoundAndPicture(t *testing.T) {
	s, r := eventServer(t)
	video, _ := vp8Feed(t)
	audio, _ := opusFeed(t)
	p := publish(t, s, "ann", video, audio)
	until(t, "both are published", r.news, func() bool { return len(r.rest()) >= 4 })
	if last := r.take(4)[3]; !slices.Equal(last.User.Medias, []event.Media{event.Audio, event.Video}) {
		t.Errorf("got %s, want audio and video in this order", brief(last))
	}
	p.session.Close()
	r.next(t, "UnpublishAudio ann S video", "UnpublishVideo ann S", "UserLeave ann S 1", "ChannelClose")
}

// TestEventsOfARoleChange: a viewer publishes for a while.
func TestEventsOfARoleChange(t *testing.T) {
	s, r := eventServer(t)
	feed, _ := vp8Feed(t)
	publish(t, s, "ann", feed)
	r.next(t, "ChannelOpen", "UserJoin ann S 1", "PublishVideo ann S video")
	v := watch(t, s, "bob", "ann")
	r.next(t, "UserJoin bob V 1")
	own, _ := vp8Feed(t)
	p := publish(t, s, "bob", own)
	r.next(t, "UserRole bob S", "PublishVideo bob S video")
	p.session.Close()
	r.next(t, "UnpublishVideo bob S", "UserRole bob V")
	v.session.Close()
	r.next(t, "UserLeave bob V 1")
	s.Close()
	r.last(t, "UnpublishVideo ann S", "UserLeave ann S 4", "ChannelClose")
}

// TestEventsOfAReplacement: a user who comes again does not leave; only what is
// no longer offered is unpublished.
func TestEventsOfAReplacement(t *testing.T) {
	s, r := eventServer(t)
	feed1, _ := vp8Feed(t)
	feed2, _ := h264Feed(t)
	feed3, _ := opusFeed(t)
	first := publish(t, s, "ann", feed1)
	r.next(t, "ChannelOpen", "UserJoin ann S 1", "PublishVideo ann S video")
	second := publish(t, s, "ann", feed2)
	receive(t, "the first session ends", first.session.Done())
	user(t, s, "ann", func(u *media.User) bool { return u.Video != nil && u.Video.Codec() == media.H264 })
	r.last(t)
	third := publish(t, s, "ann", feed3)
	r.next(t, "UnpublishVideo ann S", "PublishAudio ann S audio")
	receive(t, "the second session ends", second.session.Done())
	if n := s.Snapshot()[0].Users[0].Sessions; n != 1 {
		t.Errorf("got %d sessions, want 1", n)
	}
	third.session.Close()
	r.next(t, "UnpublishAudio ann S", "UserLeave ann S 1", "ChannelClose")
}

// TestEventsOfAKick: one who publishes and watches goes at once and in order,
// with those who watch him behind.
func TestEventsOfAKick(t *testing.T) {
	s, r := eventServer(t)
	feed1, _ := vp8Feed(t)
	feed2, _ := vp8Feed(t)
	publish(t, s, "ann", feed1)
	r.next(t, "ChannelOpen", "UserJoin ann S 1", "PublishVideo ann S video")
	p := publish(t, s, "bob", feed2)
	r.next(t, "UserJoin bob S 1", "PublishVideo bob S video")
	watching := watch(t, s, "bob", "ann")
	receive(t, "bob sees ann", watching.video)
	eve := watch(t, s, "eve", "bob")
	r.next(t, "UserJoin eve V 1")

	if err := s.Kick("app", "room", "bob"); err != nil {
		t.Fatal(err)
	}
	for what, sess := range map[string]*Session{"publishing": p.session, "watching": watching.session} {
		select {
		case <-sess.Done():
		default:
			t.Errorf("bob's %s session lives after Kick", what)
		}
		if !strings.Contains(sess.Reason(), "kicked") {
			t.Errorf("bob's %s session: got reason %q", what, sess.Reason())
		}
	}
	receive(t, "bob's client notices", watching.closed)
	receive(t, "eve's session ends with what she watched", eve.session.Done())
	r.next(t, "UnpublishVideo bob S", "UserLeave bob S 6", "UserLeave eve V 1")
	for _, who := range []string{"bob", "nobody"} {
		if err := s.Kick("app", "room", who); !errors.Is(err, media.ErrNotFound) || !strings.Contains(err.Error(), who) {
			t.Errorf("kick %s, who is not there: got %v", who, err)
		}
	}
	again, _ := vp8Feed(t)
	publish(t, s, "bob", again)
	r.next(t, "UserJoin bob S 1", "PublishVideo bob S video")
}

func TestEventsOfADismissal(t *testing.T) {
	s, r := eventServer(t, func(c *Config) { c.Linger = time.Hour })
	feed, _ := vp8Feed(t)
	publish(t, s, "ann", feed)
	r.next(t, "ChannelOpen", "UserJoin ann S 1", "PublishVideo ann S video")
	v := watch(t, s, "bob", "ann")
	r.next(t, "UserJoin bob V 1")
	c, _ := s.Channel("app", "room")
	changed := s.ChannelsChanged()
	if err := s.Dismiss("app", "room"); err != nil {
		t.Fatal(err)
	}
	r.last(t, "UnpublishVideo ann S", "UserLeave ann S 7", "UserLeave bob V 7", "ChannelClose")
	receive(t, "the list of channels changes", changed)
	if _, ok := s.Channel("app", "room"); ok || len(c.Users()) > 0 || len(s.Snapshot()) > 0 {
		t.Errorf("the channel is still there, with %d users", len(c.Users()))
	}
	if why := v.session.Reason(); !strings.Contains(why, "dismissed") {
		t.Errorf("the viewer's session ended because %q", why)
	}
	if err := s.Dismiss("app", "room"); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("dismissed twice: got %v, want ErrNotFound", err)
	}
}

// TestKickOfOneWhoStillConnects: the offer is answered, the client slow.
func TestKickOfOneWhoStillConnects(t *testing.T) {
	s, r := eventServer(t)
	offer := func(user string) (*Session, *webrtc.PeerConnection, string) {
		feed, _ := vp8Feed(t)
		pc := testClient(t)
		if _, err := pc.AddTrack(feed.track); err != nil {
			t.Fatal(err)
		}
		sess, answer, err := s.Publish(t.Context(), PublishRequest{App: "app", Channel: "room", User: user, Offer: makeOffer(t, pc)})
		if err != nil {
			t.Fatal(err)
		}
		return sess, pc, answer
	}
	ann, pc, answer := offer("ann")
	bob, _, _ := offer("bob")
	if err := s.Kick("app", "room", "ann"); err != nil {
		t.Fatal(err)
	}
	receive(t, "ann's session ends", ann.Done())
	takeAnswer(t, pc, answer)
	if bob.Reason() != "" {
		t.Errorf("bob's session ended too: %s", bob.Reason())
	}
	if err := s.Dismiss("app", "room"); err != nil {
		t.Fatal(err)
	}
	receive(t, "bob's session ends", bob.Done())
	r.last(t)
}

// TestEventsOfSilence pulls the cable of a publisher.
func TestEventsOfSilence(t *testing.T) {
	s, r := eventServer(t, func(c *Config) { c.SilenceTimeout = 2 * time.Second })
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc := testClient(t, func(e *webrtc.SettingEngine) {
		e.SetICEUDPMux(ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: socket}))
		e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	})
	feed, _ := vp8Feed(t)
	if _, err := pc.AddTrack(feed.track); err != nil {
		t.Fatal(err)
	}
	connect(t, s, pc, PublishRequest{App: "app", Channel: "room", User: "ann"})
	socket.Close()
	r.next(t, "ChannelOpen", "UserJoin ann S 1", "UserLeave ann S 4", "ChannelClose")
}

// TestEventsOfTheServersEnd: all is told when Close returns, for several
// channels, one of which has no users any more.
func TestEventsOfTheServersEnd(t *testing.T) {
	s, r := eventServer(t, func(c *Config) { c.Linger = time.Hour })
	feed, _ := vp8Feed(t)
	publish(t, s, "ann", feed)
	r.next(t, "ChannelOpen", "UserJoin ann S 1", "PublishVideo ann S video")
	watch(t, s, "bob", "ann")
	r.next(t, "UserJoin bob V 1")
	gone, _ := vp8Feed(t)
	p := publishAs(t, s, PublishRequest{App: "app", Channel: "a room", User: "eve"}, gone)
	r.next(t, "ChannelOpen", "UserJoin eve S 1", "PublishVideo eve S video")
	p.session.Close()
	r.next(t, "UnpublishVideo eve S", "UserLeave eve S 1")
	if c, ok := s.Channel("app", "a room"); !ok || len(c.Users()) != 0 {
		t.Errorf("the channel that eve left: there is %v", ok)
	}
	if info := s.Snapshot(); len(info) != 2 || info[0].Users == nil || len(info[0].Users) != 0 {
		t.Errorf("got snapshot %+v, want the empty channel in it", info)
	}
	s.Close()
	r.last(t, "ChannelClose", "UnpublishVideo ann S", "UserLeave ann S 4", "UserLeave bob V 4", "ChannelClose")
	if all := s.Snapshot(); len(all) > 0 {
		t.Errorf("after Close: %+v", all)
	}
}

// fake is a session without a connection, for tests of the directory alone.
func fake(user string, pub *publication) *Session {
	s := &Session{where: key{"app", "room"}, user: user, source: media.Camera, client: event.WebRTC, pub: pub, stopping: make(chan struct{})}
	if pub != nil {
		pub.session, pub.source = s, s.source
	}
	return s
}

func mustEnter(t *testing.T, d *directory, s *Session) {
	t.Helper()
	if _, err := d.enter(s, false); err != nil {
		t.Fatal(err)
	}
}

func TestLinger(t *testing.T) {
	for name, c := range map[string]struct {
		linger, wait time.Duration
	}{
		"ten seconds": {10 * time.Second, 10 * time.Second},
		"at once":     {-1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder()
				d := newDirectory(r.put, c.linger, 8)
				ann := fake("ann", nil)
				mustEnter(t, d, ann)
				ann.end(event.Normal, "")
				d.leave(ann)
				d.leave(ann)
				left := time.Now()
				until(t, "the channel closes", d.opened, func() bool { _, ok := d.find(ann.where); return !ok })
				if took := time.Since(left); took != c.wait {
					t.Errorf("closed after %v, want %v", took, c.wait)
				}
				r.last(t, "ChannelOpen", "UserJoin ann V 1", "UserLeave ann V 1", "ChannelClose")
				d.close()
				r.last(t)
			})
		})
	}
}

// TestComeBack: one who comes back in time finds the channel open; the time
// begins anew when he leaves again.
func TestComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		d := newDirectory(r.put, 10*time.Second, 8)
		visit := func() {
			s := fake("ann", nil)
			mustEnter(t, d, s)
			s.end(event.Normal, "")
			d.leave(s)
		}
		visit()
		c, _ := d.find(key{"app", "room"})
		for range 3 {
			time.Sleep(9999 * time.Millisecond)
			visit()
		}
		time.Sleep(9999 * time.Millisecond)
		synctest.Wait()
		if now, ok := d.find(c.where); !ok || now != c {
			t.Fatal("the channel closed too early")
		}
		if n := strings.Count(strings.Join(r.rest(), " "), "Channel"); n != 1 {
			t.Errorf("got %d events of the channel, want one", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if _, ok := d.find(c.where); ok {
			t.Fatal("the channel is open after 10 s")
		}
		d.close()
		r.check(t)
	})
}

// TestReplacementThatSendsNothing: the user counts as publishing for swapTime.
func TestReplacementThatSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		d := newDirectory(r.put, -1, 8)
		video := func() *publication { return &publication{video: newTrack(codec{name: media.VP8})} }
		first, second, third := fake("ann", video()), fake("ann", video()), fake("ann", video())
		first.pub.video.layers[0].begin()
		mustEnter(t, d, first)
		mustEnter(t, d, second)
		time.Sleep(swapTime - 1)
		mustEnter(t, d, third) // the time begins anew
		time.Sleep(swapTime - 1)
		synctest.Wait()
		r.last(t, "ChannelOpen", "UserJoin ann S 1", "PublishVideo ann S video")
		time.Sleep(1)
		synctest.Wait()
		r.last(t, "UnpublishVideo ann S")
		third.pub.video.layers[0].begin()
		d.refresh(third)
		third.end(event.Normal, "")
		d.leave(third)
		d.leave(second)
		d.leave(first)
		r.last(t, "PublishVideo ann S video", "UnpublishVideo ann S", "UserLeave ann S 1", "ChannelClose")
		d.close()
	})
}
