package sfu

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"braid/media"
)

// TestGaps counts losses of a stream by the window and by looking at all of it.
func TestGaps(t *testing.T) {
	for name, c := range map[string]struct {
		first uint16
		seqs  []int // offsets to first
		want  int
	}{
		"none":                    {10, []int{0, 1, 2, 3}, 0},
		"one":                     {10, []int{0, 2}, 1},
		"three in a row":          {10, []int{0, 4}, 3},
		"late":                    {10, []int{0, 2, 1}, 0},
		"twice":                   {10, []int{0, 0, 1, 1}, 0},
		"over the end of numbers": {65534, []int{0, 1, 3, 2, 5}, 1},
		"begun anew":              {10, []int{0, 20000, 20001}, 0},
		"begun anew, behind":      {30000, []int{0, -20000, -19999}, 0},
	} {
		var g gaps
		lost := 0
		last := c.first
		for _, s := range c.seqs {
			last = c.first + uint16(s)
			lost += g.saw(last)
		}
		for range gapWindow + 8 { // until all is behind the window
			last++
			lost += g.saw(last)
		}
		if lost != c.want {
			t.Errorf("%s: got %d lost, want %d", name, lost, c.want)
		}
	}
}

// Packets that are lost, late and doubled at random: what is counted is what
// never came, whatever the order was.
func TestGapsAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var g gaps
	const sent = 50000
	var order []int
	missing := 0
	for n := range sent {
		switch {
		case n > 0 && n < sent-1 && r.IntN(20) == 0:
			missing++
		default:
			order = append(order, n)
		}
	}
	for i := 1; i+40 < len(order); i++ { // late by 40 places at most
		if j := i + r.IntN(40); r.IntN(10) == 0 {
			order[i], order[j] = order[j], order[i]
		}
	}
	got := 0
	for _, n := range order {
		got += g.saw(uint16(n))
	}
	for n := sent; n < sent+gapWindow+100; n++ {
		got += g.saw(uint16(n))
	}
	if got != missing {
		t.Errorf("got %d lost, want %d", got, missing)
	}
}

// TestStats: what two real peers send, ask for and report is counted.
func TestStats(t *testing.T) {
	s := testServer(t, func(c *Config) { c.MaxSessions = 2 })
	video, _ := vp8Feed(t)
	audio, _ := opusFeed(t)
	publish(t, s, "ann", video, audio)
	user(t, s, "ann", func(u *media.User) bool { return u.Audio != nil && u.Video != nil })
	v := watch(t, s, "bob", "ann")
	seen := receive(t, "a picture", v.video)
	receive(t, "sound", v.audio)
	for _, r := range v.pc.GetReceivers() { // Pion sees sender reports only so
		go func() {
			for {
				if _, _, err := r.ReadRTCP(); err != nil {
					return
				}
			}
		}()
	}
	wait := func(what string, ok func(Stats) bool) Stats {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(20 * time.Second); ; {
			st := s.Stats()
			if ok(st) {
				return st
			}
			select {
			case <-deadline:
				t.Fatalf("%s: got %+v", what, st)
			case <-tick.C:
			}
		}
	}
	st := wait("both kinds flow in and out", func(st Stats) bool {
		return st.In.Audio.Packets > 20 && st.In.Video.Packets > 20 && st.Out.Audio.Packets > 10 && st.Out.Video.Packets > 10
	})
	if st.Sessions != 2 || st.In.Video.Bytes <= st.In.Video.Packets || st.Out.Audio.Bytes == 0 || st.Forward.Count == 0 {
		t.Errorf("got %+v, want two sessions, bytes and times of forwarding", st)
	}
	if st.In.Audio.Lost+st.In.Video.Lost > 0 {
		t.Errorf("on loopback %d and %d packets are counted as lost", st.In.Audio.Lost, st.In.Video.Lost)
	}
	asks := []rtcp.Packet{
		&rtcp.TransportLayerNack{MediaSSRC: seen.SSRC, Nacks: []rtcp.NackPair{{PacketID: seen.SequenceNumber, LostPackets: 0b11}}},
		&rtcp.PictureLossIndication{MediaSSRC: seen.SSRC},
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: seen.SSRC, TotalLost: 7, Jitter: 900}}},
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: seen.SSRC, TotalLost: 1<<24 - 3, Jitter: 900}}}, // -3
	}
	if err := v.pc.WriteRTCP(asks); err != nil {
		t.Fatal(err)
	}
	wait("three packets and a key frame were asked for, seven lost", func(st Stats) bool {
		v := st.Out.Video
		return v.NACKs >= 3 && v.Again >= 1 && v.PLIs >= 1 && v.Lost >= 7 && v.Lost < 20 && st.Jitter.Count >= 2
	})
	wait("the publisher was asked for a key frame", func(st Stats) bool { return st.In.Video.PLIs >= 1 })
	wait("a round trip", func(st Stats) bool { return st.RoundTrip.Count > 0 })
	third := testClient(t)
	if _, err := third.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Publish(t.Context(), PublishRequest{App: "app", Channel: "room", User: "cid", Offer: makeOffer(t, third)}); err == nil {
		t.Error("a third session was let in")
	}
	if st := s.Stats(); st.Refused != 1 {
		t.Errorf("got %d refused, want 1", st.Refused)
	}
	before := s.Stats()
	if err := v.session.Close(); err != nil {
		t.Fatal(err)
	}
	if after := s.Stats(); after.Out.Video.Packets < before.Out.Video.Packets || after.Sessions != 1 {
		t.Errorf("after the viewer has gone: got %+v, want no less than %+v, and one session", after, before)
	}
}
