package sfu

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"

	sockets "braid/media/udp"
)

// sealed is what Pion's cipher, the plain twin, makes of packets.
type sealed struct {
	t   testing.TB
	ctx *srtp.Context
}

func testKeys(r *rand.Rand, profile srtp.ProtectionProfile) srtp.Config {
	c := srtp.Config{Profile: profile}
	salt, err := profile.SaltLen()
	if err != nil {
		panic(err)
	}
	for _, part := range []struct {
		to   *[]byte
		size int
	}{{&c.Keys.RemoteMasterKey, 16}, {&c.Keys.RemoteMasterSalt, salt}} {
		*part.to = make([]byte, part.size)
		for i := range *part.to {
			(*part.to)[i] = byte(r.Uint32())
		}
	}
	return c
}

func newSealed(t testing.TB, c srtp.Config) sealed {
	t.Helper()
	ctx, err := srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, c.Profile)
	if err != nil {
		t.Fatal(err)
	}
	return sealed{t, ctx}
}

func (s sealed) packet(h rtp.Header, payload []byte) (plain, wire []byte) {
	s.t.Helper()
	plain, err := (&rtp.Packet{Header: h, Payload: payload}).Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	if wire, err = s.ctx.EncryptRTP(nil, plain, nil); err != nil {
		s.t.Fatal(err)
	}
	return plain, wire
}

func testStream(t testing.TB, c srtp.Config, first uint16) (*stream, *inbox) {
	t.Helper()
	o, err := newOpener(c)
	if err != nil {
		t.Fatal(err)
	}
	box := &inbox{Buffer: packetio.NewBuffer()}
	s := &stream{open: o, came: arrivals{newest: uint64(first)}}
	s.box.Store(box)
	return s, box
}

// testUplink is one whose keys are known, at an inlet without a socket.
func testUplink(t testing.TB, i *inlet, c srtp.Config) *uplink {
	t.Helper()
	o, err := newOpener(c)
	if err != nil {
		t.Fatal(err)
	}
	u := newUplink(i, &receptions{})
	u.opener, u.asked = o, true
	return u
}

// TestUplinkSameSSRC: two publishers chose one SSRC; the numbers of one say nothing
// of the other's packets.
func TestUplinkSameSSRC(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	i := &inlet{streams: map[uint32][]*stream{}}
	var from [2]sealed
	var boxes [2]*inbox
	for n := range from {
		keys := testKeys(r, srtp.ProtectionProfileAeadAes128Gcm)
		from[n], boxes[n] = newSealed(t, keys), &inbox{Buffer: packetio.NewBuffer()}
		testUplink(t, i, keys).divert(7, boxes[n], uint16(5000-2000*n))
	}
	for k := range 3000 {
		for n, s := range from {
			h := rtp.Header{Version: 2, SSRC: 7, SequenceNumber: uint16(5000 - 2000*n + k), PayloadType: 96}
			_, wire := s.packet(h, []byte{1, 2, 3})
			if !i.takeMedia(wire) || boxes[n].Count() != k+1 {
				t.Fatalf("publisher %d has got %d packets of %d", n, boxes[n].Count(), k+1)
			}
		}
	}
}

// TestUplinkReport: what a publisher is told opens with its key, under an SSRC that
// Pion, which seals with the same key, does not use; by TCP it is Pion's to send.
func TestUplinkReport(t *testing.T) {
	for _, profile := range []srtp.ProtectionProfile{srtp.ProtectionProfileAeadAes128Gcm, srtp.ProtectionProfileAes128CmHmacSha1_80} {
		keys := testKeys(rand.New(rand.NewPCG(4, 1)), profile)
		publisher := loopback(t)
		u := newUplink(newInlet(sockets.New(loopback(t)), time.Minute), &receptions{})
		packets := []rtcp.Packet{
			&rtcp.ReceiverReport{SSRC: 5, Reports: []rtcp.ReceptionReport{{SSRC: 7, LastSequenceNumber: 9}}},
			&rtcp.PictureLossIndication{SenderSSRC: 5, MediaSSRC: 7},
		}
		at := publisher.LocalAddr().(*net.UDPAddr).AddrPort()
		u.route.Store(&route{udp: at})
		if u.report(packets) {
			t.Fatal("sent without keys")
		}
		var err error
		if u.seal, err = newSeal(keys.Keys.RemoteMasterKey, keys.Keys.RemoteMasterSalt, profile); err != nil {
			t.Fatal(err)
		}
		open, err := srtp.CreateContext(keys.Keys.RemoteMasterKey, keys.Keys.RemoteMasterSalt, profile, srtp.SRTCPReplayProtection(replayWindow))
		if err != nil {
			t.Fatal(err)
		}
		if err := publisher.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if !u.report(packets) {
				t.Fatal("not sent")
			}
			buf := make([]byte, 1500)
			n, err := publisher.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := open.DecryptRTCP(nil, buf[:n], nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := rtcp.Unmarshal(plain)
			if err != nil {
				t.Fatal(err)
			}
			report, ok := got[0].(*rtcp.ReceiverReport)
			pli, ok2 := got[1].(*rtcp.PictureLossIndication)
			if !ok || !ok2 || report.SSRC != u.own || report.Reports[0].LastSequenceNumber != 9 || *pli != (rtcp.PictureLossIndication{SenderSSRC: u.own, MediaSSRC: 7}) {
				t.Errorf("got %v", got)
			}
		}
		if u.became(webrtc.ICETransportStateFailed); u.report(packets) {
			t.Error("sent to who has not been heard of")
		}
		u.route.Store(&route{udp: at, tcp: net.TCPAddrFromAddrPort(at)})
		if u.report(packets) {
			t.Error("sent by UDP to who came by TCP")
		}
	}
}

