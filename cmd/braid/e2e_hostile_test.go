package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"braid/internal/testkit"
	"braid/signaling/artc"
)

// TestBadInput feeds the server what it must refuse or survive, while a mix of
// a healthy user runs: at the end that mix has not lost a picture.
func TestBadInput(t *testing.T) {
	c := clip{ID: 7, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}
	f := c.make(t)
	s := startBraid(t)
	s.publish("room", "fay", f, c.FPS, "h264")
	whole := pane{"fay", 0, 0, 1, 1, 0}
	s.call("StartLiveMPUTask", mixParams("healthy", "room", []string{s.rtmp + "/healthy"}, 640, 360, 30, whole))
	healthy := record(t, s.rtmp+"/healthy", 20*time.Second)
	healthy.reaches(200_000)

	t.Run("signatures", func(t *testing.T) { s.t = t; badSignatures(t, s) })
	t.Run("layouts", func(t *testing.T) { s.t = t; badLayouts(t, s) })
	t.Run("users", func(t *testing.T) { s.t = t; unknownUsers(t, s) })
	t.Run("origins", func(t *testing.T) { s.t = t; badOrigins(t, s) })
	t.Run("offers", func(t *testing.T) { s.t = t; badOffers(t, s) })
	t.Run("media", func(t *testing.T) { s.t = t; badMedia(t, s) })
	s.t = t

	file := healthy.done(t)
	cleanDecode(t, file)
	last, lost, total := -1, 0, 0
	for _, n := range readBarcodes(t, file, rect{0, 0, 640, 360}, [2]int{}, c.ID) {
		switch step := (n - last + 300) % 300; {
		case n < 0:
			if last >= 0 {
				t.Errorf("a picture after %d pictures does not show the user", total)
			}
			continue
		case last >= 0 && step > 2: // one picture may fall between two ticks of the mix
			lost += step - 1
		}
		last = n
		total++
	}
	if total < 15*30 || lost > total/50 {
		t.Errorf("the healthy mix: %d pictures in 20 s, %d lost on the way", total, lost)
	}
}

func badSignatures(t *testing.T, s *braidServer) {
	list := map[string]any{"PageNo": "1", "PageSize": "10"}
	sign := func(id, secret string, at time.Time) *http.Request {
		req := s.rpc("ListRtcMPUTaskDetail", list)
		if err := artc.Sign(req, id, secret, at, rand.Text()); err != nil {
			t.Fatal(err)
		}
		return req
	}
	unsigned := s.rpc("ListRtcMPUTaskDetail", list)
	unsigned.Header.Del("Authorization")
	changed := s.rpc("ListRtcMPUTaskDetail", list)
	changed.URL.RawQuery = strings.Replace(changed.URL.RawQuery, "PageNo=1", "PageNo=2", 1)
	again := s.rpc("ListRtcMPUTaskDetail", list)
	if a := s.do(again.Clone(context.Background())); a.status != 200 {
		t.Fatalf("a good request: %d %v", a.status, a.fields)
	}
	for _, c := range []struct {
		name string
		req  *http.Request
		code string
	}{
		{"unsigned", unsigned, "MissingParameter"},
		{"unknown key", sign("nobody", accessCode, time.Now()), "InvalidAccessKeyId.NotFound"},
		{"wrong secret", sign(accessID, "guess", time.Now()), "SignatureDoesNotMatch"},
		{"changed after signing", changed, "SignatureDoesNotMatch"},
		{"16 minutes old", sign(accessID, accessCode, time.Now().Add(-16*time.Minute)), "InvalidTimeStamp.Expired"},
		{"16 minutes early", sign(accessID, accessCode, time.Now().Add(16*time.Minute)), "InvalidTimeStamp.Expired"},
		{"sent twice", again, "SignatureNonceUsed"},
	} {
		if a := s.do(c.req); a.status/100 != 4 || a.code() != c.code {
			t.Errorf("%s: got %d %s (%s), want %s", c.name, a.status, a.code(), a.message(), c.code)
		}
	}
}

