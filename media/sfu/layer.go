package sfu

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"braid/media"
	"braid/media/tally"
	"braid/media/udp"
)

// layer is one stream of a track: what one SSRC brings. Its packets carry the
// track's time, whatever its own timestamps began with (align).
type layer struct {
	track   *track
	rid     string   // "" when the track has no other layer
	history *history // nil for sound: nobody asks for it again

	begun   atomic.Bool // the first packet came
	aligned atomic.Bool // its packets go to receivers
	report  atomic.Pointer[media.SenderReport]
	pixels  atomic.Uint64 // width<<32 | height of the newest key frame, 0 before
	octets  atomic.Uint64 // of payload, ever
	newest  atomic.Pointer[media.Packet]
	takers  atomic.Int32  // followers that receive it, or wait for its key frame
	shift   atomic.Uint32 // from its timestamps to the track's; set once
	pace    pace
	rest    rest
	resting atomic.Bool // it does not flow because its publisher was asked not to send it

	mu        sync.Mutex // for writers of receivers and ended
	receivers atomic.Pointer[receivers]
	ended     bool

	keyWanted chan struct{} // filled by anyone, one place; emptied by askForKeyFrames and at key frames

	first time.Time // when its first packet arrived; owned by the reader

	flow     *flow            // what is counted of it, with others; set before its first packet
	forwards *tally.Histogram // how long forwarding takes; the same
	gaps     gaps             // owned by who delivers
}

// receivers are those who get a layer's packets. It is immutable.
type receivers struct {
	all []*attachment
	// socket is where the forwards among them write; nil when there are none.
	socket *udp.Conn
}

type attachment struct{ media.Receiver }

func newReceivers(all []*attachment) *receivers {
	rs := &receivers{all: all}
	for _, a := range all {
		if l, ok := a.Receiver.(*leg); ok && l.socket != nil {
			rs.socket = l.socket
		}
	}
	return rs
}

func newLayer(t *track, rid string) *layer {
	l := &layer{track: t, rid: rid, keyWanted: make(chan struct{}, 1)}
	if t.codec.name.Video() {
		l.history = &history{}
	}
	l.receivers.Store(&receivers{})
	return l
}

// size is the picture's, in pixels; 0, 0 while no key frame has told it.
func (l *layer) size() (width, height int) {
	v := l.pixels.Load()
	return int(v >> 32), int(v & 0xffffffff)
}

// reported is the newest sender report, in the track's time.
func (l *layer) reported() (report media.SenderReport, ok bool) {
	r := l.report.Load()
	if r == nil || !l.aligned.Load() {
		return media.SenderReport{}, false
	}
	report = *r
	report.Timestamp += l.shift.Load()
	return report, true
}

// begin marks the first packet; it is true once. The first of a track's layers
// sets the track's time.
func (l *layer) begin() bool {
	if !l.begun.CompareAndSwap(false, true) {
		return false
	}
	if l.track.reference.CompareAndSwap(nil, l) {
		l.aligned.Store(true)
	}
	return true
}

func (l *layer) attach(r media.Receiver) (detach func()) {
	a := &attachment{r}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return func() {}
	}
	l.receivers.Store(newReceivers(append(slices.Clip(l.receivers.Load().all), a)))
	return func() { l.detach(a) }
}

func (l *layer) detach(a *attachment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(l.receivers.Load().all), func(o *attachment) bool { return o == a })
	l.receivers.Store(newReceivers(next))
}

func (l *layer) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.receivers.Store(&receivers{})
}

func (l *layer) requestKeyFrame() {
	if !l.track.codec.name.Video() {
		return
	}
	select {
	case l.keyWanted <- struct{}{}:
	default:
	}
}

// askForKeyFrames sends the merged requests until the track ends. A request
// during the pause waits for its end, unless a key frame comes first.
func (l *layer) askForKeyFrames(ask func()) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-l.track.done:
			return
		}
		select {
		case <-l.keyWanted:
		case <-l.track.done:
			return
		}
		if l.flow != nil {
			l.flow.plis.Add(1)
		}
		ask()
		pause.Reset(keyFrameInterval)
	}
}

// packetReader is a *webrtc.TrackRemote.
type packetReader interface {
	Read(b []byte) (n int, attrs interceptor.Attributes, err error)
}

// read feeds the stream's packets until its connection closes. What is waiting goes on
// together.
func (l *layer) read(remote packetReader, f *ingress) {
	defer f.end()
	buf := make([]byte, maxPacket+500)
	var box *inbox
	var up *uplink
	var lost []uint16
	for bad := 0; bad < maxBadReads; {
		n, attrs, err := remote.Read(buf)
		if ended(err) {
			return
		}
		more := waiting(attrs, &box) // of each packet: the first brings the box, whether it goes on or not
		if up == nil && !more && box != nil {
			up = f.bind(box)
		}
		f.mu.Lock()
		f.up, lost = up, lost[:0]
		if err == nil {
			bad = 0
			lost = f.packet(buf[:n], time.Now(), lost)
		} else { // one packet that Pion cannot place, or too long for buf
			bad++
		}
		if err != nil || !more {
			f.flush()
		}
		f.mu.Unlock()
		if len(lost) > 0 {
			f.again(nil, lost)
		}
	}
}

