package whip

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"braid/media"
	"braid/media/sfu"
	"braid/signaling"
	"braid/signaling/token"
	"braid/store"
)

const patience = 20 * time.Second

type apps map[string]token.App

func (a apps) Application(id string) (token.App, bool) { app, ok := a[id]; return app, ok }

var testApps = apps{
	"app": {Keys: []string{"key"}}, "other": {Keys: []string{"key2"}},
	"jwt": {Keys: []string{"key3"}, JWTOnly: true}, "off": {Keys: []string{"key4"}, Disabled: true},
}

// border is a WHIP and WHEP server on loopback.
type testBorder struct {
	*testing.T
	url string
	sfu *sfu.Server
}

func start(t *testing.T, change ...func(*sfu.Config)) testBorder {
	t.Helper()
	cfg := sfu.Config{Listen: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, f := range change {
		f(&cfg)
	}
	s, err := sfu.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(New(Config{SFU: s, Apps: testApps, Addresses: addresses, ICEServers: iceServers, Log: cfg.Log}))
	t.Cleanup(func() { h.Close(); s.Close() })
	return testBorder{t, h.URL, s}
}

func bearer(app, key, channel, user string, life time.Duration) string {
	return "Bearer " + token.Sign(app, key, channel, user, time.Now().Add(life)).String()
}

// jwtFor grants what the claims say to ann in room.
func jwtFor(c token.Claims) string {
	c.App, c.Channel, c.User, c.Expires = "app", "room", "ann", time.Now().Add(time.Hour)
	text, err := token.SignJWT(c, "key", time.Now())
	if err != nil {
		panic(err)
	}
	return "Bearer " + text
}

// addresses are two that hold, and one that has expired.
func addresses(_ context.Context, id string) (store.Address, error) {
	a := store.Address{ID: id, Kind: store.WHIPAddress, App: "app", Channel: "room", User: "obs"}
	switch id {
	case "good":
		return a, nil
	case "rtmp":
		a.Kind = store.RTMPAddress
		return a, nil
	case "old":
		return a, fmt.Errorf("expired: %w", media.ErrNotFound)
	}
	return store.Address{}, media.ErrNotFound
}

func annToken() string { return bearer("app", "key", "room", "ann", time.Hour) }
func bobToken() string { return bearer("app", "key", "room", "bob", time.Hour) }

// do sends a request and returns the response and its body.
func (b testBorder) do(method, path, body string, headers ...string) (*http.Response, string) {
	b.Helper()
	if !strings.HasPrefix(path, "http") {
		path = b.url + path
	}
	req, err := http.NewRequestWithContext(b.Context(), method, path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return resp, string(text)
}

// client is a Pion PeerConnection with its complete offer.
func (b testBorder) client(add func(*webrtc.PeerConnection)) (*webrtc.PeerConnection, string) {
	b.Helper()
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { pc.GracefulClose() })
	add(pc)
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		b.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		b.Fatal(err)
	}
	<-gathered
	return pc, pc.LocalDescription().SDP
}

func (b testBorder) sender(track webrtc.TrackLocal) (*webrtc.PeerConnection, string) {
	return b.client(func(pc *webrtc.PeerConnection) {
		if _, err := pc.AddTrack(track); err != nil {
			b.Fatal(err)
		}
	})
}

func (b testBorder) receiver(packets chan<- *rtp.Packet) (*webrtc.PeerConnection, string) {
	return b.client(func(pc *webrtc.PeerConnection) {
		if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			b.Fatal(err)
		}
		pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			for {
				p, _, err := track.ReadRTP()
				if err != nil {
					return
				}
				select {
				case packets <- p:
				default:
				}
			}
		})
	})
}

func (b testBorder) answer(pc *webrtc.PeerConnection, sdp string) {
	b.Helper()
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		b.Fatal(err)
	}
}

// until waits for the SFU's snapshot to be as wanted.
func (b testBorder) until(what string, ok func([]sfu.ChannelInfo) bool) {
	b.Helper()
	deadline := time.After(patience)
	for {
		changed := b.sfu.Changed()
		if ok(b.sfu.Snapshot()) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			b.Fatalf("not within %v: %s; got %+v", patience, what, b.sfu.Snapshot())
		}
	}
}

