package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
	"github.com/pion/transport/v5/deadline"
)

// candidate is one address that the server tells.
type candidate struct {
	transport string // udp or tcp
	at        netip.AddrPort
}

func (c candidate) String() string { return strings.ToUpper(c.transport) + " " + c.at.String() }

// sdpAnswer is what the doctor needs of an SDP answer.
type sdpAnswer struct {
	ufrag, pwd  string
	fingerprint string // "sha-256 AB:CD:…"
	candidates  []candidate
}

// readSDP takes from an answer what a client of one bundle needs.
func readSDP(text string) (a sdpAnswer, err error) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "a=ice-ufrag":
			a.ufrag = value
		case "a=ice-pwd":
			a.pwd = value
		case "a=fingerprint":
			a.fingerprint = value
		case "a=candidate":
			f := strings.Fields(value) // foundation, component, transport, priority, address, port
			if len(f) < 6 {
				continue
			}
			ip, err := netip.ParseAddr(f[4])
			at, portErr := netip.ParseAddrPort(net.JoinHostPort(f[4], f[5]))
			transport := strings.ToLower(f[2])
			if err == nil && portErr == nil && ip.IsValid() && (transport == "udp" || transport == "tcp") {
				a.candidates = append(a.candidates, candidate{transport, at})
			}
		}
	}
	if a.ufrag == "" || a.pwd == "" || a.fingerprint == "" {
		return a, errors.New("the answer has no ICE credentials or no fingerprint")
	}
	return a, nil
}

// doctorIdentity is the test client's certificate.
func doctorIdentity() (tls.Certificate, string, error) {
	cert, err := selfsign.GenerateSelfSigned()
	if err != nil {
		return cert, "", err
	}
	print, err := printOf(cert.Certificate[0])
	return cert, print, err
}

func printOf(der []byte) (string, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return "", err
	}
	return fingerprint.Fingerprint(leaf, crypto.SHA256)
}

// doctorPeer is one WebRTC connection of the doctor: a small client of ICE-lite
// servers that can say of each step how it went. It reads and writes packets on
// one socket at a time.
type doctorPeer struct {
	sdpAnswer
	ours  string // ufrag
	pwd   string // ours
	cert  tls.Certificate
	print string

	conn    net.Conn // the path that was chosen; a packet for each Read and Write
	secure  chan []byte
	media   chan []byte // SRTP and SRTCP; dropped when it is full
	checked chan struct{}
	work    sync.WaitGroup
	stop    context.CancelFunc
	dtls    *dtls.Conn
	in, out *srtp.Context
}

func newDoctorPeer() (*doctorPeer, error) {
	cert, print, err := doctorIdentity()
	if err != nil {
		return nil, err
	}
	return &doctorPeer{
		ours: secret(4), pwd: secret(12), cert: cert, print: print,
		secure: make(chan []byte, 64), media: make(chan []byte, 512), checked: make(chan struct{}, 1),
	}, nil
}

// offer is one section of sound.
func (p *doctorPeer) offer(way string, ssrc uint32) string {
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- %d 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=msid-semantic: WMS *\r\n", time.Now().UnixNano())
	fmt.Fprintf(&b, "m=audio 9 UDP/TLS/RTP/SAVPF %d\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=%s\r\na=rtcp-mux\r\na=setup:active\r\n", doctorPayload, way)
	fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:sha-256 %s\r\n", p.ours, p.pwd, p.print)
	fmt.Fprintf(&b, "a=rtpmap:%d opus/48000/2\r\na=fmtp:%[1]d minptime=10;useinbandfec=1\r\n", doctorPayload)
	if way == "sendonly" {
		fmt.Fprintf(&b, "a=msid:doctor doctor\r\na=ssrc:%d cname:doctor\r\na=ssrc:%[1]d msid:doctor doctor\r\n", ssrc)
	}
	return b.String()
}

