package rtmp

import (
	"errors"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/flv"
)

// A Write that meets the end of a session says why it has ended, not that the
// connection is closed.
func TestWriteSaysWhy(t *testing.T) {
	testkit.NoLeaks(t)
	s := startServer(t, newTestHub(), nil)
	for range 50 {
		p, err := Dial(ctx5(t), s.url("live/cam"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		p.stalled.Store(true) // as watch does it
		bare(p.c.nc).Close()
		if err := p.Write(&flv.Tag{Type: flv.Audio, Payload: []byte{0xaf, 0, 0x11, 0x90}}); !errors.Is(err, media.ErrStalled) {
			t.Errorf("got %v", err)
		}
		p.Close()
		_ = s.ended(t)
	}
}

// Each origin is sent rate bytes a second, and answers as it does; stop is the
// second after which it takes nothing. want is the second at which that is found,
// at the latest; 0: it must not be.
func TestProgress(t *testing.T) {
	for _, c := range []struct {
		name        string
		rate, stop  int
		socket      int // bytes that sockets and proxies swallow after stop
		acks        int // of RTMP, each so many bytes; 0: none
		setUpAcks   bool
		want, until int
	}{
		{"all is well", 300_000, 0, 0, publishWindow, false, 0, 100},
		{"acknowledges nothing, reads all", 300_000, 0, 0, 0, false, 0, 100},
		{"acknowledges the set-up alone, reads all", 300_000, 0, 0, 0, true, 0, 100},
		{"acknowledges as it likes", 300_000, 0, 0, 2_500_000, false, 0, 200},
		{"sound alone, acknowledges as it likes", 8_000, 0, 0, 2_500_000, false, 0, 2000},
		{"reads nothing", 300_000, 10, 0, 0, false, 17, 100},
		{"reads nothing, behind sockets of 2 s", 300_000, 10, 600_000, 0, false, 19, 100},
		{"swallowed by a proxy", 300_000, 20, 1 << 30, publishWindow, false, 29, 100},
		{"sound alone, swallowed", 8_000, 20, 1 << 30, publishWindow, false, 30, 100},
		{"poor sound alone, swallowed", 3_500, 20, 1 << 30, publishWindow / 2, false, 30, 100},
		{"sound alone, swallowed, acknowledged by halves", 8_000, 20, 1 << 30, publishWindow / 2, false, 29, 100},
		{"swallowed, and never acknowledged: nobody can know", 300_000, 20, 1 << 30, 0, false, 0, 100},
		{"nothing is sent", 0, 10, 0, publishWindow, false, 0, 100},
	} {
		var p progress
		now, found := time.Now(), 0
		var s sample
		for second := 1; second <= c.until && found == 0; second++ {
			now = now.Add(time.Second)
			s.sent += uint64(c.rate)
			taken := s.sent
			if c.stop > 0 && second > c.stop {
				taken = min(taken, uint64(c.rate*c.stop))
			}
			s.tcpAcked = min(s.sent, taken+uint64(c.socket))
			s.queued = int(s.sent - s.tcpAcked)
			if c.acks > 0 && taken > 0 {
				s.acked = taken / uint64(c.acks) * uint64(c.acks)
			} else if c.setUpAcks {
				s.acked = uint64(min(second, 2)) * 1000
			}
			if p.stalled(now, s) {
				found = second
			}
		}
		if c.want == 0 && found > 0 || c.want > 0 && (found == 0 || found > c.want || found <= c.stop) {
			t.Errorf("%s: found after %d s, want %d", c.name, found, c.want)
		}
	}
}
