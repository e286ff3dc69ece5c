// Package netbox makes bad networks for tests: namespaces joined by a wire that
// loses, delays, reorders, repeats, damages and throttles packets as it is told,
// for unmodified processes, UDP and TCP. The wire is a TUN device at each end
// and this process between them; it needs Linux, root and /dev/net/tun, and
// neither netem nor a kernel module.
//
// Each Box starts four goroutines, which end with its Close.
package netbox

import (
	"math/rand/v2"
	"time"
)

// Profile is what one direction of a wire does to packets. The zero value is a
// perfect wire. Shares are from 0 to 1.
type Profile struct {
	Loss      float64       // share of packets that vanish
	Burst     float64       // mean length of a run of lost packets (Gilbert's model); up to 1: each is lost or not on its own
	Delay     time.Duration // each packet takes this long
	Jitter    time.Duration // and up to so much more or less, evenly spread; never less than nothing
	Ordered   bool          // a jittered packet waits for those before it
	Reorder   float64       // share of packets that take Late longer, and are overtaken
	Late      time.Duration // 0: 20 ms
	Duplicate float64       // share of packets that come twice
	Corrupt   float64       // share of packets with one byte of their payload changed
	Rate      float64       // bits a second; 0: no limit
	Queue     time.Duration // what has to wait longer for its turn is dropped; 0: 300 ms
	Down      bool          // nothing passes
}

// Counts is what has happened to packets since the wire was made.
type Counts struct {
	In        int // handed to the wire
	Lost      int // by Loss
	Cut       int // while Down
	Dropped   int // since the queue was full
	Repeated  int
	Corrupted int
	Late      int
	Out       int // delivered, repetitions too
	Bytes     int // of Out
}

const (
	usualLate  = 20 * time.Millisecond
	usualQueue = 300 * time.Millisecond
)

// fate is one delivery of a packet.
type fate struct {
	at      time.Time
	corrupt bool
}

// judge decides what becomes of packets. It reads no clock: the same seed and
// the same packets give the same fates.
type judge struct {
	profile Profile
	random  *rand.Rand
	losing  bool      // in a run of losses
	free    time.Time // when the line has sent what is queued
	last    time.Time // newest delivery, for Ordered
	counts  Counts
}

func newJudge(seed uint64) *judge {
	return &judge{random: rand.New(rand.NewPCG(seed, 0x6272616964))}
}

// packet appends the deliveries of a packet of size bytes, none or up to two.
func (j *judge) packet(now time.Time, size int, fates []fate) []fate {
	p := &j.profile
	j.counts.In++
	switch {
	case p.Down:
		j.counts.Cut++
		return fates
	case j.lose():
		j.counts.Lost++
		return fates
	}
	at, ok := j.queue(now, size)
	if !ok {
		j.counts.Dropped++
		return fates
	}
	f := fate{at: j.travel(at), corrupt: j.random.Float64() < p.Corrupt}
	if f.corrupt {
		j.counts.Corrupted++
	}
	fates = append(fates, f)
	if j.random.Float64() < p.Duplicate {
		j.counts.Repeated++
		fates = append(fates, fate{at: j.travel(at)})
	}
	return fates
}

// lose draws whether a packet is lost. Gilbert's chain loses everything in its
// bad state, which it leaves with 1/Burst and enters so that Loss comes out.
func (j *judge) lose() bool {
	p := &j.profile
	if p.Burst <= 1 || p.Loss <= 0 || p.Loss >= 1 {
		return j.random.Float64() < p.Loss
	}
	leave := 1 / p.Burst
	if j.losing {
		j.losing = j.random.Float64() >= leave
	} else {
		j.losing = j.random.Float64() < leave*p.Loss/(1-p.Loss)
	}
	return j.losing
}

// queue is when the line has sent a packet; false: its queue is full.
func (j *judge) queue(now time.Time, size int) (time.Time, bool) {
	p := &j.profile
	if p.Rate <= 0 {
		j.free = time.Time{}
		return now, true
	}
	if j.free.Before(now) {
		j.free = now
	}
	limit := p.Queue
	if limit == 0 {
		limit = usualQueue
	}
	if j.free.Sub(now) > limit {
		return time.Time{}, false
	}
	j.free = j.free.Add(time.Duration(float64(size*8) / p.Rate * float64(time.Second)))
	return j.free, true
}

// travel is when a packet sent at a time arrives.
func (j *judge) travel(at time.Time) time.Time {
	p := &j.profile
	sent := at
	at = at.Add(p.Delay)
	if p.Jitter > 0 {
		at = at.Add(time.Duration((2*j.random.Float64() - 1) * float64(p.Jitter)))
		if at.Before(sent) {
			at = sent
		}
	}
	if p.Reorder > 0 && j.random.Float64() < p.Reorder {
		j.counts.Late++
		late := p.Late
		if late == 0 {
			late = usualLate
		}
		return at.Add(late)
	}
	if p.Ordered && at.Before(j.last) {
		at = j.last
	}
	if at.After(j.last) {
		j.last = at
	}
	return at
}

// damage changes a byte of an IPv4 packet's payload. The UDP checksum, which
// would let the kernel drop it, is taken out (RFC 768: 0 is none), so that the
// application meets it. Other protocols' kernels drop it, as they should.
func damage(b []byte, r *rand.Rand) {
	const udp, header = 17, 8
	if len(b) < 20 || b[0]>>4 != 4 {
		return
	}
	payload := int(b[0]&0x0f) * 4
	if b[9] == udp && len(b) > payload+header {
		b[payload+6], b[payload+7] = 0, 0
		payload += header
	}
	if payload < len(b) {
		b[payload+r.IntN(len(b)-payload)] ^= byte(1 + r.IntN(255))
	}
}
