package sfu

import (
	"crypto/hmac"
	"crypto/sha1"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"

	sockets "braid/media/udp"
)

func testConsent() *consent {
	return &consent{user: "ours:", sum: hmac.New(sha1.New, []byte("0123456789012345678901"))}
}

// checkOf is a check as browsers send it.
func checkOf(t testing.TB, user, password string, more ...stun.Setter) []byte {
	t.Helper()
	setters := append([]stun.Setter{stun.BindingRequest, stun.TransactionID, stun.NewUsername(user),
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: []byte("8 bytes.")}, stun.RawAttribute{Type: stun.AttrUseCandidate},
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{1, 2, 3, 4}}}, more...)
	m, err := stun.Build(append(setters, stun.NewShortTermIntegrity(password), stun.Fingerprint)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// TestConsent: true checks are told from all others, and Pion reads the answer.
func TestConsent(t *testing.T) {
	c := testConsent()
	good := checkOf(t, "ours:theirs", "0123456789012345678901")
	change := func(at int, b byte) []byte {
		m := slices.Clone(good)
		m[at] ^= b
		return m
	}
	for name, b := range map[string][]byte{
		"another's name":     checkOf(t, "other:theirs", "0123456789012345678901"),
		"another's password": checkOf(t, "ours:theirs", "other"),
		"no other side":      checkOf(t, "ours:", "0123456789012345678901"),
		"a changed address":  change(30, 1), "a changed end": change(len(good)-12, 1), "another fingerprint": change(len(good)-1, 1), "an indication": change(1, 0x10),
		"another length": change(3, 4), "cut": good[:len(good)-4], "no cookie": change(4, 1), "empty": nil, "a header": good[:20],
	} {
		if c.check(b) {
			t.Errorf("%s is taken for a check", name)
		}
	}
	for _, from := range []string{"192.0.2.9:4321", "[2001:db8::9]:4321"} {
		from := netip.MustParseAddrPort(from)
		b := slices.Clone(good)
		if !c.check(b) || !slices.Equal(b, good) {
			t.Fatal("a check is refused, or changed")
		}
		out := make([]byte, answerSize(from))
		c.answer(out, b, from)
		m := &stun.Message{Raw: out}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		var mapped stun.XORMappedAddress
		if err := mapped.GetFrom(m); err != nil || !mapped.IP.Equal(from.Addr().AsSlice()) || mapped.Port != 4321 {
			t.Errorf("got %v, %v; want %v", mapped, err, from)
		}
		if m.Type != stun.BindingSuccess || m.TransactionID != [12]byte(good[8:20]) {
			t.Errorf("got %v", m)
		}
		if err := stun.NewShortTermIntegrity("0123456789012345678901").Check(m); err != nil {
			t.Error(err)
		}
		if err := stun.Fingerprint.Check(m); err != nil {
			t.Error(err)
		}
		if n := testing.AllocsPerRun(100, func() { c.check(b); c.answer(out, b, from) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// TestChecksAreAnswered: a client's checks get answers, most of them without Pion.
func TestChecksAreAnswered(t *testing.T) {
	s := testServer(t)
	counter(t, s)
	v := listenTo(t, s, nil, nil)
	v.follow(t, 50)
	w := v.session.wire
	if w.consent.Load() == nil {
		t.Fatal("the wire leaves checks to Pion")
	}
	now, from := s.clock(time.Now()), w.route.Load().udp
	c := newConsent(w.pc.SCTP().Transport().ICETransport(), now) // the wire's own is the inlet's
	answer := v.pc.RemoteDescription().SDP
	b := checkOf(t, attribute(answer, "ice-ufrag")+":x", attribute(answer, "ice-pwd"))
	if !c.check(b) {
		t.Fatal("a check under the answer's password is refused")
	}
	i := &inlet{Conn: s.net.socket, pass: time.Second}
	other := &wire{srv: s, passed: now}
	mine := loopback(t)
	to := mine.LocalAddr().(*net.UDPAddr).AddrPort()
	other.consent.Store(c)
	if !i.takeCheck(other, b, to) {
		t.Error("Pion is asked")
	}
	mine.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, 1000)
	n, err := mine.Read(got)
	if err != nil {
		t.Fatal(err)
	}
	m := &stun.Message{Raw: got[:n]}
	if err := m.Decode(); err != nil || m.Type != stun.BindingSuccess {
		t.Errorf("got %v, %v", m, err)
	}
	for _, late := range []func(){func() { other.passed -= time.Minute }, func() { c.passed -= time.Minute }} {
		if late(); i.takeCheck(other, b, to) || !i.takeCheck(other, b, to) {
			t.Error("Pion gets one, and then no other")
		}
	}
	if got := s.net.inlet.find(from); len(got) != 1 || got[0] != w {
		t.Error("the inlet does not know the viewer")
	}
}

func FuzzConsent(f *testing.F) {
	good := checkOf(f, "ours:theirs", "0123456789012345678901")
	f.Add(good)
	f.Add(good[:40])
	f.Add(checkOf(f, "ours:", "other", stun.NewSoftware("a name")))
	c := testConsent()
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		if c.check(b) {
			m := &stun.Message{Raw: slices.Clone(b)}
			if m.Decode() != nil || stun.NewShortTermIntegrity("0123456789012345678901").Check(m) != nil {
				t.Errorf("Pion refuses % x", b)
			}
		}
		if !slices.Equal(b, before) {
			t.Error("the check was changed")
		}
	})
}

// TestOthersDoNotSpeakForAViewer: what somebody sends from a viewer's address, or
// with it, does not take the turn of what the viewer sends.
func TestOthersDoNotSpeakForAViewer(t *testing.T) {
	i := newInlet(sockets.New(loopback(t)), time.Minute)
	w := &wire{srv: &Server{started: time.Now().Add(-time.Hour)}}
	w.consent.Store(testConsent())
	from := netip.MustParseAddrPort("192.0.2.9:4321")
	forged := checkOf(t, "ours:theirs", "another password 012345")
	if i.takeCheck(w, forged, from) {
		t.Error("a forged check is answered")
	}
	if i.takeCheck(w, checkOf(t, "ours:theirs", "0123456789012345678901"), from) {
		t.Error("Pion does not hear that the viewer is there: it heard another")
	}
}

// TestSharedAddress: two viewers are at one address, as far as the server knows:
// one has gone without a word, or pretends. Each is heard, and what is of neither
// goes on to Pion.
func TestSharedAddress(t *testing.T) {
	for _, profile := range profiles {
		i := newInlet(sockets.New(loopback(t)), time.Minute)
		at := loopback(t)
		var wires []*wire
		var theirs []*seal
		for n := range 2 {
			salt, _ := profile.SaltLen()
			noise := newNoise(uint64(n))
			k := srtp.SessionKeys{LocalMasterKey: noise.bytes(16), LocalMasterSalt: noise.bytes(salt), RemoteMasterKey: noise.bytes(16), RemoteMasterSalt: noise.bytes(salt)}
			w := &wire{srv: &Server{started: time.Now()}, estimate: &hears{feedback: make(chan []byte, 9)}}
			var err error
			if w.seal, w.open, err = contexts(srtp.Config{Profile: profile, Keys: k}); err != nil {
				t.Fatal(err)
			}
			k.LocalMasterKey, k.LocalMasterSalt = k.RemoteMasterKey, k.RemoteMasterSalt
			other, _, err := contexts(srtp.Config{Profile: profile, Keys: k})
			if err != nil {
				t.Fatal(err)
			}
			r := &route{udp: at.LocalAddr().(*net.UDPAddr).AddrPort()}
			w.owner.Store(ours)
			w.route.Store(r)
			i.follow(w, r)
			wires, theirs = append(wires, w), append(theirs, other)
		}
		feedback := []byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 1, 0, 0, 0, 0, 0x20, 1, 0, 0}
		say := func(n int) []byte {
			b, err := theirs[n].EncryptRTCP(nil, feedback, nil)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		next := func(b ...[]byte) []byte {
			for _, b := range append(b, []byte("end")) {
				if _, err := at.WriteTo(b, i.LocalAddr()); err != nil {
					t.Fatal(err)
				}
			}
			got := make([]byte, 2000)
			i.SetReadDeadline(time.Now().Add(patience))
			n, _, err := i.ReadFromAddrPort(got)
			if err != nil {
				t.Fatal(err)
			}
			return got[:n]
		}
		heard := func(n int) int { return len(wires[n].estimate.(*hears).feedback) }
		box := &requestBox{wires[0], 2}
		if box.Write(feedback); heard(0) != 1 {
			t.Errorf("%v: a report that came to Pion alone, from another address, is not heard", profile)
		}
		select {
		case <-wires[0].estimate.(*hears).feedback:
		default:
		}
		if got := next(say(0), say(1), say(0)); string(got) != "end" || heard(0) != 2 || heard(1) != 1 {
			t.Errorf("%v: heard %d and %d, want 2 and 1; Pion got %q", profile, heard(0), heard(1), got)
		}
		if box.Write(feedback); heard(0) != 2 {
			t.Errorf("%v: a report that the inlet handed on is heard twice", profile)
		}
		forged := say(1)
		forged[len(forged)-1] ^= 1
		if got := next(forged); string(got) != string(forged) {
			t.Errorf("%v: Pion got % x", profile, got)
		}
		if n, _, err := i.ReadFromAddrPort(make([]byte, 9)); n != 3 { // the end
			t.Fatal(n, err)
		}
		i.forget(wires[1])
		if next(say(0)); heard(0) != 3 {
			t.Errorf("%v: with the other gone the first is not heard", profile)
		}
		i.forget(wires[0])
		if len(i.wires) != 0 {
			t.Errorf("%d addresses are left", len(i.wires))
		}
	}
}
