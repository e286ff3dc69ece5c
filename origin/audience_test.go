package origin

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
	"braid/media/rtmp"
)

// Who watches over RTMP and HTTP-FLV is counted while it does; who is not let in is
// counted for ever, also a publisher of a call whose address nobody knows.
func TestAudience(t *testing.T) {
	d := &doorman{}
	o := New(Config{Log: quiet(), Access: d.access, Ingest: func(rtmp.Request) (rtmp.Ingest, error) { return nil, media.ErrNotFound }})
	defer o.Close()
	h := rtmpHandler{o}
	ask := func(app, query string) rtmp.Request {
		return rtmp.Request{App: app, Stream: "cam", Query: query, Remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}}
	}
	if _, err := h.Publish(ask("live", "key=bad")); err == nil {
		t.Fatal("a publisher without a key is let in")
	}
	if _, err := h.Publish(ask(IngestApp, "")); err == nil {
		t.Fatal("a publisher to no address is let in")
	}
	in, err := h.Publish(ask("live", "key=good"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := h.Publish(ask("live", "key=good")); err == nil { // taken: no matter of rights
		t.Fatal("two publish one stream")
	}
	open(in.(*Ingest))
	in.WriteTag(picture(0, true))
	if _, err := h.Play(ask("live", "key=bad")); err == nil {
		t.Fatal("a player without a key is let in")
	}
	one, err := h.Play(ask("live", "key=good"))
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(o)
	defer web.Close()
	ctx, stop := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", web.URL+"/live/cam.flv?key=good", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := bufio.NewReader(resp.Body).ReadByte(); err != nil {
		t.Fatal(err)
	}
	if got, want := o.Audience(), (Audience{RTMP: 1, FLV: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	one.Close()
	one.Close()
	stop()
	for deadline := time.Now().Add(10 * time.Second); o.Audience() != (Audience{}); {
		if time.Now().After(deadline) {
			t.Fatalf("all have left: got %+v", o.Audience())
		}
		in.WriteTag(picture(40, false))
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	if got, want := o.Denied(), (Denied{Publish: 2, Play: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Readers of playlists are told apart by address, program, session and stream, and have
// left when they do not ask any more.
func TestReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a readers
		ask := func(from, agent, query, name string) {
			r := httptest.NewRequest("GET", "/live/"+name+".m3u8"+query, nil)
			r.RemoteAddr = from
			r.Header.Set("User-Agent", agent)
			a.note(r, "live", name, time.Now())
		}
		ask("192.0.2.1:1000", "vlc", "", "cam")
		ask("192.0.2.1:1001", "vlc", "?_HLS_msn=7", "cam") // the same, by another connection
		ask("192.0.2.1:1002", "hls.js", "", "cam")
		ask("192.0.2.2:1000", "vlc", "", "cam")
		ask("192.0.2.1:1000", "vlc", "", "dog")
		ask("192.0.2.1:1000", "vlc", "?braid_session=A", "cam")
		if got := a.count(time.Now()); got != 5 {
			t.Errorf("got %d, want 5", got)
		}
		time.Sleep(readerQuiet - time.Second)
		ask("192.0.2.1:1000", "vlc", "", "cam")
		time.Sleep(2 * time.Second)
		if got := a.count(time.Now()); got != 1 {
			t.Errorf("when one goes on asking: got %d, want 1", got)
		}
		time.Sleep(readerQuiet)
		if got := a.count(time.Now()); got != 0 {
			t.Errorf("when nobody does: got %d", got)
		}
	})
}