func vp8Track(t testing.TB) *webrtc.TrackLocalStaticRTP {
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "x")
	if err != nil {
		t.Fatal(err)
	}
	return track
}

// TestPublishAndWatch goes through a whole session as a standard client does.
func TestPublishAndWatch(t *testing.T) {
	b := start(t)
	packets := make(chan *rtp.Packet, 100)
	viewer, watchOffer := b.receiver(packets)
	resp, body := b.do("POST", "/whep/app/room/ann", watchOffer, "Content-Type", "application/sdp", "Authorization", bobToken())
	if resp.StatusCode != 409 || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("nobody publishes: got %s, Retry-After %q: %s", resp.Status, resp.Header.Get("Retry-After"), body)
	}

	track := vp8Track(t)
	pc, offer := b.sender(track)
	resp, body = b.do("POST", "/whip/app/room/ann?source=camera", offer, "Content-Type", "application/sdp; charset=utf-8", "Authorization", annToken())
	if resp.StatusCode != 201 {
		t.Fatalf("got %s: %s", resp.Status, body)
	}
	location, etag := resp.Header.Get("Location"), resp.Header.Get("ETag")
	if !strings.HasPrefix(location, b.url+"/whip/session/") || strings.Contains(location, "?") || len(location) < len(b.url)+14+32 {
		t.Errorf("got Location %q", location)
	}
	if resp.Header.Get("Content-Type") != "application/sdp" || !strings.HasPrefix(body, "v=0") || len(etag) < 10 || etag[0] != '"' {
		t.Errorf("got type %q, ETag %s, body %.20q", resp.Header.Get("Content-Type"), etag, body)
	}
	b.answer(pc, body)
	b.until("ann is in the channel", func(c []sfu.ChannelInfo) bool { return len(c) == 1 && len(c[0].Users[0].Sources) == 1 })

	resp, body = b.do("POST", "/whep/app/room/ann", watchOffer, "Content-Type", "application/sdp", "Authorization", bobToken())
	if resp.StatusCode != 201 {
		t.Fatalf("got %s: %s", resp.Status, body)
	}
	watching := resp.Header.Get("Location")
	b.answer(viewer, body)
	b.until("bob is there too", func(c []sfu.ChannelInfo) bool { return len(c) == 1 && len(c[0].Users) == 2 })
	flow(t, track, packets)

	fragment := "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
	for _, c := range []struct {
		headers []string
		body    string
		status  int
	}{
		{[]string{"Authorization", annToken(), "If-Match", etag}, fragment, 204},
		{[]string{"Authorization", annToken()}, fragment, 204},
		{[]string{"Authorization", annToken(), "If-Match", `"old"`}, fragment, 412},
		{[]string{"Authorization", bobToken(), "If-Match", etag}, fragment, 403},
		{nil, fragment, 401},
		{[]string{"Authorization", annToken(), "Content-Type", "application/sdp"}, fragment, 415},
		{[]string{"Authorization", annToken()}, "hello", 400},
		{[]string{"Authorization", annToken()}, strings.Repeat("a", maxFragment+1), 413},
	} {
		resp, body := b.do("PATCH", location, c.body, append([]string{"Content-Type", fragmentType}, c.headers...)...)
		if resp.StatusCode != c.status {
			t.Errorf("PATCH %.20q: got %s, want %d: %s", c.body, resp.Status, c.status, body)
		}
	}

	resp, body = b.do("PATCH", location, "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n", "Content-Type", fragmentType, "Authorization", annToken())
	if resp.StatusCode != 428 || resp.Header.Get("ETag") != "" {
		t.Errorf("ICE restart without If-Match: got %s: %s", resp.Status, body)
	}
	resp, body = b.do("PATCH", location, "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n", "Content-Type", fragmentType, "Authorization", annToken(), "If-Match", "*")
	if resp.StatusCode != 200 || resp.Header.Get("ETag") == etag || resp.Header.Get("Content-Type") != fragmentType || strings.Count(body, "a=candidate:") != 1 {
		t.Errorf("ICE restart: got %s, ETag %s: %s", resp.Status, resp.Header.Get("ETag"), body)
	}

	if resp, _ := b.do("DELETE", location, "", "Authorization", bobToken()); resp.StatusCode != 403 {
		t.Errorf("bob deletes ann's session: got %s", resp.Status)
	}
	if resp, _ := b.do("DELETE", watching, "", "Authorization", bearer("app", "key", "room", "bob", -time.Minute), "If-Match", "x"); resp.StatusCode != 200 {
		t.Errorf("DELETE with a token that has expired since: got %s, want 200", resp.Status)
	}
	if resp, _ := b.do("DELETE", location, "", "Authorization", annToken()); resp.StatusCode != 200 {
		t.Errorf("DELETE: got %s, want exactly 200", resp.Status)
	}
	if resp, _ := b.do("DELETE", location, "", "Authorization", annToken()); resp.StatusCode != 404 {
		t.Errorf("DELETE again: got %s", resp.Status)
	}
	b.until("the channel is empty", func(c []sfu.ChannelInfo) bool { return len(c) == 0 })
}

