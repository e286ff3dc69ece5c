package packet

import (
	"encoding/binary"
	"time"

	"braid/media"
	"braid/media/h264"
)

// MaxPayload is the most bytes of RTP payload in a packet that a Packetizer makes:
// with headers, SRTP and a tunnel or two it still fits an Ethernet frame.
const MaxPayload = 1200

// Packetizer makes a track's RTP packets of its access units. It is the
// Assembler's counterpart: H.264 as single NAL unit packets, FU-A for what is
// larger than MaxPayload and one STAP-A for parameter sets (RFC 6184,
// packetization mode 1); any other codec as one packet for each unit. It has no
// clock, no lock and no goroutine.
type Packetizer struct {
	Codec media.Codec
	Seq   uint16 // of the next packet
}

// Packetize appends the packets of one access unit to dst; the last one has the
// marker if the codec is video. The packets' memory is shared with the units where
// a unit is a packet. Empty units, and H.264 units of types that RFC 6184 keeps for
// its own packets, are left out.
func (p *Packetizer) Packetize(dst []*media.Packet, units [][]byte, timestamp uint32, now time.Time) []*media.Packet {
	begin := len(dst)
	add := func(payload []byte) {
		dst = append(dst, &media.Packet{Seq: p.Seq, Timestamp: timestamp, Payload: payload, Arrival: now, Level: -1})
		p.Seq++
	}
	if p.Codec == media.H264 {
		payloadsH264(units, add)
	} else {
		for _, u := range units {
			if len(u) > 0 {
				add(u)
			}
		}
	}
	if p.Codec.Video() && len(dst) > begin {
		dst[len(dst)-1].Marker = true
	}
	return dst
}

// payloadsH264 gives the payloads of one picture in order.
func payloadsH264(units [][]byte, add func([]byte)) {
	var sets [][]byte // waiting to go into one packet
	size := 1
	flush := func() {
		addSets(sets, size, add)
		sets, size = nil, 1
	}
	for _, u := range units {
		t := h264.Type(u)
		if t == 0 || t >= stapA {
			continue
		}
		if t == h264.TypeSPS || t == h264.TypePPS {
			if size+2+len(u) > MaxPayload {
				flush()
			}
			sets, size = append(sets, u), size+2+len(u)
			continue
		}
		flush()
		addUnit(u, add)
	}
	flush()
}

// addSets gives parameter sets as one STAP-A packet (RFC 6184 section 5.7.1): its
// NRI is the highest of them.
func addSets(sets [][]byte, size int, add func([]byte)) {
	switch len(sets) {
	case 0:
		return
	case 1:
		addUnit(sets[0], add)
		return
	}
	b := append(make([]byte, 0, size), stapA)
	for _, u := range sets {
		b[0] = max(b[0], u[0]&0x60|stapA)
		b = binary.BigEndian.AppendUint16(b, uint16(len(u)))
		b = append(b, u...)
	}
	add(b)
}

// addUnit gives a unit as it is, or in fragments of about the same length (FU-A,
// section 5.8).
func addUnit(u []byte, add func([]byte)) {
	if len(u) <= MaxPayload {
		add(u)
		return
	}
	const head = 2
	body := u[1:]
	n := (len(body) + MaxPayload - head - 1) / (MaxPayload - head)
	for i := range n {
		part := body[i*len(body)/n : (i+1)*len(body)/n]
		b := append(make([]byte, 0, head+len(part)), u[0]&0xe0|fuA, u[0]&0x1f)
		if i == 0 {
			b[1] |= 0x80
		}
		if i == n-1 {
			b[1] |= 0x40
		}
		add(append(b, part...))
	}
}
