package ingest

import (
	"math/rand/v2"
	"sync"
	"time"

	"braid/media"
	"braid/media/packet"
	"braid/media/sfu"
)

const reportEvery = time.Second // between sender reports

// out makes RTP of one track's access units and gives it to the channel. Times
// become timestamps and sender reports by a fixed rule, the same for both tracks:
// what has the same PTS is shown and heard together (RFC 3550 section 6.4.1).
type out struct {
	rate  int64
	base  uint32    // RTP timestamp of time 0
	epoch time.Time // wall clock of time 0
	feed  *sfu.Feed

	mu       sync.Mutex // held while writing: the maker may change
	maker    int        // who may write; counts up
	waitKey  bool       // pictures wait for a key frame
	begun    bool
	last     time.Duration // newest PTS
	reported time.Duration
	pack     packet.Packetizer
	packets  []*media.Packet
}

func newOut(c media.Codec, feed *sfu.Feed, now time.Time) *out {
	return &out{
		rate: c.ClockRate(), base: rand.Uint32(), epoch: now.Add(-lineStart), feed: feed,
		waitKey: c.Video(), pack: packet.Packetizer{Codec: c, Seq: uint16(rand.Uint32())},
	}
}

// next makes a new maker, whose number write wants; what others still write is
// thrown away. Pictures wait for its first key frame.
func (o *out) next() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.maker++
	o.waitKey = o.pack.Codec.Video()
	return o.maker
}

// write sends an access unit whose PTS is later than all before; ok is false when
// it was left out because a key frame is missing.
func (o *out) write(maker int, au *media.AccessUnit) (ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if maker != o.maker {
		return true
	}
	if o.begun && au.PTS <= o.last {
		// Of before the maker's change. A picture without it is damaged.
		o.waitKey = o.pack.Codec.Video()
		return true
	}
	if o.waitKey && !au.Key {
		return false
	}
	o.waitKey = false
	ts := o.timestamp(au.PTS)
	now := time.Now()
	if !o.begun || au.PTS-o.reported >= reportEvery {
		o.reported = au.PTS
		o.feed.Report(media.SenderReport{NTP: o.epoch.Add(au.PTS), Timestamp: ts, Arrival: now})
	}
	o.begun, o.last = true, au.PTS
	o.packets = o.pack.Packetize(o.packets[:0], au.Units, ts, now)
	o.feed.Write(o.packets...)
	clear(o.packets)
	return true
}

// newest is the PTS of the newest access unit sent.
func (o *out) newest() (pts time.Duration, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last, o.begun
}

// timestamp is a time in RTP units, to the nearest.
func (o *out) timestamp(pts time.Duration) uint32 {
	ticks := int64(pts/time.Second)*o.rate + (int64(pts%time.Second)*o.rate+int64(time.Second)/2)/int64(time.Second)
	return o.base + uint32(ticks)
}
