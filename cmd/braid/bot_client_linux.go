package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
	"github.com/pion/transport/v5/deadline"
	"golang.org/x/sys/unix"
)

// botClient is a WebRTC client as small as one can be: one socket, ICE to one
// candidate of an ICE-lite server, DTLS as the client, SRTP with
// AEAD_AES_128_GCM alone. It publishes or watches over WHIP or WHEP. It does not
// look at the server's certificate: it measures and keeps no secret.
//
// connect runs in a goroutine of its own; once it has returned, all is owned by
// the loop.
type botClient struct {
	loop    *botLoop
	fd      int
	publish bool
	session string // URL of the session
	token   string

	ufrag, pwd             string // ours
	remoteUfrag, remotePwd string
	check                  []byte // a binding request, made once: the server does not compare transaction ids

	secure     chan []byte   // DTLS records, sent by the loop; dropped when it is full, as a network would
	checked    chan struct{} // closed by the loop at the first answer to check
	hasChecked bool          // owned by the loop

	in, out   *srtp.Context
	ssrc      uint32 // of audio; video has the next one
	streams   []*botStream
	arrived   botArrivals        // owned by the loop
	transport atomic.Uint32      // id of the transport-wide sequence number extension
	control   func(plain []byte) // is given the server's RTCP in the loop's thread; nil: it is left unread
	dead      atomic.Bool        // the server ended the session
}

const (
	botAudioType = 111
	botVideoType = 96
	botAgainType = 97 // retransmissions of video (RFC 4588)
	botTWCC      = 3  // id of the transport-wide sequence number extension in offers of ours
)

// botIdentity is the certificate that all bots share.
type botIdentity struct {
	cert        tls.Certificate
	fingerprint string
}

func newBotIdentity() (*botIdentity, error) {
	cert, err := selfsign.GenerateSelfSigned()
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, err
	}
	print, err := fingerprint.Fingerprint(leaf, crypto.SHA256)
	return &botIdentity{cert, print}, err
}

func newBotClient(l *botLoop, publish bool, ssrc uint32) *botClient {
	c := &botClient{
		loop: l, publish: publish, ssrc: ssrc, fd: -1,
		ufrag: randomText(8), pwd: randomText(24),
		secure: make(chan []byte, 64), checked: make(chan struct{}),
	}
	c.transport.Store(botTWCC)
	return c
}

func randomText(n int) string {
	b := make([]byte, n/2)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// offer is one section of each kind.
func (c *botClient) offer(id *botIdentity) string {
	var b strings.Builder
	way := "recvonly"
	if c.publish {
		way = "sendonly"
	}
	b.WriteString("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic: WMS *\r\n")
	for i, kind := range []string{"audio", "video"} {
		formats := fmt.Sprint([]int{botAudioType, botVideoType}[i])
		if kind == "video" && !c.publish {
			formats += fmt.Sprint(" ", botAgainType)
		}
		fmt.Fprintf(&b, "m=%s 9 UDP/TLS/RTP/SAVPF %s\r\nc=IN IP4 0.0.0.0\r\na=mid:%d\r\na=%s\r\na=rtcp-mux\r\na=setup:active\r\n",
			kind, formats, i, way)
		fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:sha-256 %s\r\n", c.ufrag, c.pwd, id.fingerprint)
		fmt.Fprintf(&b, "a=extmap:%d http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n", botTWCC)
		if kind == "audio" {
			fmt.Fprintf(&b, "a=rtpmap:%d opus/48000/2\r\na=fmtp:%[1]d minptime=10;useinbandfec=1\r\na=rtcp-fb:%[1]d transport-cc\r\n", botAudioType)
		} else {
			fmt.Fprintf(&b, "a=rtpmap:%d H264/90000\r\na=fmtp:%[1]d level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"+
				"a=rtcp-fb:%[1]d nack\r\na=rtcp-fb:%[1]d nack pli\r\na=rtcp-fb:%[1]d ccm fir\r\na=rtcp-fb:%[1]d transport-cc\r\n", botVideoType)
			if !c.publish {
				fmt.Fprintf(&b, "a=rtpmap:%d rtx/90000\r\na=fmtp:%[1]d apt=%d\r\n", botAgainType, botVideoType)
			}
		}
		if c.publish {
			fmt.Fprintf(&b, "a=msid:bot %s\r\na=ssrc:%d cname:bot\r\na=ssrc:%[2]d msid:bot %[1]s\r\n", kind, c.ssrc+uint32(i))
		}
	}
	return b.String()
}

// connect makes a session by WHIP or WHEP.
func (c *botClient) connect(ctx context.Context, url, token string, id *botIdentity) error {
	c.token = token
	answer, err := c.post(ctx, url, c.offer(id))
	if err != nil {
		return err
	}
	return c.meet(ctx, answer, id)
}

// meet makes the connection with a server whose description is there: ICE, then DTLS.
func (c *botClient) meet(ctx context.Context, description string, id *botIdentity) error {
	server, err := c.readDescription(description)
	if err != nil {
		return fmt.Errorf("the server's description: %w", err)
	}
	if err := c.open(server); err != nil {
		return err
	}
	request, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(c.remoteUfrag+":"+c.ufrag),
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: []byte("bot-load")},
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{126, 0, 255, 255}},
		stun.RawAttribute{Type: stun.AttrUseCandidate},
		stun.NewShortTermIntegrity(c.remotePwd), stun.Fingerprint)
	if err != nil {
		return err
	}
	c.check = request.Raw
	if err := c.reach(ctx); err != nil {
		return err
	}
	return c.shake(ctx, id)
}