// TestUplinkAgain: a stream that is taken again after some rounds is opened with
// those, and what was recorded in the first opens nothing.
func TestUplinkAgain(t *testing.T) {
	keys := testKeys(rand.New(rand.NewPCG(3, 1)), srtp.ProtectionProfileAeadAes128Gcm)
	mine := newSealed(t, keys)
	i := &inlet{streams: map[uint32][]*stream{}}
	u := testUplink(t, i, keys)
	box, buf := &inbox{Buffer: packetio.NewBuffer()}, make([]byte, 100)
	send := func(n int) (wire []byte, took bool) {
		_, wire = mine.packet(rtp.Header{Version: 2, SSRC: 7, SequenceNumber: uint16(n), PayloadType: 96}, []byte{1, 2, 3})
		took = i.takeMedia(wire)
		for box.Count() > 0 {
			if _, err := box.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		return wire, took
	}
	u.divert(7, box, 100)
	var old []byte
	n := 101
	for ; n < 70_000; n++ {
		if wire, _ := send(n); n == 70_000-65_536+50 {
			old = wire
		}
	}
	if err := box.Close(); err != nil {
		t.Fatal(err)
	}
	if _, took := send(n); took {
		t.Error("a packet is taken for a reader who is gone")
	}
	u.restore(7)
	if n++; len(i.streams) != 0 {
		t.Errorf("%d streams are taken, want none", len(i.streams))
	}
	if _, took := send(n); took {
		t.Error("a packet is taken of a stream that is Pion's")
	}
	box = &inbox{Buffer: packetio.NewBuffer()}
	u.divert(7, box, uint16(n))
	if i.takeMedia(old) {
		t.Error("a packet of the first round is taken in the second")
	}
	missed := 0
	for end := n + 100_000; n < end; {
		n++
		if _, took := send(n); !took {
			missed++
		}
	}
	if missed > 100_000/sampleEvery+1 {
		t.Errorf("Pion had %d packets of 100000", missed)
	}
}

// TestInboxAgain: what a publisher sends on while a track is dropped gets another
// box before the first is let go; whoever reads the stream next gets that.
func TestInboxAgain(t *testing.T) {
	boxes := &inboxes{}
	if err := boxes.make(packetio.RTPBufferPacket, 7).Close(); err != nil {
		t.Fatal(err)
	}
	next := boxes.make(packetio.RTPBufferPacket, 7)
	info := &interceptor.StreamInfo{SSRC: 7}
	boxes.UnbindRemoteStream(info)
	reader := boxes.BindRemoteStream(info, interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, err := next.Read(b)
		return n, a, err
	}))
	for range 2 {
		if _, err := next.Write(make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
	}
	var box *inbox
	if _, a, err := reader.Read(make([]byte, 100), nil); err != nil || !waiting(a, &box) {
		t.Errorf("a packet that waits is not known of, %v", err)
	}
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	if boxes.UnbindRemoteStream(info); len(boxes.rtp) != 0 {
		t.Errorf("%d boxes are kept of streams that are over", len(boxes.rtp))
	}
}

