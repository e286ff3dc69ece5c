package whip

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"braid/media/sfu"
)

// TestWhatTheRFCsSay goes through rules of RFC 9725 and draft-ietf-wish-whep-03
// that no other test here is about, on one publisher and one viewer.
func TestWhatTheRFCsSay(t *testing.T) {
	b := start(t)
	pc, offer := b.sender(vp8Track(t))
	published, answer := b.do("POST", "/whip/app/room/ann", offer, "Content-Type", "Application/SDP", "Authorization", strings.Replace(annToken(), "Bearer", "bearer", 1))
	if published.StatusCode != 201 { // RFC 9110 sections 8.3.1 and 11.1: neither is case-sensitive
		t.Fatalf("got %s: %s", published.Status, answer)
	}
	b.answer(pc, answer)
	b.until("ann is in the channel", func(c []sfu.ChannelInfo) bool { return len(c) == 1 && len(c[0].Users[0].Sources) == 1 })
	_, watch := b.client(func(pc *webrtc.PeerConnection) { // sendrecv, as draft-03 section 4.2 allows
		if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
			t.Fatal(err)
		}
	})
	watched, seen := b.do("POST", "/whep/app/room/ann", watch, "Content-Type", offerType, "Authorization", bobToken())
	if watched.StatusCode != 201 {
		t.Fatalf("got %s: %s", watched.Status, seen)
	}

	for name, c := range map[string]struct{ answer, direction string }{"WHIP": {answer, "a=recvonly"}, "WHEP": {seen, "a=sendonly"}} {
		if !strings.HasPrefix(c.answer, "v=") || len(c.answer) > 8192 { // what ffmpeg 8 reads
			t.Errorf("%s: the answer has %d bytes: %.20q", name, len(c.answer), c.answer)
		}
		for _, line := range []string{c.direction, "a=ice-lite", "a=rtcp-mux", "a=end-of-candidates", "a=setup:passive"} {
			if !strings.Contains(c.answer, line+"\r\n") {
				t.Errorf("%s: the answer lacks %s:\n%s", name, line, c.answer)
			}
		}
		if at := strings.Index(c.answer, "a=candidate:"); at < 0 || !strings.HasPrefix(strings.SplitN(c.answer[at:], " ", 4)[2], "udp") {
			t.Errorf("%s: the first candidate is not UDP:\n%s", name, c.answer)
		}
	}

	session, etag := published.Header.Get("Location"), published.Header.Get("ETag")
	line := func(name string) string {
		return offer[strings.Index(offer, name):][:strings.Index(offer[strings.Index(offer, name):], "\r\n")+2]
	}
	credentials := line("a=ice-ufrag:") + line("a=ice-pwd:")
	for _, c := range []struct {
		name, method, url, body string
		headers                 []string
		status                  int
	}{
		{"an unknown kind of candidate is dropped (section 4.3.2)", "PATCH", session, credentials + "a=candidate:1 1 quic 1 host.example 9 typ carrier pigeon\r\n", []string{"If-Match", etag}, 204},
		{"an address that cannot be read is dropped", "PATCH", session, credentials + "a=candidate:1 1 udp 1 0b9f.local 9 typ host\r\na=end-of-candidates\r\n", []string{"If-Match", etag}, 204},
		{"a restart that cannot be: credentials too short", "PATCH", session, "a=ice-ufrag:abc\r\na=ice-pwd:short\r\n", []string{"If-Match", "*"}, 400},
		{"the session goes on after that, with its ETag", "PATCH", session, credentials, []string{"If-Match", etag}, 204},
		{"GET of a session (section 4.1)", "GET", session, "", nil, 204},
		{"HEAD of a session", "HEAD", session, "", nil, 204},
		{"POST to a session", "POST", session, offer, nil, 405},
		{"an offer to PATCH (a WHEP counter-offer) is not made here", "PATCH", watched.Header.Get("Location"), watch, []string{"Content-Type", offerType, "Authorization", bobToken()}, 415},
		{"the other user's session cannot be restarted", "PATCH", session, credentials, []string{"Authorization", bobToken()}, 403},
	} {
		resp, body := b.do(c.method, c.url, c.body, append([]string{"Content-Type", fragmentType, "Authorization", annToken()}, c.headers...)...)
		if resp.StatusCode != c.status {
			t.Errorf("%s: got %s, want %d: %s", c.name, resp.Status, c.status, body)
		}
		if c.status == http.StatusNoContent && (body != "" || resp.Header.Get("ETag") != "") {
			t.Errorf("%s: got body %q and ETag %q, want neither", c.name, body, resp.Header.Get("ETag"))
		}
	}
	b.until("both are still there", func(c []sfu.ChannelInfo) bool { return len(c) == 1 && len(c[0].Users[0].Sources) == 1 })
}

// TestTooOften: who patches or opens without end is told to wait, and nobody else.
func TestTooOften(t *testing.T) {
	b := start(t)
	_, offer := b.sender(vp8Track(t))
	resp, answer := b.do("POST", "/whip/app/room/ann", offer, "Content-Type", offerType, "Authorization", annToken())
	if resp.StatusCode != 201 {
		t.Fatalf("got %s: %s", resp.Status, answer)
	}
	session := resp.Header.Get("Location")
	for _, c := range []struct {
		method, url, body, kind, token string
		most                           int
		other                          func() (*http.Response, string)
	}{
		{"PATCH", session, "a=end-of-candidates\r\n", fragmentType, annToken(), 4 * patchBurst, func() (*http.Response, string) {
			return b.do("GET", session, "")
		}},
		{"POST", "/whep/app/room/nobody", offer, offerType, annToken(), 4 * postBurst, func() (*http.Response, string) {
			return b.do("POST", "/whep/app/room/nobody", offer, "Content-Type", offerType, "Authorization", bobToken())
		}},
	} {
		refused := false
		for n := 0; n < c.most && !refused; n++ {
			resp, body := b.do(c.method, c.url, c.body, "Content-Type", c.kind, "Authorization", c.token)
			refused = resp.StatusCode == http.StatusTooManyRequests
			if refused && (resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "a second are allowed") && !strings.Contains(body, "times a second")) {
				t.Errorf("%s: got Retry-After %q, %s", c.method, resp.Header.Get("Retry-After"), body)
			}
		}
		if !refused {
			t.Errorf("%d times %s: none was refused", c.most, c.method)
		}
		if resp, body := c.other(); resp.StatusCode == http.StatusTooManyRequests {
			t.Errorf("after too many %s another request got %s: %s", c.method, resp.Status, body)
		}
	}
}
