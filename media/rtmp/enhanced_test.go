package rtmp

import (
	"net"
	"testing"
	"time"

	"braid/internal/testkit"
)

// TestFourCCs: who asks for codecs by FourCC hears what is passed on, others do not;
// and Handlers learn the host.
func TestFourCCs(t *testing.T) {
	testkit.NoLeaks(t)
	for name, c := range map[string]struct {
		asks map[string]any
		want bool
	}{
		"old client":         {map[string]any{}, false},
		"version 1":          {map[string]any{"fourCcList": []string{"hvc1", "av01"}}, true},
		"version 2":          {map[string]any{"videoFourCcInfoMap": map[string]any{"*": 4}, "capsEx": 1}, true},
		"version 2, a radio": {map[string]any{"audioFourCcInfoMap": map[string]any{"Opus": 2}}, true},
	} {
		s := startServer(t, newTestHub(), nil)
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		client := newConn(nc, nc, 5*time.Second)
		if err := client.handshake(false); err != nil {
			t.Fatal(err)
		}
		c.asks["app"] = "live"
		client.reply(t, 0, "connect", 1, c.asks)
		a := client.await("_result")
		if a == nil || len(a.args) < 2 {
			t.Fatalf("%s: connect is answered with %+v", name, a)
		}
		got, _ := a.args[0].(object)
		list, _ := got["fourCcList"].([]any)
		video, _ := got["videoFourCcInfoMap"].(object)
		sound, _ := got["audioFourCcInfoMap"].(object)
		if !c.want && (len(list) > 0 || video != nil || sound != nil) || got.text("fmsVer") == "" {
			t.Errorf("%s: got %v", name, got)
		}
		if c.want && (len(list) != len(videoFourCCs)+len(soundFourCCs) || video["hvc1"] != 4.0 || video["av01"] != 4.0 || sound["Opus"] != 4.0) {
			t.Errorf("%s: got %v", name, got)
		}
		nc.Close()
		s.ended(t) // its error is the client's matter
	}
}

func TestHostOf(t *testing.T) {
	for url, want := range map[string]string{
		"rtmp://Live.Example.com/app":        "live.example.com",
		"rtmp://live.example.com:1935/app":   "live.example.com",
		"rtmps://user:pass@h:443/app/x?y=z":  "h",
		"rtmp://[2001:DB8::1]:1935/app":      "2001:db8::1",
		"rtmp://[2001:db8::1":                "2001:db8::1",
		"rtmp://h?vhost=x":                   "h",
		"rtmp://":                            "",
		"/app":                               "",
		"":                                   "",
		"rtmp:://live.example.com:1935:1/ap": "live.example.com",
	} {
		if got := hostOf(url); got != want {
			t.Errorf("%q: got %q, want %q", url, got, want)
		}
	}
}
