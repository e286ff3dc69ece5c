package sdk

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// guest is somebody who publishes silence to an address of
// CreateRTCWhipStreamAddress, until the test ends.
type guest struct {
	pc      *webrtc.PeerConnection
	session string      // its URL
	gone    atomic.Bool // the server has ended the session
	stop    context.CancelFunc
	stopped chan struct{} // closed when nothing is sent any more
}

// enter makes an address for a user and publishes to it as any WHIP client does.
func enter(t *testing.T, channel, user string) *guest {
	t.Helper()
	a := core(t, "CreateRTCWhipStreamAddress", object{"AppId": under.app, "ChannelId": channel, "UserId": user, "DisplayName": "Guest " + user})
	address, _ := a["WhipAddress"].(string)
	return publish(t, address)
}

func publish(t *testing.T, address string) *guest {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	g := &guest{pc: pc, stop: stop, stopped: make(chan struct{})}
	codec := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	track, err := webrtc.NewTrackLocalStaticSample(codec, "audio", "guest")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(track); err != nil {
		t.Fatal(err)
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateFailed || s == webrtc.PeerConnectionStateClosed || s == webrtc.PeerConnectionStateDisconnected {
			g.gone.Store(true)
		}
	})
	go g.send(ctx, track)
	t.Cleanup(g.leave)
	g.post(t, address)
	eventually(t, 10*time.Second, "the guest connects", func() (bool, any) {
		s := pc.ConnectionState()
		return s == webrtc.PeerConnectionStateConnected, s
	})
	return g
}

// post is the WHIP request (RFC 9725 section 4.2): an offer with all candidates.
func (g *guest) post(t *testing.T, address string) {
	t.Helper()
	offer, err := g.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(g.pc)
	if err := g.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	resp, err := http.Post(address, "application/sdp", strings.NewReader(g.pc.LocalDescription().SDP))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("POST %s: %s: %s (%v)", address, resp.Status, answer, err)
	}
	at, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	g.session = at.String()
	if err := g.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		t.Fatal(err)
	}
}

func (g *guest) send(ctx context.Context, track *webrtc.TrackLocalStaticSample) {
	defer close(g.stopped)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			track.WriteSample(media.Sample{Data: []byte{0xf8, 0xff, 0xfe}, Duration: 20 * time.Millisecond}) // Opus: silence
		}
	}
}

// leave ends the session, at the server too; it may be called twice.
func (g *guest) leave() {
	g.stop()
	<-g.stopped
	if g.session != "" {
		if req, err := http.NewRequest("DELETE", g.session, nil); err == nil {
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		g.session = ""
	}
	g.pc.Close()
}