// flow sends key frames until one arrives.
func flow(t *testing.T, track *webrtc.TrackLocalStaticRTP, packets <-chan *rtp.Packet) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for seq := uint16(1); ; seq++ {
		select {
		case p := <-packets:
			if string(p.Payload) != "\x10\x00picture" {
				t.Errorf("got payload %q", p.Payload)
			}
			return
		case <-deadline:
			t.Fatal("no picture arrives")
		case <-tick.C:
			p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: 900 * uint32(seq), Marker: true}, Payload: []byte("\x10\x00picture")}
			if err := track.WriteRTP(p); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRefusals: each wrong request gets its status and words.
func TestRefusals(t *testing.T) {
	b := start(t)
	_, offer := b.sender(vp8Track(t))
	const sdp = "application/sdp"
	for name, c := range map[string]struct {
		path, auth, kind, body string
		status                 int
		word                   string
	}{
		"no token":               {"/whip/app/room/ann", "", sdp, offer, 401, "Bearer"},
		"other scheme":           {"/whip/app/room/ann", "Basic YTpi", sdp, offer, 401, "Bearer"},
		"unreadable token":       {"/whip/app/room/ann", "Bearer xyz", sdp, offer, 401, "cannot be read"},
		"wrong key":              {"/whip/app/room/ann", bearer("app", "kez", "room", "ann", time.Hour), sdp, offer, 401, "hash"},
		"expired":                {"/whip/app/room/ann", bearer("app", "key", "room", "ann", -time.Second), sdp, offer, 401, "expired"},
		"for two days":           {"/whip/app/room/ann", bearer("app", "key", "room", "ann", 48*time.Hour), sdp, offer, 401, "24 hours"},
		"unknown application":    {"/whip/nope/room/ann", bearer("nope", "key", "room", "ann", time.Hour), sdp, offer, 401, "application"},
		"other application":      {"/whip/app/room/ann", bearer("other", "key2", "room", "ann", time.Hour), sdp, offer, 403, "channel room of application other"},
		"other channel":          {"/whip/app/room2/ann", annToken(), sdp, offer, 403, "channel room"},
		"other user":             {"/whip/app/room/bob", annToken(), sdp, offer, 403, "ann"},
		"watching elsewhere":     {"/whep/app/room2/ann", annToken(), sdp, offer, 403, "channel room"},
		"disabled application":   {"/whip/off/room/ann", bearer("off", "key4", "room", "ann", time.Hour), sdp, offer, 403, "disabled"},
		"ARTC's token":           {"/whip/jwt/room/ann", bearer("jwt", "key3", "room", "ann", time.Hour), sdp, offer, 401, "JWTs alone"},
		"no publish granted":     {"/whip/app/room/ann", jwtFor(token.Claims{Subscribe: true}), sdp, offer, 403, "publish camera"},
		"no screen granted":      {"/whip/app/room/ann?source=shareScreen", jwtFor(token.Claims{Camera: true}), sdp, offer, 403, "publish shareScreen"},
		"no subscribe granted":   {"/whep/app/room/ann", jwtFor(token.Claims{Camera: true}), sdp, offer, 403, "subscribe"},
		"unknown address":        {"/whip/address/nope", "", sdp, offer, 404, "address"},
		"expired address":        {"/whip/address/old", "Bearer ", sdp, offer, 404, "expired"},
		"address of RTMP":        {"/whip/address/rtmp", "", sdp, offer, 404, "address"},
		"bad source of address":  {"/whip/address/good?source=x", "", sdp, offer, 400, "source"},
		"bad user id":            {"/whip/app/room/a%20b", annToken(), sdp, offer, 400, "user"},
		"bad channel id":         {"/whip/app/" + strings.Repeat("x", 65) + "/ann", annToken(), sdp, offer, 400, "channel"},
		"bad app id":             {"/whip/a.b/room/ann", annToken(), sdp, offer, 400, "app"},
		"bad source":             {"/whip/app/room/ann?source=window", annToken(), sdp, offer, 400, "source"},
		"other type":             {"/whip/app/room/ann", annToken(), "application/json", offer, 415, sdp},
		"no type":                {"/whip/app/room/ann", annToken(), "", offer, 415, sdp},
		"too large":              {"/whip/app/room/ann", annToken(), sdp, strings.Repeat("a", sfu.MaxOffer+1), 413, "65536"},
		"no offer":               {"/whip/app/room/ann", annToken(), sdp, "", 400, "media section"},
		"random body":            {"/whip/app/room/ann", annToken(), sdp, "\x00\x01random", 400, "not SDP"},
		"no ICE":                 {"/whip/app/room/ann", annToken(), sdp, strings.ReplaceAll(offer, "a=ice-ufrag", "a=x"), 400, "ice-ufrag"},
		"watching by WHIP":       {"/whip/app/room/ann", annToken(), sdp, strings.ReplaceAll(offer, "a=sendrecv", "a=recvonly"), 422, "recvonly"},
		"no codec that is known": {"/whip/app/room/ann", annToken(), sdp, strings.NewReplacer("VP8/", "VP7/", "H264/", "H263/", "H265/", "H261/", "VP9/", "VP5/", "AV1/", "AV0/").Replace(offer), 422, "VP7"},
		"nobody publishes":       {"/whep/app/room/ann", annToken(), sdp, strings.ReplaceAll(offer, "a=sendrecv", "a=recvonly"), 409, "ann"},
		"no such path":           {"/whip/app/room", annToken(), sdp, offer, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := b.do("POST", c.path, c.body, "Authorization", c.auth, "Content-Type", c.kind)
			if resp.StatusCode != c.status || !strings.Contains(body, c.word) {
				t.Fatalf("got %s: %s; want %d with %q", resp.Status, body, c.status, c.word)
			}
			if c.word == "" {
				return
			}
			var p signaling.Problem
			if err := json.Unmarshal([]byte(body), &p); err != nil || p.Status != c.status {
				t.Errorf("got body %s (%v), want problem+json", body, err)
			}
			if (c.status == 401) != strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("got WWW-Authenticate %q", resp.Header.Get("WWW-Authenticate"))
			}
			if resp.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Error("a page of another origin could not read why")
			}
		})
	}
	if n := len(b.sfu.Snapshot()); n != 0 {
		t.Errorf("%d channels are open", n)
	}
}

