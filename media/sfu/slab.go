package sfu

import "braid/media"

// slab makes packets in groups: a track that is forwarded to few has as much to
// allocate as to send otherwise. What somebody keeps of a group keeps its
// neighbours, which are of the same quarter of a second.
type slab struct {
	packets []media.Packet
	bytes   []byte
}

const (
	slabPackets = 32
	slabBytes   = 32 << 10 // of pictures; sound takes an eighth
)

// packet is a zero Packet with a copy of payload.
func (s *slab) packet(payload []byte, video bool) *media.Packet {
	if len(s.packets) == 0 {
		s.packets = make([]media.Packet, slabPackets)
	}
	p := &s.packets[0]
	s.packets = s.packets[1:]
	p.Payload = s.copy(payload, video)
	return p
}

func (s *slab) copy(b []byte, video bool) []byte {
	if cap(s.bytes)-len(s.bytes) < len(b) {
		size := slabBytes
		if !video {
			size /= 8
		}
		s.bytes = make([]byte, 0, max(size, len(b)))
	}
	start := len(s.bytes)
	s.bytes = append(s.bytes, b...)
	return s.bytes[start:len(s.bytes):len(s.bytes)]
}
