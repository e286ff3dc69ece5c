package sfu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp/codecs"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// Each way to fail gets its code and the words that help.
func TestDiagnose(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	public := []string{"1 1 udp 2130706431 203.0.113.5 8189 typ host", "2 1 tcp 1526726655 203.0.113.5 8189 typ host tcptype passive"}
	arrivals := func(requests, answered int) []Arrival {
		return []Arrival{{Transport: "udp", Address: "198.51.100.7:50000", Requests: requests, Answered: answered}}
	}
	connected := ConnectionInfo{Kind: "publish", Told: public, Transport: "udp", Remote: "198.51.100.7:50000",
		Selected: now, DTLS: "connected", DTLSBegan: now, DTLSFinished: now.Add(-time.Minute), State: "connected", Received: 1}
	with := func(change func(*ConnectionInfo)) ConnectionInfo { c := connected; change(&c); return c }
	for _, tt := range []struct {
		name  string
		c     ConnectionInfo
		ended string
		young bool
		heard time.Time
		code  Code
		words []string
	}{
		{"too early", ConnectionInfo{Told: public}, "", true, time.Time{}, Waiting, []string{"no STUN request has come"}},
		{"refused", ConnectionInfo{}, "sfu: invalid: read the offer", false, time.Time{}, LeftEarly, []string{"read the offer"}},
		{"nothing", ConnectionInfo{Told: public}, "did not connect within 15s", false, time.Time{}, NothingArrived,
			[]string{"203.0.113.5, port 8189", "Open UDP and TCP port 8189", "media.public_ips"}},
		{"nothing, and others come in", ConnectionInfo{Told: public}, "", false, now.Add(-3 * time.Second), NothingArrived,
			[]string{"over UDP, the last 3s ago", "this client's network", "ice_servers"}},
		{"private", ConnectionInfo{Told: []string{"1 1 udp 1 10.0.0.5 8189 typ host", "2 1 udp 1 fd00::5 8189 typ host"}}, "", false, time.Time{}, PrivateOnly,
			[]string{"10.0.0.5, fd00::5", "auto"}},
		{"wrong password", ConnectionInfo{Told: public, Arrivals: arrivals(4, 0)}, "", false, time.Time{}, WrongPassword, []string{"UDP 198.51.100.7:50000", "password"}},
		{"answers lost", ConnectionInfo{Told: public, Arrivals: arrivals(4, 4)}, "", false, time.Time{}, NotChosen, []string{"answers do not reach it", "outgoing UDP"}},
		{"DTLS hangs", with(func(c *ConnectionInfo) { c.DTLS, c.DTLSFinished = "connecting", time.Time{} }), "", false, time.Time{}, DTLSUnfinished, []string{"1200 bytes"}},
		{"DTLS fails", with(func(c *ConnectionInfo) {
			c.DTLS, c.DTLSFinished, c.Problem = "failed", time.Time{}, "no matching fingerprint"
		}), "", false, time.Time{}, DTLSFailed, []string{"no matching fingerprint", "SDP"}},
		{"no media", with(func(c *ConnectionInfo) { c.Received = 0 }), "", false, time.Time{}, NoMedia, []string{"camera or microphone"}},
		{"a viewer sends none", with(func(c *ConnectionInfo) { c.Received, c.Kind = 0, "watch" }), "", false, time.Time{}, OK, []string{"over UDP from 198.51.100.7:50000"}},
		{"TCP", with(func(c *ConnectionInfo) { c.Transport = "tcp" }), "", false, time.Time{}, OK, []string{"less delay"}},
		{"silent", with(func(c *ConnectionInfo) { c.State = "failed" }), "the connection is failed", false, time.Time{}, WentSilent, []string{"nothing came"}},
		{"ended", with(func(c *ConnectionInfo) {}), "closed by the client", false, time.Time{}, Ended, []string{"closed by the client"}},
		{"dropped", with(func(c *ConnectionInfo) { c.State = "closed" }), "", false, time.Time{}, Ended, nil},
	} {
		tt.c.Began = now.Add(-20 * time.Second)
		if tt.young {
			tt.c.Began = now.Add(-time.Second)
		}
		got := diagnose(&tt.c, circumstances{now: now, ended: tt.ended, kind: tt.c.Kind, heardUDP: tt.heard})
		if got.Code != tt.code || got.Code.Failure() && got.Do == "" {
			t.Errorf("%s: got %+v, want %s", tt.name, got, tt.code)
		}
		for _, w := range tt.words {
			if !strings.Contains(got.Says+got.Do, w) {
				t.Errorf("%s: got %q %q, want it to say %q", tt.name, got.Says, got.Do, w)
			}
		}
	}
}

