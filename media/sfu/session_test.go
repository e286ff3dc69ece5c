package sfu

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"braid/media"
)

func TestNewerSessionReplacesOlder(t *testing.T) {
	s := testServer(t)
	feed1, _ := vp8Feed(t)
	feed2, units := h264Feed(t)
	first := publish(t, s, "ann", feed1)
	old := user(t, s, "ann", func(u *media.User) bool { return u.Video != nil })
	v := watch(t, s, "bob", "ann")
	receive(t, "the first publication is seen", v.video)

	second := publish(t, s, "ann", feed2)
	receive(t, "the older session ends", first.session.Done())
	if r := first.session.Reason(); !strings.Contains(r, "replaced") {
		t.Errorf("got reason %q", r)
	}
	receive(t, "the older track ends", old.Video.Done())
	receive(t, "the viewer's session ends", v.session.Done())
	receive(t, "the viewer's connection closes at once", v.closed)

	user(t, s, "ann", func(u *media.User) bool { return u.Video != nil && u.Video.Codec() == media.H264 })
	v2 := watch(t, s, "bob", "ann")
	mustFollow(t, v2.units(t, &codecs.H264Packet{}, 10), units)
	if err := second.session.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the channel closes", s.ChannelsChanged, func() bool { _, ok := s.Channel("app", "room"); return !ok })
}

func TestUsersAndSources(t *testing.T) {
	s := testServer(t)
	camera, _ := h264Feed(t)
	mic, _ := opusFeed(t)
	screen, _ := vp8Feed(t)
	publish(t, s, "ann", camera, mic)
	user(t, s, "ann", func(u *media.User) bool { return u.Video != nil && u.Audio != nil })
	publishAs(t, s, PublishRequest{App: "app", Channel: "room", User: "bob", Source: media.ShareScreen}, screen)
	bob := user(t, s, "bob", func(u *media.User) bool { return u.Screen != nil })
	if bob.Video != nil || bob.VideoTrack(media.ShareScreen).Codec() != media.VP8 {
		t.Fatalf("got %+v, want a VP8 screen and no camera", bob)
	}
	v := watchAs(t, s, SubscribeRequest{App: "app", Channel: "room", Viewer: "eve", User: "bob", Source: media.ShareScreen})
	receive(t, "the screen is seen", v.video)
	user(t, s, "eve", func(u *media.User) bool { return !u.Publishing() })

	c, _ := s.Channel("app", "room")
	var order []string
	for _, u := range c.Users() {
		order = append(order, u.ID)
	}
	if got := strings.Join(order, " "); got != "ann bob eve" {
		t.Errorf("got users %q, want them in join order", got)
	}
	info := s.Snapshot()
	if len(info) != 1 || len(info[0].Users) != 3 || info[0].Users[0].Audio != media.Opus || info[0].Users[1].Sources[0] != media.ShareScreen {
		t.Errorf("got snapshot %+v", info)
	}

	_, _, err := s.Subscribe(t.Context(), SubscribeRequest{App: "app", Channel: "room", Viewer: "eve", User: "bob", Offer: makeOffer(t, newViewer(t).pc)})
	if !errors.Is(err, media.ErrNotFound) {
		t.Errorf("bob's camera: got %v, want ErrNotFound", err)
	}
	_, _, err = s.Subscribe(t.Context(), SubscribeRequest{App: "other", Channel: "room", Viewer: "eve", User: "ann", Offer: makeOffer(t, newViewer(t).pc)})
	if !errors.Is(err, media.ErrNotFound) {
		t.Errorf("the same channel of another application: got %v, want ErrNotFound", err)
	}
}

func TestClientThatClosesIsGoneAtOnce(t *testing.T) {
	s := testServer(t)
	feed, _ := vp8Feed(t)
	p := publish(t, s, "ann", feed)
	v := watch(t, s, "bob", "ann")
	receive(t, "video arrives", v.video)
	if err := p.pc.Close(); err != nil {
		t.Fatal(err)
	}
	receive(t, "the publisher's session ends", p.session.Done())
	receive(t, "the viewer's session ends", v.session.Done())
}