func badLayouts(t *testing.T, s *braidServer) {
	for _, c := range []struct{ field, value string }{
		{"X", "1.5"}, {"X", "-0.1"}, {"Y", "NaN"}, {"Width", "+Inf"}, {"Width", "1e309"}, {"Height", "0"}, {"Height", "1.2"},
		{"X", "0.7"}, // with Width 0.5 it sticks out
		{"Y", "wide"}, {"ZOrder", "100"}, {"ZOrder", "-1"}, {"RenderMode", "7"},
	} {
		params := mixParams("bad", "room", []string{s.rtmp + "/bad"}, 640, 360, 30, pane{"fay", 0, 0, 0.5, 0.5, 0})
		b, err := json.Marshal(params["TranscodeParams"])
		if err != nil {
			t.Fatal(err)
		}
		var tree map[string]any
		if err := json.Unmarshal(b, &tree); err != nil {
			t.Fatal(err)
		}
		tree["Layout"].(map[string]any)["UserPanes"].([]any)[0].(map[string]any)[c.field] = c.value
		params["TranscodeParams"] = tree
		if a := s.do(s.rpc("StartLiveMPUTask", params)); a.status != 400 || a.code() != "InvalidParam" || !strings.Contains(a.message(), "UserPanes") {
			t.Errorf("%s=%s: got %d %s (%s), want InvalidParam that names the pane", c.field, c.value, a.status, a.code(), a.message())
		}
	}
}

// unknownUsers are no error: they may come. Nobody at all is one.
func unknownUsers(t *testing.T, s *braidServer) {
	ghost := pane{"ghost", 0, 0, 1, 1, 0}
	if a := s.do(s.rpc("StartLiveMPUTask", mixParams("ghost", "empty-room", []string{s.rtmp + "/ghost"}, 640, 360, 30, ghost))); a.status/100 != 4 {
		t.Errorf("a mix of a channel without users: %d %s", a.status, a.code())
	}
	s.call("StartLiveMPUTask", mixParams("ghost", "room", []string{s.rtmp + "/ghost"}, 640, 360, 30, ghost))
	file := pull(t, s.rtmp+"/ghost", 2*time.Second)
	all := pictures(t, file, rect{0, 0, 640, 360}, [2]int{32, 18})
	for _, p := range all { // the slate: dark, and it does not move
		sum := 0
		for i, v := range p.Y {
			sum += int(v)
			if d := int(v) - int(all[0].Y[i]); max(d, -d) > 12 {
				t.Fatalf("the slate moves: brightness %d at %v, at first %d", v, p.PTS, all[0].Y[i])
			}
		}
		if mean := sum / len(p.Y); mean > 70 {
			t.Fatalf("a mix of a user who is not there has a mean brightness of %d at %v, want the dark slate", mean, p.PTS)
		}
	}
	s.call("StopLiveMPUTask", map[string]any{"TaskId": "ghost"})
}

// badOrigins pushes to addresses that refuse, hang and hang up: their tasks stay
// controllable.
func badOrigins(t *testing.T, s *braidServer) {
	hang, closing := listenTCP(t, false), listenTCP(t, true)
	for name, target := range map[string]string{
		"refuses":  fmt.Sprintf("rtmp://127.0.0.1:%d/live/x", freePort(t)),
		"hangs":    "rtmp://" + hang + "/live/x",
		"hangs up": "rtmp://" + closing + "/live/x",
	} {
		id := strings.ReplaceAll(name, " ", "-")
		s.call("StartLiveMPUTask", singleParams(id, "room", "fay", target))
		wait(1500 * time.Millisecond) // time for a connection and a first attempt to repeat it
		start := time.Now()
		s.call("StopLiveMPUTask", map[string]any{"TaskId": id})
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("an origin that %s: the stop takes %v", name, took)
		}
	}
	for _, target := range []string{"http://127.0.0.1/live/x", "rtmp://", "rtmp://127.0.0.1:99999/live/x", "rtmp://127.0.0.1/"} {
		if a := s.do(s.rpc("StartLiveMPUTask", singleParams("bad-url", "room", "fay", target))); a.status != 400 || a.code() != "InvalidParam" {
			t.Errorf("StreamURL %s: %d %s (%s), want InvalidParam", target, a.status, a.code(), a.message())
			s.do(s.rpc("StopLiveMPUTask", map[string]any{"TaskId": "bad-url"}))
		}
	}
}

