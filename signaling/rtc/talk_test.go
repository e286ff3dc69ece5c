package rtc

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"

	"braid/media"
	"braid/media/sfu"
	"braid/signaling"
	"braid/signaling/token"
)

// TestData: to everyone and to some, reliable and not.
func TestData(t *testing.T) {
	w := newWorld(t)
	ann, bob, cat := w.join("ann"), w.join("bob"), w.join("cat")
	ann.must("data", fields{"topic": "chat", "payload": fields{"text": "hello"}})
	for _, c := range []*client{bob, cat} {
		m := c.gets("the message", func(m message) bool { return m.Type == "data" })
		if m.From != "ann" || m.Topic != "chat" || string(m.Payload) != `{"text":"hello"}` {
			t.Errorf("%s got %+v", c.name, m)
		}
	}
	if m := ann.must("data", fields{"to": []string{"bob", "zoe"}, "payload": 1}); !slices.Equal(m.Missing, []string{"zoe"}) {
		t.Errorf("missing: %v", m.Missing)
	}
	ann.must("data", fields{"topic": "lossy", "payload": 2, "reliable": false})
	bob.gets("the lossy message", func(m message) bool { return m.Topic == "lossy" })
	cat.gets("the lossy message", func(m message) bool { return m.Topic == "lossy" })
	if n := cat.had(func(m message) bool { return m.Type == "data" && string(m.Payload) == "1" }); n != 0 {
		t.Error("cat got what was for bob")
	}
	if n := ann.had(func(m message) bool { return m.Type == "data" }); n != 0 {
		t.Error("ann got her own message")
	}

	// Without a socket the reliable ones wait, the others are gone.
	bob.cut()
	w.until("the server has noticed", func() bool { return strings.Contains(w.log.String(), "the socket is gone") })
	for i := range 5 {
		ann.must("data", fields{"topic": "later", "payload": i})
		ann.must("data", fields{"topic": "lost", "payload": i, "reliable": false})
	}
	bob.back()
	bob.gets("the last message", func(m message) bool { return m.Topic == "later" && string(m.Payload) == "4" })
	if n := bob.had(func(m message) bool { return m.Topic == "later" }); n != 5 {
		t.Errorf("got %d of 5 messages", n)
	}
	if n := bob.had(func(m message) bool { return m.Topic == "lost" }); n != 0 {
		t.Errorf("got %d lossy messages from before", n)
	}
	bob.noGaps()
}

// TestResumeAfterMuch: who comes back after more than a socket may have waiting gets
// the session all the same, and the session has not kept all of it.
func TestResumeAfterMuch(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.join("ann"), w.join("bob")
	all := []*client{ann, w.join("cat"), w.join("dan")} // each may send 100 at once
	bob.cut()
	w.until("the server has noticed", func() bool { return strings.Contains(w.log.String(), "the socket is gone") })
	large := strings.Repeat("x", maxPayload-2)
	for range maxQueuedLen/maxPayload/len(all) + 5 {
		for _, c := range all {
			c.must("data", fields{"to": []string{"bob"}, "payload": large})
		}
	}
	if m := bob.back(); !m.Resumed || m.Seq == 0 {
		t.Errorf("resumed: %v, with events up to %d", m.Resumed, m.Seq)
	}
	for range 5 {
		ann.must("data", fields{"topic": "now", "payload": 1})
	}
	bob.gets("what comes later", func(m message) bool { return m.Topic == "now" })
	bob.must("ping", nil)
}

// TestKeep: what is kept has bounds, and is always the newest.
func TestKeep(t *testing.T) {
	for size, events := range map[int]int{10: 3 * maxKept, maxKeptLen / 50: 200, maxKeptLen / 3: 10, maxKeptLen + 1: 5} {
		var s session
		for i := range events {
			text := make([]byte, size)
			text[0], text[1] = byte(i), byte(i>>8)
			s.keep(text)
			if n, most := len(s.kept), min(maxKept, max(1, maxKeptLen/size)); n != min(i+1, most) || s.keptLen != n*size {
				t.Fatalf("%d events of %d bytes: %d are kept, %d bytes", i+1, size, n, s.keptLen)
			}
			for j, text := range s.kept {
				if k := i + 1 - len(s.kept) + j; text[0] != byte(k) || text[1] != byte(k>>8) {
					t.Fatalf("event %d is not in its place", k)
				}
			}
		}
	}
}

