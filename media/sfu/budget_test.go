package sfu

import (
	"fmt"
	"math"
	"testing"
	"time"

	"braid/media"
	"braid/media/bwe"
)

// watching makes a viewer of several tracks of three layers of 100, 300 and 1000
// kbit/s whose path carries rate bits/s; 0: nobody knows.
func watchingAt(t *testing.T, rate, tracks int) (*wire, []show, []*rtpSink) {
	t.Helper()
	w := pionsWire()
	var shows []show
	var sinks []*rtpSink
	var number uint8 // of packets that the viewer tells about
	if rate > 0 {
		number = 3
	}
	for range tracks {
		f, sink := testForward(t, outlet{ssrc: 5, rtx: 6, rtxPayload: 97, transport: number})
		f.track = layered(media.VP8)
		for i, l := range f.track.layers {
			l.deliver(picture(i, 1, true))
			l.pace.rate.Store(math.Float64bits([]float64{100e3, 300e3, 1000e3}[i]))
		}
		w.srv = f.session.srv
		f.wire = w
		shows = append(shows, show{forward: f, rank: rankOther})
		sinks = append(sinks, sink)
	}
	w.srv.started, w.srv.hurried = time.Unix(0, 0), make(chan struct{}, 1)
	w.budget = newBudget(w.srv)
	if rate > 0 {
		w.budget.estimator, w.budget.heard, w.budget.first = bwe.New(bwe.Config{Start: rate}), true, 1
	}
	return w, shows, sinks
}

func aims(shows []show) (all string) {
	for i := range shows {
		if l := shows[i].forward.aimed(); l != nil {
			all += l.rid
		} else {
			all += "-"
		}
	}
	return all
}

func TestShare(t *testing.T) {
	now := time.Unix(100, 0)
	for _, tt := range []struct {
		rate, sound int
		how         Wanted
		rank        int // of the second
		want        string
		limited     bool
	}{
		{0, 0, Wanted{}, rankOther, "fff", false},
		{0, 0, Wanted{Width: 320, Height: 180}, rankOther, "hff", false},
		{5e6, 0, Wanted{}, rankOther, "fff", false},
		{1e6, 300e3, Wanted{}, rankOther, "hqq", true},
		{1.6e6, 0, Wanted{}, rankSpeaker, "qfq", true},
		{1.6e6, 0, Wanted{Width: 160, Height: 90}, rankSpeaker, "qfq", true},
		{250e3, 0, Wanted{}, rankSpeaker, "qq-", true},
	} {
		w, shows, _ := watchingAt(t, tt.rate, 3)
		shows[0].how, shows[1].rank = tt.how, tt.rank
		if limited := w.share(now, shows, float64(tt.sound)); aims(shows) != tt.want || limited != tt.limited {
			t.Errorf("%d bit/s, %d of it sound, first %v, rank %d: got %s, limited=%v, want %s", tt.rate, tt.sound, tt.how, tt.rank, aims(shows), limited, tt.want)
		}
	}
}

// TestShareOfSoundAlone: a viewer that tells about sound and not about pictures, which
// it cannot be sent again (transportID), gets what fits its elements: what is known of
// its path would never grow.
func TestShareOfSoundAlone(t *testing.T) {
	w, shows, _ := watchingAt(t, bwe.DefaultStart, 1)
	out := *shows[0].forward.out.Load()
	out.rtx, out.transport = 0, 0
	shows[0].forward.out.Store(&out)
	if limited := w.share(time.Unix(100, 0), shows, 40e3); limited || aims(shows) != "f" {
		t.Errorf("got %s, limited=%v, want all of it", aims(shows), limited)
	}
}

// TestShareHolds: what did not last is tried again later each time.
func TestShareHolds(t *testing.T) {
	w, shows, _ := watchingAt(t, 5e6, 1)
	now := time.Unix(100, 0)
	at := func(rate int, d time.Duration) string {
		now = now.Add(d)
		w.budget.estimator = bwe.New(bwe.Config{Start: rate})
		w.share(now, shows, 0)
		return aims(shows)
	}
	const much, little = 5e6, 500e3
	for i, tt := range []struct {
		rate  int
		after time.Duration
		want  string
	}{
		{much, 0, "f"}, {little, time.Second, "h"},
		{much, time.Second, "h"}, {much, time.Second, "f"}, // after 2 s
		{little, time.Second, "h"}, {much, 3 * time.Second, "h"}, {much, time.Second, "f"}, // after 4
		{little, time.Second, "h"}, {much, 7 * time.Second, "h"}, {much, time.Second, "f"}, // after 8
		{little, 11 * time.Second, "h"}, {much, 2 * time.Second, "f"}, // it had lasted
	} {
		if got := at(tt.rate, tt.after); got != tt.want {
			t.Fatalf("step %d: got %s, want %s", i, got, tt.want)
		}
	}
}

