package sfu

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"braid/media"
)

// TestStage: of ten microphones the three loudest are heard, who speaks up is
// heard within 100 ms, and nobody loses the place in a pause between words.
func TestStage(t *testing.T) {
	var all []*track
	for range 10 {
		tr := newTrack(codec{name: media.Opus})
		tr.layers[0].begin()
		all = append(all, tr)
	}
	s := stage{places: 3}
	n := uint16(0)
	heard := func() (on string) {
		for i, tr := range all {
			if !tr.backstage.Load() {
				on += fmt.Sprint(i)
			}
		}
		return on
	}
	// play lets everyone be silent for some packets of 20 ms, but those named.
	play := func(packets int, levels map[int]int8) string {
		for range packets {
			n++
			for i, tr := range all {
				level, ok := levels[i]
				if !ok {
					level = 127
				}
				tr.layers[0].deliver(&media.Packet{Seq: n, Timestamp: 960 * uint32(n), Level: level, Payload: []byte{1}})
			}
		}
		return heard()
	}
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s are heard, want %s", what, got, want)
		}
	}
	s.cast(all[:2])
	all = all[:2]
	check("fewer than places", play(10, nil), "01")
	all = all[:10]
	s.cast(all)
	check("the first ones", play(10, nil), "012")
	check("somebody speaks up", play(5, map[int]int8{7: 30}), "127")
	check("three speak", play(50, map[int]int8{7: 30, 4: 35, 9: 25}), "479")
	check("a pause between words", play(15, map[int]int8{1: 70}), "479")
	check("a fan is no speech", play(500, map[int]int8{1: 70, 4: 35, 7: 30, 9: 25}), "479")
	check("one stops, another goes on", play(200, map[int]int8{7: 30, 9: 25, 2: 28}), "279")
	check("about as loud is not louder", play(100, map[int]int8{7: 30, 9: 25, 2: 28, 3: 29}), "279")
	check("who tells no level is taken for loud", play(200, map[int]int8{7: 30, 9: 25, 5: -1}), "579")
	all[9].muted.Store(true)
	check("muted", play(200, map[int]int8{7: 30, 9: 25, 5: -1, 2: 40}), "257")
	s.cast(slices.Delete(slices.Clone(all), 5, 6))
	check("one left, and its place is given", heard(), "0257")
	s.cast(nil)
	for i, tr := range all {
		if n := len(tr.layers[0].receivers.Load().all); n != 0 {
			t.Errorf("%d receivers stay at %d", n, i)
		}
	}
	all2 := stage{places: -1}
	all2.cast(all[:10])
	check("all", heard(), "0123456789")
}

// TestStageGone: who has stopped to send in the middle of a word has no place that
// others need.
func TestStageGone(t *testing.T) {
	all := make([]*track, 3)
	for i := range all {
		all[i] = newTrack(codec{name: media.Opus})
		all[i].layers[0].begin()
	}
	s := stage{places: 2}
	s.cast(all)
	now, n := time.Now(), uint16(0)
	play := func(packets int, levels map[int]int8) {
		for range packets {
			n++
			now = now.Add(20 * time.Millisecond)
			for i, level := range levels {
				all[i].layers[0].deliver(&media.Packet{Seq: n, Timestamp: 960 * uint32(n), Arrival: now, Level: level, Payload: []byte{1}})
			}
		}
	}
	play(100, map[int]int8{0: 20, 1: 20, 2: 127})
	play(40, map[int]int8{0: 20, 2: 25})
	if all[1].backstage.Load() || !all[2].backstage.Load() {
		t.Error("a pause of 0.8 s costs a place")
	}
	play(30, map[int]int8{0: 20, 2: 25})
	if all[0].backstage.Load() || !all[1].backstage.Load() || all[2].backstage.Load() {
		t.Error("who speaks is not heard: somebody who sends nothing keeps the place")
	}
}

// TestBackstage: what a viewer does not get leaves no hole.
func TestBackstage(t *testing.T) {
	f, sink := testForward(t, outlet{ssrc: 5})
	f.track, f.staged = newTrack(codec{name: media.Opus}), true
	l := f.track.layers[0]
	l.begin()
	play := func(from, to uint16) {
		for n := from; n < to; n++ {
			l.deliver(&media.Packet{Seq: n, Timestamp: 960 * uint32(n), Payload: []byte{byte(n)}, Arrival: time.Unix(0, int64(n))})
		}
	}
	f.track.backstage.Store(true)
	f.aim(l)
	play(1, 10)
	f.track.backstage.Store(false)
	play(10, 13)
	f.track.backstage.Store(true)
	play(13, 50)
	f.track.backstage.Store(false)
	play(50, 53)
	want := "10:10 11:11 12:12 13:50 14:51 15:52 "
	got := ""
	for _, p := range sink.packets {
		got += fmt.Sprint(p.SequenceNumber, ":", p.Payload[0], " ")
		if p.Timestamp != 960*uint32(p.Payload[0]) {
			t.Errorf("packet %d has time %d", p.Payload[0], p.Timestamp)
		}
	}
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
