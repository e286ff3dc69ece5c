package sfu

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"

	"braid/media"
	"braid/media/udp"
)

var profiles = []srtp.ProtectionProfile{srtp.ProtectionProfileAeadAes128Gcm, srtp.ProtectionProfileAes128CmHmacSha1_80}

// oursWire is a wire to a socket whose packets are ours to seal, and what opens
// them there.
func oursWire(t testing.TB, profile srtp.ProtectionProfile) (w *wire, at *net.UDPConn, open *srtp.Context) {
	t.Helper()
	key := func(n int) []byte {
		b := make([]byte, n)
		rand.Read(b)
		return b
	}
	salt, err := profile.SaltLen()
	if err != nil {
		t.Fatal(err)
	}
	keys := srtp.Config{Profile: profile, Keys: srtp.SessionKeys{
		LocalMasterKey: key(16), LocalMasterSalt: key(salt), RemoteMasterKey: key(16), RemoteMasterSalt: key(salt),
	}}
	w = newWire(&Server{started: time.Now(), net: &network{socket: udp.New(loopback(t))}})
	if w.seal, w.open, err = contexts(keys); err != nil {
		t.Fatal(err)
	}
	if open, err = srtp.CreateContext(keys.Keys.LocalMasterKey, keys.Keys.LocalMasterSalt, profile); err != nil {
		t.Fatal(err)
	}
	at = loopback(t)
	w.route.Store(&route{udp: at.LocalAddr().(*net.UDPAddr).AddrPort()})
	w.owner.Store(ours)
	return w, at, open
}

func loopback(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestTwins: what is sealed here opens to the bytes that Pion's writer is given,
// with and without transport-wide numbers, other extensions and heads, while
// sequence numbers go around.
func TestTwins(t *testing.T) {
	for _, profile := range profiles {
		t.Run(profile.String(), func(t *testing.T) {
			w, at, open := oursWire(t, profile)
			twin, sink := pionsWire(), &rtpSink{}
			noise := newNoise(7)
			numbers := []uint16{65533, 65533, 65533} // each SSRC's next
			buf := make([]byte, 2000)
			for i := range 1500 {
				s := noise.IntN(len(numbers))
				out := &outlet{ssrc: uint32(100 + s), writer: sink}
				if s > 0 {
					out.transport = uint8(2 + s)
				}
				h := rtp.Header{Version: 2, Marker: i%2 == 0, PayloadType: uint8(96 + s), SequenceNumber: numbers[s],
					Timestamp: noise.Uint32(), SSRC: out.ssrc}
				numbers[s] += uint16(1 + noise.IntN(300))
				if i%11 == 0 {
					if err := h.SetExtension(7, noise.bytes(1+noise.IntN(9))); err != nil {
						t.Fatal(err)
					}
				}
				head, body := noise.bytes(noise.IntN(4)), noise.bytes(noise.IntN(1400))
				before := h.Clone()
				if err := w.send(out, &h, head, body); err != nil {
					t.Fatal(err)
				}
				if err := twin.send(out, &h, head, body); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(h, before) {
					t.Fatalf("the caller's header has changed: %v, was %v", h, before)
				}
				at.SetReadDeadline(time.Now().Add(patience))
				n, err := at.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				got, err := open.DecryptRTP(nil, buf[:n], nil)
				if err != nil {
					t.Fatalf("packet %d: %v", i, err)
				}
				want, err := sink.packets[i].Marshal()
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("packet %d: got\n% x\nwant\n% x", i, got[:min(60, len(got))], want[:min(60, len(want))])
				}
			}
			if w.number != twin.number || w.number < 500 {
				t.Errorf("transport-wide numbers went to %d and %d", w.number, twin.number)
			}
		})
	}
}

