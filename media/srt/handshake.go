package srt

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/datarhei/gosrt/circular"
	"github.com/datarhei/gosrt/crypto"
	"github.com/datarhei/gosrt/packet"
)

// Options of Dial; the zero value is good.
type Options struct {
	// Control sees each address after name resolution and before the first packet
	// (net.Dialer.Control); its error refuses the address.
	Control func(network, address string, c syscall.RawConn) error
}

const (
	payloadSize = 7 * 188                // whole TS packets that fit every path; what all SRT programs send
	headerSize  = 16                     // of each packet (section 3)
	maxPacket   = 1500                   // bytes on the wire, offered in the handshake
	flowWindow  = 8192                   // packets that the listener may have to keep
	askAgain    = 250 * time.Millisecond // an unanswered handshake; UDP loses some
	version     = 0x010501               // of libsrt, whose features are offered
	magic       = 0x4A17                 // of a listener of handshake version 5 (section 4.3.1)
)

// rejections are the words to the codes of section 4.3 and of libsrt's access
// control (docs/features/access-control.md).
var rejections = map[int]string{
	1002: "refused by the listener's program", 1003: "no resources", 1005: "the listener's backlog is full",
	1007: "the listener closes", 1008: "version too old", 1010: "wrong passphrase", 1011: "one side wants encryption, the other does not",
	1012: "message mode", 1013: "congestion control", 1014: "packet filter", 1015: "group", 1016: "timeout",
	2400: "bad request", 2401: "unauthorized", 2402: "overloaded", 2403: "forbidden", 2404: "not found", 2405: "bad mode",
	2406: "not acceptable", 2409: "conflict: the stream is in use", 2415: "media not supported", 2423: "locked",
	2424: "failed dependency", 2500: "internal error", 2501: "not implemented", 2502: "gateway error", 2503: "unavailable", 2505: "version not supported",
}

const badSecret = 1010

func rejected(code int) error {
	words := rejections[code]
	if words == "" {
		words = "refused"
	}
	return &RejectedError{Code: code, Reason: words}
}

// caller is one handshake.
type caller struct {
	nc      net.Conn
	target  *target
	start   time.Time
	id      uint32
	initial uint32 // number of the first data packet
	crypto  crypto.Crypto

	peer    uint32
	latency time.Duration
}

// Dial connects to srt://host:port?…, see CheckURL, and returns when the listener
// has agreed. ctx bounds the setup alone.
//
// Errors: *RejectedError when the listener refuses, *net.DNSError,
// syscall.ECONNREFUSED and others of net through errors.As and Is,
// ctx's cause. One goroutine reads until Close, or until Done is closed.
func Dial(ctx context.Context, rawURL string, opt Options) (*Publisher, error) {
	t, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Control: opt.Control}
	nc, err := d.DialContext(ctx, "udp", t.addr)
	if err != nil {
		return nil, fmt.Errorf("srt: connect: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	c := &caller{
		nc: nc, target: t, start: time.Now(), latency: t.latency,
		id:      binary.BigEndian.Uint32(random[:])&0x3fffffff | 1,
		initial: binary.BigEndian.Uint32(random[4:]) & packet.MAX_SEQUENCENUMBER,
	}
	err = c.shake()
	if !stop() || err != nil {
		nc.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("srt: set up session: %w", context.Cause(ctx))
		}
		return nil, fmt.Errorf("srt: set up session: %w", err)
	}
	return newPublisher(c), nil
}

// shake is the caller's side of section 4.3.1: induction, conclusion.
func (c *caller) shake() error {
	hello := &packet.CIFHandshake{
		IsRequest: true, Version: 4, ExtensionField: 2, HandshakeType: packet.HSTYPE_INDUCTION,
		InitialPacketSequenceNumber: circular.New(c.initial, packet.MAX_SEQUENCENUMBER),
		MaxTransmissionUnitSize:     maxPacket, MaxFlowWindowSize: flowWindow, SRTSocketId: c.id,
	}
	hello.PeerIP.FromNetAddr(c.nc.LocalAddr())
	in, err := c.ask(hello)
	switch {
	case err != nil:
		return err
	case in.version != 5 || in.extension != magic:
		return fmt.Errorf("%w: the listener speaks version %d", ErrProtocol, in.version)
	}
	conclusion := *hello
	conclusion.Version, conclusion.ExtensionField, conclusion.HandshakeType = 5, 0, packet.HSTYPE_CONCLUSION
	conclusion.SynCookie = in.cookie
	conclusion.HasHS, conclusion.SRTHS = true, &packet.CIFHandshakeExtension{
		SRTVersion: version,
		SRTFlags: packet.CIFHandshakeExtensionFlags{
			TSBPDSND: true, TSBPDRCV: true, CRYPT: true, TLPKTDROP: true, PERIODICNAK: true, REXMITFLG: true,
		},
		RecvTSBPDDelay: uint16(c.latency.Milliseconds()), SendTSBPDDelay: uint16(c.latency.Milliseconds()),
	}
	conclusion.HasSID, conclusion.StreamId = c.target.streamID != "", c.target.streamID
	if c.target.passphrase != "" {
		if err := c.encrypt(&conclusion, in.encryption); err != nil {
			return err
		}
	}
	out, err := c.ask(&conclusion)
	if err != nil {
		return err
	}
	return c.agree(out)
}