// TestLevels: who is heard, and who speaks loudest.
func TestLevels(t *testing.T) {
	w := newWorld(t)
	ann, bob, cat := w.join("ann"), w.join("bob"), w.join("cat", fields{"role": "viewer"})
	ann.publish(sfu.Microphone)
	bob.add(sfu.Microphone)
	bob.sends[sfu.Microphone].stop()
	bob.sends[sfu.Microphone] = louder(bob, sfu.Microphone, 20)
	bob.publish()
	m := cat.gets("both are heard", func(m message) bool { return m.Type == "levels" && len(m.Speakers) == 2 })
	var levels map[string]int
	if err := json.Unmarshal(m.Users, &levels); err != nil || levels["ann"] != -30 || levels["bob"] != -20 {
		t.Errorf("levels: %s", m.Users)
	}
	if !slices.Equal(m.Speakers, []string{"bob", "ann"}) {
		t.Errorf("speakers: %v", m.Speakers)
	}
	bob.must("mute", fields{"source": "microphone", "muted": true})
	cat.gets("ann alone is heard", func(m message) bool { return m.Type == "levels" && slices.Equal(m.Speakers, []string{"ann"}) })
	q := cat.gets("quality", func(m message) bool { return m.Type == "quality" && strings.Contains(string(m.Users), "ann") })
	var rates map[string]qualityJSON
	if err := json.Unmarshal(q.Users, &rates); err != nil || rates["ann"].Up < 4 || rates["cat"].Down < 4 || rates["cat"].Reasons == nil {
		t.Errorf("quality on loopback: %s", q.Users)
	}
}

// louder goes on sending a source, at another level.
func louder(c *client, s sfu.Source, level uint8) *sending {
	out := *c.sends[s]
	ctx, cancel := context.WithCancel(context.Background())
	out.level, out.cancel, out.done = level, cancel, make(chan struct{})
	go out.run(ctx)
	return &out
}

// TestResume: nobody notices that a socket broke, and nothing is lost.
func TestResume(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.join("ann"), w.join("bob")
	ann.publish(sfu.Microphone)
	bob.publish(sfu.Microphone)
	ann.hears(5, "bob", sfu.Microphone)
	bob.hears(5, "ann", sfu.Microphone)
	before := bob.got("ann", sfu.Microphone)
	session := ann.joined.Session
	ann.cut()
	cat := w.join("cat")
	cat.publish(sfu.Microphone)
	w.until("cat publishes", func() bool { return w.count("PublishAudio cat") == 1 })
	bob.hears(25, "ann", sfu.Microphone) // media go on
	m := ann.back()
	if !m.Resumed || m.Session != session || len(m.people()) != 2 {
		t.Errorf("resumed: %+v", m)
	}
	ann.sees("joined", "cat", "")
	ann.sees("published", "cat", sfu.Microphone)
	ann.hears(5, "bob", sfu.Microphone)
	ann.hears(5, "cat", sfu.Microphone) // by the offer that waited
	ann.noGaps()
	if now := bob.got("ann", sfu.Microphone); now.lost > before.lost {
		t.Errorf("bob lost %d packets of ann", now.lost-before.lost)
	}
	for _, line := range []string{"UserLeave ann 4", "UserLeave ann 1"} {
		if w.count(line) > 0 {
			t.Errorf("events: %v", w.told())
		}
	}
	if n := bob.had(func(m message) bool { return m.is("left", "ann", "") }); n > 0 || w.count("UserJoin ann") != 1 {
		t.Error("bob was told that ann left")
	}

	// A second socket takes the session over while the first still stands.
	first, ended := ann.conn, ann.ended
	ann.back()
	<-ended
	if _, _, err := first.Read(t.Context()); err == nil {
		t.Error("the first socket is open")
	}
	// What lies too far back is left out, and users are the truth.
	ann.cut()
	loud, _, err := w.sfu.Join(sfu.JoinRequest{App: "app", Channel: "room", User: "loud"}) // no limits inside
	if err != nil {
		t.Fatal(err)
	}
	for range maxKept + 10 {
		if _, err := loud.Send([]string{"ann"}, "", json.RawMessage("1"), true); err != nil {
			t.Fatal(err)
		}
	}
	m = ann.back()
	if !m.Resumed || len(m.people()) != 3 || m.Seq < maxKept {
		t.Errorf("resumed too late: seq %d, %d users", m.Seq, len(m.people()))
	}
	if n := ann.had(func(m message) bool { return m.From == "loud" }); n != 0 {
		t.Errorf("%d of the events came", n)
	}
	ann.cut()
	ann.dial()
	m = ann.must("join", fields{"token": jwt(t, "ann"), "resume": fields{"session": session, "seq": 1 << 40}})
	if !m.Resumed || len(m.people()) != 3 {
		t.Errorf("resumed with a number from nowhere: %+v", m)
	}

	// Somebody else's session is not taken up.
	eve := w.client("eve")
	eve.dial()
	m = eve.must("join", fields{"token": jwt(t, "eve"), "resume": fields{"session": session, "seq": 0}})
	if m.Resumed || m.Session == session {
		t.Errorf("eve got ann's session: %+v", m)
	}
}