// check makes a connectivity check (RFC 8445 section 7.2); use nominates.
func (p *doctorPeer) check(use bool) (*stun.Message, error) {
	setters := []stun.Setter{
		stun.BindingRequest, stun.TransactionID, stun.NewUsername(p.ufrag + ":" + p.ours),
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: []byte("b-doctor")},
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{110, 0, 255, 255}},
	}
	if use {
		setters = append(setters, stun.RawAttribute{Type: stun.AttrUseCandidate})
	}
	return stun.Build(append(setters, stun.NewShortTermIntegrity(p.sdpAnswer.pwd), stun.Fingerprint)...)
}

// knock is how a candidate answered.
type knock struct {
	candidate
	conn net.Conn // open when err is nil
	rtt  time.Duration
	err  error
}

const (
	knockTries = 5
	knockEvery = 500 * time.Millisecond
)

// errSilent says that a path takes packets and gives none.
var errSilent = errors.New("no answer")

// knock sends checks to a candidate until one is answered.
func (p *doctorPeer) knock(ctx context.Context, c candidate) knock {
	k := knock{candidate: c}
	ctx, cancel := context.WithTimeout(ctx, knockTries*knockEvery)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, c.transport, c.at.String())
	if err != nil {
		k.err = err
		return k
	}
	if c.transport == "tcp" {
		conn = &frames{Conn: conn}
	}
	k.conn = conn
	if k.rtt, k.err = p.ask(ctx, conn); k.err != nil {
		conn.Close()
	}
	return k
}

// ask sends a check every now and then until one is answered.
func (p *doctorPeer) ask(ctx context.Context, conn net.Conn) (time.Duration, error) {
	buf := make([]byte, 2048)
	var refused error
	asked := map[[stun.TransactionIDSize]byte]time.Time{} // a slow answer may be to an earlier check
	for ctx.Err() == nil {
		m, err := p.check(false)
		if err != nil {
			return 0, err
		}
		sent := time.Now()
		asked[m.TransactionID] = sent
		if _, err := conn.Write(m.Raw); err != nil {
			refused = err // a UDP port that nobody has: the next read or write says so
		}
		conn.SetReadDeadline(sent.Add(knockEvery))
		for {
			n, err := conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				refused = err
				if !waited(ctx, knockEvery) {
					return 0, refused
				}
				break
			}
			got := &stun.Message{Raw: bytes.Clone(buf[:n])}
			if got.Decode() != nil || got.Type != stun.BindingSuccess || stun.NewShortTermIntegrity(p.sdpAnswer.pwd).Check(got) != nil {
				continue
			}
			if at, ok := asked[got.TransactionID]; ok {
				conn.SetReadDeadline(time.Time{})
				return time.Since(at), nil
			}
		}
	}
	if refused != nil {
		return 0, refused
	}
	return 0, errSilent
}

// waited tells whether the time passed before ctx ended.
func waited(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// begin takes a path: from then on its packets are read and consent is kept
// (RFC 7675), until close.
func (p *doctorPeer) begin(ctx context.Context, conn net.Conn) {
	ctx, p.stop = context.WithCancel(ctx)
	p.conn = conn
	p.work.Go(p.read)
	p.work.Go(func() {
		for p.nominate() == nil && waited(ctx, 500*time.Millisecond) {
		}
	})
}

func (p *doctorPeer) nominate() error {
	m, err := p.check(true)
	if err == nil {
		_, err = p.conn.Write(m.Raw)
	}
	return err
}

// read sorts what comes (RFC 7983).
func (p *doctorPeer) read() {
	buf := make([]byte, 2048)
	for {
		n, err := p.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
			return
		}
		if err != nil || n == 0 {
			if _, tcp := p.conn.(*frames); tcp {
				return
			}
			continue // a UDP error of an earlier packet
		}
		into := p.media
		switch first := buf[0]; {
		case first < 2:
			select {
			case p.checked <- struct{}{}:
			default:
			}
			continue
		case first >= 20 && first < 64:
			into = p.secure
		}
		select {
		case into <- bytes.Clone(buf[:n]):
		default: // as a network would
		}
	}
}

