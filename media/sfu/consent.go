package sfu

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"net/netip"
	"time"

	"github.com/pion/webrtc/v4"
)

// consent answers the checks by which a viewer makes sure, every few seconds,
// that it is still wanted (RFC 7675). ICE stays Pion's: these are the checks from
// where ICE has the viewer already, which change nothing, and Pion still gets one
// now and then. It is owned by the inlet's reader, and made anew when the viewer
// moves.
type consent struct {
	user   string    // "ours:theirs", up to and with the colon
	sum    hash.Hash // HMAC-SHA1 under our password
	passed time.Duration
	buf    [sha1.Size]byte
}

// consentPass is how long Pion may see no check of a viewer that it hears else.
const consentPass = 30 * time.Second

// newConsent is called when a pair has been chosen; nil when our credentials
// cannot be had.
func newConsent(ice *webrtc.ICETransport, now time.Duration) *consent {
	ours, err := ice.GetLocalParameters()
	if err != nil || ours.UsernameFragment == "" || ours.Password == "" {
		return nil
	}
	return &consent{user: ours.UsernameFragment + ":", sum: hmac.New(sha1.New, []byte(ours.Password)), passed: now}
}

// Types of attributes, and what is around them (RFC 8489 sections 5, 14.3, 14.5
// and 14.7).
const (
	stunIntegrity   = 0x0008
	stunFingerprint = 0x8028
	stunMapped      = 0x0020 // XOR-MAPPED-ADDRESS, section 14.2
	stunHeader      = 20
	integritySize   = 4 + sha1.Size
	fingerprintSize = 4 + 4
	fingerprintMask = 0x5354554e
)

// check tells whether b is a check that is to be answered: a binding request under
// our credentials, whole and true.
func (c *consent) check(b []byte) bool {
	if len(b) < stunHeader || binary.BigEndian.Uint16(b) != stunRequest || binary.BigEndian.Uint32(b[4:]) != stunCookie ||
		int(binary.BigEndian.Uint16(b[2:])) != len(b)-stunHeader {
		return false
	}
	named := false
	for at := stunHeader; at+4 <= len(b); {
		kind, size := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
		value := b[at+4:]
		if size > len(value) {
			return false
		}
		switch kind {
		case stunUsername:
			named = size > len(c.user) && string(value[:len(c.user)]) == c.user
		case stunIntegrity: // of all before it, as if it were the last
			return named && size == sha1.Size && fingerprinted(b, at+integritySize) && hmac.Equal(value[:size], c.integrity(b[:at]))
		}
		at += 4 + (size+3)&^3
	}
	return false
}

// fingerprinted tells whether nothing, or a true fingerprint, is left of b from at on.
func fingerprinted(b []byte, at int) bool {
	if at == len(b) {
		return true
	}
	return len(b)-at == fingerprintSize && binary.BigEndian.Uint32(b[at:]) == stunFingerprint<<16|4 &&
		binary.BigEndian.Uint32(b[at+4:]) == crc32.ChecksumIEEE(b[:at])^fingerprintMask
}

// integrity is the value of MESSAGE-INTEGRITY after b, whose length it sets for
// the while. It is valid until the next call.
func (c *consent) integrity(b []byte) []byte {
	length := [2]byte(b[2:4])
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader+integritySize))
	c.sum.Reset()
	c.sum.Write(b)
	copy(b[2:4], length[:])
	return c.sum.Sum(c.buf[:0])
}

// answerSize is the length of what answer writes.
func answerSize(to netip.AddrPort) int {
	return stunHeader + 4 + 4 + to.Addr().BitLen()/8 + integritySize + fingerprintSize
}

// answer writes the success response to a check from an address (RFC 8489 section
// 6.3.1.1) over b, which has answerSize.
func (c *consent) answer(b, check []byte, from netip.AddrPort) {
	size := from.Addr().BitLen() / 8
	at := stunHeader + 4 + 4 + size
	binary.BigEndian.PutUint16(b, stunSuccess)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader))
	copy(b[4:stunHeader], check[4:stunHeader]) // cookie and transaction

	binary.BigEndian.PutUint16(b[20:], stunMapped)
	binary.BigEndian.PutUint16(b[22:], uint16(4+size))
	b[24], b[25] = 0, 1
	binary.BigEndian.PutUint16(b[26:], from.Port()^stunCookie>>16)
	if size == 16 {
		b[25] = 2
		ip := from.Addr().As16()
		copy(b[28:], ip[:])
	} else {
		ip := from.Addr().As4()
		copy(b[28:], ip[:])
	}
	for i := range size {
		b[28+i] ^= b[4+i]
	}

	binary.BigEndian.PutUint16(b[at:], stunIntegrity)
	binary.BigEndian.PutUint16(b[at+2:], sha1.Size)
	copy(b[at+4:], c.integrity(b[:at]))
	at += integritySize
	binary.BigEndian.PutUint16(b[at:], stunFingerprint)
	binary.BigEndian.PutUint16(b[at+2:], 4)
	binary.BigEndian.PutUint32(b[at+4:], crc32.ChecksumIEEE(b[:at])^fingerprintMask)
}
