package rtc

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"

	"braid/media/sfu"
)

// TestReconnects: users come back 200 times, half to their session and half to
// a new one, some with media, and nothing of them is left.
func TestReconnects(t *testing.T) {
	w := newWorld(t)
	watcher := w.join("watcher")
	http := w.http.Client()
	round := func(n int) {
		c := w.join("ann")
		if n%20 == 0 {
			c.publish(sfu.Microphone)
			watcher.until("ann is heard anew", func() bool {
				g := watcher.arrived[key{"ann", sfu.Microphone}]
				return g != nil && g.packets > n/20
			})
		}
		c.cut()
		if m := c.back(); !m.Resumed {
			t.Fatalf("round %d: not resumed", n)
		}
		c.must("leave", nil)
		c.ends("left")
		c.close()
	}
	round(0) // what is made once
	w.until("ann has left", func() bool { return len(w.sfu.Snapshot()[0].Users) == 1 })
	http.CloseIdleConnections()
	before := settled(0)
	for n := range 100 {
		round(n)
	}
	w.until("nobody else is left", func() bool {
		all := w.sfu.Snapshot()
		return len(all) == 1 && len(all[0].Users) == 1
	})
	http.CloseIdleConnections()
	if after := settled(before + 5); after > before+5 {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after\n%s", before, after, buf[:runtime.Stack(buf, true)])
	}
	w.until("events are even", func() bool { return w.count("UserJoin ann") == 101 && w.count("UserLeave ann 1") == 101 })
	w.rtc.mu.Lock()
	defer w.rtc.mu.Unlock()
	if len(w.rtc.sessions) != 1 || w.rtc.waiting != 0 {
		t.Errorf("%d sessions, %d sockets wait", len(w.rtc.sessions), w.rtc.waiting)
	}
}

// settled counts goroutines when they are at most want, or do not become fewer.
func settled(want int) (n int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for same, i := 0, 0; i < 200; i++ {
		now := runtime.NumGoroutine()
		if now <= want {
			return now
		}
		if now == n {
			same++
		} else {
			same = 0
		}
		if n = now; same > 20 {
			return n
		}
		<-tick.C
	}
	return n
}

// TestSlowReader: a client that does not read loses its socket, not its session,
// and nobody waits for it.
func TestSlowReader(t *testing.T) {
	w := newWorld(t)
	ann := w.join("ann")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(w.http.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	join := encode(fields{"id": 1, "type": "join", "token": jwt(t, "slow")})
	if err := conn.Write(ctx, websocket.MessageText, join); err != nil {
		t.Fatal(err)
	}
	_, text, err := conn.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var joined message
	if err := json.Unmarshal(text, &joined); err != nil {
		t.Fatal(err)
	}
	loud, _, err := w.sfu.Join(sfu.JoinRequest{App: "app", Channel: "room", User: "loud"}) // no limits inside
	if err != nil {
		t.Fatal(err)
	}
	payload := encode(fields{"x": strings.Repeat("x", maxPayload-10)})
	w.until("the server has let go of the socket", func() bool {
		for range 50 {
			if _, err := loud.Send([]string{"slow"}, "", payload, true); err != nil {
				t.Fatal(err)
			}
		}
		return strings.Contains(w.log.String(), "the client reads too slowly")
	})
	ann.must("ping", nil)
	if n := len(w.sfu.Snapshot()[0].Users); n != 3 {
		t.Errorf("%d users, want all", n)
	}
}

// TestWHIPBeside: a WHIP session of the same user takes the camera, and the
// participant stays.
func TestWHIPBeside(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.join("ann"), w.join("bob")
	ann.publish(sfu.Camera, sfu.ShareScreen)
	bob.hears(5, "ann", sfu.Camera, sfu.ShareScreen)

	obs := newPeer(t, nil, nil)
	defer obs.GracefulClose()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "obs")
	if err != nil {
		t.Fatal(err)
	}
	sender, err := obs.AddTrack(track)
	if err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(t.Context())
	out := &sending{source: sfu.Microphone, track: track, sender: sender, cancel: cancel, done: make(chan struct{})}
	go out.run(run)
	defer out.stop()
	offer, err := obs.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(obs)
	if err := obs.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	_, answer, err := w.sfu.Publish(t.Context(), sfu.PublishRequest{App: "app", Channel: "room", User: "ann", Offer: obs.LocalDescription().SDP})
	if err != nil {
		t.Fatal(err)
	}
	if err := obs.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	ann.sees("unpublished", "ann", sfu.Camera) // her own: she is told that it was taken
	bob.sees("unpublished", "ann", sfu.Camera)
	bob.hears(10, "ann", sfu.Microphone, sfu.ShareScreen)

	// The participant takes it back with its next offer.
	ann.publish()
	bob.hears(10, "ann", sfu.Camera, sfu.ShareScreen)
	bob.sees("unpublished", "ann", sfu.Microphone)
	if n := w.count("UserJoin ann"); n != 1 {
		t.Errorf("events: %v", w.told())
	}
}
