package sfu

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"braid/media/bwe"
)

// TestDoublesComeAndGo: what is lost without a queue is sent twice or three times,
// until the loss ends; where it grows, it was the copies, and they wait.
func TestDoublesComeAndGo(t *testing.T) {
	var d doubles
	at := time.Minute
	look := func(e bwe.Estimate, heard bool) int32 {
		at += steerEvery
		d.steer(e, heard, 1e6, at)
		return d.copies.Load()
	}
	for _, c := range []struct {
		what  string
		e     bwe.Estimate
		heard bool
		want  int32
	}{
		{"nothing is known", bwe.Estimate{Loss: 0.2}, false, 0},
		{"a clean path", bwe.Estimate{Loss: 0.02}, true, 0},
		{"a queue", bwe.Estimate{Loss: 0.2, Queue: doubleQueue + 1}, true, 0},
		{"loss", bwe.Estimate{Loss: 0.05}, true, 1},
		{"much loss", bwe.Estimate{Loss: 0.12}, true, 2},
		{"a little", bwe.Estimate{Loss: 0.02}, true, 1},
		{"a queue grows", bwe.Estimate{Loss: 0.05, Over: true}, true, 0},
		{"too early", bwe.Estimate{Loss: 0.05}, true, 0},
	} {
		if got := look(c.e, c.heard); got != c.want {
			t.Errorf("%s: %d copies, want %d", c.what, got, c.want)
		}
	}
	at += holdLeast
	if look(bwe.Estimate{Loss: 0.05}, true) != 1 {
		t.Error("it does not begin again")
	}
	if look(bwe.Estimate{Loss: 0.05*doubleWorse + doubleMore + 0.01}, true) != 0 {
		t.Error("it goes on although more is lost")
	}
	if at += holdLeast; look(bwe.Estimate{Loss: 0.05}, true) != 0 {
		t.Error("after the second failure it waits no longer than after the first")
	}
	if at += holdLeast; look(bwe.Estimate{Loss: 0.05}, true) != 1 {
		t.Error("it does not begin again after the second hold")
	}
	for begin := at; look(bwe.Estimate{}, true) > 0; {
		if at-begin > 2*doubleCalm {
			t.Fatal("it goes on without loss")
		}
	}
}

// TestDoublesSpend bounds what the copies take.
func TestDoublesSpend(t *testing.T) {
	var d doubles
	const rate = 400_000 // bits/s
	d.steer(bwe.Estimate{Loss: 0.1}, true, rate, time.Second)
	spent := 0
	for at := time.Second; at < 11*time.Second; at += time.Millisecond {
		for d.take(1000, at) {
			spent += 1000
		}
	}
	if want := rate / 8 * 10; spent < want*9/10 || spent > want*11/10 {
		t.Errorf("%d bytes in 10 s, want about %d", spent, want)
	}
	if d.steer(bwe.Estimate{Loss: 0.1}, true, -rate, 12*time.Second); d.take(1, 13*time.Second) {
		t.Error("something is spent where there is nothing to spare")
	}
}

// TestDoubled: a viewer whose path loses packets gets each picture's packets once
// more, as retransmission packets under the numbers that it knows; one that did not
// negotiate those gets none, and what was sent before that was turned on stays.
func TestDoubled(t *testing.T) {
	now := time.Now()
	for _, rtx := range []uint32{0, 77} {
		f, sink := testForward(t, outlet{ssrc: 5, rtx: rtx, rtxPayload: 97})
		f.aim(f.track.layers[0])
		deliver := func(seq uint16, marker bool) {
			p := keyFrame(seq, now.Add(time.Duration(seq)))
			p.Marker = marker
			f.track.layers[0].deliver(p)
		}
		deliver(10, true)
		f.wire.doubles.rate, f.wire.doubles.copied.tokens = 1e6, 1e6
		f.wire.doubles.copies.Store(1)
		deliver(11, false)
		deliver(12, false)
		deliver(13, true)
		deliver(14, true)
		f.wire.doubles.copies.Store(0)
		deliver(15, true)
		var got []string
		for _, p := range sink.packets {
			if p.SSRC == rtx {
				got = append(got, fmt.Sprintf("again %d", binary.BigEndian.Uint16(p.Payload)))
			} else {
				got = append(got, fmt.Sprint(p.SequenceNumber))
			}
		}
		want := "10 11 12 13 14 15"
		if rtx != 0 {
			want = "10 11 12 13 again 13 14 again 14 15"
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("rtx %d: got %s, want %s", rtx, got, want)
		}
	}
}

// TestDoubledLater: what passed while nothing was sent twice stays so, however much it
// was: also more than half of the numbers there are.
func TestDoubledLater(t *testing.T) {
	f, sink := testForward(t, outlet{ssrc: 5, rtx: 77, rtxPayload: 97})
	f.aim(f.track.layers[0])
	f.wire.doubles.rate, f.wire.doubles.copied.tokens = 1e9, 1e9
	now := time.Now()
	deliver := func(seq uint16, copies int32) (again int) {
		f.wire.doubles.copies.Store(copies)
		sink.packets = nil
		p := keyFrame(seq, now.Add(time.Duration(seq)))
		p.Marker = true
		f.track.layers[0].deliver(p)
		for _, p := range sink.packets {
			if p.SSRC == 77 {
				again++
			}
		}
		return again
	}
	seq := uint16(10)
	if again := deliver(seq, 1); again != 1 {
		t.Fatalf("%d packets go again, want 1", again)
	}
	for range 40_000 {
		seq++
		deliver(seq, 0)
	}
	if again := deliver(seq+1, 1); again > doubleBack {
		t.Errorf("%d packets go again, want %d at most", again, doubleBack)
	}
}
