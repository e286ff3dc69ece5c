package origin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/flv"
	"braid/media/rtmp"
)

// doorman lets in who says "key=good", while it is open, at the host "gold".
type doorman struct {
	shut  bool
	asked []Request
}

func (d *doorman) access(_ context.Context, r Request) (Grant, error) {
	d.asked = append(d.asked, r)
	if d.shut || !strings.Contains(r.Query, "key=good") {
		return Grant{}, &rtmp.Refusal{Words: "the key is not good", Err: ErrDenied}
	}
	return Grant{Domain: "gold", Keyed: true}, nil
}

// TestSession: a player of HLS is let in by its key, gets a session, and goes on
// when the key holds no more.
func TestSession(t *testing.T) {
	d := &doorman{}
	o := New(Config{Log: quiet(), Access: d.access})
	defer o.Close()
	in, err := o.PublishAs(Publisher{Domain: "gold", App: "live", Name: "cam", Remote: "test"})
	if err != nil {
		t.Fatal(err)
	}
	open(in)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			in.WriteTag(picture(i*100, i%10 == 0))
			select {
			case <-time.After(10 * time.Millisecond):
			case <-stop:
				return
			}
		}
	}()
	defer func() { close(stop); <-done }()
	get := func(path string) (code int, body string) {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "Gold:8080"
		o.ServeHTTP(w, r)
		b, _ := io.ReadAll(w.Body)
		return w.Code, string(b)
	}
	for _, path := range []string{"/live/cam.m3u8", "/live/cam.flv", "/live/cam.jpg", "/live/cam/1.ts", "/live/cam/ll.m3u8?key=bad", "/live/nobody.flv"} {
		if code, body := get(path); code != 403 || !strings.Contains(body, "the key is not good") {
			t.Errorf("%s without a key: got %d %s", path, code, body)
		}
	}
	first := d.asked[0]
	if first.Host != "gold" || first.App != "live" || first.Name != "cam" || first.Path != "/live/cam.m3u8" || !first.OnAir || first.Domain != "gold" || first.Publish {
		t.Errorf("asked with %+v", first)
	}
	if code, body := get("/live/nobody.m3u8?key=good"); code != 404 {
		t.Errorf("a stream that is not on air: got %d %s", code, body)
	}
	if n := len(o.sessions.all); n != 0 {
		t.Errorf("who waits for a stream that is not on air has %d sessions", n)
	}
	code, master := get("/live/cam.m3u8?key=good&onlyvideo=1")
	at := strings.Split(strings.TrimSpace(master), "\n")
	if code != 200 || !strings.Contains(master, "#EXT-X-STREAM-INF:BANDWIDTH=") {
		t.Fatalf("with the key: got %d %s", code, master)
	}
	u, err := url.Parse(at[len(at)-1])
	if err != nil || u.Path != "cam.m3u8" || u.Query().Get("onlyvideo") != "1" || strings.Contains(u.RawQuery, "good") {
		t.Fatalf("the master playlist leads to %q (%v)", at[len(at)-1], err)
	}
	d.shut = true
	if code, _ := get("/live/cam.m3u8?key=good"); code != 403 {
		t.Errorf("a new player after the key has expired: got %d", code)
	}
	list := ""
	testkit.Eventually(t, "the playlist of the session", func() bool { code, list = get("/live/" + u.String()); return code == 200 })
	lines := strings.Split(strings.TrimSpace(list), "\n")
	segment := lines[len(lines)-1]
	if code, body := get("/live/" + segment); code != 200 || len(body)%188 != 0 || len(body) == 0 {
		t.Errorf("segment %s: got %d, %d bytes", segment, code, len(body))
	}
	for _, path := range []string{"/live/" + strings.Split(segment, "?")[0], "/live/other/1.ts?" + u.RawQuery, "/live/cam_720p.m3u8?" + u.RawQuery, "/live/cam.m3u8?braid_session=ABC"} {
		if code, _ := get(path); code != 403 {
			t.Errorf("%s: got %d, want 403", path, code)
		}
	}
}