// TestUplinkOtherRounds: what does not open in the rounds that are assumed is
// Pion's, all of it, however long it goes on.
func TestUplinkOtherRounds(t *testing.T) {
	keys := testKeys(rand.New(rand.NewPCG(4, 1)), srtp.ProtectionProfileAeadAes128Gcm)
	mine := newSealed(t, keys)
	i := &inlet{streams: map[uint32][]*stream{}}
	for n := range 65_536 + 60_000 {
		_, wire := mine.packet(rtp.Header{Version: 2, SSRC: 7, SequenceNumber: uint16(n), PayloadType: 96}, []byte{1})
		if n == 65_536+2000 {
			testUplink(t, i, keys).divert(7, &inbox{Buffer: packetio.NewBuffer()}, uint16(n))
		}
		if i.takeMedia(wire) {
			t.Fatalf("packet %d is lost", n)
		}
	}
}

// TestUplinkOpens: three rounds of numbers, in the order of a network that
// overtakes, with packets twice, of another's key, and damaged.
func TestUplinkOpens(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	keys := testKeys(r, srtp.ProtectionProfileAeadAes128Gcm)
	mine, other := newSealed(t, keys), newSealed(t, testKeys(r, srtp.ProtectionProfileAeadAes128Gcm))
	const first = 30_000
	s, box := testStream(t, keys, first)
	by := &bringer{now: time.Now()}
	room, buf := make([]byte, 2000), make([]byte, 2000)
	try := func(wire []byte) (verdict int, plain []byte) {
		n, ok := mediaHeader(wire)
		if !ok {
			t.Fatalf("% x is not taken for RTP", wire)
		}
		if verdict = s.take(wire, n, room, by); box.Count() == 0 {
			return verdict, nil
		}
		size, err := box.Read(buf)
		if err != nil || box.Count() > 0 {
			t.Fatal("more than one packet came of one", err)
		}
		return verdict, buf[:size]
	}
	samples, late := 0, [][2][]byte{}
	check := func(p [2][]byte) {
		switch v, plain := try(p[1]); {
		case v == sampled && plain == nil:
			samples++
		case v != taken || !bytes.Equal(plain, p[0]):
			t.Fatalf("got verdict %d, % x, want % x", v, plain, p[0])
		}
	}
	for i := range 3 * 65536 {
		h := rtp.Header{Version: 2, SSRC: 7, SequenceNumber: uint16(first + i), Timestamp: uint32(i) * 10, PayloadType: 96, Marker: i%5 == 0}
		if i%3 == 0 {
			if err := h.SetExtension(3, []byte{1, 2}); err != nil {
				t.Fatal(err)
			}
		}
		payload := binary.BigEndian.AppendUint32(nil, uint32(i))
		plain, wire := mine.packet(h, payload)
		if i%1000 == 999 { // overtaken by up to 200
			late = append(late, [2][]byte{plain, wire})
			continue
		}
		check([2][]byte{plain, wire})
		if len(late) > 0 && i%1000 == 199 {
			check(late[0])
			late = late[:0]
		}
		if i%777 != 0 {
			continue
		}
		if v, again := try(wire); v != taken || again != nil {
			t.Fatalf("packet %d again: verdict %d, % x", i, v, again)
		}
		h.SequenceNumber += 50
		_, foreignWire := other.packet(h, payload)
		if v, got := try(foreignWire); v != foreign || got != nil {
			t.Fatalf("of another's key: verdict %d, % x", v, got)
		}
		foreignWire = bytes.Clone(wire)
		foreignWire[2], foreignWire[3] = byte(h.SequenceNumber>>8), byte(h.SequenceNumber)
		if v, got := try(foreignWire); v != foreign || got != nil {
			t.Fatalf("with another number: verdict %d, % x", v, got)
		}
	}
	if samples < 3*65536/(sampleEvery+10) || samples > 3*65536/sampleEvery {
		t.Errorf("Pion got %d packets of %d", samples, 3*65536)
	}
}

// TestUplinkLeaps: a publisher whose numbers leap over half a round in its first is
// read on.
func TestUplinkLeaps(t *testing.T) {
	keys := testKeys(rand.New(rand.NewPCG(3, 1)), srtp.ProtectionProfileAeadAes128Gcm)
	mine := newSealed(t, keys)
	s, box := testStream(t, keys, 100)
	by := &bringer{now: time.Now()}
	room := make([]byte, 100)
	for i := range 100 {
		_, wire := mine.packet(rtp.Header{Version: 2, SSRC: 7, SequenceNumber: uint16(40_000 + i), PayloadType: 96}, []byte{1, 2, 3})
		if v := s.take(wire, 12, room, by); v != taken || box.Count() != i+1 {
			t.Fatalf("packet %d after the leap: verdict %d, %d have come", i, v, box.Count())
		}
	}
}