// repair appends the numbers of lost packets to ask for now; where they were given
// up, it asks for a key frame.
func (l *layer) repair(m *missing, lost []uint16, now time.Time) []uint16 {
	lost, hopeless := m.due(now, lost)
	if len(lost) > 0 && l.flow != nil {
		l.flow.nacks.Add(uint64(len(lost)))
	}
	if hopeless {
		l.requestKeyFrame()
	}
	return lost
}

// alignPatience is how long a layer waits for sender reports, of which browsers
// send the first within a second, before arrival has to do.
const alignPatience = 3 * time.Second

// place puts a packet on the track's time; false while that is not known.
func (l *layer) place(p *media.Packet) bool {
	if !l.aligned.Load() && !l.align(p) {
		return false
	}
	p.Timestamp += l.shift.Load()
	return true
}

// align relates the layer's timestamps, whose beginning is random (RFC 3550
// section 5.1), to those of the track's reference: by the sender reports of both,
// which are of one clock.
func (l *layer) align(p *media.Packet) bool {
	if l.first.IsZero() {
		l.first = p.Arrival
	}
	reference := l.track.reference.Load()
	last := reference.newest.Load()
	if last == nil {
		return false
	}
	clock := l.track.codec.name.ClockRate()
	byArrival := last.Timestamp + ticks(p.Arrival.Sub(last.Arrival), clock) - p.Timestamp
	mine, its := l.report.Load(), reference.report.Load()
	switch {
	case mine != nil && its != nil:
		shift := its.Timestamp + ticks(mine.NTP.Sub(its.NTP), clock) - mine.Timestamp
		if off := int32(shift - byArrival); off > int32(clock/2) || off < -int32(clock/2) {
			shift = byArrival // reports that media contradict
		}
		l.shift.Store(shift)
	case p.Arrival.Sub(l.first) > alignPatience:
		l.shift.Store(byArrival)
	default:
		return false
	}
	l.aligned.Store(true)
	return true
}

// ticks is a duration in units of a clock, as timestamps have it: modulo 2^32.
func ticks(d time.Duration, clock int64) uint32 {
	return uint32(d.Microseconds() * clock / 1e6)
}

// deliver gives packets to all receivers, each all of them in turn: so those for
// one viewer are next to each other on their way out.
func (l *layer) deliver(burst ...*media.Packet) {
	bytes, lost := 0, 0
	for _, p := range burst {
		l.look(p)
		bytes += len(p.Payload)
		lost += l.gaps.saw(p.Seq)
	}
	rs := l.receivers.Load()
	rs.give(burst)
	l.count(rs, burst[0].Arrival, len(burst), bytes, lost)
}

func (rs *receivers) give(burst []*media.Packet) {
	if rs.socket != nil {
		rs.socket.Cork()
		defer rs.socket.Uncork()
	}
	for _, r := range rs.all {
		for _, p := range burst {
			r.Receive(p)
		}
	}
}

// look keeps what there is to know about a packet.
func (l *layer) look(p *media.Packet) {
	l.newest.Store(p)
	l.octets.Add(uint64(len(p.Payload)))
	if l.history == nil {
		return
	}
	l.history.put(p)
	c := l.track.codec.name
	if !keyFrameStart(c, p.Payload) {
		return
	}
	if w, h, ok := pictureSize(c, p.Payload); ok {
		l.pixels.Store(uint64(w)<<32 | uint64(h))
	}
	select { // it answers all who asked before
	case <-l.keyWanted:
	default:
	}
}

// readReports keeps the newest sender report. Reading also drives Pion's
// receive side.
func (l *layer) readReports(receiver *webrtc.RTPReceiver, ssrc uint32) {
	read := receiver.ReadRTCP
	if l.rid != "" {
		read = func() ([]rtcp.Packet, interceptor.Attributes, error) { return receiver.ReadSimulcastRTCP(l.rid) }
	}
	for bad := 0; bad < maxBadReads; {
		packets, _, err := read()
		if ended(err) {
			return
		}
		if err != nil {
			bad++
			continue
		}
		bad = 0
		for _, p := range packets {
			if sr, ok := p.(*rtcp.SenderReport); ok && sr.SSRC == ssrc {
				l.report.Store(&media.SenderReport{NTP: fromNTP(sr.NTPTime), Timestamp: sr.RTPTime, Arrival: time.Now()})
			}
		}
	}
}
