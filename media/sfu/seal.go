package sfu

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/prf"
	"github.com/pion/dtls/v3/pkg/protocol"
	"github.com/pion/dtls/v3/pkg/protocol/extension"
	"github.com/pion/dtls/v3/pkg/protocol/handshake"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/webrtc/v4"
)

// secrets overhears a DTLS handshake for what SRTP's keys are made of (RFC 5764
// section 4.2): Pion makes its own from the same and hands them to nobody. It
// hears enough when this server is the DTLS server, which it asks for; else keys
// is an error.
//
// They are written nowhere, and forgotten once the keys are made.
type secrets struct {
	mu      sync.Mutex
	master  []byte
	randoms [2 * handshake.RandomLength]byte // the client's, the server's
	hello   bool                             // what follows is known, and the server's random
	suite   dtls.CipherSuiteID
	profile dtls.SRTPProtectionProfile
}

// overhear lets the handshake of a connection that is made with e be heard; next
// hears the ServerHello too.
func (s *secrets) overhear(e *webrtc.SettingEngine, next func(handshake.MessageServerHello) handshake.Message) {
	e.SetDTLSKeyLogWriter(s)
	e.SetDTLSServerHelloMessageHook(func(m handshake.MessageServerHello) handshake.Message {
		s.serverHello(&m)
		return next(m)
	})
}

// Write takes a line of the key log: a label, the client's random, the master
// secret (draft-ietf-tls-keylogfile-05 section 2.2).
func (s *secrets) Write(line []byte) (int, error) {
	fields := strings.Fields(string(line))
	if len(fields) != 3 || fields[0] != "CLIENT_RANDOM" || len(fields[1]) != 2*handshake.RandomLength {
		return len(line), nil // of another version of TLS
	}
	random, err := hex.DecodeString(fields[1])
	master, err2 := hex.DecodeString(fields[2])
	if err != nil || err2 != nil {
		return len(line), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(s.randoms[:], random)
	s.master = master
	return len(line), nil
}

// serverHello is called before our ServerHello goes out, each time that it does.
func (s *secrets) serverHello(m *handshake.MessageServerHello) {
	s.mu.Lock()
	defer s.mu.Unlock()
	random := m.Random.MarshalFixed()
	copy(s.randoms[handshake.RandomLength:], random[:])
	s.hello = m.Version.Equal(protocol.Version1_2) && m.CipherSuiteID != nil
	if s.hello {
		s.suite = dtls.CipherSuiteID(*m.CipherSuiteID)
	}
	for _, e := range m.Extensions {
		if use, ok := e.(*extension.UseSRTP); ok && len(use.ProtectionProfiles) == 1 {
			s.profile = use.ProtectionProfiles[0]
		}
	}
}

var errNoKeys = errors.New("the keys are not known")

// keys are for after the handshake, once.
func (s *secrets) keys() (c srtp.Config, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		clear(s.master)
		s.master = nil
	}()
	switch {
	case s.master == nil || !s.hello:
		return c, errNoKeys
	case s.profile == dtls.SRTP_AEAD_AES_128_GCM:
		c.Profile = srtp.ProtectionProfileAeadAes128Gcm
	case s.profile == dtls.SRTP_AES128_CM_HMAC_SHA1_80:
		c.Profile = srtp.ProtectionProfileAes128CmHmacSha1_80
	default:
		return c, fmt.Errorf("%w: SRTP profile %#x", errNoKeys, uint16(s.profile))
	}
	return c, c.ExtractSessionKeysFromDTLS((*exporter)(s), false)
}

// exporter implements srtp.KeyingMaterialExporter over secrets that are locked.
type exporter secrets

// ExportKeyingMaterial is that of RFC 5705 section 4, without a context.
func (s *exporter) ExportKeyingMaterial(label string, _ []byte, length int) ([]byte, error) {
	hash := prf.HashFunc(sha256.New) // RFC 5246 section 5
	switch s.suite {
	case dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:
		hash = sha512.New384 // RFC 5289 section 3.2
	case dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		dtls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, dtls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		dtls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, dtls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:
	default:
		return nil, fmt.Errorf("%w: cipher suite %v", errNoKeys, s.suite)
	}
	return prf.PHash(s.master, append([]byte(label), s.randoms[:]...), length, hash)
}

// contexts makes both directions of the keys.
func contexts(c srtp.Config) (out *seal, in *srtp.Context, err error) {
	out, err = newSeal(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, c.Profile)
	if err != nil {
		return nil, nil, err
	}
	in, err = srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, c.Profile, srtp.SRTCPReplayProtection(replayWindow))
	return out, in, err
}

const replayWindow = 64 // packets (RFC 3711 section 3.3.2)

// seal is the way out of a connection's SRTP. AEAD_AES_128_GCM over RTP, what
// browsers agree on, is its own: Pion's parses each header again and looks its SSRC
// up, which takes as long as the cipher. All else is Pion's.
type seal struct {
	*srtp.Context
	rtp, rtcp int // bytes that it adds to a packet

	header  rtp.Header
	control rtcp.Header
	streams map[uint32]*rollover // by SSRC; they outlive those who send on them
	gcm     cipher.AEAD          // nil: CM-SHA1
	salt    [12]byte
	nonce   [12]byte // here, for what is given to a cipher is on the heap
}