// TestGraceEnds: a client that does not come back leaves.
func TestGraceEnds(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Grace = 300 * time.Millisecond })
	ann, bob := w.join("ann"), w.join("bob")
	ann.publish(sfu.Microphone)
	bob.hears(5, "ann", sfu.Microphone)
	ann.cut()
	if m := bob.sees("left", "ann", ""); m.Reason != "timeout" {
		t.Errorf("left: %q", m.Reason)
	}
	w.until("ann has left", func() bool { return w.count("UserLeave ann 4") == 1 })
	m := ann.back()
	if m.Resumed || w.count("UserJoin ann") != 2 {
		t.Errorf("back after the end: %+v, %v", m, w.told())
	}
}

// TestReplaced: the newer session of a user stays.
func TestReplaced(t *testing.T) {
	w := newWorld(t)
	first, bob := w.join("ann"), w.join("bob")
	first.publish(sfu.Microphone)
	bob.hears(5, "ann", sfu.Microphone)
	second := w.join("ann")
	first.ends("replaced")
	second.publish(sfu.Microphone)
	bob.hears(5, "ann", sfu.Microphone)
	if n := w.count("UserJoin ann"); n != 1 || w.count("UserLeave ann 5") > 0 {
		t.Errorf("events: %v", w.told())
	}
	if n := bob.had(func(m message) bool { return m.is("left", "ann", "") || m.is("joined", "ann", "") }); n > 0 {
		t.Error("bob was told")
	}
}

// TestKickAndDismiss: the server's own ends.
func TestKickAndDismiss(t *testing.T) {
	w := newWorld(t)
	ann, bob, cat := w.join("ann"), w.join("bob"), w.join("cat")
	if err := w.sfu.Kick("app", "room", "ann"); err != nil {
		t.Fatal(err)
	}
	ann.ends("kicked")
	if m := bob.sees("left", "ann", ""); m.Reason != "kicked" {
		t.Errorf("left: %q", m.Reason)
	}
	if err := w.sfu.Dismiss("app", "room"); err != nil {
		t.Fatal(err)
	}
	bob.ends("dismissed")
	cat.ends("dismissed")
	if n := w.count("ChannelClose"); n != 1 {
		t.Errorf("events: %v", w.told())
	}
}

// TestEndedMeanwhile: who is kicked, or has the session taken over, while the socket is
// broken does not come back by a resume, and is told why.
func TestEndedMeanwhile(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		reason string
		end    func(user string) error
	}{
		{"kicked", func(user string) error { return w.sfu.Kick("app", "room", user) }},
		{"replaced", func(user string) error { w.join(user); return nil }},
		{"dismissed", func(string) error { return w.sfu.Dismiss("app", "room") }},
	} {
		user := "is-" + c.reason
		ann := w.join(user)
		ann.cut()
		if err := c.end(user); err != nil {
			t.Fatal(err)
		}
		ann.dial()
		m := ann.mustFail(over, "join", fields{"token": jwt(t, user), "resume": fields{"session": ann.joined.Session, "seq": ann.seq}})
		if m.Reason != c.reason {
			t.Errorf("%s: a resume is answered with %+v", c.reason, m)
		}
		if got := websocket.CloseStatus(ann.end()); got != closeEnded {
			t.Errorf("%s: closed with %d, want %d", c.reason, got, closeEnded)
		}
		ann.dial()
		if m := ann.must("join", fields{"token": jwt(t, user)}); m.Resumed { // which is no resume
			t.Errorf("%s: %+v", c.reason, m)
		}
	}
}

