package bwe

import (
	"testing"
	"time"
)

func TestPacerUnset(t *testing.T) {
	var p Pacer
	if p.May(Video, 1<<20, 0) < 1<<20 || p.Wait(Video, 1, 0) != 0 {
		t.Error("a pacer without a rate holds back")
	}
}

// A normal frame leaves whole; a key frame is spread, at 2.5 times the estimate.
func TestPacerSpreads(t *testing.T) {
	var p Pacer
	p.SetRate(1_000_000, 0)
	at := time.Second
	for range 4 { // 4 KB: a frame at 30/s
		if p.May(Video, 4000, at) == 0 {
			t.Fatal("a normal frame has to wait")
		}
		p.Sent(1000, at)
	}
	at += time.Second
	queued, begun := 60_000, at
	for queued > 0 {
		if w := p.Wait(Video, queued, at); w > 0 {
			at += w
			continue
		}
		p.Sent(1200, at)
		queued -= 1200
	}
	if got := at - begun; got < 150*time.Millisecond || got > 200*time.Millisecond {
		t.Errorf("60 KB at 2.5 Mbit/s: got %v, want about 176 ms", got)
	}
}

func TestPacerOrder(t *testing.T) {
	var p Pacer
	p.SetRate(500_000, 0)
	for p.May(Video, 9999, 0) > 0 {
		p.Sent(1200, 0)
	}
	for c, want := range map[Class]bool{Audio: true, Resend: true, Video: false, Padding: false} {
		if got := p.May(c, 1200, 0) > 0; got != want {
			t.Errorf("class %d with an empty bucket: got %v, want %v", c, got, want)
		}
	}
	n := 0
	for ; p.May(Resend, 0, 0) > 0; n++ {
		p.Sent(1200, 0)
	}
	if most := int(paceFactor*500_000/8*paceDebt.Seconds())/1200 + 1; n > most {
		t.Errorf("got %d resends in advance, want at most %d", n, most)
	}
	if p.May(Audio, 0, 0) == 0 {
		t.Error("audio has to wait")
	}
	at := time.Second
	if p.May(Padding, 1, at) != 0 || p.May(Padding, 0, at) == 0 {
		t.Error("padding leaves when nothing waits, and only then")
	}
}

// A queue that would take more than a second raises the pace.
func TestPacerLongQueue(t *testing.T) {
	var p Pacer
	p.SetRate(100_000, 0)
	at := time.Second
	queued, begun := 200_000, at
	for queued > 0 {
		if w := p.Wait(Video, queued, at); w > 0 {
			at += w
			continue
		}
		p.Sent(1200, at)
		queued -= 1200
	}
	if got := at - begun; got > 4*time.Second { // at 2.5 times the estimate: 6.4 s
		t.Errorf("got %v", got)
	}
}