// TestUplinkLivesOn: Pion hears of a stream often enough not to take its publisher for
// lost, however few packets it has.
func TestUplinkLivesOn(t *testing.T) {
	for _, c := range []struct {
		name   string
		every  time.Duration
		marker int // each so many packets; 0: never
		passed int // in 20 s, at least
	}{
		{"sound", 20 * time.Millisecond, 0, 9},
		{"sound with pauses", 400 * time.Millisecond, 0, 6},
		{"pictures", 7 * time.Millisecond, 5, 18},
		{"pictures of many packets", time.Millisecond, 3000, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stream{pass: time.Second, passed: time.Now()}
				passed := 0
				for i := range int(20 * time.Second / c.every) {
					time.Sleep(c.every) // of the bubble
					marker := c.marker > 0 && i%c.marker == c.marker-1
					if !s.due(marker, time.Now()) {
						continue
					}
					if passed++; !marker && c.marker == 5 {
						t.Errorf("packet %d is in the middle of a picture", i)
					}
				}
				if passed < c.passed || passed > 21 {
					t.Errorf("Pion got %d packets in 20 s, want %d at least", passed, c.passed)
				}
			})
		})
	}
}

func TestArrivals(t *testing.T) {
	a := arrivals{newest: 10}
	for _, c := range []struct {
		number uint16
		index  uint64
		has    bool // before
	}{
		{10, 10, false}, {10, 10, true}, {12, 12, false}, {11, 11, false}, {11, 11, true}, {9, 9, false},
		{30_000, 30_000, false}, {12, 12, true}, {30_000 - 1024, 28_976, true}, {30_000 - 1023, 28_977, false},
		{60_000, 60_000, false}, {100, 65_636, false}, {65_000, 65_000, false}, {100, 65_636, true}, {99, 65_635, false},
	} {
		i := a.index(c.number)
		if i != c.index || a.has(i) != c.has {
			t.Errorf("%d after %d: got %d, %v, want %d, %v", c.number, a.newest, i, a.has(i), c.index, c.has)
		}
		if !a.has(i) {
			a.add(i)
		}
	}
}

// TestUplinkTakes: a publisher's packets come past Pion, all of them and in order, but
// for the one each second that takes Pion's way, which others may overtake; when it
// leaves, nothing of it stays.
func TestUplinkTakes(t *testing.T) {
	s := testServer(t)
	video, _ := vp8Feed(t)
	p := publish(t, s, "ann", video)
	v := watch(t, s, "bob", "ann")
	receive(t, "video arrives", v.video)
	diverted := func() int {
		s.net.inlet.mu.RLock()
		defer s.net.inlet.mu.RUnlock()
		return len(s.net.inlet.streams)
	}
	if diverted() != 1 {
		t.Errorf("%d streams are taken at the socket, want 1", diverted())
	}
	first, came, late := receive(t, "a packet", v.video).SequenceNumber, map[uint16]bool{}, 0
	for n := uint16(1); n <= 100 || len(came) < int(n)-1; n++ {
		p := receive(t, "the next packet", v.video)
		if came[p.SequenceNumber-first] = true; p.SequenceNumber-first < n {
			late++
		}
		if n > 120 {
			t.Fatalf("of %d packets %d have come", n, len(came))
		}
	}
	if late > 3 {
		t.Errorf("%d packets were overtaken", late)
	}
	if err := p.pc.Close(); err != nil {
		t.Fatal(err)
	}
	receive(t, "the publisher's session ends", p.session.Done())
	if diverted() != 0 {
		t.Errorf("%d streams are taken of a publisher who has left", diverted())
	}
}

func FuzzMediaHeader(f *testing.F) {
	f.Add([]byte{0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 1, 2, 3})
	f.Add([]byte{0x91, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0x10, 1, 0, 0, 5})
	f.Add([]byte{0x90, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0xbe, 0xde, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := mediaHeader(b)
		var h rtp.Header
		want, err := h.Unmarshal(b)
		if ok && n > len(b) || ok && err == nil && n != want {
			t.Fatalf("% x: got %d of %d, Pion %d", b, n, len(b), want)
		}
	})
}

func BenchmarkUplink(b *testing.B) {
	keys := testKeys(rand.New(rand.NewPCG(1, 1)), srtp.ProtectionProfileAeadAes128Gcm)
	mine := newSealed(b, keys)
	s, box := testStream(b, keys, 0)
	by := &bringer{now: time.Now()}
	room, buf := make([]byte, 2000), make([]byte, 2000)
	payload := make([]byte, 1100)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		_, wire := mine.packet(rtp.Header{Version: 2, SSRC: 7, SequenceNumber: uint16(i)}, payload)
		b.StartTimer()
		if s.take(wire, 12, room, by) == taken {
			box.Read(buf)
		}
	}
}