// TestSilentClientIsGivenUp pulls the cable: no alert, no packet.
func TestSilentClientIsGivenUp(t *testing.T) {
	s := testServer(t, func(c *Config) { c.SilenceTimeout = 2 * time.Second })
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: socket})
	pc := testClient(t, func(e *webrtc.SettingEngine) {
		e.SetICEUDPMux(mux)
		e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	})
	feed, _ := vp8Feed(t)
	if _, err := pc.AddTrack(feed.track); err != nil {
		t.Fatal(err)
	}
	sess := connect(t, s, pc, PublishRequest{App: "app", Channel: "room", User: "ann"})
	v := watch(t, s, "bob", "ann")
	user(t, s, "bob", func(*media.User) bool { return true })
	socket.Close()
	start := time.Now()
	receive(t, "the silent publisher is given up", sess.Done())
	if took := time.Since(start); took < time.Second {
		t.Errorf("given up after %v of silence, want 2 s", took)
	}
	receive(t, "its viewer's session ends", v.session.Done())
	if r := v.session.Reason(); r != "the publication ended" {
		t.Errorf("the viewer's session ended because %s", r)
	}
}

// TestNoGoroutineStays opens and closes 20 publishers with a viewer each, some
// closed by the client and some by the server.
func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("sessions", func(t *testing.T) {
		s := testServer(t)
		idle := runtime.NumGoroutine()
		for i := range 20 {
			feed, _ := vp8Feed(t)
			name := string(rune('a' + i))
			p := publish(t, s, name, feed)
			v := watch(t, s, "viewer", name)
			receive(t, "video arrives", v.video)
			switch i % 3 {
			case 0:
				v.session.Close()
				p.session.Close()
			case 1:
				v.pc.GracefulClose()
				p.pc.GracefulClose()
			}
		}
		// A third of the sessions is left to Server.Close.
		if n := runtime.NumGoroutine(); n <= idle {
			t.Fatalf("%d goroutines with sessions open, %d without: the test counts nothing", n, idle)
		}
	})
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

func TestTwoServersInOneProcess(t *testing.T) {
	a, b := testServer(t), testServer(t)
	feedA, units := h264Feed(t)
	feedB, frames := vp8Feed(t)
	publish(t, a, "ann", feedA)
	publish(t, b, "ann", feedB)
	user(t, a, "ann", func(u *media.User) bool { return u.Video != nil })
	mustFollow(t, watch(t, a, "bob", "ann").units(t, &codecs.H264Packet{}, 10), units)
	mustFollow(t, watch(t, b, "bob", "ann").units(t, &codecs.VP8Packet{}, 10), frames)
	a.Close()
	mustFollow(t, watch(t, b, "eve", "ann").units(t, &codecs.VP8Packet{}, 10), frames)
}

func TestLimits(t *testing.T) {
	s := testServer(t, func(c *Config) { c.MaxSessions = 1; c.ConnectTimeout = 50 * time.Millisecond })
	offer := func() string {
		feed, _ := vp8Feed(t)
		pc := testClient(t)
		if _, err := pc.AddTrack(feed.track); err != nil {
			t.Fatal(err)
		}
		return makeOffer(t, pc)
	}
	sess, _, err := s.Publish(t.Context(), PublishRequest{App: "app", Channel: "room", User: "ann", Offer: offer()})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Publish(t.Context(), PublishRequest{App: "app", Channel: "room", User: "bob", Offer: offer()}); !errors.Is(err, media.ErrLimit) {
		t.Errorf("second session of one: got %v, want ErrLimit", err)
	}
	receive(t, "the client that never connects is given up", sess.Done())
	if !strings.Contains(sess.Reason(), "did not connect") {
		t.Errorf("got reason %q", sess.Reason())
	}
	if len(s.Snapshot()) != 0 {
		t.Errorf("a user who never connected is shown: %+v", s.Snapshot())
	}
	if _, _, err := s.Publish(t.Context(), PublishRequest{App: "app", Channel: "room", Offer: offer()}); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("no user named: got %v, want ErrInvalid", err)
	}
	s.Close()
	if _, _, err := s.Publish(t.Context(), PublishRequest{App: "app", Channel: "room", User: "ann", Offer: offer()}); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
}