// TestPad: probes are packets that were sent already, as retransmissions.
func TestPad(t *testing.T) {
	w, shows, sinks := watchingAt(t, 300e3, 1)
	f := shows[0].forward
	w.share(time.Unix(100, 0), shows, 0)
	for n := 2; n < 30; n++ {
		f.track.layers[0].deliver(picture(0, n, n == 2))
	}
	sent := len(sinks[0].packets)
	if sent != 28 {
		t.Fatalf("%d packets were sent, want 28", sent)
	}
	if bytes := f.pad(200, time.Unix(100, 0)); bytes < 200 || bytes > 300 {
		t.Errorf("%d bytes instead of 200", bytes)
	}
	for i, p := range sinks[0].packets[sent:] {
		again := sinks[0].packets[sent-1-i]
		if p.SSRC != 6 || p.PayloadType != 97 || p.Timestamp != again.Timestamp || len(p.Payload) != len(again.Payload)+2 {
			t.Errorf("padding %d is %v, want %v again", i, p, again)
		}
	}
	if f.pad(1<<20, time.Unix(100, 0)) == 0 || len(sinks[0].packets) > 28+padBack+10 {
		t.Errorf("%d packets, want no more than are kept", len(sinks[0].packets))
	}
	f.out.Store(&outlet{ssrc: 5, writer: sinks[0]})
	if f.pad(200, time.Unix(100, 0)) != 0 {
		t.Error("padding without retransmission packets")
	}
}

// TestShareStarts: what a viewer that will tell what arrives gets before it has
// told, and one that keeps silent; a layer that rests is not waited for.
func TestShareStarts(t *testing.T) {
	w, shows, _ := watchingAt(t, 0, 1)
	f := shows[0].forward
	now := w.srv.started
	at := func(d time.Duration) string {
		now = now.Add(d)
		if w.share(now, shows, 0) {
			t.Errorf("limited %v after the start", now.Sub(w.srv.started))
		}
		return aims(shows)
	}
	f.out.Store(&outlet{ssrc: 5, transport: 3, writer: f.out.Load().writer})
	if got := at(time.Millisecond); got != "h" { // 600 kbit/s are taken for granted
		t.Errorf("at the start: got %s, want h", got)
	}
	w.budget.Sent(1, 1000, w.srv.clock(now))
	if got := at(hearWithin + time.Millisecond); got != "f" {
		t.Errorf("without feedback: got %s, want f", got)
	}

	w, shows, _ = watchingAt(t, 0, 1)
	f = shows[0].forward
	f.track.layers[2].resting.Store(true)
	now = w.srv.started
	if got := at(time.Millisecond); got != "h" {
		t.Errorf("while f rests and nothing is shown: got %s, want h", got)
	}
	f.track.layers[1].deliver(picture(1, 2, true))
	if got := at(steerEvery); got != "f" {
		t.Errorf("while f rests and h is shown: got %s, want f", got)
	}
}

// TestSoundThatIsNotSent: microphones that others drown out take nothing of what
// pictures get.
func TestSoundThatIsNotSent(t *testing.T) {
	w, shows, _ := watchingAt(t, 600e3, 1)
	p := &Participant{session: shows[0].forward.session, room: &room{}}
	p.down.wire = w
	p.down.lanes = []*lane{{forward: shows[0].forward, flows: true, of: wanted{"ann", Camera}}}
	for i := range 100 {
		f := newForward(newTrack(codec{name: media.Opus}), 111)
		f.staged = true
		f.track.layers[0].pace.rate.Store(math.Float64bits(30e3))
		f.track.backstage.Store(i >= 3)
		p.down.lanes = append(p.down.lanes, &lane{forward: f, flows: true, of: wanted{fmt.Sprint(i), Microphone}})
	}
	p.steerDown(time.Unix(1, 0))
	if got := aims(shows); got != "h" {
		t.Errorf("the picture is %q, want h: 90 of 600 kbit/s are sound", got)
	}
}

// TestRepair: what is sent again is a share of what the path carries; a few packets
// always, and as many as asked for while nothing is known.
func TestRepair(t *testing.T) {
	b := newBudget(&Server{})
	take := func(at time.Duration) (packets int) {
		for packets < 1000 && b.repair(1200, at) {
			packets++
		}
		return packets
	}
	if got := take(time.Second); got != 1000 {
		t.Errorf("%d packets to a viewer of whom nothing is known", got)
	}
	b.estimator, b.heard = bwe.New(bwe.Config{Start: 960_000}), true // 60 kB/s for repairs
	if got := take(10 * time.Second); got != 50 {
		t.Errorf("%d packets at once, want a second's 50", got)
	}
	if got := take(10*time.Second + 100*time.Millisecond); got != 5 {
		t.Errorf("%d packets after 0.1 s, want 5", got)
	}
	b.estimator = bwe.New(bwe.Config{Start: 50_000})
	if got := take(20 * time.Second); got != 6 {
		t.Errorf("%d packets on a narrow path, want the least, 6", got)
	}
}