// TestDrain: clients are told, nobody comes in, and the rest is ended.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	ann := w.join("ann")
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.rtc.Drain(t.Context(), 300*time.Millisecond)
	}()
	m := ann.gets("draining", func(m message) bool { return m.Type == "draining" })
	if m.WithinMS != 300 {
		t.Errorf("within %d ms", m.WithinMS)
	}
	_, answer, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(w.http.URL, "http")+"/v1/rtc", nil)
	if err == nil || answer.StatusCode != 503 {
		t.Errorf("a draining server lets in: %v", err)
	}
	ann.ends("draining")
	<-done
	if got := len(w.sfu.Snapshot()); got != 0 {
		t.Errorf("%d channels are left", got)
	}
}

// TestTokens: what may not be done, and what a newer token changes.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	refused := func(want code, status websocket.StatusCode, f fields) {
		t.Helper()
		c := w.client("x")
		c.dial()
		if m := c.request("join", f); m.Code != string(want) {
			t.Errorf("join %.60v: got %s %s, want %s", f, m.Code, m.Message, want)
		}
		if got := websocket.CloseStatus(c.end()); got != status {
			t.Errorf("join %.60v: closed with %d, want %d", f, got, status)
		}
	}
	refused(unauthorized, closeUnauthorized, fields{"token": "nonsense"})
	refused(unauthorized, closeUnauthorized, fields{"token": jwt(t, "ann", func(c *token.Claims) { c.Expires = time.Now().Add(-time.Minute) })})
	refused(unauthorized, closeUnauthorized, fields{"token": jwt(t, "ann", func(c *token.Claims) { c.App = "other" })})
	refused(forbidden, closeRefused, fields{"token": jwt(t, "ann", func(c *token.Claims) { c.App = "off" })})
	refused(forbidden, closeRefused, fields{"token": jwt(t, "ann", viewer), "role": "streamer"})
	refused(invalid, closeRefused, fields{"token": jwt(t, "no spaces")})
	refused(invalid, closeRefused, fields{"token": jwt(t, "ann"), "role": "king"})
	refused(invalid, closeRefused, fields{})

	ann := w.join("ann")
	ann.publish(sfu.Microphone)
	eve := w.client("eve")
	eve.dial()
	short := jwt(t, "eve", viewer, func(c *token.Claims) { c.Subscribe = false; c.Expires = time.Now().Add(3 * time.Second) })
	if m := eve.must("join", fields{"token": short}); m.Role != token.Viewer {
		t.Errorf("role %q", m.Role)
	}
	eve.gets("expiring", func(m message) bool { return m.Type == "expiring" })
	eve.mustFail(forbidden, "subscribe", fields{"user": "ann", "source": "microphone"})
	eve.mustFail(forbidden, "role", fields{"role": "streamer"})
	eve.mustFail(forbidden, "layout", fields{"task": "t", "panes": []int{}})
	eve.mustFail(exists, "join", fields{"token": short})
	eve.mustFail(unauthorized, "token", fields{"token": "nonsense"})
	eve.mustFail(forbidden, "token", fields{"token": jwt(t, "ann")})
	if m := eve.must("token", fields{"token": jwt(t, "eve", viewer)}); !m.Grants["subscribe"] {
		t.Errorf("grants: %v", m.Grants)
	}
	w.until("ann is heard", func() bool { return w.count("PublishAudio ann") == 1 })
	eve.must("subscribe", fields{"user": "ann", "source": "microphone"})
	eve.hears(200, "ann", sfu.Microphone) // beyond the older token's end
	eve.must("token", fields{"token": jwt(t, "eve", viewer, func(c *token.Claims) { c.Expires = time.Now().Add(2 * time.Second) })})
	eve.ends("expired")
}