// session waits until what is seen of a session is as it should be.
func sessionUntil(t *testing.T, s *Server, id, what string, ok func(SessionInfo) bool) SessionInfo {
	t.Helper()
	var last SessionInfo
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		for _, i := range s.Sessions() {
			if i.ID == id {
				if last = i; ok(i) {
					return i
				}
			}
		}
		<-tick.C
	}
	t.Fatalf("not within %v: %s; seen: %+v", patience, what, last)
	return last
}

// A connection over UDP and one over TCP are seen as they are; a session that
// ends in peace is forgotten.
func TestSessions(t *testing.T) {
	s := testServer(t)
	feed, frames := vp8Feed(t)
	p := publish(t, s, "ann", feed)
	p.session.SetAgent(strings.Repeat("a", 300))
	v := watchAs(t, s, SubscribeRequest{App: "app", Channel: "room", Viewer: "bob", User: "ann"}, func(e *webrtc.SettingEngine) {
		e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	})
	mustFollow(t, v.units(t, &codecs.VP8Packet{}, 1), frames)
	up := sessionUntil(t, s, p.session.ID(), "ann is seen to send", func(i SessionInfo) bool {
		return i.Connections[0].Received > 0 && i.Connections[0].SRTP != ""
	})
	c := up.Connections[0]
	if c.Kind != "publish" || c.State != "connected" || c.Transport != "udp" || c.Diagnosis.Code != OK || len(up.Agent) != maxAgent || !up.Ended.IsZero() {
		t.Errorf("ann: got %+v", up)
	}
	if len(c.Arrivals) == 0 || c.Arrivals[0].Answered == 0 || c.Arrivals[0].Requests < c.Arrivals[0].Answered || len(c.Told) != 2 {
		t.Errorf("ann: got arrivals %+v, told %q", c.Arrivals, c.Told)
	}
	if c.SRTP != "SRTP_AEAD_AES_128_GCM" || c.DTLSBegan.IsZero() || c.DTLSFinished.Before(c.DTLSBegan) || c.Selected.IsZero() {
		t.Errorf("ann: got %+v", c)
	}
	down := sessionUntil(t, s, v.session.ID(), "bob is connected", func(i SessionInfo) bool { return i.Connections[0].Diagnosis.Code == OK })
	if c := down.Connections[0]; c.Kind != "watch" || c.Transport != "tcp" || c.Arrivals[0].Transport != "tcp" {
		t.Errorf("bob: got %+v", c)
	}
	if err := p.session.Close(); err != nil {
		t.Fatal(err)
	}
	<-v.session.Done()
	if left := s.Sessions(); len(left) != 0 {
		t.Errorf("what ended in peace is still there: %+v", left)
	}
	x := s.net.traces
	if len(x.open)+len(x.byUfrag)+len(x.byPC) != 0 {
		t.Errorf("traces stay: %d open, %d by ufrag, %d by connection", len(x.open), len(x.byUfrag), len(x.byPC))
	}
}