// TestGarbageHurtsNobodyElse lets one publisher send random payloads under
// right and wrong payload types, padding that lies, and packets of every
// length, while another is watched.
func TestGarbageHurtsNobodyElse(t *testing.T) {
	s := testServer(t)
	feed, units := h264Feed(t)
	publish(t, s, "ann", feed)
	user(t, s, "ann", func(u *media.User) bool { return u.Video != nil })
	v := watch(t, s, "bob", "ann")

	bad, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264}, "video", "bad")
	if err != nil {
		t.Fatal(err)
	}
	pc := testClient(t)
	sender, err := pc.AddTrack(bad)
	if err != nil {
		t.Fatal(err)
	}
	prefer(t, pc, sender, bad.Codec())
	sess := connect(t, s, pc, PublishRequest{App: "app", Channel: "room", User: "mal"})
	hear := watch(t, s, "eve", "mal") // someone suffers it
	random := newNoise(1)
	for i := range 3000 {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(random.Uint32()), Timestamp: random.Uint32(), Marker: i%3 == 0}}
		p.Payload = random.bytes(i % 1400)
		p.Padding = i%7 == 0
		if p.Padding {
			p.Header.PaddingSize = byte(1 + i%255)
		}
		if i%5 == 0 {
			p.SequenceNumber = uint16(i)
		}
		if err := bad.WriteRTP(p); err != nil {
			t.Fatal(err)
		}
		if err := pc.WriteRTCP([]rtcp.Packet{&rtcp.RawPacket{0x80, 200, 0, 1, byte(i), 0, 0, 0}}); err != nil {
			t.Fatal(err)
		}
	}
	mustFollow(t, v.units(t, &codecs.H264Packet{}, 3*len(units)), units)
	if sess.Reason() != "" || hear.session.Reason() != "" {
		t.Errorf("sessions ended: %q, %q", sess.Reason(), hear.session.Reason())
	}
}

// TestDTLSRolesAndCiphers: ffmpeg 8 offers setup:passive, and some clients
// only know the older cipher.
func TestDTLSRolesAndCiphers(t *testing.T) {
	s := testServer(t)
	feed, _ := vp8Feed(t)
	publish(t, s, "ann", feed)
	for name, c := range map[string]struct {
		setup, want string
		profile     dtls.SRTPProtectionProfile
	}{
		"actpass, GCM":    {"actpass", "a=setup:passive", dtls.SRTP_AEAD_AES_128_GCM},
		"passive, CM-SHA": {"passive", "a=setup:active", dtls.SRTP_AES128_CM_HMAC_SHA1_80},
		"active, CM-SHA":  {"active", "a=setup:passive", dtls.SRTP_AES128_CM_HMAC_SHA1_80},
	} {
		t.Run(name, func(t *testing.T) {
			v := newViewer(t, func(e *webrtc.SettingEngine) { e.SetSRTPProtectionProfiles(c.profile) })
			offer := strings.ReplaceAll(makeOffer(t, v.pc), "a=setup:actpass", "a=setup:"+c.setup)
			_, answer, err := s.Subscribe(t.Context(), SubscribeRequest{App: "app", Channel: "room", Viewer: "bob", User: "ann", Offer: offer})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(answer, c.want) {
				t.Fatalf("want %s in the answer:\n%s", c.want, answer)
			}
			takeAnswer(t, v.pc, answer)
			receive(t, "video arrives", v.video)
		})
	}
}