func TestSessions(t *testing.T) {
	var s sessions
	now := time.Now()
	id, _ := s.open("live", "cam", true, now)
	gold := owner{domain: "gold"}
	made := owner{domain: "gold", source: "cam"}
	for _, c := range []struct {
		name        string
		of          owner
		onAir, want bool
	}{
		{"cam", owner{}, false, true}, {"cam", gold, true, true}, {"cam_720p", made, true, true}, {"cam_", made, true, false},
		{"cam_7_p", made, true, false}, {"camera", made, true, false}, {"cam", owner{domain: "silver"}, true, false},
		{"cam_secret", gold, true, false}, {"cam_a", owner{domain: "gold", source: "other"}, true, false},
	} {
		if got := s.resume(id, "live", c.name, c.of, c.onAir); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
	s.all[id].used = now.Add(-sessionIdle - time.Second)
	if s.resume(id, "live", "cam", gold, true) {
		t.Error("an idle session goes on")
	}
	late, _ := s.open("live", "cam", false, now)
	s.all[late].used = now.Add(-sessionUnused - time.Second)
	if s.resume(late, "live", "cam", gold, true) {
		t.Error("a session goes on that nobody came back with")
	}
	s.next = time.Time{}
	if s.open("live", "cam", false, now); len(s.all) != 1 {
		t.Errorf("%d sessions are kept, one is in use", len(s.all))
	}
	for len(s.all) < maxSessions {
		s.open("live", "cam", false, now)
	}
	if _, ok := s.open("live", "cam", false, now); ok {
		t.Errorf("session %d is opened", maxSessions+1)
	}
	if _, ok := s.open("live", "cam", false, now.Add(sessionUnused+time.Second)); !ok {
		t.Error("those that nobody came back with keep their places")
	}
}

// TestOnly: a viewer who wants one kind of media gets no tag of the other, and
// metadata that agree.
func TestOnly(t *testing.T) {
	h := NewHub()
	defer h.Close()
	in := publish(t, h, "cam")
	meta := &flv.Tag{Type: flv.Script, Payload: []byte("\x02\x00\x0aonMetaData\x03" +
		"\x00\x05width\x00\x40\x94\x00\x00\x00\x00\x00\x00" + "\x00\x06stereo\x01\x01" + "\x00\x00\x09")}
	in.WriteTag(meta)
	in.WriteTag(avcHeader(30))
	in.WriteTag(aacHeader())
	in.WriteTag(picture(0, true))
	in.WriteTag(sound(0))
	for _, c := range []struct {
		only       byte
		has, lacks string
	}{{flv.Audio, "stereo", "width"}, {flv.Video, "width", "stereo"}} {
		v, err := h.PlayOnly("live", "cam", c.only)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		in.WriteTag(picture(40, false))
		in.WriteTag(sound(40))
		in.WriteTag(picture(80, true))
		kinds := map[kind]int{}
		for _, tag := range waiting(t, v) {
			if tag.Type != c.only && tag.Type != flv.Script {
				t.Errorf("only %d: got a tag of type %d", c.only, tag.Type)
			}
			if tag.kind == kindMeta && (!bytes.Contains(tag.Payload, []byte(c.has)) || bytes.Contains(tag.Payload, []byte(c.lacks)) || !bytes.Contains(tag.FLV, tag.Payload)) {
				t.Errorf("only %d: metadata %q", c.only, tag.Payload)
			}
			kinds[tag.kind]++
		}
		if kinds[kindMeta] != 1 || kinds[kindVideoSH]+kinds[kindAudioSH] != 1 || kinds[kindMedia]+kinds[kindKey] < 2 {
			t.Errorf("only %d: got %v", c.only, kinds)
		}
	}
}

// TestOnlyLacking: what a stream does not have is not found, once it had the time
// to show it.
func TestOnlyLacking(t *testing.T) {
	o := New(Config{Log: quiet()})
	defer o.Close()
	web := httptest.NewServer(o)
	defer web.Close()
	in := publish(t, o.Hub, "mic")
	in.WriteTag(aacHeader())
	in.WriteTag(sound(0))
	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.Get(web.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	for _, path := range []string{"/live/mic.flv", "/live/mic.m3u8"} { // the first waits for the stream to settle
		if code, body := get(path + "?onlyvideo=1"); code != 404 || !strings.Contains(body, "has no pictures") {
			t.Errorf("%s?onlyvideo=1: got %d %s", path, code, body)
		}
		if code, body := get(path + "?onlyvideo=1&onlyaudio=1"); code != 400 || !strings.Contains(body, "exclude each other") {
			t.Errorf("%s, both: got %d %s", path, code, body)
		}
	}
	if _, err := o.PlayOnly("live", "mic", flv.Video); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("PlayOnly: got %v", err)
	}
	if v, err := o.PlayOnly("live", "mic", flv.Audio); err != nil {
		t.Errorf("sound alone: %v", err)
	} else {
		v.Close()
	}
}

// TestEndedElsewhere: the last segments of a stream that has ended are had in its
// own domain alone, also when another one has taken its name.
func TestEndedElsewhere(t *testing.T) {
	o := New(Config{Log: quiet(), Access: func(_ context.Context, r Request) (Grant, error) {
		if r.OnAir && r.Domain != r.Host {
			return Grant{}, media.ErrNotFound
		}
		return Grant{Domain: r.Host}, nil
	}})
	defer o.Close()
	in, err := o.PublishAs(Publisher{Domain: "gold", App: "live", Name: "cam"})
	if err != nil {
		t.Fatal(err)
	}
	open(in)
	get := func(host, path string) (int, string) {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.Host = host
		o.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if _, err := o.openHLS(hlsKey{key{"live", "cam"}, false, 0}); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		in.WriteTag(picture(i*100, i%10 == 0))
	}
	code, list := get("gold", "/live/cam.m3u8")
	lines := strings.Split(strings.TrimSpace(list), "\n")
	file := "/live/" + lines[len(lines)-1]
	if code != 200 {
		t.Fatalf("on air: got %d %s", code, list)
	}
	s := in.s
	o.Hub.mu.Lock()
	s.mu.Lock()
	o.Hub.endLocked(s)
	s.mu.Unlock()
	o.Hub.mu.Unlock()
	for host, want := range map[string]int{"gold": 200, "silver": 404} {
		for _, path := range []string{"/live/cam.m3u8", file} {
			if code, _ := get(host, path); code != want {
				t.Errorf("%s at %s when it has ended: got %d, want %d", path, host, code, want)
			}
		}
	}
	if _, err := o.PublishAs(Publisher{Domain: "silver", App: "live", Name: "cam"}); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"gold", "silver"} {
		if code, _ := get(host, file); code != 404 {
			t.Errorf("%s at %s when another one has the name: got %d", file, host, code)
		}
	}
}

