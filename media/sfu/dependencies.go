package sfu

import (
	"encoding/binary"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"braid/media"
)

// The dependency descriptor (AOM's RTP Payload Format For AV1, appendix A) is a
// header extension that tells which frame of which layer a packet is of, and what
// that needs. AV1's payloads do not: a receiver without it takes each spatial layer
// for a picture of its own. So it goes on from publishers of AV1 to viewers as it
// came. VP9 says the same in its payloads, and goes without.

const dependencyURI = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

// dependencyID is the negotiated id of the extension; 0 when packets go without:
// there is none, or packets are sent again as they were, which retransmission
// packets are not.
func dependencyID(c webrtc.TrackLocalContext, out *outlet) uint8 {
	for _, e := range c.HeaderExtensions() {
		if e.URI == dependencyURI && e.ID > 0 && e.ID < 256 && out.rtx != 0 {
			return uint8(e.ID)
		}
	}
	return 0
}

// describe puts a packet's descriptor into the header under which a viewer gets it,
// if the viewer negotiated that. Each time in the form of two-byte extensions: the
// first one of a key frame has more than 16 bytes, and the forms must not be mixed
// unless that is agreed on (RFC 8285 section 4.1.2).
func (f *forward) describe(h *rtp.Header, p *media.Packet, b *beginning) {
	id := uint8(f.depends.Load())
	if id == 0 || len(p.Dependencies) == 0 {
		return
	}
	h.Extension, h.ExtensionProfile = true, rtp.ExtensionProfileTwoByte
	_ = h.SetExtension(id, shiftFrame(p.Dependencies, b.frame)) // fails over 255 bytes: no extension has more
}

// frameNumber is that of a descriptor: 16 bits after a byte of flags and template
// id, modulo 2^16.
func frameNumber(d []byte) (n uint16, ok bool) {
	if len(d) < 3 {
		return 0, false
	}
	return binary.BigEndian.Uint16(d[1:]), true
}

// shiftFrame is a descriptor with its frame number moved. What frames need is told
// as a distance, and stays.
func shiftFrame(d []byte, by uint16) []byte {
	n, ok := frameNumber(d)
	if !ok || by == 0 {
		return d
	}
	own := append(make([]byte, 0, len(d)), d...)
	binary.BigEndian.PutUint16(own[1:], n+by)
	return own
}

// frameNumbers is the newest frame number that a viewer got.
type frameNumbers struct {
	known  bool
	newest uint16
}

// see takes note of a descriptor that goes out with a shift.
func (f *frameNumbers) see(d []byte, shift uint16) {
	n, ok := frameNumber(d)
	if n += shift; ok && (!f.known || int16(n-f.newest) > 0) {
		f.known, f.newest = true, n
	}
}

// farFrames is how far frame numbers may leap for a viewer. What is half around
// further on passes for old, and is dropped: after a pause of six minutes, with three
// layers at 30 pictures a second.
const farFrames = 1 << 14

// after is the shift with which a stream goes on that begins again with d: the one
// before, unless the number would leap.
func (f *frameNumbers) after(d []byte, shift uint16) uint16 {
	n, ok := frameNumber(d)
	if !ok || !f.known {
		return shift
	}
	if ahead := n + shift - f.newest; ahead < farFrames {
		return shift
	}
	return f.newest + 1 - n
}
