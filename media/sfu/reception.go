package sfu

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"

	sockets "braid/media/udp"
)

// How often a publisher is told what has come of its packets: transport-wide
// feedback, from which it estimates its way here, and receiver reports.
const (
	feedbackEvery = 100 * time.Millisecond
	reportEvery   = 500 * time.Millisecond
)

// feedbackTurns is how many turns the publishers are told in, each in one of them: not
// all at once.
const feedbackTurns = 2

// reception counts what comes from a publisher and tells it: receiver reports (RFC
// 3550 section 6.4.2) and transport-wide feedback
// (draft-holmer-rmcat-transport-wide-cc-extensions-01). It does what Pion's two
// interceptors do, without a goroutine and four allocations for each packet.
type reception struct {
	interceptor.NoOp
	own  uint32 // SSRC of who reports
	in   *receptions
	past func([]rtcp.Packet) bool // the way to the publisher past Pion; false: Pion's has to do

	// Owned by receptions.mu.
	writer   interceptor.RTCPWriter // Pion's way
	told     time.Time              // when the newest feedback was due
	reported time.Time

	mu       sync.Mutex
	recorder *twcc.Recorder
	began    time.Time
	fresh    bool // the recorder knows of packets that the publisher was not told of
	streams  map[uint32]*received
}

// receptions are all that a server has. One goroutine tells all publishers: a timer
// and a write to the socket for each cost more than what is in the reports.
type receptions struct {
	wake chan struct{} // one place; filled when all was empty

	mu  sync.Mutex
	all map[*reception]struct{}
}

func (all *receptions) init() {
	all.wake, all.all = make(chan struct{}, 1), map[*reception]struct{}{}
}

// run tells the publishers what is due until stop is closed.
func (all *receptions) run(socket *sockets.Conn, stop <-chan struct{}) {
	tick := time.NewTicker(feedbackEvery / feedbackTurns)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-all.wake:
			tick.Reset(feedbackEvery / feedbackTurns)
		case now := <-tick.C:
			socket.Cork()
			rest, left := all.tell(now)
			socket.Uncork()
			for _, u := range rest { // with nothing held: a connection that is closing lets Pion wait
				_, _ = u.writer.Write(u.packets, nil) // one that is not there yet, or no more
			}
			if !left {
				tick.Stop()
			}
		}
	}
}

// untold is what has to go Pion's way.
type untold struct {
	writer  interceptor.RTCPWriter
	packets []rtcp.Packet
}

// tell tells what it can past Pion. left is false when there is nobody to tell.
func (all *receptions) tell(now time.Time) (rest []untold, left bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for r := range all.all {
		if packets := r.due(now); len(packets) > 0 && !r.past(packets) {
			rest = append(rest, untold{r.writer, packets})
		}
	}
	return rest, len(all.all) > 0
}

func newReception(in *receptions) *reception {
	own := rand.Uint32()
	return &reception{own: own, in: in, past: func([]rtcp.Packet) bool { return false }, recorder: twcc.NewRecorder(own), began: time.Now(), streams: map[uint32]*received{}}
}

// NewInterceptor implements interceptor.Factory; there is one for each
// connection already.
func (r *reception) NewInterceptor(string) (interceptor.Interceptor, error) { return r, nil }

// Close implements interceptor.Interceptor. A report that is under way may follow it.
func (r *reception) Close() error {
	r.in.mu.Lock()
	defer r.in.mu.Unlock()
	delete(r.in.all, r)
	return nil
}

// BindRTCPWriter implements interceptor.Interceptor: reports go there until Close.
func (r *reception) BindRTCPWriter(w interceptor.RTCPWriter) interceptor.RTCPWriter {
	now := time.Now()
	r.in.mu.Lock()
	defer r.in.mu.Unlock()
	r.writer, r.told, r.reported = w, now, now
	if r.in.all[r] = struct{}{}; len(r.in.all) == 1 {
		select {
		case r.in.wake <- struct{}{}:
		default:
		}
	}
	return w
}

// due is what to tell the publisher now, if it is time.
func (r *reception) due(now time.Time) []rtcp.Packet {
	if now.Sub(r.told) < feedbackEvery-feedbackEvery/(2*feedbackTurns) { // ticks come a little early or late
		return nil
	}
	r.told = now
	packets := r.feedback()
	if now.Sub(r.reported) >= reportEvery {
		packets = append(r.reports(now), packets...) // reports first (RFC 3550 section 6.1)
		r.reported = now
	}
	return packets
}

func (r *reception) feedback() []rtcp.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.fresh {
		return nil
	}
	r.fresh = false
	return r.recorder.BuildFeedbackPacket()
}

// reports has a packet for each 31 streams that something came of.
func (r *reception) reports(now time.Time) (packets []rtcp.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := &rtcp.ReceiverReport{SSRC: r.own}
	for ssrc, s := range r.streams {
		if !s.begun {
			continue
		}
		if len(report.Reports) == rtcpMostReports {
			packets = append(packets, report)
			report = &rtcp.ReceiverReport{SSRC: r.own}
		}
		report.Reports = append(report.Reports, s.report(ssrc, now))
	}
	if len(report.Reports) > 0 {
		packets = append(packets, report)
	}
	return packets
}

