package sfu

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"

	sockets "braid/media/udp"
)

// heardOf collects what a reception reports.
type heardOf struct {
	mu      sync.Mutex
	packets []rtcp.Packet
	hidden  int // reports behind something else: whoever checks as RFC 3550 appendix A.2 says sees none of it
}

func (h *heardOf) Write(p []rtcp.Packet, _ interceptor.Attributes) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.packets = append(h.packets, p...)
	isReport := func(p rtcp.Packet) bool { _, ok := p.(*rtcp.ReceiverReport); return ok }
	if slices.ContainsFunc(p, isReport) && !isReport(p[0]) {
		h.hidden++
	}
	return 0, nil
}

func (h *heardOf) take() (p []rtcp.Packet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, h.packets = h.packets, nil
	return p
}

// runReceptions tells publishers until end, which returns when that is over.
func runReceptions(socket *sockets.Conn) (all *receptions, end func()) {
	all = &receptions{}
	all.init()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		all.run(socket, stop)
	}()
	return all, func() {
		close(stop)
		<-ended
	}
}

// receptionFeed is a stream whose packets are given to a reception.
func receptionFeed(t *testing.T, r *reception, ssrc uint32) func(seq, transport uint16, timestamp uint32) {
	var next []byte
	reader := r.BindRemoteStream(&interceptor.StreamInfo{SSRC: ssrc, ClockRate: 90_000, RTPHeaderExtensions: []interceptor.RTPHeaderExtension{{URI: sdp.TransportCCURI, ID: 4}}},
		interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
			return copy(b, next), a, nil
		}))
	buf := make([]byte, 1500)
	return func(seq, transport uint16, timestamp uint32) {
		h := rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: seq, Timestamp: timestamp}
		if err := h.SetExtension(4, []byte{byte(transport >> 8), byte(transport)}); err != nil {
			t.Fatal(err)
		}
		next, _ = (&rtp.Packet{Header: h, Payload: []byte{1}}).Marshal()
		if n, a, err := reader.Read(buf, nil); n != len(next) || a != nil || err != nil {
			t.Fatal(n, a, err)
		}
	}
}

// TestReception: what a publisher is told after a second with a tenth of its
// packets lost, one late, and the numbers around their end.
func TestReception(t *testing.T) {
	socket := sockets.New(loopback(t))
	synctest.Test(t, func(t *testing.T) {
		all, end := runReceptions(socket)
		defer end()
		r, heard := newReception(all), &heardOf{}
		r.BindRTCPWriter(heard)
		defer r.Close()
		send := receptionFeed(t, r, 7)
		sr, err := rtcp.Marshal([]rtcp.Packet{&rtcp.SenderReport{SSRC: 7, NTPTime: 0x1122334455667788}})
		if err != nil {
			t.Fatal(err)
		}
		reader := r.BindRTCPReader(interceptor.RTCPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
			return copy(b, sr), a, nil
		}))
		const first = 65_500
		for i := range 100 {
			if i == 50 {
				if _, _, err := reader.Read(make([]byte, 100), nil); err != nil {
					t.Fatal(err)
				}
			}
			if i%10 != 5 {
				send(uint16(first+i), uint16(i), uint32(i)*900)
			}
			if i == 20 {
				send(first+15, 15, 15*900) // late, not lost
			}
			time.Sleep(10*time.Millisecond - time.Nanosecond) // of synctest: the last comes before the report
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		var blocks []rtcp.ReceptionReport
		told := 0
		for _, p := range heard.take() {
			switch p := p.(type) {
			case *rtcp.ReceiverReport:
				blocks = append(blocks, p.Reports...)
			case *rtcp.TransportLayerCC:
				told += len(p.RecvDeltas)
			}
		}
		if len(blocks) != 2 || told != 91 || heard.hidden != 0 {
			t.Fatalf("got reports %+v, %d of them hidden, and feedback of %d packets, want two and 91", blocks, heard.hidden, told)
		}
		got := blocks[1] // of the second half
		delay := time.Duration(got.Delay) * time.Second / 65536
		got.Delay, got.Jitter = 0, got.Jitter/2
		want := rtcp.ReceptionReport{SSRC: 7, FractionLost: 5 * 256 / 49, TotalLost: 9, LastSequenceNumber: 65_599, LastSenderReport: 0x33445566}
		if got != want || delay < 490*time.Millisecond || delay > 510*time.Millisecond {
			t.Errorf("got %+v, delay %v, want %+v, 0.5 s", got, delay, want)
		}
		for i := range 100 { // none lost: the share is of the last second, the sum stays
			send(uint16(first+100+i), uint16(100+i), uint32(100+i)*900)
		}
		if got := r.reports(time.Now())[0].(*rtcp.ReceiverReport).Reports[0]; got.FractionLost != 0 || got.TotalLost != 9 {
			t.Errorf("after a second without loss: got %+v", got)
		}
		send(10_000, 200, 0) // counts anew
		if got := r.reports(time.Now())[0].(*rtcp.ReceiverReport).Reports[0]; got.LastSequenceNumber != 10_000 || got.TotalLost != 0 {
			t.Errorf("after a new beginning: got %+v", got)
		}
		r.UnbindRemoteStream(&interceptor.StreamInfo{SSRC: 7})
		if got := r.reports(time.Now()); got != nil {
			t.Errorf("of a stream that is over: %v", got)
		}
	})
}

func TestReceptionManyStreams(t *testing.T) {
	r := newReception(&receptions{})
	for i := range 70 {
		receptionFeed(t, r, uint32(i))(1, 1, 1)
	}
	got := r.reports(time.Now())
	if len(got) != 3 {
		t.Fatalf("got %d packets, want 3", len(got))
	}
	if _, err := rtcp.Marshal(got); err != nil {
		t.Error(err)
	}
}

func TestReceptionAllocatesNothing(t *testing.T) {
	r := newReception(&receptions{})
	send := receptionFeed(t, r, 7)
	send(0, 0, 0)
	s := r.streams[7]
	h := rtp.Header{Version: 2, SSRC: 7}
	if err := h.SetExtension(4, []byte{0, 1}); err != nil {
		t.Fatal(err)
	}
	b, err := (&rtp.Packet{Header: h, Payload: []byte{1}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	n := uint16(0)
	if allocs := testing.AllocsPerRun(1000, func() {
		n++
		b[2], b[3] = byte(n>>8), byte(n)
		r.count(s, 7, b, r.began)
	}); allocs != 0 {
		t.Errorf("%v allocations a packet", allocs)
	}
}

// TestReceptionWaits: while Pion lets the way to one publisher wait, others come and go.
func TestReceptionWaits(t *testing.T) {
	socket := sockets.New(loopback(t))
	synctest.Test(t, func(t *testing.T) {
		all, end := runReceptions(socket)
		writing, release := make(chan struct{}), make(chan struct{})
		r := newReception(all)
		r.BindRTCPWriter(interceptor.RTCPWriterFunc(func([]rtcp.Packet, interceptor.Attributes) (int, error) {
			close(writing)
			<-release
			return 0, nil
		}))
		receptionFeed(t, r, 7)(1, 1, 1)
		<-writing
		if !all.mu.TryLock() {
			t.Error("all publishers wait for one")
		} else {
			all.mu.Unlock()
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		close(release)
		end()
	})
}
