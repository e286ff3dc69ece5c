package sfu

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/packetio"

	"braid/media"
)

// shortened is a publisher's stream of pictures, SSRC 7, and what repeats it, 8, whose
// packets an inlet brings to their layer at once.
type shortened struct {
	t       *testing.T
	from    sealed
	inlet   *inlet
	uplink  *uplink
	boxes   map[uint32]*inbox
	ingress *ingress
	numbers map[uint32]uint16 // the next of 8
	asked   []uint16          // lost packets that were asked for
	slow    int               // times that Pion's way was taken
}

func newShortened(t *testing.T) *shortened {
	t.Helper()
	keys := testKeys(rand.New(rand.NewPCG(5, 1)), srtp.ProtectionProfileAeadAes128Gcm)
	s := &shortened{t: t, from: newSealed(t, keys), inlet: &inlet{streams: map[uint32][]*stream{}}, boxes: map[uint32]*inbox{}, numbers: map[uint32]uint16{}}
	s.inlet.by.begin(time.Now(), 0)
	s.uplink = testUplink(t, s.inlet, keys)
	l := newTrack(codec{name: media.VP9, payload: 96, rtx: 97}).layers[0]
	l.begin()
	s.uplink.route.Store(&route{udp: netip.MustParseAddrPort("192.0.2.1:5000")})
	s.ingress = newIngress(l, intake{codec: l.track.codec}, func(up *uplink, lost []uint16) {
		if s.asked = append(s.asked, lost...); up == nil {
			s.slow++
		}
	})
	for _, ssrc := range []uint32{7, 8} {
		s.boxes[ssrc] = &inbox{Buffer: packetio.NewBuffer(), of: &inboxes{up: s.uplink}}
		s.uplink.counts.BindRemoteStream(&interceptor.StreamInfo{SSRC: ssrc, ClockRate: 90_000, RTPHeaderExtensions: []interceptor.RTPHeaderExtension{{URI: sdp.TransportCCURI, ID: 4}}}, nil)
	}
	return s
}

// begin is what the layer's goroutine does once it has read a packet.
func (s *shortened) begin(rtx uint32) {
	s.ingress.mu.Lock()
	defer s.ingress.mu.Unlock()
	if s.uplink.shorten(7, rtx, s.ingress) {
		s.ingress.up = s.uplink
	}
}

// send sends a packet as the socket brings it; again as a retransmission. It tells
// whether Pion does not get it.
func (s *shortened) send(number uint16, again bool) (taken bool) {
	s.t.Helper()
	h := rtp.Header{Version: 2, SSRC: 7, SequenceNumber: number, PayloadType: 96, Timestamp: uint32(number)}
	payload := []byte{byte(number >> 8), byte(number)}
	if again {
		h.SSRC, h.PayloadType, h.SequenceNumber = 8, 97, s.numbers[8]
		s.numbers[8]++
		payload = append(binary.BigEndian.AppendUint16(nil, number), payload...)
	}
	_, wire := s.from.packet(h, payload)
	return s.inlet.takeMedia(wire)
}

