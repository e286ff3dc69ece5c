package sfu

import (
	_ "embed"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"

	"braid/media"
)

//go:embed testdata/offers/chromium.sdp
var chromiumOffer string

//go:embed testdata/offers/chromium-watch.sdp
var chromiumWatch string

// TestOffersOfRealClients answers each through Pion.
func TestOffersOfRealClients(t *testing.T) {
	s := testServer(t)
	for name, want := range map[string][]string{
		"chromium":           {"m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\n", "a=setup:passive", "VP8/90000", "ssrc-audio-level", "transport-wide-cc"},
		"chromium-simulcast": {"a=simulcast:recv q;h;f\r\n", "a=rid:f recv\r\n", "VP8/90000"},
		"firefox":            {"m=video 9 UDP/TLS/RTP/SAVPF 120 124\r\n", "VP8/90000", "transport-wide-cc"}, // its video section is bundle-only, with port 0
		"ffmpeg":             {"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "m=video 9 UDP/TLS/RTP/SAVPF 106\r\n", "a=setup:active", "H264/90000"},
		"aiortc":             {"m=audio 9 UDP/TLS/RTP/SAVPF 96\r\n", "m=video 9 UDP/TLS/RTP/SAVPF 97 98\r\n", "a=setup:passive"}, // each section has ICE credentials of its own
		"libdatachannel":     {"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "a=setup:passive", "a=recvonly"},
		"gstreamer":          {"a=mid:video0\r\n", "a=mid:audio1\r\n", "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n", "a=recvonly"},
	} {
		t.Run(name, func(t *testing.T) {
			offer, err := os.ReadFile("testdata/offers/" + name + ".sdp")
			if err != nil {
				t.Fatal(err)
			}
			sess, answer, err := s.Publish(t.Context(), PublishRequest{App: "app", Channel: "room", User: name, Offer: string(offer)})
			if err != nil {
				t.Fatal(err)
			}
			defer sess.Close()
			want = append(want, "a=ice-lite\r\n", "a=group:BUNDLE ", "a=end-of-candidates\r\n", "a=rtcp-mux\r\n")
			for _, w := range want {
				if !strings.Contains(answer, w) {
					t.Errorf("want %q in the answer:\n%s", w, answer)
				}
			}
			for _, unwanted := range []string{"a=sendrecv", ".local", "m=video 0 ", "m=audio 0 "} {
				if strings.Contains(answer, unwanted) {
					t.Errorf("%q is in the answer:\n%s", unwanted, answer)
				}
			}
			first, _, _ := strings.Cut(answer[strings.Index(answer, "a=candidate:"):], "\r\n")
			if !strings.Contains(first, " udp ") {
				t.Errorf("the first candidate is %s, want UDP", first)
			}
		})
	}
}

// change replaces text in a good offer and complains when it is not there.
func change(t testing.TB, from string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(from, pairs[i]) {
			t.Fatalf("%q is not in the offer", pairs[i])
		}
		from = strings.ReplaceAll(from, pairs[i], pairs[i+1])
	}
	return from
}

// badOffers are offers that Publish refuses, why, and a word of the reason.
func badOffers(t testing.TB) []badOffer {
	b, err := os.ReadFile("testdata/offers/libdatachannel.sdp")
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	second := "m=video" + strings.SplitN(good, "m=video", 2)[1]
	return []badOffer{
		{"", media.ErrInvalid, "no media"},
		{"hello", media.ErrInvalid, "not SDP"},
		{"\xff\x00", media.ErrInvalid, "not SDP"},
		{"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", media.ErrInvalid, "no media"},
		{strings.Repeat("a", MaxOffer+1), media.ErrInvalid, "65537 bytes"},
		{change(t, good, "a=ice-ufrag:jDqE\r\n", ""), media.ErrInvalid, "ice-ufrag"},
		{change(t, good, "a=ice-pwd:QDTUfYeFpGwCKhHJcUjqkt\r\n", ""), media.ErrInvalid, "ice-pwd"},
		{change(t, good, "a=fingerprint:", "a=x:"), media.ErrInvalid, "fingerprint"},
		{change(t, good, "a=setup:actpass", "a=setup:holdconn"), media.ErrInvalid, "holdconn"},
		{change(t, good, "a=mid:1\r\n", ""), media.ErrInvalid, "a=mid"},
		{change(t, good, "a=rtcp-mux\r\n", ""), ErrUnsupported, "rtcp-mux"},
		{change(t, good, "a=sendonly", "a=recvonly"), ErrUnsupported, "recvonly"},
		{change(t, good, "a=sendonly", "a=inactive"), ErrUnsupported, "active"},
		{change(t, good, "a=group:BUNDLE 0 1", "a=group:BUNDLE 0"), ErrUnsupported, "BUNDLE"},
		{change(t, good, "a=setup:actpass", "a=setup:actpass\r\na=ice-lite"), ErrUnsupported, "ICE-lite"},
		{change(t, good, "H264/90000", "H266/90000"), ErrUnsupported, "H266"},
		{change(t, good, "opus/48000/2", "PCMU/8000"), ErrUnsupported, "opus"},
		{change(t, good, "packetization-mode=1", "packetization-mode=2"), ErrUnsupported, "packetization-mode"},
		{change(t, good, "BUNDLE 0 1", "BUNDLE 0 1 2") + change(t, second, "a=mid:1", "a=mid:2"), ErrUnsupported, "more than one video"},
		{change(t, good, "m=video 9 UDP/TLS/RTP/SAVPF 96", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"), ErrUnsupported, "application"},
	}
}

type badOffer struct {
	text string
	want error
	word string
}

func TestBadOffers(t *testing.T) {
	s := testServer(t)
	for _, c := range badOffers(t) {
		_, _, err := s.Publish(t.Context(), PublishRequest{App: "app", Channel: "room", User: "ann", Offer: c.text})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%.60q: got %v, want %q with %q", c.text, err, c.want, c.word)
		}
	}
	if n := len(s.sessions); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// TestNoCommonCodec: the error names what is published and what is offered.
func TestNoCommonCodec(t *testing.T) {
	s := testServer(t)
	feed, _ := h264Feed(t)
	publish(t, s, "ann", feed)
	subscribe := func(offer string) error {
		sess, _, err := s.Subscribe(t.Context(), SubscribeRequest{App: "app", Channel: "room", Viewer: "bob", User: "ann", Offer: offer})
		if err == nil {
			sess.Close()
		}
		return err
	}
	if err := subscribe(chromiumWatch); err != nil {
		t.Errorf("Chromium's own offer: %v", err)
	}
	for offer, word := range map[string]string{
		change(t, chromiumWatch, " H264/90000", " H263/90000"):                   "H264",
		change(t, chromiumWatch, "packetization-mode=1", "packetization-mode=0"): "packetization-mode 1",
		change(t, chromiumWatch, "a=recvonly", "a=sendonly"):                     "sendonly",
		change(t, chromiumWatch, "m=video 9", "m=video 0"):                       "no media section",
	} {
		if err := subscribe(offer); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), word) {
			t.Errorf("got %v, want ErrUnsupported with %q", err, word)
		}
	}
}

func TestMatch(t *testing.T) {
	at := func(payload uint8, fmtp string) codec { return codec{name: media.H264, payload: payload, fmtp: fmtp} }
	sec := &section{codecs: []codec{
		{name: media.VP8, payload: 96},
		at(102, "packetization-mode=1;profile-level-id=42001f"),
		at(104, "packetization-mode=0;profile-level-id=42001f"),
		at(106, "packetization-mode=1;profile-level-id=42e01f"),
	}}
	for _, c := range []struct {
		published codec
		want      uint8
	}{
		{at(1, "packetization-mode=1;profile-level-id=42e01f"), 106},
		{at(1, "packetization-mode=1;profile-level-id=42E015"), 106},
		{at(1, "packetization-mode=1;profile-level-id=64001f"), 102}, // no such profile: the first that takes fragments
		{at(1, "profile-level-id=42001f"), 104},                      // mode 0 is the default
		{at(1, "packetization-mode=1"), 102},
		{codec{name: media.VP8}, 96},
		{codec{name: media.Opus}, 0},
	} {
		got, ok := sec.match(c.published)
		if got.payload != c.want || ok != (c.want != 0) {
			t.Errorf("%+v: got payload type %d, want %d", c.published, got.payload, c.want)
		}
	}
}

func TestBestLayer(t *testing.T) {
	for rids, want := range map[string]string{
		"": "", "q h f": "f", "f h q": "f", "low mid high": "high", "0 1 2": "0", "a b c": "c", "r0 r1 r2": "r2", "solo": "solo",
	} {
		if got := bestLayer(strings.Fields(rids)); got != want {
			t.Errorf("%q: got %q, want %q", rids, got, want)
		}
	}
	m := &sdp.MediaDescription{Attributes: []sdp.Attribute{{Key: "simulcast", Value: "recv x;y send 1,4;~2;3"}}}
	if got := layers(m); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("got layers %q", got)
	}
}