func TestFullServer(t *testing.T) {
	b := start(t, func(c *sfu.Config) { c.MaxSessions = 1 })
	_, offer := b.sender(vp8Track(t))
	resp, body := b.do("POST", "/whip/app/room/ann", offer, "Authorization", annToken(), "Content-Type", offerType)
	if resp.StatusCode != 201 {
		t.Fatalf("got %s: %s", resp.Status, body)
	}
	_, offer = b.sender(vp8Track(t))
	resp, body = b.do("POST", "/whip/app/room/bob", offer, "Authorization", bobToken(), "Content-Type", offerType)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %s: %s", resp.Status, body)
	}
}

// TestPreflight asks as a browser does for a page of another origin.
func TestPreflight(t *testing.T) {
	b := start(t)
	for path, method := range map[string]string{
		"/whip/app/room/ann": "POST", "/whep/app/room/ann?source=shareScreen": "POST",
		"/whip/session/0123": "PATCH", "/whep/session/0123": "DELETE",
	} {
		resp, body := b.do("OPTIONS", path, "", "Origin", "https://elsewhere.example",
			"Access-Control-Request-Method", method, "Access-Control-Request-Headers", "authorization,content-type,if-match")
		h := resp.Header
		if resp.StatusCode != 200 || body != "" || h.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(h.Get("Access-Control-Allow-Methods"), method) {
			t.Errorf("%s: got %s, %v", path, resp.Status, h)
		}
		for _, name := range []string{"Authorization", "Content-Type", "If-Match"} {
			if !strings.Contains(h.Get("Access-Control-Allow-Headers"), name) {
				t.Errorf("%s: %s is not allowed", path, name)
			}
		}
		if method == "POST" && h.Get("Accept-Post") != "application/sdp" {
			t.Errorf("%s: got Accept-Post %q", path, h.Get("Accept-Post"))
		}
	}
	resp, _ := b.do("GET", "/whip/app/room/ann", "", "Origin", "https://elsewhere.example")
	for _, name := range []string{"Location", "ETag", "Link", "Accept-Patch"} {
		if !strings.Contains(resp.Header.Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%s is not exposed", name)
		}
	}
	if resp.StatusCode != 204 {
		t.Errorf("GET: got %s, want 2xx without content", resp.Status)
	}
	if resp, _ := b.do("HEAD", "/whep/app/room/ann", ""); resp.StatusCode != 204 {
		t.Errorf("HEAD: got %s", resp.Status)
	}
	if resp, _ := b.do("PUT", "/whip/app/room/ann", ""); resp.StatusCode != 405 {
		t.Errorf("PUT: got %s", resp.Status)
	}
	if resp, _ := b.do("DELETE", "/whip/session/0123", "", "Authorization", annToken()); resp.StatusCode != 404 {
		t.Errorf("DELETE of no session: got %s", resp.Status)
	}
}

