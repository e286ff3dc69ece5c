package whip

import (
	"path"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"braid/media/sfu"
)

// TestDeleteAfterClose: OBS and whip-whep close their connection and send DELETE
// then; they are told 200, once.
func TestDeleteAfterClose(t *testing.T) {
	b := start(t, func(c *sfu.Config) { c.Linger = -1 })
	track := vp8Track(t)
	pc, offer := b.sender(track)
	connected := make(chan struct{})
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			close(connected)
		}
	})
	resp, body := b.do("POST", "/whip/app/room/ann", offer, "Content-Type", offerType, "Authorization", annToken())
	if resp.StatusCode != 201 {
		t.Fatalf("got %s: %s", resp.Status, body)
	}
	session := resp.Header.Get("Location")
	live, ok := b.sfu.Session(path.Base(session))
	if !ok {
		t.Fatalf("no session of the path %s", session)
	}
	b.answer(pc, body)
	select { // the server may be done with DTLS before the client, who would close without a goodbye then
	case <-connected:
	case <-time.After(patience):
		t.Fatal("the client is not connected")
	}
	b.until("ann is in the channel", func(c []sfu.ChannelInfo) bool { return len(c) == 1 && len(c[0].Users[0].Sources) == 1 })
	if err := pc.GracefulClose(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-live.Done():
	case <-time.After(patience):
		t.Fatal("the session goes on after its client has closed")
	}
	for _, c := range []struct {
		method string
		status int
	}{{"GET", 404}, {"PATCH", 404}, {"DELETE", 200}, {"DELETE", 404}} {
		if resp, body := b.do(c.method, session, "", "Authorization", annToken(), "Content-Type", fragmentType); resp.StatusCode != c.status {
			t.Errorf("%s after the connection was closed: got %s, want %d: %s", c.method, resp.Status, c.status, body)
		}
	}
}

// TestSentAway: who is sent away by somebody else finds out why, and how to stop: two
// clients of one user that come back by themselves would take turns for ever.
func TestSentAway(t *testing.T) {
	b := start(t)
	publish := func() (session string, live *sfu.Session) {
		t.Helper()
		pc, offer := b.sender(vp8Track(t))
		resp, body := b.do("POST", "/whip/app/room/ann", offer, "Content-Type", offerType, "Authorization", annToken())
		if resp.StatusCode != 201 {
			t.Fatalf("got %s: %s", resp.Status, body)
		}
		session = resp.Header.Get("Location")
		live, _ = b.sfu.Session(path.Base(session))
		b.answer(pc, body)
		return session, live
	}
	gone := func(s *sfu.Session) {
		t.Helper()
		select {
		case <-s.Done():
		case <-time.After(patience):
			t.Fatal("the session does not end")
		}
	}
	first, old := publish()
	b.until("ann is in the channel", func(c []sfu.ChannelInfo) bool { return len(c) == 1 && len(c[0].Users) == 1 })
	second, live := publish()
	gone(old)
	for _, method := range []string{"GET", "PATCH", "DELETE", "DELETE"} {
		resp, body := b.do(method, first, "", "Authorization", annToken(), "Content-Type", fragmentType)
		if resp.StatusCode != 410 || method != "GET" && !strings.Contains(body, "newer session") {
			t.Errorf("%s of a replaced session: got %s: %s", method, resp.Status, body)
		}
	}
	if resp, body := b.do("GET", second, ""); resp.StatusCode != 204 {
		t.Errorf("GET of the one that replaced it: got %s: %s", resp.Status, body)
	}
	if err := b.sfu.Kick("app", "room", "ann"); err != nil {
		t.Fatal(err)
	}
	gone(live)
	if resp, body := b.do("DELETE", second, "", "Authorization", annToken()); resp.StatusCode != 410 || !strings.Contains(body, "sent out") {
		t.Errorf("DELETE of a session that was kicked: got %s: %s", resp.Status, body)
	}
	if resp, body := b.do("DELETE", second+"x", "", "Authorization", annToken()); resp.StatusCode != 404 {
		t.Errorf("DELETE of no session: got %s: %s", resp.Status, body)
	}
}

// TestEyevinn: what Eyevinn's client asks a server of another origin before it
// trickles candidates.
func TestEyevinn(t *testing.T) {
	b := start(t)
	_, offer := b.sender(vp8Track(t))
	resp, _ := b.do("OPTIONS", "/whip/app/room/ann", "", "Authorization", annToken(), "Origin", "https://elsewhere.example")
	if !strings.Contains(resp.Header.Get(allowMethods), "PATCH") || !strings.Contains(resp.Header.Get("Access-Control-Expose-Headers"), allowMethods) {
		t.Errorf("it would not trickle: %v", resp.Header)
	}
	if resp.Header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("got Allow %q", resp.Header.Get("Allow"))
	}
	resp, body := b.do("POST", "/whip/app/room/ann", offer, "Content-Type", offerType, "Authorization", annToken())
	if resp.StatusCode != 201 {
		t.Fatalf("got %s: %s", resp.Status, body)
	}
	session, etag := resp.Header.Get("Location"), resp.Header.Get("ETag")
	resp, _ = b.do("OPTIONS", session, "", "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "authorization,content-type,etag")
	if !strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "ETag") {
		t.Errorf("a page could not send ETag: %v", resp.Header)
	}
	ufrag, _, _ := strings.Cut(offer[strings.Index(offer, "a=ice-ufrag:"):], "\r\n")
	pwd, _, _ := strings.Cut(offer[strings.Index(offer, "a=ice-pwd:"):], "\r\n")
	fragment := ufrag + "\r\n" + pwd + "\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:0 0 udp 2122260223 fd00::2 9 typ host tcptype active\r\n"
	resp, body = b.do("PATCH", session, fragment, "Content-Type", fragmentType, "Authorization", annToken(), "ETag", etag)
	if resp.StatusCode != 204 {
		t.Errorf("a candidate: got %s: %s", resp.Status, body)
	}
}