// TestLayout: the mixed stream is the token's to grant.
func TestLayout(t *testing.T) {
	var got string
	w := newWorld(t, func(c *Config) {
		c.Layout = func(_ context.Context, app, channel, task string, panes json.RawMessage) error {
			if task == "none" {
				return fmt.Errorf("relay: %w: task none", media.ErrNotFound)
			}
			got = app + "/" + channel + "/" + task + string(panes)
			return nil
		}
		c.ICEServers = func(user string) []signaling.ICEServer {
			return []signaling.ICEServer{{URLs: []string{"turn:turn.example"}, Username: "7:" + user, Credential: "p"}}
		}
	})
	ann := w.client("ann")
	ann.dial()
	m := ann.must("join", fields{"token": jwt(t, "ann", func(c *token.Claims) { c.Mix = true })})
	if !m.Grants["mix"] || len(m.ICE) != 1 || m.ICE[0].Username != "7:ann" {
		t.Errorf("joined: %+v", m)
	}
	ann.must("layout", fields{"task": "mix", "panes": []int{1}})
	if want := "app/room/mix[1]"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	ann.mustFail(notFound, "layout", fields{"task": "none", "panes": []int{1}})
	ann.mustFail(invalid, "layout", fields{"task": "mix", "panes": 1})
}

// TestICERestart: new credentials both ways, media go on.
func TestICERestart(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.join("ann"), w.join("bob")
	ann.publish(sfu.Microphone, sfu.Camera)
	bob.hears(10, "ann", sfu.Microphone, sfu.Camera)
	ann.must("restart", fields{"connection": "up"})
	if m := ann.negotiate(true); m.Type != "ok" {
		t.Fatalf("restart: %s", m.Message)
	}
	bob.hears(25, "ann", sfu.Microphone, sfu.Camera)
	before := bob.offersSoFar()
	bob.must("restart", fields{"connection": "down"})
	bob.until("the offer that restarts", func() bool { return bob.offers == before+1 })
	bob.hears(50, "ann", sfu.Microphone, sfu.Camera)
	var ufrags []string
	for _, m := range bob.events {
		if m.Type == "offer" {
			_, after, _ := strings.Cut(m.SDP, "a=ice-ufrag:")
			ufrag, _, _ := strings.Cut(after, "\r")
			ufrags = append(ufrags, ufrag)
		}
	}
	if n := len(ufrags); n < 2 || ufrags[n-1] == ufrags[n-2] {
		t.Errorf("ICE user fragments of the offers: %v", ufrags)
	}
	// Restarts repeat, and further sources come after them.
	ann.publish(sfu.ShareScreen)
	bob.hears(5, "ann", sfu.ShareScreen)
	// Pion has no path from a restart until the new one is checked.
	if g := bob.got("ann", sfu.Microphone); g.lost > 75 {
		t.Errorf("%d of %d packets are lost, more than in 1.5 s", g.lost, g.packets)
	}
}

// TestPathBreaks: a client whose network was gone until the server took its
// connections for failed goes on by an ICE restart, and nobody is told anything.
func TestPathBreaks(t *testing.T) {
	w := newWorldWith(t, 2*time.Second)
	ann, bob := w.join("ann"), w.join("bob")
	ann.paths = [2]*path{newPath(t), newPath(t)} // two, since Pion tells connections of a socket apart by the other side's address
	ann.publish(sfu.Microphone)
	bob.publish(sfu.Microphone)
	ann.hears(5, "bob", sfu.Microphone)
	bob.hears(5, "ann", sfu.Microphone)

	for _, p := range ann.paths {
		p.broken.Store(true)
	}
	bob.gets("the server notices", func(m message) bool {
		var users map[string]qualityJSON
		_ = json.Unmarshal(m.Users, &users)
		return m.Type == "quality" && users["ann"].Up == 0 && users["ann"].Down == 0 && slices.Contains(users["ann"].Reasons, "disconnected")
	})
	cat := w.join("cat")
	cat.publish(sfu.Microphone)
	bob.hears(150, "cat", sfu.Microphone) // 3 s, of which 2 make a connection failed
	for _, p := range ann.paths {
		p.broken.Store(false)
	}
	if m := ann.negotiate(true); m.Type != "ok" {
		t.Fatalf("restart: %s", m.Message)
	}
	ann.must("restart", fields{"connection": "down"})
	bob.hears(10, "ann", sfu.Microphone)
	ann.hears(10, "bob", sfu.Microphone)
	if n := bob.had(func(m message) bool { return m.is("unpublished", "ann", "") || m.is("left", "ann", "") }); n > 0 {
		t.Error("bob was told")
	}
}

