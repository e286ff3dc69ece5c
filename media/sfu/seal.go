package sfu

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/prf"
	"github.com/pion/dtls/v3/pkg/protocol"
	"github.com/pion/dtls/v3/pkg/protocol/extension"
	"github.com/pion/dtls/v3/pkg/protocol/handshake"
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

// seal is the way out of a connection's SRTP.
type seal struct {
	*srtp.Context
	rtp, rtcp int // bytes that it adds to a packet
}

// contexts makes both directions of the keys.
func contexts(c srtp.Config) (out seal, in *srtp.Context, err error) {
	switch c.Profile {
	case srtp.ProtectionProfileAeadAes128Gcm: // RFC 7714 sections 8.1, 9.1 and 12
		out.rtp, out.rtcp = 16, 16+4
	default: // RFC 3711 sections 3.1 and 3.4, RFC 5764 section 4.1.2
		out.rtp, out.rtcp = 10, 10+4
	}
	out.Context, err = srtp.CreateContext(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, c.Profile)
	if err != nil {
		return out, nil, err
	}
	in, err = srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, c.Profile, srtp.SRTCPReplayProtection(replayWindow))
	return out, in, err
}

const replayWindow = 64 // packets (RFC 3711 section 3.3.2)