// shake does the DTLS handshake, holds the server's certificate against the
// answer's fingerprint, and derives the keys.
func (p *doctorPeer) shake(ctx context.Context) (profile string, err error) {
	pipe := &clientPipe{peer: p, deadline: deadline.New()}
	p.dtls, err = dtls.ClientWithOptions(pipe, pipe.RemoteAddr(), dtls.WithCertificates(p.cert), dtls.WithInsecureSkipVerify(true),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 {
				return errors.New("the server shows no certificate")
			}
			got, err := printOf(raw[0])
			if err == nil && !strings.EqualFold("sha-256 "+got, p.fingerprint) {
				err = errors.New("the server's certificate is not the one whose fingerprint is in the answer")
			}
			return err
		}),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80))
	if err != nil {
		return "", err
	}
	if err := p.dtls.HandshakeContext(ctx); err != nil {
		return "", err
	}
	state, ok := p.dtls.ConnectionState()
	chosen, agreed := p.dtls.SelectedSRTPProtectionProfile()
	if !ok || !agreed {
		return "", errors.New("no SRTP protection profile was agreed on")
	}
	keys := srtp.Config{Profile: srtp.ProtectionProfile(chosen)}
	if err := keys.ExtractSessionKeysFromDTLS(&state, true); err != nil {
		return "", err
	}
	if p.in, err = srtp.CreateContext(keys.Keys.RemoteMasterKey, keys.Keys.RemoteMasterSalt, keys.Profile); err != nil {
		return "", err
	}
	p.out, err = srtp.CreateContext(keys.Keys.LocalMasterKey, keys.Keys.LocalMasterSalt, keys.Profile)
	return strings.TrimPrefix(keys.Profile.String(), "SRTP_"), err
}

// close ends the connection and returns when nothing of it runs.
func (p *doctorPeer) close() {
	if p.conn == nil {
		return
	}
	if p.dtls != nil {
		p.dtls.Close()
	}
	p.stop()
	p.conn.Close()
	p.work.Wait()
}

// frames are packets over TCP (RFC 4571). Reading is for one goroutine; a read
// deadline that passes within a packet loses no byte.
type frames struct {
	net.Conn
	writing sync.Mutex
	pending []byte // read, and not yet given
}

func (f *frames) Write(b []byte) (int, error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	packet := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b))), b...)
	if _, err := f.Conn.Write(packet); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *frames) Read(b []byte) (int, error) {
	var chunk [4096]byte
	for {
		if len(f.pending) >= 2 {
			if size := 2 + int(binary.BigEndian.Uint16(f.pending)); len(f.pending) >= size {
				n := copy(b, f.pending[2:size])
				f.pending = f.pending[size:]
				return n, nil
			}
		}
		n, err := f.Conn.Read(chunk[:])
		f.pending = append(f.pending, chunk[:n]...)
		if err != nil && n == 0 {
			return 0, err
		}
	}
}

// clientPipe is the DTLS part of a doctorPeer's path as a net.PacketConn.
type clientPipe struct {
	peer     *doctorPeer
	deadline *deadline.Deadline
}

func (p *clientPipe) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case record := <-p.peer.secure:
		return copy(b, record), p.RemoteAddr(), nil
	case <-p.deadline.Done():
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (p *clientPipe) WriteTo(b []byte, _ net.Addr) (int, error) { return p.peer.conn.Write(b) }
func (p *clientPipe) Close() error                              { p.deadline.Set(time.Unix(1, 0)); return nil }
func (p *clientPipe) LocalAddr() net.Addr                       { return p.peer.conn.LocalAddr() }
func (p *clientPipe) RemoteAddr() net.Addr                      { return p.peer.conn.RemoteAddr() }
func (p *clientPipe) SetDeadline(t time.Time) error             { p.deadline.Set(t); return nil }
func (p *clientPipe) SetReadDeadline(t time.Time) error         { p.deadline.Set(t); return nil }
func (p *clientPipe) SetWriteDeadline(time.Time) error          { return nil }
