package whip

import (
	"strings"
	"testing"

	"braid/media/sfu"
)

// TestPublishByAddress goes the way of OBS: no token, an empty Bearer, and an
// address that is its own proof, also for the end of the session.
func TestPublishByAddress(t *testing.T) {
	b := start(t)
	pc, offer := b.sender(vp8Track(t))
	resp, body := b.do("POST", "/whip/address/good", offer, "Content-Type", "application/sdp", "Authorization", "Bearer ")
	if resp.StatusCode != 201 {
		t.Fatalf("got %s: %s", resp.Status, body)
	}
	location := resp.Header.Get("Location")
	if !strings.HasPrefix(location, b.url+"/whip/address/good/session/") {
		t.Errorf("got Location %q", location)
	}
	b.answer(pc, body)
	b.until("obs is in the channel", func(c []sfu.ChannelInfo) bool {
		return len(c) == 1 && len(c[0].Users) == 1 && c[0].Users[0].ID == "obs"
	})

	plain := strings.Replace(location, "/address/good", "", 1)
	if resp, _ := b.do("DELETE", plain, ""); resp.StatusCode != 401 {
		t.Errorf("DELETE of the session's plain path without a token: got %s, want 401", resp.Status)
	}
	if resp, _ := b.do("DELETE", strings.Replace(location, "good", "unknown", 1), ""); resp.StatusCode != 404 {
		t.Errorf("DELETE through an unknown address: got %s, want 404", resp.Status)
	}
	// The address expired meanwhile: it still ends what it began.
	if resp, _ := b.do("DELETE", strings.Replace(location, "good", "old", 1), ""); resp.StatusCode != 200 {
		t.Errorf("DELETE: got %s, want exactly 200", resp.Status)
	}
	b.until("obs is gone", func(c []sfu.ChannelInfo) bool { return len(c) == 0 || len(c[0].Users) == 0 })
}