func newSeal(key, salt []byte, profile srtp.ProtectionProfile) (s *seal, err error) {
	s = &seal{streams: map[uint32]*rollover{}}
	if s.Context, err = srtp.CreateContext(key, salt, profile); err != nil {
		return nil, err
	}
	if profile != srtp.ProtectionProfileAeadAes128Gcm {
		s.rtp, s.rtcp = 10, 10+4 // RFC 3711 sections 3.1 and 3.4, RFC 5764 section 4.1.2
		return s, nil
	}
	s.rtp, s.rtcp = 16, 16+4 // RFC 7714 sections 8.1, 9.1 and 12
	s.gcm, s.salt, err = gcmOf(key, salt)
	return s, err
}

// gcmOf makes a direction's cipher for RTP, and its salt.
func gcmOf(key, salt []byte) (gcm cipher.AEAD, session [12]byte, err error) {
	derived, err := derive(key, salt, 0, len(key))
	if err != nil {
		return nil, session, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, session, err
	}
	if gcm, err = cipher.NewGCM(block); err != nil {
		return nil, session, err
	}
	derived, err = derive(key, salt, 2, len(session))
	copy(session[:], derived)
	return gcm, session, err
}

// nonce is that of RFC 7714 section 8.1.
func nonce(salt [12]byte, ssrc, rounds uint32, number uint16) (n [12]byte) {
	binary.BigEndian.PutUint32(n[2:], ssrc)
	binary.BigEndian.PutUint32(n[6:], rounds)
	binary.BigEndian.PutUint16(n[10:], number)
	for i := range n {
		n[i] ^= salt[i]
	}
	return n
}

// derive is the key derivation of RFC 3711 section 4.3, with the labels of section
// 4.3.2; a salt of 96 bits ends with zeroes (RFC 7714 section 11).
func derive(key, salt []byte, label byte, size int) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	var counter [aes.BlockSize]byte
	copy(counter[:], salt)
	counter[7] ^= label
	out := make([]byte, size)
	cipher.NewCTR(block, counter[:]).XORKeyStream(out, out)
	return out, nil
}

// stream is what is counted of an SSRC.
func (s *seal) stream(ssrc uint32) *rollover {
	r := s.streams[ssrc]
	if r == nil {
		r = &rollover{}
		s.streams[ssrc] = r
	}
	return r
}

// packet fills b, whose first n bytes are the header h, with the sealed payload
// head and body; false when that cannot be.
func (s *seal) packet(b []byte, n int, h *rtp.Header, r *rollover, head, body []byte) bool {
	plain := body
	if s.gcm == nil || len(head) > 0 {
		end := n + copy(b[n:], head)
		end += copy(b[end:], body)
		plain = b[n:end]
	}
	if s.gcm == nil {
		sealed, err := s.EncryptRTP(b[:0], b[:n+len(plain)], &s.header)
		return err == nil && len(sealed) == len(b)
	}
	roc, ok := r.next(h.SequenceNumber)
	if !ok {
		return false
	}
	s.nonce = nonce(s.salt, h.SSRC, roc, h.SequenceNumber)
	return len(s.gcm.Seal(b[n:n], s.nonce[:], plain, b[:n])) == len(b)-n
}

// report fills b with a sealed compound.
func (s *seal) report(b, plain []byte) bool {
	sealed, err := s.EncryptRTCP(b[:0], plain, &s.control)
	return err == nil && len(sealed) == len(b)
}

// rollover counts how often an SSRC's sequence numbers went around (RFC 3711
// section 3.3.1), as receivers do. The zero value has seen none.
type rollover struct {
	begun  bool
	newest uint16
	rounds uint32
}

// sealedBack is how old a number may be that is sealed again: older than what is
// sent again is another packet, and two under one number break GCM.
const sealedBack = 2 * historySize

// next gives the rounds that belong to a number; ok is false when the key must not
// be used for it.
func (r *rollover) next(number uint16) (rounds uint32, ok bool) {
	ahead := int16(number - r.newest)
	switch {
	case !r.begun || r.rounds == 0 && number > r.newest:
		r.begun = true
	case ahead < -sealedBack:
		return 0, false
	case ahead <= 0 && number > r.newest: // of the round before
		return r.rounds - 1, true
	case ahead <= 0:
		return r.rounds, true
	case number < r.newest: // around
		if r.rounds == math.MaxUint32 {
			return 0, false
		}
		r.rounds++
	}
	r.newest = number
	return r.rounds, true
}

// opener is the way in of a connection's SRTP over RTP, for AEAD_AES_128_GCM.
type opener struct {
	gcm   cipher.AEAD
	salt  [12]byte
	nonce [12]byte // see seal
}

// newOpener makes the remote side's; an error for another cipher.
func newOpener(c srtp.Config) (*opener, error) {
	if c.Profile != srtp.ProtectionProfileAeadAes128Gcm {
		return nil, fmt.Errorf("%w: SRTP profile %v", errNoKeys, c.Profile)
	}
	o := &opener{}
	var err error
	o.gcm, o.salt, err = gcmOf(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt)
	return o, err
}

// open gives the header of b, which is n bytes, and the payload, in room, which
// must be as long as b; nil when it is not sealed with this key and these rounds.
func (o *opener) open(room, b []byte, n int, rounds uint32) []byte {
	o.nonce = nonce(o.salt, binary.BigEndian.Uint32(b[8:]), rounds, binary.BigEndian.Uint16(b[2:]))
	plain, err := o.gcm.Open(room[n:n], o.nonce[:], b[n:], b[:n])
	if err != nil {
		return nil
	}
	copy(room, b[:n])
	return room[:n+len(plain)]
}
