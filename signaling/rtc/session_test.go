package rtc

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"braid/media/sfu"
	"braid/signaling/token"
)

// TestThreeUsers: everybody publishes, everybody receives everybody.
func TestThreeUsers(t *testing.T) {
	w := newWorld(t)
	names := []string{"ann", "bob", "cat"}
	var all []*client
	for i, name := range names {
		c := w.join(name, fields{"name": strings.ToUpper(name)})
		if got := len(c.joined.people()); got != i {
			t.Errorf("%s: got %d users at the join, want %d", name, got, i)
		}
		if c.joined.Role != token.Streamer || c.joined.GraceMS != 20000 || c.joined.Resumed || !c.joined.Grants["subscribe"] || c.joined.Grants["mix"] {
			t.Errorf("%s: joined as %+v", name, c.joined)
		}
		c.publish(sfu.Microphone, sfu.Camera)
		all = append(all, c)
	}
	for _, c := range all {
		for _, name := range names {
			if name != c.name {
				c.hears(25, name, sfu.Microphone, sfu.Camera)
			}
		}
	}
	for _, c := range all {
		for _, name := range names {
			for _, s := range []sfu.Source{sfu.Microphone, sfu.Camera} {
				if g := c.got(name, s); g.lost > 0 {
					t.Errorf("%s: %d packets of %s's %s are lost", c.name, g.lost, name, s)
				}
			}
		}
		c.noGaps()
	}
	ann := all[0]
	for _, name := range []string{"bob", "cat"} {
		ann.sees("joined", name, "")
		ann.sees("published", name, sfu.Microphone)
		if s := ann.sees("published", name, sfu.Camera).source(); s.Codec != "VP8" {
			t.Errorf("%s's camera: %+v", name, s)
		}
		ann.gets("the picture's size", func(m message) bool {
			return m.is("published", name, sfu.Camera) && m.source().Width == 640 && m.source().Height == 360
		})
	}
	late := w.join("dan")
	for _, u := range late.joined.people() {
		if len(u.Sources) != 2 || u.Role != token.Streamer || u.Name != strings.ToUpper(u.ID) {
			t.Errorf("dan finds %+v", u)
		}
	}
	all[1].must("leave", nil)
	all[1].ends("left")
	if m := ann.sees("left", "bob", ""); m.Reason != "left" {
		t.Errorf("bob left: %q", m.Reason)
	}
	ann.sees("unpublished", "bob", sfu.Camera)
	w.until("bob has left", func() bool { return w.count("UserLeave bob 1") == 1 && w.count("UnpublishVideo bob") == 1 })
}

// TestMuteAndRoles: what is said about sources and users.
func TestMuteAndRoles(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.join("ann"), w.join("bob", fields{"role": "viewer"})
	ann.publish(sfu.Microphone)
	bob.hears(5, "ann", sfu.Microphone)
	ann.must("mute", fields{"source": "microphone", "muted": true})
	if m := bob.sees("muted", "ann", sfu.Microphone); !m.Muted {
		t.Error("muted is false")
	}
	ann.mustFail(notFound, "mute", fields{"source": "camera", "muted": true})
	dan := w.join("dan")
	if u := dan.joined.people()[0]; !u.Sources[0].Muted {
		t.Errorf("dan finds %+v", u)
	}

	refused := bob.mustFail(forbidden, "offer", fields{"sdp": "v=0", "tracks": []fields{{"mid": "0", "source": "microphone"}}})
	if refused.Field != "tracks[0].source" {
		t.Errorf("refused for field %q", refused.Field)
	}
	bob.must("role", fields{"role": "streamer"})
	if m := ann.sees("role", "bob", ""); m.Role != token.Streamer {
		t.Errorf("bob's role: %q", m.Role)
	}
	bob.publish(sfu.Microphone)
	ann.hears(5, "bob", sfu.Microphone)
	bob.must("role", fields{"role": "viewer"})
	ann.sees("unpublished", "bob", sfu.Microphone)
	ann.gets("bob is a viewer", func(m message) bool { return m.is("role", "bob", "") && m.Role == token.Viewer })
	w.until("the events say so", func() bool { return w.count("UserRole bob") == 2 && w.count("UnpublishAudio bob") == 1 })
	bob.must("role", fields{"role": "streamer"})
	before := ann.had(func(m message) bool { return m.is("published", "bob", sfu.Microphone) })
	bob.publish() // the same section goes on as if nothing had been
	ann.until("bob publishes again", func() bool {
		n := 0
		for _, m := range ann.events {
			if m.is("published", "bob", sfu.Microphone) {
				n++
			}
		}
		return n == before+1
	})
	ann.hears(10, "bob", sfu.Microphone)
}