// A client that never sends, one with a wrong password, and one with a wrong
// fingerprint are remembered with what went wrong.
func TestFailedSessions(t *testing.T) {
	s := testServer(t, func(c *Config) { c.ConnectTimeout = tooEarly + 500*time.Millisecond })
	offerFor := func(settings ...func(*webrtc.SettingEngine)) (*webrtc.PeerConnection, string) {
		pc := testClient(t, settings...)
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "a", "a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pc.AddTrack(track); err != nil {
			t.Fatal(err)
		}
		return pc, makeOffer(t, pc)
	}
	open := func(user, offer string) (*Session, string) {
		sess, answer, err := s.Publish(t.Context(), PublishRequest{App: "app", Channel: "room", User: user, Offer: offer})
		if err != nil {
			t.Fatal(err)
		}
		return sess, answer
	}
	_, offer := offerFor()
	silent, _ := open("silent", offer)

	pc, offer := offerFor()
	stranger, answer := open("stranger", offer)
	takeAnswer(t, pc, strings.ReplaceAll(answer, attribute(answer, "ice-pwd"), "0123456789012345678901"))

	pc, offer = offerFor()
	print := attribute(offer, "fingerprint")
	other := strings.NewReplacer("0", "1", "1", "2", "A", "B", "B", "A").Replace(print[len("sha-256 "):])
	forger, answer := open("forger", strings.ReplaceAll(offer, print, "sha-256 "+other))
	takeAnswer(t, pc, answer)

	for _, tt := range []struct {
		sess *Session
		code Code
	}{{silent, PrivateOnly}, {stranger, WrongPassword}, {forger, DTLSFailed}} {
		<-tt.sess.Done()
		got := sessionUntil(t, s, tt.sess.ID(), tt.sess.User()+" is remembered", func(i SessionInfo) bool { return !i.Ended.IsZero() })
		if d := got.Connections[0].Diagnosis; d.Code != tt.code || !got.Failed() {
			t.Errorf("%s: got %+v", tt.sess.User(), got)
		}
		t.Logf("%s: %s %s", tt.sess.User(), got.Connections[0].Diagnosis.Says, got.Connections[0].Diagnosis.Do)
	}
}

// The memory of failures has an end.
func TestFailuresAreBounded(t *testing.T) {
	x := newTraces()
	for i := range maxFailed + 10 {
		s := &Session{id: fmt.Sprint(i), srv: &Server{net: &network{traces: x}}, stopping: make(chan struct{})}
		var e webrtc.SettingEngine
		tr := x.begin(s, &e)
		tr.began, tr.told = tr.began.Add(-time.Minute), []string{"1 1 udp 1 203.0.113.5 8189 typ host"}
		x.end(s)()
	}
	if len(x.failed) != maxFailed || x.failed[0].ID != "10" || len(x.open) != 0 {
		t.Errorf("got %d failures from %s on, %d open", len(x.failed), x.failed[0].ID, len(x.open))
	}
}

var stunMessages = func() (all [][]byte) {
	build := func(setters ...stun.Setter) []byte {
		return stun.MustBuild(append([]stun.Setter{stun.TransactionID}, setters...)...).Raw
	}
	all = append(all,
		build(stun.BindingRequest, stun.NewUsername("ours:theirs"), stun.NewShortTermIntegrity("password"), stun.Fingerprint),
		build(stun.BindingRequest, stun.RawAttribute{Type: 0x0024, Value: []byte{1, 2, 3, 4}}, stun.NewUsername("abc:d")),
		build(stun.BindingRequest, stun.NewUsername("nobody")),
		build(stun.BindingSuccess), build(stun.BindingRequest), nil, make([]byte, 20), []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	cut := append([]byte(nil), all[0]...)
	return append(all, cut[:24], cut[:len(cut)-1])
}()

func TestReadSTUN(t *testing.T) {
	for i, want := range []string{"1 ours", "1 abc", "1 ", "101 ", "1 ", "0 ", "0 ", "0 ", "0 ", "0 "} {
		kind, user := readSTUN(stunMessages[i])
		if got := fmt.Sprintf("%x %s", kind, user); got != want {
			t.Errorf("message %d: got %s, want %s", i, got, want)
		}
	}
}

// FuzzReadSTUN: whatever comes, no panic; and where Pion reads a user name, so do we.
func FuzzReadSTUN(f *testing.F) {
	for _, m := range stunMessages {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, user := readSTUN(b)
		var first firstFrame
		first.take(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...), &net.TCPAddr{}, newTraces())
		m := &stun.Message{Raw: b}
		if m.Decode() != nil || len(b) > 0 && b[0]&0xc0 != 0 { // Pion reads more than STUN there
			return
		}
		if m.Type.Value() != kind {
			t.Fatalf("type: got %x, Pion reads %x", kind, m.Type.Value())
		}
		name, err := m.Get(stun.AttrUsername)
		ours, _, ok := strings.Cut(string(name), ":")
		if err == nil && ok && string(user) != ours {
			t.Fatalf("user: got %q, Pion reads %q", user, name)
		}
	})
}

