package sfu

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// STUN message types (RFC 8489 section 5), and the attribute that says whose
// session a request is about.
const (
	stunRequest  = 0x0001
	stunSuccess  = 0x0101
	stunUsername = 0x0006
	stunCookie   = 0x2112A442
)

// tap is the media socket, with an eye on the STUN messages that come in. To all
// other packets it costs the comparison of a byte.
type tap struct {
	*inlet
	traces *traces
	finds  *discovery // nil: it asks nobody
}

// ReadFromAddrPort gives the next packet that is not an answer to our own
// questions.
func (t *tap) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := t.inlet.ReadFromAddrPort(b)
		if err != nil || n < 20 || b[0] > 1 {
			return n, from, err
		}
		switch kind, user := readSTUN(b[:n]); {
		case kind == stunRequest && user != nil:
			t.traces.request(user, "udp", from)
		case kind == stunSuccess && t.finds != nil && t.finds.take(b[:n]):
			continue
		}
		return n, from, nil
	}
}

// readSTUN takes from a STUN message its type and, of its USERNAME, the part
// that names our side of the session ("ours:theirs", RFC 8445 section 7.2.2).
// kind is 0 for what is not STUN; user is nil when there is none. Nothing of it
// is proven: that is for the ICE agent to do.
func readSTUN(b []byte) (kind uint16, user []byte) {
	if len(b) < 20 || binary.BigEndian.Uint32(b[4:]) != stunCookie {
		return 0, nil
	}
	kind = binary.BigEndian.Uint16(b)
	length := int(binary.BigEndian.Uint16(b[2:]))
	if kind&0xc000 != 0 || length > len(b)-20 {
		return 0, nil
	}
	for rest := b[20 : 20+length]; len(rest) >= 4; {
		attr, size := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		rest = rest[4:]
		if size > len(rest) {
			return kind, nil
		}
		if attr == stunUsername {
			for i, c := range rest[:size] {
				if c == ':' {
					return kind, rest[:i:i]
				}
			}
			return kind, nil
		}
		rest = rest[min(len(rest), (size+3)&^3):]
	}
	return kind, nil
}

// firstFrame is what a TCP connection has brought of its first frame (RFC 4571),
// which has to be a STUN request: it says whose connection it is.
type firstFrame struct {
	bytes []byte
	done  bool
}

const maxFirstFrame = 2 + 512 // more is refused by the ICE mux

// take adds what was read; once the frame is whole it tells the traces.
func (f *firstFrame) take(b []byte, from net.Addr, seen *traces) {
	if f.done {
		return
	}
	f.bytes = append(f.bytes, b[:min(len(b), maxFirstFrame-len(f.bytes))]...)
	if len(f.bytes) < 2 {
		return
	}
	size := 2 + int(binary.BigEndian.Uint16(f.bytes))
	if len(f.bytes) < size && len(f.bytes) < maxFirstFrame {
		return
	}
	if at, ok := from.(*net.TCPAddr); ok && len(f.bytes) >= size {
		if kind, user := readSTUN(f.bytes[2:size]); kind == stunRequest && user != nil {
			seen.request(user, "tcp", at.AddrPort())
		}
	}
	f.bytes, f.done = nil, true
}
