package sfu

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
)

// TestPace: of a key frame some leaves at once and the rest evenly, in order, with
// what is new behind it; sound waits for nothing.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, sink := testForward(t, outlet{ssrc: 5, video: true})
		w := f.wire
		w.srv, w.budget = f.session.srv, nil
		w.owner.Store(pions)
		w.srv.started = time.Now()
		w.srv.pacing.wake = make(chan struct{}, 1)
		stop := make(chan struct{})
		defer close(stop)
		go w.srv.pacing.run(w.srv.net.socket, stop)
		sound := newForward(newTrack(codec{name: media.Opus}), 111)
		heard := &rtpSink{}
		sound.wire, sound.session = w, f.session
		sound.out.Store(&outlet{ssrc: 7, writer: heard})
		f.aim(f.track.layers[0])
		sound.aim(sound.track.layers[0])

		n := uint16(0)
		send := func(packets int) {
			for range packets {
				n++
				p := &media.Packet{Seq: n, Timestamp: 3000, Arrival: time.Now(), Payload: make([]byte, 1160)}
				p.Payload[0] = 0x10
				f.track.layers[0].deliver(p)
			}
		}
		send(100)
		if len(sink.packets) != 100 {
			t.Fatalf("%d packets left, want all: nobody knows the path", len(sink.packets))
		}
		w.spread(1e6, 0)
		send(100) // 120 kB at 2.5 Mbit/s: 384 ms
		begun := time.Now()
		first := len(sink.packets) - 100
		if first < 5 || first > 15 {
			t.Errorf("%d packets left at once, want about ten", first)
		}
		sound.track.layers[0].deliver(&media.Packet{Seq: 1, Payload: []byte{1}, Arrival: time.Now()})
		if len(heard.packets) != 1 {
			t.Error("sound waits")
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		w.mu.Lock()
		if left := len(sink.packets) - 100; left < 30 || left > 45 {
			t.Errorf("%d packets left in 100 ms, want about 36", left)
		}
		w.mu.Unlock()
		send(3) // the next picture
		time.Sleep(time.Second)
		synctest.Wait()
		if len(sink.packets) != 203 {
			t.Fatalf("%d packets left after %v, want 203", len(sink.packets), time.Since(begun))
		}
		for i, p := range sink.packets {
			if p.SequenceNumber != uint16(i+1) {
				t.Fatalf("packet %d is number %d", i, p.SequenceNumber)
			}
		}
		if w.pacer.queue != nil || w.pacer.queued != 0 {
			t.Errorf("%d bytes are still counted", w.pacer.queued)
		}
		send(4)
		if got := fmt.Sprint(len(sink.packets)); got != "207" {
			t.Errorf("%s packets left, want 207: a small picture does not wait", got)
		}
		send(200)
		w.end()
		time.Sleep(time.Second)
		if len(sink.packets) > 250 {
			t.Error("it goes on after the end")
		}
	})
}