// TestSubscriptions: by hand, exceptions from all, pauses.
func TestSubscriptions(t *testing.T) {
	w := newWorld(t)
	ann := w.join("ann")
	ann.publish(sfu.Microphone, sfu.Camera)
	bob := w.join("bob", fields{"subscribe": "manual"})
	w.until("ann publishes", func() bool { return w.count("PublishVideo ann") == 1 && w.count("PublishAudio ann") == 1 })
	bob.mustFail(notFound, "subscribe", fields{"user": "ann", "source": "shareScreen"})
	bob.mustFail(notFound, "unsubscribe", fields{"user": "ann", "source": "camera"})
	bob.must("subscribe", fields{"user": "ann", "source": "camera", "width": 320, "height": 180})
	bob.hears(20, "ann", sfu.Camera)
	if g := bob.got("ann", sfu.Microphone); g.packets > 0 {
		t.Errorf("bob hears %d packets that he did not ask for", g.packets)
	}
	if got := bob.had(func(m message) bool { return m.Type == "offer" }); got != 1 {
		t.Errorf("got %d offers, want one", got)
	}

	bob.must("subscribe", fields{"user": "ann", "source": "camera", "paused": true})
	// The pause holds when packets of another source come and none of this one.
	bob.must("subscribe", fields{"user": "ann", "source": "microphone"})
	bob.hears(10, "ann", sfu.Microphone)
	from := bob.got("ann", sfu.Camera)
	bob.hears(25, "ann", sfu.Microphone)
	if now := bob.got("ann", sfu.Camera); now.packets > from.packets {
		t.Errorf("%d packets came during the pause", now.packets-from.packets)
	}
	bob.must("subscribe", fields{"user": "ann", "source": "camera"})
	bob.hears(20, "ann", sfu.Camera)

	bob.must("unsubscribe", fields{"user": "ann", "source": "camera"})
	bob.until("the offer without the camera", func() bool {
		i := slices.IndexFunc(bob.events, func(m message) bool { return m.Type == "offer" && m.Offer == 3 })
		return i >= 0 && len(bob.events[i].Tracks) == 1 && bob.offers == 3
	})
	bob.must("subscribe", fields{"user": "ann", "source": "camera"})
	bob.hears(20, "ann", sfu.Camera)
	m := bob.gets("the fourth offer", func(m message) bool { return m.Type == "offer" && m.Offer == 4 })
	if n := strings.Count(m.SDP, "m="); n != 2 {
		t.Errorf("the media section is not used again: %d sections", n)
	}

	// Of all but the camera.
	cat := w.join("cat")
	cat.hears(5, "ann", sfu.Microphone, sfu.Camera)
	cat.must("unsubscribe", fields{"user": "ann", "source": "camera"})
	cat.until("no camera", func() bool { return cat.offers == 2 })
	ann.remove(sfu.Camera)
	ann.publish()
	gone := cat.sees("unpublished", "ann", sfu.Camera).Seq
	ann.publish(sfu.Camera)
	cat.gets("the camera again", func(m message) bool { return m.is("published", "ann", sfu.Camera) && m.Seq > gone })
	bob.mustFail(notFound, "unsubscribe", fields{"user": "ann", "source": "camera"}) // it ended with the source
	cat.hears(25, "ann", sfu.Microphone)
	if got := cat.had(func(m message) bool { return m.Type == "offer" }); got != 2 {
		t.Errorf("the exception holds no more: %d offers, want 2", got)
	}
}

// TestScreenShareTenTimes: a source comes and goes without a lost packet of the
// others, and in the same media sections.
func TestScreenShareTenTimes(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.join("ann"), w.join("bob")
	ann.publish(sfu.Microphone, sfu.Camera)
	bob.hears(5, "ann", sfu.Microphone, sfu.Camera)
	for i := range 10 {
		ann.publish(sfu.ShareScreen, sfu.ShareAudio)
		bob.hears(5, "ann", sfu.ShareScreen, sfu.ShareAudio)
		ann.remove(sfu.ShareScreen)
		ann.remove(sfu.ShareAudio)
		ann.publish()
		bob.until("the screen is gone", func() bool {
			n := 0
			for _, m := range bob.events {
				if m.is("unpublished", "ann", sfu.ShareScreen) || m.is("unpublished", "ann", sfu.ShareAudio) {
					n++
				}
			}
			return n == 2*(i+1)
		})
	}
	bob.hears(10, "ann", sfu.Microphone, sfu.Camera)
	for _, s := range []sfu.Source{sfu.Microphone, sfu.Camera} {
		if g := bob.got("ann", s); g.lost > 0 {
			t.Errorf("%d of %d packets of the %s are lost", g.lost, g.packets, s)
		}
	}
	last := bob.events[len(bob.events)-1]
	for _, m := range bob.events {
		if m.Type == "offer" {
			last = m
		}
	}
	if n := strings.Count(last.SDP, "m="); n > 6 {
		t.Errorf("the offer has grown to %d sections", n)
	}
	if n := w.count("PublishScreen ann"); n != 10 {
		t.Errorf("got %d PublishScreen, want 10", n)
	}
	if n := w.count("PublishVideo ann") + w.count("UnpublishVideo ann"); n != 1 {
		t.Errorf("the camera has come and gone %d times", n)
	}
}