// TestIngressShort: what the inlet brings arrives in bursts, with what is repeated; and
// goes by the box where there are many receivers, much to read, or something in the box.
func TestIngressShort(t *testing.T) {
	s := newShortened(t)
	var order []string
	var detach []func()
	attach := func(who string) {
		detach = append(detach, s.ingress.layer.attach(receiverFunc(func(p *media.Packet) {
			order = append(order, fmt.Sprint(who, binary.BigEndian.Uint16(p.Payload)))
		})))
	}
	attach("a")
	attach("b")
	got := func() string {
		t.Helper()
		s.inlet.by.done()
		defer func() { order = nil }()
		return strings.Join(order, " ")
	}
	s.uplink.divert(7, s.boxes[7], 99)
	if s.begin(8); s.ingress.up != nil {
		t.Fatal("the short way is open before what is repeated is taken")
	}
	s.uplink.divert(8, s.boxes[8], 0)
	s.numbers[8] = 1
	s.begin(8)
	for _, n := range []uint16{100, 101, 103} {
		if !s.send(n, false) {
			t.Fatalf("Pion got packet %d", n)
		}
	}
	if got := got(); got != "a100 a101 a103 b100 b101 b103" {
		t.Errorf("got %s", got)
	}
	if !slices.Equal(s.asked, []uint16{102}) || s.slow != 0 {
		t.Errorf("asked for %v, %d times by Pion, which may wait, want 102 past it", s.asked, s.slow)
	}
	s.send(102, true)
	s.send(102, true) // comes once
	s.send(104, false)
	if got := got(); got != "a102 a104 b102 b104" {
		t.Errorf("with a retransmission: got %s", got)
	}
	s.uplink.counts.mu.Lock()
	if n, again := s.uplink.counts.streams[7].packets, s.uplink.counts.streams[8].packets; n != 4 || again != 2 {
		t.Errorf("counted %d packets and %d that repeat some, want 4 and 2", n, again)
	}
	s.uplink.counts.mu.Unlock()

	byBox := func(why string, n uint16) {
		t.Helper()
		if !s.send(n, false) || got() != "" || s.boxes[7].Count() == 0 {
			t.Errorf("%s: packet %d is not in the box", why, n)
		}
	}
	s.inlet.by.begin(time.Now(), few)
	byBox("much to read", 106)
	for range few + 1 {
		s.send(105, true)
	}
	if got := got(); got != "a105 b105" || s.boxes[8].Count() != 1 {
		t.Errorf("much to read: of %d retransmissions got %s, and %d are in the box, want one", few+1, got, s.boxes[8].Count())
	}
	s.inlet.by.begin(time.Now(), 0)
	byBox("something in the box", 107)
	for s.boxes[7].Count() > 0 {
		if _, err := s.boxes[7].Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	for range few - 1 {
		attach("c")
	}
	byBox("many receivers", 108)
	if _, err := s.boxes[7].Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	detach[1]()
	if s.send(109, false); got() == "" {
		t.Error("few receivers again: nothing comes")
	}
	byUDP := s.uplink.route.Swap(&route{tcp: &net.TCPAddr{}})
	byBox("the publisher can be told only by TCP", 110)
	if _, err := s.boxes[7].Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	s.uplink.route.Store(byUDP)
	if s.send(111, false); got() == "" {
		t.Error("by UDP again: nothing comes")
	}
	s.ingress.end()
	byBox("the layer reads no more", 112)
	s.uplink.restore(7)
	if s.send(113, false) {
		t.Error("taken of a stream that nobody reads")
	}
}

// TestIngressTime: a packet that comes at once has not come before the one in front of
// it, which the layer's goroutine has read since: what viewers may ask for again is told
// by that (follower.sent).
func TestIngressTime(t *testing.T) {
	s := newShortened(t)
	var came []time.Time
	s.ingress.layer.attach(receiverFunc(func(p *media.Packet) { came = append(came, p.Arrival) }))
	s.uplink.divert(7, s.boxes[7], 99)
	s.uplink.divert(8, s.boxes[8], 0)
	s.begin(8)
	plain, _ := s.from.packet(rtp.Header{Version: 2, SSRC: 7, SequenceNumber: 100, PayloadType: 96}, []byte{0, 100})
	s.ingress.mu.Lock()
	s.ingress.packet(plain, s.inlet.by.now.Add(time.Millisecond), nil)
	s.ingress.flush()
	s.ingress.mu.Unlock()
	s.send(101, false)
	s.inlet.by.done()
	if len(came) != 2 || came[1].Before(came[0]) {
		t.Errorf("the packets came at %v", came)
	}
}

// TestIngressAgain: a stream that is stopped and begins anew under its SSRC is counted
// from its new beginning, and its retransmissions are not taken before they are known.
func TestIngressAgain(t *testing.T) {
	s := newShortened(t)
	info := func(ssrc uint32) *interceptor.StreamInfo {
		return &interceptor.StreamInfo{SSRC: ssrc, ClockRate: 90_000}
	}
	s.uplink.divert(7, s.boxes[7], 99)
	s.uplink.divert(8, s.boxes[8], 0)
	s.numbers[8] = 1
	s.begin(8)
	s.send(100, false)
	s.inlet.by.done()
	for _, ssrc := range []uint32{7, 8} {
		s.uplink.restore(ssrc)
		s.uplink.counts.UnbindRemoteStream(info(ssrc))
		s.uplink.counts.BindRemoteStream(info(ssrc), nil)
	}
	s.ingress.end()
	s.ingress = newIngress(s.ingress.layer, s.ingress.in, s.ingress.again)
	s.uplink.divert(7, s.boxes[7], 200)
	if s.begin(8); s.ingress.up != nil {
		t.Error("the short way is open before what is repeated is taken")
	}
	s.uplink.divert(8, s.boxes[8], 0)
	s.begin(8)
	for n := uint16(201); n <= 210; n++ {
		s.send(n, false)
	}
	s.send(210, true)
	s.inlet.by.done()
	for _, p := range s.uplink.counts.reports(time.Now()) {
		for _, got := range p.(*rtcp.ReceiverReport).Reports {
			if got.SSRC == 7 && (got.LastSequenceNumber != 210 || got.TotalLost != 0) || got.SSRC == 8 && got.LastSequenceNumber != 1 {
				t.Errorf("the publisher is told %+v", got)
			}
		}
	}
	if n, again := s.uplink.counts.streams[7].packets, s.uplink.counts.streams[8].packets; n != 10 || again != 1 {
		t.Errorf("counted %d packets and %d that repeat some, want 10 and 1", n, again)
	}
}

// TestOriginal: what a retransmission packet repeats, as Pion has it.
func TestOriginal(t *testing.T) {
	want := rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SSRC: 7, SequenceNumber: 0x1234, PayloadType: 96, Timestamp: 5}, Payload: []byte{1, 2, 3}}
	if err := want.SetExtension(4, []byte{9, 9}); err != nil {
		t.Fatal(err)
	}
	again := rtp.Packet{Header: want.Header.Clone(), Payload: append([]byte{0x12, 0x34}, want.Payload...)}
	again.SSRC, again.SequenceNumber, again.PayloadType = 8, 1, 97
	for _, padding := range []byte{0, 1, 20} {
		again.Padding, again.PaddingSize = padding > 0, padding
		want.Padding, want.PaddingSize = padding > 0, padding
		b, err := again.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := want.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		n, ok := mediaHeader(b)
		if got := original(b, n, 7, 96); !ok || !bytes.Equal(got, wanted) {
			t.Errorf("padding of %d: got % x, want % x", padding, got, wanted)
		}
	}
	probe, err := (&rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 8, PayloadType: 97, Padding: true, PaddingSize: 200}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got := original(probe, 12, 7, 96); got != nil {
		t.Errorf("a probe repeats % x", got)
	}
}

func FuzzOriginal(f *testing.F) {
	f.Add([]byte{0x80, 97, 0, 1, 0, 0, 0, 1, 0, 0, 0, 8, 0x12, 0x34, 1, 2, 3})
	f.Add([]byte{0xb1, 97, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0x10, 1, 0, 0, 5, 2, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := mediaHeader(b)
		if !ok {
			return
		}
		if got := original(bytes.Clone(b), n, 7, 96); got != nil && (len(got) != len(b)-2 || got[1]&0x7f != 96) {
			t.Fatalf("% x: got % x", b, got)
		}
	})
}