// encrypt makes a key, wrapped by the passphrase (section 6.2). advertised is the
// listener's wish: 2, 3 or 4 for 16, 24 or 32 bytes.
func (c *caller) encrypt(h *packet.CIFHandshake, advertised uint16) (err error) {
	n := c.target.keyLength
	if n == 0 && advertised >= 2 && advertised <= 4 {
		n = int(advertised) * 8
	}
	if n == 0 {
		n = 16
	}
	if c.crypto, err = crypto.New(n); err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	h.HasKM, h.SRTKM = true, &packet.CIFKeyMaterialExtension{}
	if err := c.crypto.MarshalKM(h.SRTKM, c.target.passphrase, packet.EvenKeyEncrypted); err != nil {
		return errors.New("encrypt: the key cannot be wrapped")
	}
	return nil
}

// agree reads the listener's last word.
func (c *caller) agree(a *answer) error {
	switch {
	case a.version != 5 || !a.extended:
		return fmt.Errorf("%w: no answer to the extensions", ErrProtocol)
	case c.crypto != nil && !a.encrypted:
		return rejected(badSecret) // a listener that does not insist takes the stream, and cannot read it
	}
	c.peer = a.socket
	c.latency = max(c.latency, a.latency)
	return nil
}

// ask sends a handshake until an answer of its kind comes. Closing the socket ends it.
func (c *caller) ask(h *packet.CIFHandshake) (*answer, error) {
	b := make([]byte, maxPacket)
	for {
		p := packet.NewPacket(nil)
		p.Header().IsControlPacket, p.Header().ControlType = true, packet.CTRLTYPE_HANDSHAKE
		p.Header().Timestamp = microseconds(time.Since(c.start))
		if err := p.MarshalCIF(h); err != nil {
			return nil, fmt.Errorf("code handshake: %w", err)
		}
		if err := send(c.nc, p); err != nil {
			return nil, err
		}
		late := time.Now().Add(askAgain)
		for {
			if err := c.nc.SetReadDeadline(late); err != nil {
				return nil, err
			}
			n, err := c.nc.Read(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, err
			}
			a, ok := readAnswer(b[:n], c.id)
			if code := int(a.typ); ok && code >= 1000 && code < 1<<16 {
				return nil, rejected(code)
			}
			if ok && a.typ == h.HandshakeType {
				return &a, nil
			}
		}
	}
}

// answer is what a listener says in a handshake (section 3.2.1).
type answer struct {
	version, socket, cookie uint32
	encryption, extension   uint16
	typ                     packet.HandshakeType
	extended                bool          // it has answered to the extensions
	latency                 time.Duration // that the listener keeps; with extended
	encrypted               bool          // it has accepted the key
}

// readAnswer reads a handshake for one socket; ok is false when it is something
// else. Extensions that end too early are left out.
func readAnswer(b []byte, id uint32) (a answer, ok bool) {
	const control, handshake = 1 << 15, 0
	if len(b) < headerSize+48 || binary.BigEndian.Uint16(b) != control|handshake {
		return a, false
	}
	if to := binary.BigEndian.Uint32(b[12:]); to != id && to != 0 { // libsrt up to 1.3.0 answers to 0
		return a, false
	}
	b = b[headerSize:]
	a = answer{
		version: binary.BigEndian.Uint32(b), encryption: binary.BigEndian.Uint16(b[4:]), extension: binary.BigEndian.Uint16(b[6:]),
		typ: packet.HandshakeType(binary.BigEndian.Uint32(b[20:])), socket: binary.BigEndian.Uint32(b[24:]), cookie: binary.BigEndian.Uint32(b[28:]),
	}
	if a.typ != packet.HSTYPE_CONCLUSION {
		return a, true
	}
	for b = b[48:]; len(b) >= 4; {
		typ, n := packet.CtrlSubType(binary.BigEndian.Uint16(b)), 4*int(binary.BigEndian.Uint16(b[2:]))
		if b = b[4:]; n > len(b) {
			break
		}
		switch {
		case typ == packet.EXTTYPE_HSRSP && n >= 12:
			a.extended, a.latency = true, time.Duration(binary.BigEndian.Uint16(b[8:]))*time.Millisecond
		case typ == packet.EXTTYPE_KMRSP:
			a.encrypted = n > 4 // four bytes are the number of what is wrong
		}
		b = b[n:]
	}
	return a, true
}

// recoverTo turns a panic into an error: gosrt's code answers odd input so.
func recoverTo(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: panic: %v\n%s", ErrProtocol, r, debug.Stack())
	}
}

func microseconds(d time.Duration) uint32 { return uint32(d.Microseconds()) }

// send writes a control packet.
func send(nc net.Conn, p packet.Packet) error {
	defer p.Decommission()
	var b writer
	if err := p.Marshal(&b); err != nil {
		return err
	}
	_, err := nc.Write(b)
	return err
}

type writer []byte

func (w *writer) Write(b []byte) (int, error) {
	*w = append(*w, b...)
	return len(b), nil
}