// TestSendAllocatesNothing, neither packets nor reports, by UDP.
func TestSendAllocatesNothing(t *testing.T) {
	for _, profile := range profiles {
		t.Run(profile.String(), func(t *testing.T) {
			w, _, _ := oursWire(t, profile)
			w.estimate = &hears{}
			out := &outlet{ssrc: 5, transport: 3}
			h := rtp.Header{Version: 2, PayloadType: 96, SSRC: 5}
			head, body := []byte{1, 2}, make([]byte, 1150)
			raw := rtcp.RawPacket(appendReport(nil, 5, &media.SenderReport{}, 0, 1, 2))
			report := []rtcp.Packet{&raw}
			if n := testing.AllocsPerRun(1000, func() {
				w.srv.net.socket.Cork()
				for range 5 {
					h.SequenceNumber++
					if err := w.send(out, &h, head, body); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.report(report); err != nil {
					t.Fatal(err)
				}
				w.srv.net.socket.Uncork()
			}); n != 0 && (profile == profiles[0] || !poolsForget()) {
				t.Errorf("%v allocations for five packets and a report", n)
			}
		})
	}
}

// TestSeal: the sealed bytes are those of Pion's sealing, over rounds of numbers,
// with older ones now and then; numbers that are too old are refused.
func TestSeal(t *testing.T) {
	for _, profile := range profiles {
		t.Run(profile.String(), func(t *testing.T) {
			noise := newNoise(5)
			salt, err := profile.SaltLen()
			if err != nil {
				t.Fatal(err)
			}
			key, master := noise.bytes(16), noise.bytes(salt)
			s, err := newSeal(key, master, profile)
			if err != nil {
				t.Fatal(err)
			}
			twin, err := srtp.CreateContext(key, master, profile)
			if err != nil {
				t.Fatal(err)
			}
			h := rtp.Header{Version: 2, PayloadType: 96, SSRC: 9}
			newest := uint16(65000)
			for i := range 30000 {
				h.SequenceNumber = newest
				if i > sealedBack && i%7 == 0 {
					h.SequenceNumber -= uint16(noise.IntN(sealedBack))
				} else {
					newest += uint16(1 + noise.IntN(20))
					h.SequenceNumber = newest
				}
				head, body := noise.bytes(i%3), noise.bytes(20)
				b := make([]byte, 12+len(head)+len(body)+s.rtp)
				n := writeHeader(b, &h, 0, 0)
				if !s.packet(b, n, &h, s.stream(9), head, body) {
					t.Fatalf("packet %d is refused", i)
				}
				plain := append(append(slices.Clone(b[:n]), head...), body...)
				want, err := twin.EncryptRTP(nil, plain, nil)
				if err != nil || !bytes.Equal(b, want) {
					t.Fatalf("packet %d, number %d after %d: got\n% x\nwant (%v)\n% x", i, h.SequenceNumber, newest, err, b, want)
				}
			}
		})
	}
	r := &rollover{}
	for _, tt := range []struct {
		number uint16
		rounds uint32
		ok     bool
	}{
		{3, 0, true}, {40000, 0, true}, {39999, 0, true}, {65535, 0, true}, {0, 1, true}, {65535, 0, true}, {1, 1, true}, {0, 1, true},
		{65536 - sealedBack + 1, 0, true}, {65536 - sealedBack, 0, false}, {40000, 0, false}, {32768, 1, true}, {1, 0, false}, {32767, 1, true},
	} {
		if rounds, ok := r.next(tt.number); ok != tt.ok || ok && rounds != tt.rounds {
			t.Errorf("%d: got round %d, %v; want %d, %v", tt.number, rounds, ok, tt.rounds, tt.ok)
		}
	}
	r.rounds = 1<<32 - 1
	r.newest = 65535
	if _, ok := r.next(0); ok {
		t.Error("more packets than one key is good for")
	}
}

func BenchmarkSend(b *testing.B) {
	for _, profile := range profiles {
		b.Run(profile.String(), func(b *testing.B) {
			w, _, _ := oursWire(b, profile)
			out, h, body := &outlet{ssrc: 5, transport: 3}, rtp.Header{Version: 2, PayloadType: 96, SSRC: 5}, make([]byte, 1150)
			w.srv.net.socket.Cork()
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				h.SequenceNumber++
				if err := w.send(out, &h, nil, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// poolsForget tells whether a sync.Pool, which Pion's CM-SHA1 uses, loses what it
// was given just now: so it does under the race detector.
func poolsForget() bool {
	p := sync.Pool{New: func() any { return new([64]byte) }}
	return testing.AllocsPerRun(10, func() {
		for range 1000 {
			p.Put(p.Get())
		}
	}) > 0
}

// TestTooLong: a packet that no socket would read is refused, and the next goes.
func TestTooLong(t *testing.T) {
	w, at, _ := oursWire(t, profiles[0])
	out, h := &outlet{ssrc: 5}, rtp.Header{Version: 2, SSRC: 5}
	if err := w.send(out, &h, nil, make([]byte, udp.MaxPacket)); err == nil {
		t.Error("no error")
	}
	if err := w.send(out, &h, nil, make([]byte, 100)); err != nil {
		t.Error(err)
	}
	at.SetReadDeadline(time.Now().Add(patience))
	if n, err := at.Read(make([]byte, 2000)); err != nil || n != 12+100+16 {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

// hears keeps what an estimator is told.
type hears struct {
	mu       sync.Mutex
	sent     map[uint16]int // sizes
	feedback chan []byte
}

func (h *hears) Sent(number uint16, size int, at time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sent != nil {
		h.sent[number] = size
	}
}

func (h *hears) Feedback(raw []byte, at time.Duration) {
	select {
	case h.feedback <- bytes.Clone(raw):
	default:
	}
}

// counter is a publisher inside the server: sound whose payload counts, from a
// number just before they go around.
func counter(t *testing.T, s *Server) {
	t.Helper()
	in, err := s.Inject(InjectRequest{App: "app", Channel: "room", User: "ann", Audio: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for n := uint16(65400); ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				in.Audio.Write(&media.Packet{Seq: n, Timestamp: uint32(n) * 960, Payload: []byte{0x78, byte(n >> 8), byte(n)}, Arrival: time.Now(), Level: -1})
			}
		}
	}()
	user(t, s, "ann", func(u *media.User) bool { return u.Audio != nil })
}

// listenTo lets a viewer of counter connect; the wire is told of to told, if any.
func listenTo(t *testing.T, s *Server, told estimator, change func(offer string) string, settings ...func(*webrtc.SettingEngine)) *viewer {
	t.Helper()
	v := &viewer{pc: testClient(t, settings...), audio: make(chan *rtp.Packet, 1000)}
	if _, err := v.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	v.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			p, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			select {
			case v.audio <- p:
			default: // the test has seen enough
			}
		}
	})
	offer := makeOffer(t, v.pc)
	if change != nil {
		offer = change(offer)
	}
	sess, answer, err := s.Subscribe(t.Context(), SubscribeRequest{App: "app", Channel: "room", Viewer: "bob", User: "ann", Offer: offer})
	if err != nil {
		t.Fatal(err)
	}
	if told != nil {
		sess.wire.mu.Lock()
		sess.wire.estimate = told
		sess.wire.mu.Unlock()
	}
	v.session = sess
	takeAnswer(t, v.pc, answer)
	return v
}

// follow reads n packets of counter: none is missing, and each is whole. It
// gives the last.
func (v *viewer) follow(t *testing.T, n int) (last *rtp.Packet) {
	t.Helper()
	for range n {
		p := receive(t, "sound arrives", v.audio)
		if len(p.Payload) != 3 || binary.BigEndian.Uint16(p.Payload[1:]) != p.SequenceNumber {
			t.Fatalf("packet %d has payload % x", p.SequenceNumber, p.Payload)
		}
		if last != nil && p.SequenceNumber != last.SequenceNumber+1 {
			t.Fatalf("got packet %d after %d", p.SequenceNumber, last.SequenceNumber)
		}
		last = p
	}
	return last
}

// TestWire: real clients with both ciphers, by UDP and by TCP, over the number
// where sequence numbers go around. Each packet has a transport-wide number, and
// what the client reports of them comes back.
func TestWire(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		for _, profile := range []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80} {
			t.Run(fmt.Sprint(transport, profile), func(t *testing.T) {
				s := testServer(t)
				counter(t, s)
				told := &hears{sent: map[uint16]int{}, feedback: make(chan []byte, 1000)}
				v := listenTo(t, s, told, nil, func(e *webrtc.SettingEngine) {
					e.SetSRTPProtectionProfiles(profile)
					if transport == "tcp" {
						e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
					}
				})
				first := v.follow(t, 1)
				last := v.follow(t, 300)
				w := v.session.wire
				if w.owner.Load() != ours {
					t.Error("Pion seals the packets")
				}
				if r := w.route.Load(); (r.tcp != nil) != (transport == "tcp") {
					t.Errorf("the way is %+v", r)
				}
				if last.SequenceNumber > first.SequenceNumber {
					t.Errorf("numbers from %d to %d did not go around", first.SequenceNumber, last.SequenceNumber)
				}
				id := extensionID(t, v.pc.RemoteDescription().SDP)
				n1, n2 := first.GetExtension(id), last.GetExtension(id)
				if len(n1) != 2 || len(n2) != 2 {
					t.Fatalf("extension %d: got % x and % x", id, n1, n2)
				}
				if got, want := binary.BigEndian.Uint16(n2)-binary.BigEndian.Uint16(n1), last.SequenceNumber-first.SequenceNumber; got != want {
					t.Errorf("the transport-wide number went on by %d in %d packets", got, want)
				}
				reported(t, told, 200)
			})
		}
	}
}

// extensionID is that of the transport-wide number in an answer.
func extensionID(t *testing.T, sdp string) uint8 {
	t.Helper()
	for line := range strings.Lines(sdp) {
		value, ok := strings.CutPrefix(line, "a=extmap:")
		if id, uri, _ := strings.Cut(value, " "); ok && strings.Contains(uri, "transport-wide-cc") {
			id, _, _ := strings.Cut(id, "/")
			n, err := strconv.Atoi(id)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(sdp, "transport-cc\r\n") {
				t.Error("the answer has no a=rtcp-fb of transport-cc")
			}
			return uint8(n)
		}
	}
	t.Fatalf("the answer has no extension for transport-wide numbers:\n%s", sdp)
	return 0
}

// reported waits until the feedback has told of n packets, all of which were sent.
func reported(t *testing.T, told *hears, n int) {
	t.Helper()
	arrived := map[uint16]bool{}
	for len(arrived) < n {
		raw := receive(t, "feedback", told.feedback)
		var fb rtcp.TransportLayerCC
		if err := fb.Unmarshal(raw); err != nil {
			t.Fatalf("% x: %v", raw, err)
		}
		number := fb.BaseSequenceNumber
		for _, chunk := range fb.PacketChunks {
			switch c := chunk.(type) {
			case *rtcp.RunLengthChunk:
				for range c.RunLength {
					arrived[number] = arrived[number] || c.PacketStatusSymbol != rtcp.TypeTCCPacketNotReceived
					number++
				}
			case *rtcp.StatusVectorChunk:
				for _, symbol := range c.SymbolList {
					if number-fb.BaseSequenceNumber < fb.PacketStatusCount {
						arrived[number] = arrived[number] || symbol != rtcp.TypeTCCPacketNotReceived
						number++
					}
				}
			}
		}
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	for number := range arrived {
		if told.sent[number] == 0 {
			t.Errorf("packet %d was reported and not sent", number)
		}
	}
}

// TestPionsWire: a client that wants to be the DTLS server gets its packets too,
// through Pion, with numbers, and is heard.
func TestPionsWire(t *testing.T) {
	s := testServer(t)
	counter(t, s)
	told := &hears{sent: map[uint16]int{}, feedback: make(chan []byte, 1000)}
	v := listenTo(t, s, told, func(offer string) string { return strings.ReplaceAll(offer, "a=setup:actpass", "a=setup:passive") })
	p := v.follow(t, 300)
	if w := v.session.wire; w.owner.Load() != pions {
		t.Error("keys that nobody could know")
	}
	if len(p.GetExtension(extensionID(t, v.pc.RemoteDescription().SDP))) != 2 {
		t.Error("no transport-wide number")
	}
	reported(t, told, 200)
}

// TestNoNumbersWhereNotNegotiated: a client that does not know the extension.
func TestNoNumbersWhereNotNegotiated(t *testing.T) {
	s := testServer(t)
	counter(t, s)
	told := &hears{sent: map[uint16]int{}}
	v := listenTo(t, s, told, func(offer string) string {
		return strings.Join(slices.DeleteFunc(slices.Collect(strings.Lines(offer)), func(line string) bool {
			return strings.Contains(line, "transport-wide-cc")
		}), "")
	})
	if p := v.follow(t, 50); p.Extension {
		t.Errorf("got %v", p)
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	if len(told.sent) > 0 {
		t.Errorf("%d numbers that nobody sees", len(told.sent))
	}
}

// TestWireMoves: packets follow the viewer to another address, which it shows to
// have by a check that nominates it (RFC 8445 section 7.3.1.5), and the numbers
// go on. After the end the inlet knows nobody.
func TestWireMoves(t *testing.T) {
	s := testServer(t)
	counter(t, s)
	v := listenTo(t, s, nil, nil)
	last := v.follow(t, 50)

	answer, offer := v.pc.RemoteDescription().SDP, v.pc.LocalDescription().SDP
	request, err := stun.Build(stun.BindingRequest, stun.TransactionID,
		stun.NewUsername(attribute(answer, "ice-ufrag")+":"+attribute(offer, "ice-ufrag")),
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: []byte("8 bytes.")},
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{127, 255, 255, 255}},
		stun.RawAttribute{Type: stun.AttrUseCandidate},
		stun.NewShortTermIntegrity(attribute(answer, "ice-pwd")), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	other := loopback(t)
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.Port()))
	buf := make([]byte, 2000)
	deadline := time.Now().Add(patience)
	var newest uint16
	for got := 0; got < 50; {
		if time.Now().After(deadline) {
			t.Fatalf("%d packets came to the new address", got)
		}
		if got == 0 {
			if _, err := other.WriteToUDPAddrPort(request.Raw, server); err != nil {
				t.Fatal(err)
			}
		}
		other.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := other.Read(buf)
		if err != nil || n < 12 || buf[0]>>6 != 2 || buf[1]&0x7f > 127-32 && buf[1] >= 192 {
			continue
		}
		if ssrc := binary.BigEndian.Uint32(buf[8:]); ssrc != last.SSRC {
			continue
		}
		number := binary.BigEndian.Uint16(buf[2:])
		if got > 0 && number != newest+1 {
			t.Fatalf("got %d after %d", number, newest)
		}
		newest = number
		got++
	}
	if int16(newest-last.SequenceNumber) <= 0 {
		t.Errorf("got %d at the new address after %d at the old", newest, last.SequenceNumber)
	}
	w := v.session.wire
	if r := w.route.Load(); r.udp.Port() != other.LocalAddr().(*net.UDPAddr).AddrPort().Port() {
		t.Errorf("the way is %v", r.udp)
	}
	if !slices.Contains(s.net.inlet.find(w.route.Load().udp), w) {
		t.Error("the inlet does not know the new address")
	}
	v.session.Close()
	s.net.inlet.mu.RLock()
	defer s.net.inlet.mu.RUnlock()
	if n := len(s.net.inlet.wires); n != 0 {
		t.Errorf("the inlet still knows %d viewers", n)
	}
}

// TestWireRestarts: ICE restarts while packets flow; SRTP goes on.
func TestWireRestarts(t *testing.T) {
	s := testServer(t)
	counter(t, s)
	v := listenTo(t, s, nil, nil)
	v.follow(t, 50)
	before := v.session.wire.route.Load().udp
	restart(t, v, v.session.ETag())
	until(t, "the packets go elsewhere", tick, func() bool { return v.session.wire.route.Load().udp != before })
	for len(v.audio) > 0 {
		<-v.audio
	}
	for range 2 { // one may have been under way while the client changed
		receive(t, "sound goes on", v.audio)
	}
	v.follow(t, 300)
	if v.session.wire.owner.Load() != ours {
		t.Error("Pion seals the packets")
	}
}

// TestWireIsLost: a viewer of whom ICE has given up is sent nothing, and goes on where it
// is found again.
func TestWireIsLost(t *testing.T) {
	s := testServer(t)
	counter(t, s)
	v := listenTo(t, s, nil, nil)
	v.follow(t, 50)
	w := v.session.wire
	at := w.route.Load().udp
	sealed := func() uint16 {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.seal.stream(v.session.sends[0].out.Load().ssrc).newest
	}
	came := make(chan struct{}, 1000)
	defer user(t, s, "ann", func(*media.User) bool { return true }).Audio.Attach(receiverFunc(func(*media.Packet) {
		select {
		case came <- struct{}{}:
		default:
		}
	}))()
	w.became(webrtc.ICETransportStateFailed)
	last := sealed()
	for range 50 {
		receive(t, "the publisher goes on", came)
	}
	if n := sealed() - last; n > 0 {
		t.Errorf("%d packets were sealed for nobody", n)
	}
	for len(v.audio) > 0 {
		<-v.audio
	}
	if n := len(s.net.inlet.find(at)); n != 0 {
		t.Errorf("the inlet knows %d viewers at the address", n)
	}
	w.lead(&webrtc.ICECandidatePair{Remote: &webrtc.ICECandidate{Address: at.Addr().String(), Port: at.Port(), Protocol: webrtc.ICEProtocolUDP}})
	v.follow(t, 50)
}

// TestWireIsForgotten: a pair that is told of after the connection's end leaves nothing.
func TestWireIsForgotten(t *testing.T) {
	s := testServer(t)
	counter(t, s)
	v := listenTo(t, s, nil, nil)
	receive(t, "sound arrives", v.audio)
	w := v.session.wire
	if err := v.session.Close(); err != nil {
		t.Fatal(err)
	}
	w.lead(&webrtc.ICECandidatePair{Remote: &webrtc.ICECandidate{Address: "127.0.0.1", Port: 9, Protocol: webrtc.ICEProtocolUDP}})
	s.net.inlet.mu.RLock()
	defer s.net.inlet.mu.RUnlock()
	if n := len(s.net.inlet.wires); n != 0 {
		t.Errorf("%d addresses of viewers who have left are known", n)
	}
}

// FuzzSecrets: lines of a key log, which name lengths that they do not have.
func FuzzSecrets(f *testing.F) {
	f.Add([]byte("CLIENT_RANDOM " + strings.Repeat("0a", 32) + " " + strings.Repeat("b1", 48) + "\n"))
	f.Add([]byte("CLIENT_RANDOM " + strings.Repeat("0a", 31) + " 00\n"))
	f.Add([]byte("SERVER_TRAFFIC_SECRET_0 00 00\n"))
	f.Add([]byte("CLIENT_RANDOM x y"))
	f.Fuzz(func(t *testing.T, line []byte) {
		s := &secrets{hello: true, profile: dtls.SRTP_AEAD_AES_128_GCM, suite: dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		if n, err := s.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		known := s.master != nil
		if _, err := s.keys(); (err == nil) != known {
			t.Errorf("keys of %q: %v", line, err)
		}
		if _, err := s.keys(); err == nil {
			t.Error("the secrets are not forgotten")
		}
	})
}
