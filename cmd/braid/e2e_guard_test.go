package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestPrivateAddressesAreRefused: without a line in the config, callbacks, relays
// and background images do not reach into the machine's own networks, and each
// refusal is told where its owner looks. The embedded origin is no such address.
func TestPrivateAddressesAreRefused(t *testing.T) {
	s := startBraid(t, func(c *config) { c.Outbound.Allow = nil })
	c := clip{ID: 9, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}
	var reached atomic.Int32
	private := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(private.Close)
	address := private.Listener.Addr().String()

	s.call("CreateEventSub", map[string]any{"CallbackUrl": private.URL + "/cb", "Events.1": "UserEvent"})
	s.publish("room", "ann", c.make(t), c.FPS, "h264")
	mix := mixParams("mix", "room", []string{s.rtmp + "/mix", "rtmp://" + address + "/live/stolen", "srt://" + address + "?streamid=stolen"}, 640, 360, 30, pane{"ann", 0, 0, 1, 1, 0})
	mix["TranscodeParams"].(map[string]any)["Background"] = map[string]any{"URL": private.URL + "/background.png"}
	s.call("StartLiveMPUTask", mix)

	if n := readBarcodes(t, pull(t, s.rtmp+"/mix", time.Second), rect{0, 0, 640, 360}, [2]int{}, c.ID); n[len(n)-1] < 0 {
		t.Error("the embedded origin does not get the mix")
	}
	eventually(t, 30*time.Second, "the relay says that its other URLs are forbidden", func() (bool, string) {
		all := s.events()
		for _, scheme := range []string{"rtmp:", "srt:"} {
			if !slices.ContainsFunc(all, func(e logged) bool {
				return e.Relay != nil && e.Relay.Code == 206 && strings.HasPrefix(e.Relay.URL, scheme)
			}) {
				return false, fmt.Sprintf("%+v", all)
			}
		}
		return true, ""
	})
	eventually(t, 30*time.Second, "a callback record says so too", func() (bool, string) {
		var page struct{ Items []struct{ Failure string } }
		s.rest("GET", "/v1/applications/"+testApp+"/callback-records?limit=10", nil, &page)
		return len(page.Items) > 0 && page.Items[0].Failure == "forbidden", fmt.Sprint(page)
	})
	if n := reached.Load(); n != 0 {
		t.Errorf("the private address was reached %d times", n)
	}
}