// TestTCPOnly forbids the client UDP.
func TestTCPOnly(t *testing.T) {
	s := testServer(t)
	feed, frames := vp8Feed(t)
	publish(t, s, "ann", feed)
	v := watchAs(t, s, SubscribeRequest{App: "app", Channel: "room", Viewer: "bob", User: "ann"}, func(e *webrtc.SettingEngine) {
		e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	})
	mustFollow(t, v.units(t, &codecs.VP8Packet{}, 2*len(frames)), frames)
}

// TestSilentTCP: connections that say nothing are limited in number and do not
// hold up the end.
func TestSilentTCP(t *testing.T) {
	s := testServer(t, func(c *Config) { c.MaxSessions = 1 })
	var open []net.Conn
	for range 3 {
		c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", s.Port()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(patience))
		open = append(open, c)
	}
	if n, err := open[2].Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third of two connections: got %d bytes, %v, want it closed", n, err)
	}
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > tcpFirstBytes/2 {
		t.Errorf("Close took %v", took)
	}
	if _, err := open[0].Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection outlived the server")
	}
}

// TestAllAddresses listens on every address and takes the first candidate
// only, as ffmpeg does.
func TestAllAddresses(t *testing.T) {
	s := testServer(t, func(c *Config) { c.Listen = ":0" })
	feed, frames := vp8Feed(t)
	publish(t, s, "ann", feed)
	v := newViewer(t, func(e *webrtc.SettingEngine) { e.SetInterfaceFilter(func(string) bool { return true }) })
	_, answer, err := s.Subscribe(t.Context(), SubscribeRequest{App: "app", Channel: "room", Viewer: "bob", User: "ann", Offer: makeOffer(t, v.pc)})
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	seen := false
	for line := range strings.Lines(answer) {
		candidate := strings.HasPrefix(line, "a=candidate:")
		if !candidate || !seen {
			kept = append(kept, line)
		}
		seen = seen || candidate
	}
	takeAnswer(t, v.pc, strings.Join(kept, ""))
	mustFollow(t, v.units(t, &codecs.VP8Packet{}, len(frames)), frames)
}

func TestPublicAddress(t *testing.T) {
	s := testServer(t, func(c *Config) { c.Listen = ":0"; c.PublicIPs = []string{"198.51.100.7"} })
	if len(s.net.candidates()) != 2 || !strings.Contains(s.net.candidates()[0], "udp") || !strings.Contains(s.net.candidates()[0], "198.51.100.7") {
		t.Errorf("got candidates %q", s.net.candidates())
	}
	if _, err := New(Config{Listen: "127.0.0.1:0", PublicIPs: []string{"here"}}); err == nil {
		t.Error("a public address that is none was accepted")
	}
}

func TestPatch(t *testing.T) {
	s := testServer(t)
	feed, frames := vp8Feed(t)
	publish(t, s, "ann", feed)
	v := watch(t, s, "bob", "ann")
	v.units(t, &codecs.VP8Packet{}, 1)
	etag := v.session.ETag()

	trickle := "a=ice-ufrag:" + attribute(v.pc.LocalDescription().SDP, "ice-ufrag") + "\r\n" +
		"a=ice-pwd:" + attribute(v.pc.LocalDescription().SDP, "ice-pwd") + "\r\n" +
		"m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 x.local 9 typ host\r\na=candidate:1 1 quic 1 [::1] 9 typ new\r\na=end-of-candidates\r\n"
	for _, text := range []string{trickle, "a=candidate:1 1 udp 1 192.0.2.9 9 typ host\n"} {
		if answer, err := v.session.Patch(t.Context(), text, false); err != nil || answer != "" {
			t.Errorf("trickle: got answer %q, error %v", answer, err)
		}
	}
	for _, text := range []string{"", "nonsense", "a=ice-ufrag:new1\r\n", "a=ice-ufrag:x\r\na=ice-pwd:0123456789012345678901\r\n", strings.Repeat("a=x\r\n", 9000)} {
		if _, err := v.session.Patch(t.Context(), text, false); !errors.Is(err, media.ErrInvalid) {
			t.Errorf("%.30q: got %v, want ErrInvalid", text, err)
		}
	}
	if v.session.ETag() != etag {
		t.Error("the ETag changed without a restart")
	}
	restart(t, v, etag)
	for range 200 { // 2 s of video; what was lost meanwhile comes late, by NACK
		p := receive(t, "video arrives after the restart", v.video)
		var d codecs.VP8Packet
		b, err := d.Unmarshal(p.Payload)
		part := func(frame []byte) bool { return bytes.Contains(frame, b) }
		if err != nil || !slices.ContainsFunc(frames, part) {
			t.Fatalf("got a packet of %d bytes that is no part of the clip (%v)", len(p.Payload), err)
		}
	}
}