const rtcpMostReports = 31 // of one packet: the count has five bits

// BindRemoteStream implements interceptor.Interceptor.
func (r *reception) BindRemoteStream(info *interceptor.StreamInfo, reader interceptor.RTPReader) interceptor.RTPReader {
	s := &received{clock: float64(info.ClockRate)}
	for _, e := range info.RTPHeaderExtensions {
		if e.URI == sdp.TransportCCURI {
			s.transport = uint8(e.ID)
		}
	}
	ssrc := info.SSRC
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams[ssrc] = s
	return interceptor.RTPReaderFunc(func(p []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, a, err := reader.Read(p, a)
		if err == nil {
			r.count(s, ssrc, p[:n], time.Now())
		}
		return n, a, err
	})
}

// UnbindRemoteStream implements interceptor.Interceptor.
func (r *reception) UnbindRemoteStream(info *interceptor.StreamInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, info.SSRC)
}

// counter counts a stream's packets that do not come by its reader.
func (r *reception) counter(ssrc uint32) func(b []byte, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[ssrc]
	return func(b []byte, now time.Time) {
		if s != nil {
			r.count(s, ssrc, b, now)
		}
	}
}

// count takes note of a packet.
func (r *reception) count(s *received, ssrc uint32, b []byte, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := s.header.Unmarshal(b); err != nil {
		return
	}
	s.count(&s.header, now)
	if s.transport == 0 {
		return
	}
	if number := s.header.GetExtension(s.transport); len(number) == 2 {
		r.recorder.Record(ssrc, binary.BigEndian.Uint16(number), now.Sub(r.began).Microseconds())
		r.fresh = true
	}
}

// BindRTCPReader implements interceptor.Interceptor: receiver reports say when the
// last sender report came, so that the publisher knows the round trip.
func (r *reception) BindRTCPReader(reader interceptor.RTCPReader) interceptor.RTCPReader {
	return interceptor.RTCPReaderFunc(func(p []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, a, err := reader.Read(p, a)
		if err == nil {
			eachRTCP(p[:n], func(h rtcp.Header, packet []byte) {
				if h.Type == rtcp.TypeSenderReport && len(packet) >= 28 {
					r.sent(binary.BigEndian.Uint32(packet[4:]), binary.BigEndian.Uint32(packet[10:]), time.Now())
				}
			})
		}
		return n, a, err
	})
}

// sent notes a sender report: the middle 32 bits of its time.
func (r *reception) sent(ssrc, middle uint32, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.streams[ssrc]; s != nil {
		s.sender, s.senderAt = middle, now
	}
}

// received is what RFC 3550 keeps of a stream (appendices A.1, A.3 and A.8).
type received struct {
	clock     float64    // of its timestamps, in Hz
	transport uint8      // id of the transport-wide number's extension; 0: none
	header    rtp.Header // of the newest packet, reused

	begun       bool
	newest      uint32 // with the rounds before
	first       uint32
	packets     uint32
	told        uint32 // packets expected at the last report
	toldPackets uint32 // and come

	jitter    float64 // in units of the clock
	timestamp uint32
	arrived   time.Time

	sender   uint32 // the middle of the last sender report's time; 0: none
	senderAt time.Time
}

// farAhead is how far numbers may leap without a new beginning (RFC 3550 appendix
// A.1, MAX_DROPOUT).
const farAhead = 3000

func (s *received) count(h *rtp.Header, now time.Time) {
	ahead := int(int16(h.SequenceNumber - uint16(s.newest)))
	switch {
	case !s.begun || max(ahead, -ahead) > farAhead:
		number := uint32(h.SequenceNumber)
		*s = received{clock: s.clock, transport: s.transport, header: s.header, sender: s.sender, senderAt: s.senderAt,
			begun: true, newest: number, first: number, packets: 1, jitter: s.jitter, timestamp: h.Timestamp, arrived: now}
		return
	case ahead <= 0: // late: its way says nothing of the others'
		s.packets++
		return
	}
	s.packets++
	s.newest += uint32(ahead)
	if h.Timestamp == s.timestamp { // one picture, sent as one
		return
	}
	d := now.Sub(s.arrived).Seconds()*s.clock - float64(int32(h.Timestamp-s.timestamp))
	s.jitter += (max(d, -d) - s.jitter) / 16
	s.timestamp, s.arrived = h.Timestamp, now
}

// report is the stream's block of a receiver report; the share lost is that since
// the last.
func (s *received) report(ssrc uint32, now time.Time) rtcp.ReceptionReport {
	expected := s.newest - s.first + 1
	out := rtcp.ReceptionReport{SSRC: ssrc, LastSequenceNumber: s.newest, Jitter: uint32(s.jitter), LastSenderReport: s.sender}
	if lost := int64(expected) - int64(s.packets); lost > 0 {
		out.TotalLost = uint32(min(lost, 1<<23-1)) // of 24 bits with a sign
	}
	since, came := expected-s.told, s.packets-s.toldPackets
	if since > 0 && came < since {
		out.FractionLost = uint8(min((since-came)*256/since, 255))
	}
	s.told, s.toldPackets = expected, s.packets
	if s.sender != 0 {
		out.Delay = uint32(now.Sub(s.senderAt).Seconds() * 65536)
	}
	return out
}