// TestServeFLV: who was let in by others is asked nothing, and an error can still be
// answered in the caller's way.
func TestServeFLV(t *testing.T) {
	d := &doorman{shut: true}
	o := New(Config{Log: quiet(), Access: d.access})
	defer o.Close()
	w := httptest.NewRecorder()
	if err := o.ServeFLV(w, httptest.NewRequest("GET", "/x", nil), "live", "cam"); !errors.Is(err, media.ErrNotFound) || w.Body.Len() > 0 || len(w.Header()) > 0 {
		t.Errorf("nothing on air: got %v with %q and %v", err, w.Body, w.Header())
	}
	in, err := o.Publish("live", "cam", "test")
	if err != nil {
		t.Fatal(err)
	}
	open(in)
	play(in, 0, 1000, 10)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	pr, pw := io.Pipe()
	go func() {
		served <- o.ServeFLV(pipeWriter{header: http.Header{}, to: pw}, httptest.NewRequestWithContext(ctx, "GET", "/x", nil), "live", "cam")
		pw.Close()
	}()
	head := make([]byte, 13)
	if _, err := io.ReadFull(pr, head); err != nil || string(head[:4]) != "FLV\x01" {
		t.Fatalf("got % x, %v", head, err)
	}
	go io.Copy(io.Discard, pr)
	cancel()
	select {
	case err := <-served:
		if err != nil {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on after the end of its context")
	}
	if len(d.asked) > 0 {
		t.Errorf("access was asked for %v", d.asked)
	}
}

// pipeWriter is a ResponseWriter whose reader sees each write at once.
type pipeWriter struct {
	header http.Header
	to     io.Writer
}

func (p pipeWriter) Header() http.Header         { return p.header }
func (p pipeWriter) WriteHeader(int)             {}
func (p pipeWriter) Write(b []byte) (int, error) { return p.to.Write(b) }
func (p pipeWriter) Flush()                      {}