// restart gives the client new ICE credentials by PATCH.
func restart(t *testing.T, v *viewer, etag string) {
	t.Helper()
	before := v.pc.RemoteDescription().SDP
	offer, err := v.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	fragment := "a=ice-ufrag:" + attribute(offer.SDP, "ice-ufrag") + "\r\na=ice-pwd:" + attribute(offer.SDP, "ice-pwd") + "\r\n"
	if _, err := v.session.Patch(t.Context(), fragment, false); !errors.Is(err, ErrRestart) || v.session.ETag() != etag {
		t.Errorf("other credentials without the wish to restart: got %v, want ErrRestart", err)
	}
	answer, err := v.session.Patch(t.Context(), fragment, true)
	if err != nil {
		t.Fatal(err)
	}
	if v.session.ETag() == etag {
		t.Error("the ETag did not change by a restart")
	}
	if strings.Count(answer, "a=candidate:") != 1 {
		t.Errorf("want one candidate in the fragment:\n%s", answer)
	}
	for _, name := range []string{"ice-ufrag", "ice-pwd"} {
		if attribute(answer, name) == attribute(before, name) {
			t.Errorf("a=%s is still %s", name, attribute(answer, name))
		}
		before = strings.ReplaceAll(before, attribute(before, name), attribute(answer, name))
	}
	takeAnswer(t, v.pc, before)
}

// attribute is the first value of an attribute in SDP text.
func attribute(text, name string) string {
	_, rest, _ := strings.Cut(text, "a="+name+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

// anyTrack sends packets of any SSRC.
type anyTrack struct {
	*webrtc.TrackLocalStaticRTP
	out webrtc.TrackLocalWriter
}

func (a *anyTrack) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	a.out = c.WriteStream()
	return a.TrackLocalStaticRTP.Bind(c)
}

// TestTooManyStreams: each SSRC that a client names takes memory, so that there is an
// end to them: of packets and of reports about them.
func TestTooManyStreams(t *testing.T) {
	for name, send := range map[string]func(a *anyTrack, pc *webrtc.PeerConnection, ssrc uint32) error{
		"media": func(a *anyTrack, _ *webrtc.PeerConnection, ssrc uint32) error {
			_, err := a.out.WriteRTP(&rtp.Header{Version: 2, SSRC: ssrc, PayloadType: 96}, []byte{1})
			return err
		},
		"reports": func(_ *anyTrack, pc *webrtc.PeerConnection, ssrc uint32) error {
			return pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: ssrc}}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := testServer(t)
			pc := testClient(t)
			local, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "any")
			if err != nil {
				t.Fatal(err)
			}
			a := &anyTrack{TrackLocalStaticRTP: local}
			if _, err := pc.AddTrack(a); err != nil {
				t.Fatal(err)
			}
			sess := connect(t, s, pc, PublishRequest{App: "app", Channel: "room", User: "ann"})
			for n := uint32(0); !sess.stopped(); n++ {
				if n > 100*maxInboxes {
					t.Fatal("100 times as many streams as there may be are taken")
				}
				if err := send(a, pc, 1000+n); err != nil && !sess.stopped() {
					t.Fatal(err)
				}
				if n > 0 && n < maxInboxes/2 && sess.stopped() {
					t.Fatalf("%d streams end the session: %s", n, sess.Reason())
				}
			}
			receive(t, "the session ends", sess.Done())
		})
	}
}