// stunServer is a STUN server on loopback that says what it is told to say; nil
// leaves a request unanswered.
func stunServer(t *testing.T, says func(from *net.UDPAddr) *net.UDPAddr) (address string, asked func() int) {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	count := 0
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			m := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
			if m.Decode() != nil || m.Type != stun.BindingRequest {
				continue
			}
			mu.Lock()
			count++
			at := says(from.(*net.UDPAddr))
			mu.Unlock()
			if at == nil {
				continue
			}
			answer := stun.MustBuild(m, stun.BindingSuccess, &stun.XORMappedAddress{IP: at.IP, Port: at.Port}, stun.Fingerprint)
			pc.WriteTo(answer.Raw, from)
		}
	}()
	t.Cleanup(func() { pc.Close(); <-ended })
	return pc.LocalAddr().String(), func() int { mu.Lock(); defer mu.Unlock(); return count }
}

// A server that asks is told its outside; the first STUN server that answers
// counts, and a lost request is sent again.
func TestDiscovery(t *testing.T) {
	dead, deadAsked := stunServer(t, func(*net.UDPAddr) *net.UDPAddr { return nil })
	lost := true
	good, _ := stunServer(t, func(from *net.UDPAddr) *net.UDPAddr {
		if lost {
			lost = false
			return nil
		}
		return &net.UDPAddr{IP: net.IPv4(203, 0, 113, 5), Port: from.Port}
	})
	s := testServer(t, func(c *Config) { c.STUNServers = []string{dead, good} })
	if got := strings.Join(s.net.candidates(), "\n"); deadAsked() != len(askAt) ||
		!strings.HasPrefix(got, fmt.Sprintf("1 1 udp 2130706431 203.0.113.5 %d typ host\n2 1 udp 2130706175 127.0.0.1 ", s.Port())) {
		t.Errorf("the dead server was asked %d times; got candidates\n%s", deadAsked(), got)
	}
	feed, frames := vp8Feed(t) // the socket works as before
	publish(t, s, "ann", feed)
	mustFollow(t, watch(t, s, "bob", "ann").units(t, &codecs.VP8Packet{}, 1), frames)
}

// Without an answer the start goes on, and the log says what to do.
func TestDiscoveryFails(t *testing.T) {
	dead, _ := stunServer(t, func(*net.UDPAddr) *net.UDPAddr { return nil })
	var log lines
	begun := time.Now()
	s := testServer(t, func(c *Config) {
		c.STUNServers = []string{dead}
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	if took := time.Since(begun); took > discoverStart+time.Second {
		t.Errorf("the start took %v", took)
	}
	if got := s.net.candidates(); len(got) != 2 || !strings.Contains(got[0], "127.0.0.1") {
		t.Errorf("got candidates %q", got)
	}
	if !strings.Contains(log.String(), "media.public_ips") || !strings.Contains(log.String(), "no answer within") {
		t.Errorf("the log does not say what to do: %s", log.String())
	}
}

// An address that changes is told from then on, and what a NAT does to the port
// or a second NAT means is told to the log.
func TestDiscoveryAgain(t *testing.T) {
	var say atomic.Pointer[net.UDPAddr]
	say.Store(&net.UDPAddr{IP: net.IPv4(203, 0, 113, 5), Port: 40000})
	server, asked := stunServer(t, func(*net.UDPAddr) *net.UDPAddr { return say.Load() })
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	var log lines
	found := make(chan []netip.Addr, 10)
	d := &discovery{
		socket: plainWriter{udp}, port: 8189, servers: []string{server}, every: 10 * time.Millisecond,
		found: func(a []netip.Addr) { found <- a }, log: slog.New(slog.NewTextHandler(&log, nil)),
		pending: map[[stun.TransactionIDSize]byte]chan netip.AddrPort{},
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for b := make([]byte, 1500); ; {
			n, err := udp.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			d.take(b[:n])
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); d.run(ctx, make(chan struct{})) }()
	if a := receive(t, "the first address", found); fmt.Sprint(a) != "[203.0.113.5]" {
		t.Errorf("got %v", a)
	}
	before := asked()
	say.Store(&net.UDPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 8189})
	if a := receive(t, "the second address", found); fmt.Sprint(a) != "[10.1.2.3]" || asked() == before {
		t.Errorf("got %v", a)
	}
	cancel()
	<-ended
	udp.Close()
	<-read
	for _, want := range []string{"forward UDP and TCP", "seen=203.0.113.5:40000", "another router"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
}

type plainWriter struct{ *net.UDPConn }

func (w plainWriter) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return w.WriteToUDPAddrPort(b, to)
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
