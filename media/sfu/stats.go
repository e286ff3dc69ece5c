package sfu

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"braid/media/tally"
)

// Stats is what has flowed through a server since its start, and how its viewers'
// paths are now.
type Stats struct {
	Sessions int    // open, those that connect among them
	Refused  uint64 // that found MaxSessions open

	In  Flows // from publishers
	Out Flows // to viewers over WebRTC

	RoundTrip tally.Distribution // of viewers, one for each of their reports that tells it
	Jitter    tally.Distribution // the same
	Forward   tally.Distribution // from a burst's arrival until it was given to all who get it

	Paths []Path // of viewers whose connection tells what it carries
}

// Flows are a direction's, by kind.
type Flows struct{ Audio, Video Flow }

// Flow is what has gone one way.
type Flow struct {
	Packets uint64 // of RTP
	Bytes   uint64 // of their payload
	// Lost is how many packets never came: from publishers after retransmissions,
	// to viewers as they report it.
	Lost  uint64
	Again uint64 // packets that were asked for again and sent
	NACKs uint64 // packets that the receiving side asked for again
	PLIs  uint64 // key frames that it asked for
}

// Path is the way to one viewer.
type Path struct {
	Rate    float64 // bits a second that it carries, as estimated
	Limited bool    // pictures are smaller than wanted, or left out
}

// Stats looks at everything once. It takes no lock of the packet path.
func (s *Server) Stats() Stats {
	c := &s.counters
	st := Stats{
		Refused:   c.refused.Load(),
		RoundTrip: c.roundTrip.Look(), Jitter: c.jitter.Look(), Forward: c.forward.Look(),
	}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.in[0].add(&st.In.Audio)
		sh.in[1].add(&st.In.Video)
		sh.out[0].add(&st.Out.Audio)
		sh.out[1].add(&st.Out.Video)
	}
	s.mu.Lock()
	st.Sessions = len(s.sessions)
	s.mu.Unlock()
	for _, o := range s.dir.appendSessions(nil) {
		w := o.wire
		if o.participant != nil {
			w = o.participant.down.way()
		}
		if w == nil {
			continue
		}
		if rate := math.Float64frombits(w.carries.Load()); rate > 0 {
			st.Paths = append(st.Paths, Path{Rate: rate, Limited: w.limited.Load()})
		}
	}
	return st
}

// way is the wire, nil before there is one.
func (d *down) way() *wire {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wire
}

// counters are a server's. What each packet touches is spread over shards, so
// that those who count at the same time seldom touch the same memory.
type counters struct {
	shards  [16]shard
	last    atomic.Uint32
	refused atomic.Uint64

	roundTrip, jitter, forward *tally.Histogram
}

// shard has its flows by kind: 0 sound, 1 pictures.
type shard struct {
	in, out [2]flow
	_       [64]byte // a cache line: the next shard is another's
}

type flow struct{ packets, bytes, lost, again, nacks, plis atomic.Uint64 }

func (f *flow) add(to *Flow) {
	to.Packets += f.packets.Load()
	to.Bytes += f.bytes.Load()
	to.Lost += f.lost.Load()
	to.Again += f.again.Load()
	to.NACKs += f.nacks.Load()
	to.PLIs += f.plis.Load()
}

func (c *counters) init() {
	const ms = time.Millisecond
	c.roundTrip = tally.New(5*ms, 10*ms, 25*ms, 50*ms, 100*ms, 150*ms, 250*ms, 400*ms, 800*ms, 1500*ms)
	c.jitter = tally.New(1*ms, 2*ms, 5*ms, 10*ms, 20*ms, 30*ms, 60*ms, 100*ms, 200*ms)
	c.forward = tally.New(ms/20, ms/10, ms/4, ms/2, 1*ms, 2*ms, 5*ms, 10*ms, 25*ms, 50*ms, 100*ms)
}

// shard gives one of the shards, in turns.
func (c *counters) shard() *shard { return &c.shards[c.last.Add(1)%uint32(len(c.shards))] }

