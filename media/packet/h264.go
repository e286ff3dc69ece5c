package packet

import (
	"bytes"
	"encoding/binary"
	"slices"

	"braid/media/h264"
)

// RTP packet types of RFC 6184 table 1 that packetization modes 0 and 1 use.
const (
	stapA = 24
	fuA   = 28
)

// addH264 takes one packet's payload into the open frame. It is false when the
// payload breaks RFC 6184, a fragment is missing, or the packet belongs to
// packetization mode 2 (interleaved), which braid never negotiates.
func (a *Assembler) addH264(b []byte) bool {
	t := h264.Type(b)
	if t != fuA && len(a.cur.parts) > 0 {
		return false // the FU-A before has no end
	}
	switch {
	case t >= 1 && t < stapA:
		return a.addUnit(b)
	case t == stapA:
		return a.addSTAP(b[1:])
	case t == fuA:
		return a.addFragment(b)
	case t == 0 || t > 29:
		return true // reserved: ignored by a receiver (section 5.2)
	}
	return false
}

// addSTAP takes the units of a STAP-A packet (section 5.7.1).
func (a *Assembler) addSTAP(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 2 {
			return false
		}
		size := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; size > len(b) {
			return false
		}
		if size > 0 && !a.addUnit(b[:size:size]) {
			return false
		}
		b = b[size:]
	}
	return true
}

// addFragment takes an FU-A packet (section 5.8).
func (a *Assembler) addFragment(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	c := &a.cur
	start, last := b[1]&0x80 != 0, b[1]&0x40 != 0
	header := b[0]&0xe0 | b[1]&0x1f
	switch {
	case start && len(c.parts) > 0: // the one before has no end
		return false
	case start:
		c.parts = append(c.parts, []byte{header})
	case len(c.parts) == 0: // its start is missing
		return false
	case c.parts[0][0]&0x1f != header&0x1f:
		return false
	}
	c.parts = append(c.parts, b[2:])
	if !last {
		return true
	}
	unit := slices.Concat(c.parts...)
	c.dropParts()
	return a.addUnit(unit)
}

// addUnit takes one NAL unit; more than one when start codes stand in it.
func (a *Assembler) addUnit(u []byte) bool {
	if i := h264.StartCode(u); i >= 0 {
		rest := h264.SplitAnnexB(nil, u[i:])
		if u = bytes.TrimRight(u[:i], "\x00"); len(u) > 0 && !a.addUnit(u) {
			return false
		}
		for _, u := range rest {
			if !a.addUnit(u) {
				return false
			}
		}
		return true
	}
	if u[0]&0x80 != 0 {
		return false // forbidden_zero_bit: damaged on the way (section 5.3)
	}
	t := h264.Type(u)
	if t == 0 || t >= stapA {
		return false // an aggregate inside an aggregate
	}
	if t == h264.TypeAUD || t == h264.TypeFiller {
		return true
	}
	a.sets.add(u)
	a.cur.units = append(a.cur.units, slices.Clip(u))
	return len(a.cur.units) <= maxUnits
}

// finishH264 looks at the whole picture. ok is false when it cannot be decoded.
func (a *Assembler) finishH264(units [][]byte) (_ [][]byte, key, ok bool) {
	first := slices.IndexFunc(units, h264.IsSlice)
	if first < 0 {
		return nil, false, false
	}
	key = h264.IsKey(units)
	if !key {
		return units, false, true
	}
	own := hasType(units, h264.TypeSPS) && hasType(units, h264.TypePPS)
	if a.cur.suspect {
		// What is missing may be the picture's beginning: its first slices, or
		// parameter sets where this publisher sends them with each IDR.
		if !startsPicture(units[first]) || !own && a.sets.inBand {
			return nil, false, false
		}
	}
	a.sets.inBand = own
	if !own {
		units, ok = a.sets.complete(units)
		return units, true, ok
	}
	return units, true, true
}

func hasType(units [][]byte, t byte) bool {
	return slices.ContainsFunc(units, func(u []byte) bool { return h264.Type(u) == t })
}

// startsPicture tells whether the slice's first_mb_in_slice is 0 (H.264
// section 7.3.3): ue(v), so 0 is a single 1 bit.
func startsPicture(slice []byte) bool { return len(slice) > 1 && slice[1]&0x80 != 0 }
