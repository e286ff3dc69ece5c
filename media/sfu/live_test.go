package sfu

import (
	"math/rand/v2"
	"testing"
	"time"

	"braid/media"
)

// TestLive: in a channel where nobody is to be told, levels, bitrates and loss
// are measured as long as somebody watches.
func TestLive(t *testing.T) {
	s := testServer(t)
	in, err := s.Inject(InjectRequest{App: "app", Channel: "room", User: "cam", Audio: true})
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	sent := make(chan struct{})
	t.Cleanup(func() { close(end); <-sent })
	go func() { // 100 packets of 80 bytes a second, one of ten left out: 57.6 kbit/s
		defer close(sent)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		first := uint16(rand.Uint32())
		for i := 0; ; i++ {
			if i%10 != 5 {
				in.Audio.Write(&media.Packet{Seq: first + uint16(i), Timestamp: 480 * uint32(i), Payload: make([]byte, 80), Arrival: time.Now(), Level: 20})
			}
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	now := func() (c ChannelLive, u UserLive) {
		if all := s.Live(); len(all) == 1 {
			return all[0], all[0].Users["cam"]
		}
		return c, u
	}
	wait := func(what string, ok func(ChannelLive, UserLive) bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(10 * time.Second); ; {
			c, u := now()
			if ok(c, u) {
				return
			}
			select {
			case <-deadline:
				t.Fatalf("%s: got %+v", what, c)
			case <-tick.C:
			}
		}
	}
	flows := func(_ ChannelLive, u UserLive) bool {
		return len(u.Tracks) == 1 && u.Tracks[0].Source == Microphone && u.Tracks[0].Bitrate > 40_000 && u.Tracks[0].Bitrate < 70_000
	}
	wait("a microphone of 58 kbit/s", flows)
	if c, u := now(); len(c.Levels.Users) > 0 || u.Tracks[0].Loss != 0 || u.Quality != nil {
		t.Errorf("while nobody watches: got %+v, want no levels, loss and quality", c)
	}
	stop := s.Watch()
	wait("-20 dBov, cam speaks", func(c ChannelLive, _ UserLive) bool {
		return c.Levels.Users["cam"] == -20 && len(c.Levels.Speakers) == 1
	})
	wait("a loss of 10 %", func(_ ChannelLive, u UserLive) bool {
		return len(u.Tracks) == 1 && u.Tracks[0].Loss > 0.05 && u.Tracks[0].Loss < 0.15
	})
	stop()
	stop()
	wait("nothing is measured any more", func(c ChannelLive, _ UserLive) bool { return len(c.Levels.Users) == 0 })
}
