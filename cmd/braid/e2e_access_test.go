package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"braid/relay"
)

// getText is a GET of an address, with what came back.
func getText(t testing.TB, url string) (code int, body string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// TestSignedAddresses publishes and plays with ffmpeg at a streaming domain that has
// a key: what is signed works in every form, what is not is refused in words.
func TestSignedAddresses(t *testing.T) {
	clip := broadcastClip(t, 320)
	s := startBraid(t)
	// The domain's host is localhost; 127.0.0.1 is of no domain.
	push := strings.Replace(strings.TrimSuffix(s.rtmp, "/live"), "127.0.0.1", "localhost", 1)
	play := strings.Replace(s.http, "127.0.0.1", "localhost", 1)
	s.rest("POST", "/v1/domains", map[string]any{"name": "live.example.com", "ingest": push, "play": play, "auth_key": "abcdef123456"}, nil)
	var urls struct {
		Ingest  string
		Play    []string
		Expires time.Time
	}
	s.rest("GET", "/v1/domains/live.example.com/urls?stream=cam", nil, &urls)
	if left := time.Until(urls.Expires); !strings.HasPrefix(urls.Ingest, push+"/live/cam?auth_key=") || left < 25*time.Minute || left > 31*time.Minute {
		t.Fatalf("addresses: %+v", urls)
	}
	off := onAir(t, urls.Ingest, clip)
	defer off()
	eventually(t, 10*time.Second, "the stream is on air", func() (bool, string) {
		code, body := getText(t, urls.Play[1])
		return code == 200 && strings.Contains(body, "STREAM-INF"), fmt.Sprint(code, body)
	})

	old := time.Now().Add(-31 * time.Minute)
	sign := func(url string, at time.Time) string { return relay.SignURL(url, "abcdef123456", at) }
	var all sync.WaitGroup
	room := make(chan struct{}, 4) // programs at a time
	run := func(f func()) {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			f()
		})
	}
	refused := func(what, words string, args ...string) {
		_, stderr, err := tryCommand(15*time.Second, "ffmpeg", append([]string{"-v", "error", "-nostdin"}, args...)...)
		if err == nil || !strings.Contains(stderr, words) {
			t.Errorf("ffmpeg %s: %v\n%s\nwant %q", what, err, tail(stderr, 600), words)
		}
	}
	picture := []string{"-f", "lavfi", "-i", "testsrc2=s=160x90:r=10", "-t", "1", "-c:v", "libx264", "-f", "flv"}
	for _, c := range []struct{ what, url, words string }{
		{"publishes unsigned", push + "/live/new", "the address needs an auth_key"},
		{"publishes with an old signature", sign(push+"/live/new", old), "the auth_key has expired"},
		{"publishes with another stream's", push + "/live/new?" + after(urls.Ingest), "the auth_key is not right for this address"},
		{"publishes at a host of no domain", s.rtmp + "/new", `the host "127.0.0.1" in the address is that of no streaming domain`},
		{"publishes a name that is taken", urls.Ingest, "somebody publishes this stream already"},
	} {
		run(func() { refused(c.what, c.words, append(picture[:len(picture):len(picture)], c.url)...) })
	}
	for _, c := range []struct{ what, url, words string }{
		{"plays RTMP unsigned", push + "/live/cam", "the address needs an auth_key"},
		{"plays RTMP with an old signature", sign(push+"/live/cam", old), "the auth_key has expired"},
		{"plays an unknown stream", sign(push+"/live/nobody", time.Now()), "nobody publishes this stream"},
		{"wants both and nothing", urls.Ingest + "&onlyaudio=1&onlyvideo=1", "onlyaudio and onlyvideo exclude each other"},
		{"plays FLV unsigned", play + "/live/cam.flv", "403"},
		{"plays HLS with RTMP's signature", play + "/live/cam.m3u8?" + after(urls.Ingest), "403"},
		{"plays an unknown FLV", sign(play+"/live/nobody.flv", time.Now()), "404"},
	} {
		run(func() { refused(c.what, c.words, "-i", c.url, "-f", "null", "-") })
	}
	for url, words := range map[string]string{
		play + "/live/cam.flv":                          "the address needs an auth_key",
		sign(play+"/live/cam.flv", old):                 "the auth_key has expired",
		s.http + "/live/cam.flv":                        `the host "127.0.0.1" in the address is that of no streaming domain`,
		sign(play+"/live/cam.m3u8", old):                "the auth_key has expired",
		play + "/live/cam/1.ts":                         "the address needs an auth_key",
		play + "/live/cam/ll.m3u8?braid_session=NOTONE": "the session has ended",
	} {
		if code, body := getText(t, url); code != 403 || !strings.Contains(body, words) {
			t.Errorf("GET %s: got %d %s, want 403 %s", url, code, body, words)
		}
	}

	forms := []string{sign(push+"/live/cam", time.Now())}
	for _, ending := range []string{".flv", ".m3u8", "/fmp4.m3u8", "/ll.m3u8"} {
		forms = append(forms, sign(play+"/live/cam"+ending, time.Now()))
	}
	for _, url := range forms {
		for only, want := range map[string][]string{"": {"audio", "video"}, "&onlyaudio=1": {"audio"}, "&onlyvideo=1": {"video"}} {
			run(func() {
				if got := kindsOf(t, url+only); !slices.Equal(got, want) {
					t.Errorf("%s%s: got %v, want %v", url, only, got, want)
				}
			})
		}
	}
	var given struct{ Play []string } // on air: in every form
	s.rest("GET", "/v1/domains/live.example.com/urls?stream=cam&expires_in=60", nil, &given)
	if len(given.Play) != 6 {
		t.Errorf("addresses: %v", given.Play)
	}
	for _, url := range given.Play {
		run(func() {
			if got := kindsOf(t, url); !slices.Equal(got, []string{"audio", "video"}) {
				t.Errorf("%s: got %v", url, got)
			}
		})
	}
	all.Wait()
	s.watchedThroughREST()
	s.letInStays(play, sign(play+"/live/cam.m3u8", time.Now()))
}