func TestLocationBehindTLS(t *testing.T) {
	r := httptest.NewRequest("POST", "http://braid.example/whip/a/b/c", nil)
	if got := origin(r); got != "http://braid.example" {
		t.Errorf("got %s", got)
	}
	r.Header.Set("X-Forwarded-Proto", "https")
	if got := origin(r); got != "https://braid.example" {
		t.Errorf("behind a proxy: got %s", got)
	}
}

// iceServers are one for everyone and one with a password that is the user's.
func iceServers(user string) []signaling.ICEServer {
	return []signaling.ICEServer{
		{URLs: []string{"stun:stun.example:3478"}},
		{URLs: []string{"turn:turn.example", "turns:turn.example:5349?transport=tcp"}, Username: "9:" + user, Credential: `a"b\c`},
	}
}

// TestICEServers: with a session and with OPTIONS they come as Link fields,
// passwords only for those who show a token, nothing with a preflight.
func TestICEServers(t *testing.T) {
	b := start(t)
	const stun = `<stun:stun.example:3478>; rel="ice-server"`
	all := []string{stun,
		`<turn:turn.example>; rel="ice-server"; username="9:ann"; credential="a\"b\\c"; credential-type="password"`,
		`<turns:turn.example:5349?transport=tcp>; rel="ice-server"; username="9:ann"; credential="a\"b\\c"; credential-type="password"`,
	}
	_, offer := b.sender(vp8Track(t))
	resp, body := b.do("POST", "/whip/app/room/ann", offer, "Content-Type", "application/sdp", "Authorization", annToken())
	if resp.StatusCode != 201 || !slices.Equal(resp.Header.Values("Link"), all) {
		t.Errorf("got %s %q: %s", resp.Status, resp.Header.Values("Link"), body)
	}
	for _, c := range []struct {
		path    string
		headers []string
		want    []string
	}{
		{"/whip/app/room/ann", []string{"Authorization", annToken()}, all},
		{"/whep/app/room/bob", []string{"Authorization", annToken()}, all},
		{"/whip/app/room/ann", nil, []string{stun}},
		{"/whip/app/other/ann", []string{"Authorization", annToken()}, []string{stun}},
		{"/whip/app/room/ann", []string{"Authorization", bearer("app", "key", "room", "ann", -time.Minute)}, []string{stun}},
		{"/whip/app/room/ann", []string{"Authorization", annToken(), "Access-Control-Request-Method", "POST"}, nil},
		{"/whip/session/0123", []string{"Authorization", annToken()}, nil},
		{"/whip/address/nowhere", nil, []string{stun}},
	} {
		resp, _ := b.do("OPTIONS", c.path, "", c.headers...)
		if resp.StatusCode != 200 || !slices.Equal(resp.Header.Values("Link"), c.want) {
			t.Errorf("OPTIONS %s %q: got %s %q, want %q", c.path, c.headers, resp.Status, resp.Header.Values("Link"), c.want)
		}
	}
}