// FuzzOffer: whatever text comes, Publish's and Subscribe's checks say yes or
// no; and what is left after yes is an offer of at most one codec a section,
// without candidates.
func FuzzOffer(f *testing.F) {
	names, err := filepath.Glob("testdata/offers/*.sdp")
	if err != nil || len(names) == 0 {
		f.Fatal("no offers", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	for _, c := range badOffers(f) {
		f.Add(c.text)
	}
	pub := &publication{audio: newTrack(codec{name: media.Opus}), video: newTrack(codec{name: media.VP8})}
	f.Fuzz(func(t *testing.T, text string) {
		if o, err := parseOffer(text, watching); err == nil {
			if sends, err := plan(o, pub); err == nil && len(sends) > 2 {
				t.Fatalf("%d tracks to send", len(sends))
			}
			mustReduce(t, o)
		} else if !errors.Is(err, media.ErrInvalid) && !errors.Is(err, ErrUnsupported) {
			t.Fatal(err)
		}
		o, err := parseOffer(text, publishing)
		if err != nil {
			return
		}
		for _, sec := range o.sections {
			if sec.active && len(sec.codecs) > 0 {
				sec.take(sec.codecs[0])
			}
		}
		mustReduce(t, o)
	})
}

func mustReduce(t *testing.T, o *offer) {
	t.Helper()
	text, err := o.reduced()
	if err != nil {
		return
	}
	var again sdp.SessionDescription
	if err := again.UnmarshalString(text); err != nil {
		t.Fatalf("the reduced offer is unreadable: %v\n%s", err, text)
	}
	if strings.Contains(text, "\na=candidate:") {
		t.Fatalf("a candidate is left:\n%s", text)
	}
	for i, m := range again.MediaDescriptions {
		if len(o.sections[i].taken) > 0 && len(m.MediaName.Formats) > 2 {
			t.Fatalf("section %d has formats %v", i, m.MediaName.Formats)
		}
	}
}