func (c *client) offersSoFar() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offers
}

// TestAnswers: what a client may get wrong.
func TestAnswers(t *testing.T) {
	w := newWorld(t)
	ann := w.join("ann")
	bob := w.client("bob")
	bob.silent = true
	bob.dial()
	bob.joined = bob.must("join", fields{"token": jwt(t, "bob")})
	ann.publish(sfu.Microphone)
	offer := bob.gets("an offer", func(m message) bool { return m.Type == "offer" })
	bob.mustFail(notFound, "answer", fields{"offer": 7, "sdp": "v=0"})
	bob.mustFail(invalid, "answer", fields{"offer": 1, "sdp": "hello"})
	bob.mustFail(invalid, "answer", fields{"offer": 1, "sdp": "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"})
	// A socket breaks while an offer waits: it comes again with the events.
	bob.cut()
	ann.publish(sfu.Camera)
	bob.silent = false
	bob.mu.Lock()
	bob.seq = offer.Seq - 1
	bob.mu.Unlock()
	bob.back()
	bob.hears(5, "ann", sfu.Microphone, sfu.Camera)
	if m := bob.must("answer", fields{"offer": 1, "sdp": "v=0"}); m.Type != "ok" {
		t.Error("an old answer is an error")
	}
	ann.mustFail(invalid, "offer", fields{"sdp": "hello", "tracks": []fields{}})
	ann.mustFail(invalid, "offer", fields{"sdp": ann.up.LocalDescription().SDP, "tracks": []fields{{"mid": "9", "source": "camera"}}})
	ann.mustFail(invalid, "offer", fields{"sdp": ann.up.LocalDescription().SDP, "tracks": []fields{{"mid": "0", "source": "camera"}, {"mid": "1", "source": "camera"}}})
	if ann.up.ConnectionState() != webrtc.PeerConnectionStateConnected {
		t.Error("a bad offer has broken the connection")
	}
	bob.hears(5, "ann", sfu.Microphone, sfu.Camera)
}

// TestFlood: limits are answered, and a client that does not heed them is cut off.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.join("ann"), w.join("bob")
	var answers []chan message
	for i := range 150 {
		answers = append(answers, ann.ask("data", fields{"payload": i}))
	}
	limited := 0
	for _, a := range answers {
		if m := <-a; m.Code == "limit" {
			limited++
		}
	}
	if limited < 20 || limited > 50 {
		t.Errorf("%d of 150 messages at once were refused, want 50 at most", limited)
	}
	bob.gets("the first hundred", func(m message) bool { return m.Type == "data" && string(m.Payload) == "99" })
	ann.must("ping", nil) // other requests have limits of their own

	eve := w.join("eve")
	for range 2000 {
		eve.ask("ping", nil)
	}
	if got := websocket.CloseStatus(eve.end()); got != closeFlood && got != -1 {
		t.Errorf("closed with %v", eve.end())
	}
	w.until("eve's session outlives her socket", func() bool { return len(w.sfu.Snapshot()[0].Users) == 3 })

	big := w.join("big")
	big.request("data", fields{"payload": strings.Repeat("x", maxMessage)})
	if got := websocket.CloseStatus(big.end()); got != websocket.StatusMessageTooBig {
		t.Errorf("a message of %d bytes: %v", maxMessage, big.end())
	}
}

// TestBadMessages: a client's mistakes cost it nothing but an error.
func TestBadMessages(t *testing.T) {
	w := newWorld(t)
	ann := w.join("ann")
	for _, text := range badMessages {
		if err := ann.conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatalf("after %s: %v", text, err)
		}
	}
	ann.must("ping", nil)

	late := w.client("late")
	late.dial()
	if m := late.request("ping", nil); m.Code != string(invalid) {
		t.Errorf("a first request that is no join: %+v", m)
	}
}