func (c *botClient) post(ctx context.Context, url, offer string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(offer))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/sdp")
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("POST %s: %s: %s", url, resp.Status, b)
	}
	if at, err := resp.Location(); err == nil {
		c.session = at.String()
	}
	return string(b), nil
}

// readDescription takes the credentials and the first IPv4 candidate over UDP.
func (c *botClient) readDescription(answer string) (server netip.AddrPort, err error) {
	for line := range strings.Lines(answer) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "a=ice-ufrag":
			c.remoteUfrag = value
		case "a=ice-pwd":
			c.remotePwd = value
		case "a=candidate":
			f := strings.Fields(value) // foundation, component, transport, priority, address, port
			if len(f) < 6 || !strings.EqualFold(f[2], "udp") || server.IsValid() {
				continue
			}
			if at, err := netip.ParseAddrPort(net.JoinHostPort(f[4], f[5])); err == nil && at.Addr().Is4() {
				server = at
			}
		}
	}
	if !server.IsValid() || c.remotePwd == "" {
		return server, errors.New("no IPv4 candidate over UDP, or no ICE credentials")
	}
	return server, nil
}

// open makes the socket. The kernel tells when each packet came, so that the
// time it waits here is not counted as the server's.
func (c *botClient) open(server netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	c.fd = fd
	// Without the right to force it, the buffer is as large as the kernel allows.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(server.Port()), Addr: server.Addr().As4()}); err != nil {
		return os.NewSyscallError("connect", err)
	}
	return c.loop.add(c)
}

// reach repeats the check until it is answered.
func (c *botClient) reach(ctx context.Context) error {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		c.send(c.check)
		select {
		case <-c.checked:
			return nil
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("ICE: no answer: %w", ctx.Err())
		}
	}
}

// shake does the DTLS handshake and derives the keys. The DTLS connection stays
// open and silent: its end would be the session's.
func (c *botClient) shake(ctx context.Context, id *botIdentity) error {
	pipe := &dtlsPipe{client: c, deadline: deadline.New()}
	conn, err := dtls.ClientWithOptions(pipe, pipe.RemoteAddr(), dtls.WithCertificates(id.cert), dtls.WithInsecureSkipVerify(true),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM))
	if err != nil {
		return fmt.Errorf("DTLS: %w", err)
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("DTLS: %w", err)
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return errors.New("DTLS: no state after the handshake")
	}
	keys := srtp.Config{Profile: srtp.ProtectionProfileAeadAes128Gcm}
	if err := keys.ExtractSessionKeysFromDTLS(&state, true); err != nil {
		return err
	}
	in, err := srtp.CreateContext(keys.Keys.RemoteMasterKey, keys.Keys.RemoteMasterSalt, keys.Profile)
	if err != nil {
		return err
	}
	c.loop.sumMu.Lock() // media may be here already
	c.in = in
	c.loop.sumMu.Unlock()
	c.out, err = srtp.CreateContext(keys.Keys.LocalMasterKey, keys.Keys.LocalMasterSalt, keys.Profile)
	go func() { // ends with the program
		if _, err := conn.Read(make([]byte, 100)); err != nil {
			c.dead.Store(true)
		}
	}()
	return err
}

// leave ends the session politely.
func (c *botClient) leave(ctx context.Context) {
	if c.session == "" {
		return
	}
	req, err := http.NewRequestWithContext(ctx, "DELETE", c.session, nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
	}
}

// send gives a datagram to the kernel; one that does not fit is lost.
func (c *botClient) send(b []byte) { _, _ = unix.Write(c.fd, b) }

// report sends a receiver report for each stream.
func (c *botClient) report() {
	rr := rtcp.ReceiverReport{SSRC: 1}
	for _, s := range c.streams {
		rr.Reports = append(rr.Reports, rtcp.ReceptionReport{SSRC: s.ssrc, LastSequenceNumber: uint32(s.newest)})
	}
	c.sendRTCP(&rr)
}

func (c *botClient) sendRTCP(p rtcp.Packet) {
	if b, err := p.Marshal(); err == nil {
		c.sendRawRTCP(b)
	}
}

func (c *botClient) sendRawRTCP(b []byte) {
	if b, err := c.out.EncryptRTCP(nil, b, nil); err == nil {
		c.send(b)
	}
}

// feedback tells what has arrived, as a browser does where the server numbers its
// packets.
func (c *botClient) feedback() {
	if len(c.streams) == 0 {
		return
	}
	if b := c.arrived.feedback(1, c.streams[0].ssrc); b != nil {
		c.sendRawRTCP(b)
		c.loop.sumMu.Lock()
		c.loop.sum.feedback++
		c.loop.sumMu.Unlock()
	}
}

// dtlsPipe is the DTLS part of a client's socket as a net.PacketConn.
type dtlsPipe struct {
	client   *botClient
	deadline *deadline.Deadline
}

func (p *dtlsPipe) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case record := <-p.client.secure:
		return copy(b, record), p.RemoteAddr(), nil
	case <-p.deadline.Done():
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (p *dtlsPipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.client.send(b)
	return len(b), nil
}

func (p *dtlsPipe) Close() error                      { return nil }
func (p *dtlsPipe) LocalAddr() net.Addr               { return &net.UDPAddr{} }
func (p *dtlsPipe) RemoteAddr() net.Addr              { return &net.UDPAddr{} }
func (p *dtlsPipe) SetDeadline(t time.Time) error     { p.deadline.Set(t); return nil }
func (p *dtlsPipe) SetReadDeadline(t time.Time) error { p.deadline.Set(t); return nil }
func (p *dtlsPipe) SetWriteDeadline(time.Time) error  { return nil }