func kind(video bool) int {
	if video {
		return 1
	}
	return 0
}

// counted lets a layer count what it brings; before its first packet.
func (l *layer) counted(c *counters) {
	l.forwards, l.flow = c.forward, &c.shard().in[kind(l.track.codec.name.Video())]
}

// count takes note of a burst that was given to all.
func (l *layer) count(rs *receivers, began time.Time, packets int, bytes int, lost int) {
	if l.flow == nil { // a layer of a test
		return
	}
	l.flow.packets.Add(uint64(packets))
	l.flow.bytes.Add(uint64(bytes))
	if lost > 0 {
		l.flow.lost.Add(uint64(lost))
	}
	if rs.socket != nil {
		l.forwards.Observe(time.Since(began))
	}
}

// gaps counts the numbers of a stream that never come. One is lost when it is
// gapWindow behind the newest: until then it may be late, or sent again.
type gaps struct {
	begun  bool
	newest uint16
	seen   [gapWindow / 64]uint64 // by number modulo gapWindow
}

const gapWindow = 512

// saw is told of each packet and gives how many others have become lost by it.
func (g *gaps) saw(seq uint16) (lost int) {
	ahead := int(int16(seq - g.newest))
	if !g.begun || ahead > farthestLeap || ahead < -farthestLeap { // counted anew
		*g = gaps{begun: true, newest: seq}
		for i := range g.seen {
			g.seen[i] = math.MaxUint64
		}
		return 0
	}
	for n := g.newest; ahead > 0; ahead-- {
		n++
		at, bit := n%gapWindow/64, uint64(1)<<(n%64)
		if g.seen[at]&bit == 0 {
			lost++
		}
		g.seen[at] &^= bit
		g.newest = n
	}
	if int(g.newest-seq) < gapWindow {
		g.seen[seq%gapWindow/64] |= 1 << (seq % 64)
	}
	return lost
}

// sent is what a wire has sent of a kind since it last told.
type sent struct{ packets, bytes uint64 }

// tellAfter is how many packets a wire counts by itself: an addition that others
// see costs as much as ten that they do not.
const tellAfter = 32

// sentLocked counts a packet that went out.
func (w *wire) sentLocked(video bool, size int) {
	s := &w.sent[kind(video)]
	s.packets++
	s.bytes += uint64(size)
	if s.packets >= tellAfter {
		w.tellSentLocked()
	}
}

// tellSentLocked puts what was sent where Stats sees it.
func (w *wire) tellSentLocked() {
	for i := range w.sent {
		w.shard.out[i].packets.Add(w.sent[i].packets)
		w.shard.out[i].bytes.Add(w.sent[i].bytes)
	}
	w.sent = [2]sent{}
}

// reported takes note of what a viewer reports about a forward (RFC 3550 section
// 6.4.1).
func (w *wire) reported(a *asked, block *rtcp.ReceptionReport, now time.Time) {
	f := a.forward
	c, clock := &w.srv.counters, f.track.codec.name.ClockRate()
	c.jitter.Observe(time.Duration(block.Jitter) * time.Second / time.Duration(clock))
	if told := f.told.Load(); told != nil && block.LastSenderReport == told.name {
		c.roundTrip.Observe(now.Sub(told.at) - time.Duration(block.Delay)*time.Second/65536)
	}
	// The count is one of 24 bits with a sign: duplicates make it less.
	lost := int32(block.TotalLost<<8) >> 8
	a.mu.Lock()
	defer a.mu.Unlock()
	if lost > a.lost {
		w.flow(f).lost.Add(uint64(lost - a.lost))
		a.lost = lost
	}
}

// flow is what is counted of a forward's kind.
func (w *wire) flow(f *forward) *flow { return &w.shard.out[kind(f.track.codec.name.Video())] }

// asksFor counts what a viewer asks for again.
func asksFor(nack *rtcp.TransportLayerNack) (n uint64) {
	for i := range nack.Nacks {
		n += 1 + uint64(bits.OnesCount16(uint16(nack.Nacks[i].LostPackets)))
	}
	return n
}