// TestRefusedCodec: a client that cannot decode VP8 still hears.
func TestRefusedCodec(t *testing.T) {
	w := newWorld(t)
	ann := w.join("ann")
	ann.publish(sfu.Microphone, sfu.Camera)
	bob := w.client("bob")
	bob.only = []webrtc.RTPCodecCapability{
		{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2},
		{MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: "packetization-mode=1;profile-level-id=42e01f"},
	}
	bob.dial()
	bob.joined = bob.must("join", fields{"token": jwt(t, "bob")})
	bob.hears(50, "ann", sfu.Microphone)
	if g := bob.got("ann", sfu.Camera); g.packets > 0 {
		t.Errorf("%d packets came that bob cannot decode", g.packets)
	}
	if n := bob.had(func(m message) bool { return m.Type == "offer" }); n > 3 {
		t.Errorf("%d offers: the server insists", n)
	}
}

func ExampleServer_messages() {
	for _, text := range []string{`{"id":1,"type":"mute","source":"camera"}`, `{"id":2,"type":"dance"}`, `[]`} {
		_, err := parse([]byte(text))
		fmt.Println(err)
	}
	// Output:
	// invalid: muted: true or false is needed
	// unknown: type: there is no request "dance"
	// invalid: the message is a JSON array, not an object
}

// TestSectionsAgain: a section that went idle while another came into use
// carries media again later.
func TestSectionsAgain(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.join("ann"), w.join("bob", fields{"subscribe": "manual"})
	ann.publish(sfu.Microphone, sfu.ShareAudio)
	bob.sees("published", "ann", sfu.Microphone)
	bob.sees("published", "ann", sfu.ShareAudio)
	want := func(n int, mids string) {
		t.Helper()
		m := bob.gets(fmt.Sprintf("offer %d", n), func(m message) bool { return m.Type == "offer" && m.Offer == n })
		got := ""
		for _, t := range m.Tracks {
			got += t.MID + string(t.Source) + " "
		}
		if got != mids {
			t.Fatalf("offer %d: got %q, want %q", n, got, mids)
		}
		bob.until("it is answered", func() bool { return bob.offers >= n })
	}
	bob.must("subscribe", fields{"user": "ann", "source": "microphone"})
	bob.hears(5, "ann", sfu.Microphone)
	want(1, "0microphone ")
	for i := range 3 {
		bob.ask("unsubscribe", fields{"user": "ann", "source": "microphone"})
		bob.must("subscribe", fields{"user": "ann", "source": "shareAudio"})
		want(5*i+2, "1shareAudio ")
		bob.hears(5, "ann", sfu.ShareAudio)
		bob.must("unsubscribe", fields{"user": "ann", "source": "shareAudio"})
		want(5*i+3, "")
		bob.must("subscribe", fields{"user": "ann", "source": "shareAudio"})
		want(5*i+4, "0shareAudio ")
		bob.hears(5, "ann", sfu.ShareAudio)
		bob.must("unsubscribe", fields{"user": "ann", "source": "shareAudio"})
		bob.until("it is gone", func() bool { return bob.offers == 5*i+5 })
		bob.must("subscribe", fields{"user": "ann", "source": "microphone"})
		want(5*i+6, "0microphone ")
		bob.hears(5, "ann", sfu.Microphone)
	}
}

// TestUnusedFor: a source that was off over several offers comes back.
func TestUnusedFor(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.join("ann"), w.join("bob")
	ann.publish(sfu.Camera)
	bob.hears(5, "ann", sfu.Camera)
	ann.remove(sfu.Camera)
	ann.publish()
	ann.publish(sfu.Microphone)
	ann.publish()
	bob.hears(5, "ann", sfu.Microphone)
	ann.publish(sfu.Camera)
	bob.hears(5, "ann", sfu.Camera)
	if n := strings.Count(ann.up.LocalDescription().SDP, "m="); n != 2 {
		t.Errorf("ann's offer has %d sections, so this test shows nothing", n)
	}
}