// listenTCP accepts connections and hangs, or hangs up.
func listenTCP(t *testing.T, hangUp bool) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if hangUp {
				c.Close()
			} else {
				t.Cleanup(func() { c.Close() })
			}
		}
	}()
	return l.Addr().String()
}

func badOffers(t *testing.T, s *braidServer) {
	noise := make([]byte, 5000)
	rand.Read(noise)
	for name, body := range map[string][]byte{
		"nothing": nil, "noise": noise, "a header only": []byte("v=0\r\n"), "much": bytes.Repeat([]byte("a=x\r\n"), 1<<20),
		"no media":           []byte("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"),
		"media without keys": []byte("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 H264/90000\r\n"),
	} {
		for _, endpoint := range []string{s.whip("room", "gus"), s.whep("room", "fay")} {
			req, err := http.NewRequest("POST", endpoint, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/sdp")
			req.Header.Set("Authorization", "Bearer "+s.token("room", "gus"))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				if len(body) > 1<<20 {
					continue // the server may hang up on a body that is far too long
				}
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode/100 != 4 || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("offer of %s to %s: %s %s", name, endpoint, resp.Status, text)
			}
		}
	}
}

// badMedia publishes rubbish as H.264, and a stream whose SPS announces a
// picture of 16384x8704, and mixes and relays both.
func badMedia(t *testing.T, s *braidServer) {
	for user, packets := range map[string][][]byte{"rubbish": rubbishRTP(), "giant": giantPicture()} {
		p := publishRTP(t, s.whip("room", user), s.token("room", user), packets)
		s.call("StartLiveMPUTask", mixParams("mix-"+user, "room", []string{s.rtmp + "/mix-" + user}, 640, 360, 30, pane{user, 0, 0, 1, 1, 0}))
		s.call("StartLiveMPUTask", singleParams("single-"+user, "room", user, s.rtmp+"/single-"+user))
		file := pull(t, s.rtmp+"/mix-"+user, 2*time.Second) // the mix itself goes on
		cleanDecode(t, file)
		s.call("StopLiveMPUTask", map[string]any{"TaskId": "mix-" + user})
		s.call("StopLiveMPUTask", map[string]any{"TaskId": "single-" + user})
		p.close()
	}
}

func rubbishRTP() (packets [][]byte) {
	for i := range 200 {
		b := make([]byte, 1+i*5)
		rand.Read(b)
		packets = append(packets, b)
	}
	// And what nearly is H.264: a fragment without its start, empty aggregates, a NAL unit of one byte.
	return append(packets, []byte{0x7c, 0x45, 1, 2, 3}, []byte{0x78}, []byte{0x78, 0xff, 0xff, 1}, []byte{0x65}, []byte{0x67})
}

// giantPicture is an SPS of 16384x8704 (1024x544 macroblocks), a PPS and a
// slice that a decoder would need 214 MB for.
func giantPicture() [][]byte {
	pps := []byte{0x68, 0xce, 0x3c, 0x80}
	slice := append([]byte{0x65, 0x88, 0x84}, bytes.Repeat([]byte{0x5a}, 900)...)
	return [][]byte{testkit.SPS(16384/16, 8704/16), pps, slice}
}

// publishRTP publishes payloads as H.264 RTP packets, as they are, again and again.
func publishRTP(t *testing.T, endpoint, token string, payloads [][]byte) *peer {
	t.Helper()
	p := newPeer(t)
	track, err := webrtc.NewTrackLocalStaticRTP(h264Codec, "video", "bad")
	if err != nil {
		t.Fatal(err)
	}
	p.add(track, h264Codec)
	if err := p.connect(endpoint, token); err != nil {
		t.Fatal(err)
	}
	p.connected()
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, p.ended = cancel, make(chan struct{})
	go func() {
		defer close(p.ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := uint16(0); ; n++ {
			packet := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: n, Timestamp: uint32(n/3) * 3000, Marker: n%3 == 2}, Payload: payloads[int(n)%len(payloads)]}
			if track.WriteRTP(packet) != nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return p
}