func after(url string) string {
	_, query, _ := strings.Cut(url, "?")
	return query
}

// watchedThroughREST reads a stream of a domain with a key by the admin token alone.
func (s *braidServer) watchedThroughREST() {
	s.t.Helper()
	get := func(token string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(s.t.Context(), "GET", s.http+"/v1/streams/live/cam/live.flv", nil)
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		return http.DefaultClient.Do(req)
	}
	res, err := get(adminToken)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	head := make([]byte, 20_000) // more than headers: media
	if _, err := io.ReadFull(res.Body, head); err != nil || string(head[:4]) != "FLV\x01" || res.Header.Get("Content-Type") != "video/x-flv" {
		s.t.Errorf("through REST: %s, % x, %v", res.Status, head[:4], err)
	}
	no, err := get("not-an-admin-token")
	if err != nil {
		s.t.Fatal(err)
	}
	no.Body.Close()
	if no.StatusCode != 401 {
		s.t.Errorf("through REST without a right: %s", no.Status)
	}
}

// kindsOf are the kinds of media that ffprobe finds at an address.
func kindsOf(t testing.TB, url string) []string {
	t.Helper()
	out, stderr, err := tryCommand(20*time.Second, "ffprobe", "-v", "error", "-analyzeduration", "1500000", "-show_entries", "stream=codec_type", "-of", "csv=p=0", url)
	if err != nil {
		t.Errorf("ffprobe %s: %v\n%s", url, err, tail(stderr, 600))
	}
	kinds := strings.Fields(strings.ReplaceAll(out, ",", " "))
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// letInStays opens an HLS address and makes it expire: its player goes on, others do
// not come in.
func (s *braidServer) letInStays(play, address string) {
	s.t.Helper()
	_, master := getText(s.t, address)
	lines := strings.Fields(master)
	at, err := url.Parse(lines[len(lines)-1])
	if err != nil || at.Query().Get("braid_session") == "" {
		s.t.Fatalf("no session in\n%s", master)
	}
	list := play + "/live/" + at.String()
	s.rest("PATCH", "/v1/domains/live.example.com", map[string]any{"auth_key": "another123456"}, nil, "If-Match", "*")
	if code, _ := getText(s.t, address); code != 403 {
		s.t.Errorf("the address after the change of the key: got %d", code)
	}
	before := ""
	for range 2 {
		eventually(s.t, 15*time.Second, "a new playlist for who was let in", func() (bool, string) {
			code, body := getText(s.t, list)
			lines := strings.Fields(body)
			if code != 200 || body == before {
				return false, fmt.Sprint(code, body)
			}
			before = body
			code, segment := getText(s.t, play+"/live/"+lines[len(lines)-1])
			return code == 200 && len(segment)%188 == 0, fmt.Sprint(code, " ", len(segment), " bytes")
		})
	}
}

// TestRelayIsLetIn: a relay to the origin inside braid goes on when a domain has a
// key: braid signs what it pushes there.
func TestRelayIsLetIn(t *testing.T) {
	c := clip{ID: 3, W: 320, H: 180, FPS: 15, Seconds: 4, Tone: 500}
	f := c.make(t)
	s := startBraid(t, func(cfg *config) { cfg.Origin.AuthKey = "ownown123" })
	s.rest("POST", "/v1/domains", map[string]any{"name": "live.example.com", "ingest": "rtmp://push.example.com", "auth_key": "abcdef123456"}, nil)
	s.publish("room", "eve", f, c.FPS, "h264")
	s.call("StartLiveMPUTask", singleParams("single", "room", "eve", s.rtmp+"/single"))
	var urls struct{ Play []string }
	s.rest("GET", "/v1/origin/urls?stream=single", nil, &urls)
	if len(urls.Play) != 6 {
		t.Fatalf("addresses: %v", urls.Play)
	}
	rtmp := urls.Play[5]
	eventually(t, 15*time.Second, "the relayed stream", func() (bool, string) {
		_, stderr, err := tryCommand(10*time.Second, "ffmpeg", "-v", "error", "-nostdin", "-i", rtmp, "-t", "0.5", "-f", "null", "-")
		return err == nil, tail(stderr, 300)
	})
	if code, body := getText(t, s.http+"/live/single.flv"); code != 403 {
		t.Errorf("unsigned: %d %s", code, body)
	}
}
