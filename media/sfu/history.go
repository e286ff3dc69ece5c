package sfu

import (
	"sync/atomic"

	"braid/media"
)

// historySize is how many packets of a track are kept: three seconds of a camera
// at 1.5 Mbit/s, half a second at 10. Who asks later than that has frozen
// already and wants a key frame. A power of two, so that numbers go around the
// ring without a break at 65535.
const historySize = 512

// history keeps a track's newest packets for those viewers who have lost some.
// There is one for all of them. put is called by the track's reader alone, get
// by anyone.
type history struct {
	ring   [historySize]atomic.Pointer[media.Packet] // by sequence number
	newest uint16                                    // owned by put
	begun  bool                                      // the same
}

// put keeps a packet. Those whose places later packets skip are dropped: numbers
// that leap come around too soon.
func (h *history) put(p *media.Packet) {
	ahead := int(int16(p.Seq - h.newest))
	if h.begun && ahead <= -historySize {
		return
	}
	if h.begun {
		for n := 1; n < min(ahead, historySize); n++ {
			h.ring[(p.Seq-uint16(n))%historySize].Store(nil)
		}
	}
	if !h.begun || ahead > 0 {
		h.begun, h.newest = true, p.Seq
	}
	h.ring[p.Seq%historySize].Store(p)
}

// get finds a packet by its number; nil when it is not there any more, or was
// never there.
func (h *history) get(seq uint16) *media.Packet {
	if p := h.ring[seq%historySize].Load(); p != nil && p.Seq == seq {
		return p
	}
	return nil
}
