package packet

import (
	"bytes"
	"encoding/binary"
	"slices"

	"braid/media/h264"
	"braid/media/h265"
)

// addH265 takes one packet's payload into the open frame. It is false when the
// payload breaks RFC 7798, a fragment is missing, or the packet is of a kind that
// braid never negotiates (PACI).
func (a *Assembler) addH265(b []byte) bool {
	t := h265.Type(b)
	if t != h265.TypeFU && len(a.cur.parts) > 0 {
		return false // the FU before has no end
	}
	switch {
	case len(b) < h265.HeaderSize:
		return false
	case t < h265.TypeAP:
		return a.addH265Unit(b)
	case t == h265.TypeAP:
		return a.addAP(b[h265.HeaderSize:])
	case t == h265.TypeFU:
		return a.addFU(b)
	case t == h265.TypePACI:
		return false
	}
	return true // unspecified: ignored (H.265 section 7.4.2.2)
}

// addAP takes the units of an aggregation packet (section 4.4.2).
func (a *Assembler) addAP(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 2 {
			return false
		}
		size := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; size > len(b) || size < h265.HeaderSize || !a.addH265Unit(b[:size:size]) {
			return false
		}
		b = b[size:]
	}
	return true
}

// addFU takes a fragmentation unit (section 4.4.3).
func (a *Assembler) addFU(b []byte) bool {
	if len(b) < h265.HeaderSize+2 {
		return false
	}
	c := &a.cur
	fu := b[h265.HeaderSize]
	start, last := fu&0x80 != 0, fu&0x40 != 0
	header := []byte{b[0]&0x81 | fu&0x3f<<1, b[1]}
	switch {
	case start != (len(c.parts) == 0): // its start is missing, or the end of the one before
		return false
	case start:
		c.parts = append(c.parts, header)
	case !bytes.Equal(c.parts[0], header):
		return false
	}
	c.parts = append(c.parts, b[h265.HeaderSize+1:])
	if !last {
		return true
	}
	unit := slices.Concat(c.parts...)
	c.dropParts()
	return a.addH265Unit(unit)
}

// addH265Unit takes one NAL unit; more than one when start codes stand in it.
func (a *Assembler) addH265Unit(u []byte) bool {
	if i := h264.StartCode(u); i >= 0 { // they are those of H.264
		rest := h264.SplitAnnexB(nil, u[i:])
		if u = bytes.TrimRight(u[:i], "\x00"); len(u) > 0 && !a.addH265Unit(u) {
			return false
		}
		for _, u := range rest {
			if !a.addH265Unit(u) {
				return false
			}
		}
		return true
	}
	if len(u) < h265.HeaderSize || u[0]&0x80 != 0 {
		return false // forbidden_zero_bit: damaged on the way
	}
	t := h265.Type(u)
	if t >= h265.TypeAP {
		return false // an aggregate inside an aggregate
	}
	if t == h265.TypeAUD || t == h265.TypeFiller || h265.Layer(u) > 0 {
		return true
	}
	a.h265.add(u)
	a.cur.units = append(a.cur.units, slices.Clip(u))
	return len(a.cur.units) <= maxUnits
}

// finishH265 looks at the whole picture. ok is false when it cannot be decoded.
func (a *Assembler) finishH265(units [][]byte) (_ [][]byte, key, ok bool) {
	first := slices.IndexFunc(units, h265.IsSlice)
	if first < 0 {
		return nil, false, false
	}
	if !h265.IsIRAP(units[first]) {
		return units, false, true
	}
	own := true
	for t := byte(h265.TypeVPS); t <= h265.TypePPS; t++ {
		own = own && slices.ContainsFunc(units, func(u []byte) bool { return h265.Type(u) == t })
	}
	if a.cur.suspect && (!h265.StartsPicture(units[first]) || !own && a.h265.inBand) {
		return nil, false, false // as finishH264
	}
	if a.h265.inBand = own; own {
		return units, true, true
	}
	units, ok = a.h265.complete(units)
	return units, true, ok
}

// h265Sets are the parameter sets a publisher sent last, one for each kind and id.
type h265Sets struct {
	kinds  [3][]parameterSet // VPS, SPS, PPS
	inBand bool              // the last key frame came with its own
}

// add remembers u if it is a parameter set. A changed SPS makes the PPS before it
// void.
func (s *h265Sets) add(u []byte) {
	t := h265.Type(u)
	if t < h265.TypeVPS || t > h265.TypePPS || len(u) > maxSetSize {
		return
	}
	id, ok := h265.SetID(u)
	if !ok {
		return
	}
	of := &s.kinds[t-h265.TypeVPS]
	changed := false
	if *of, changed = remember(*of, id, u); changed && t == h265.TypeSPS {
		s.kinds[2] = nil
	}
}

// complete puts all known sets in front of the units, in place of the units' own. ok
// is false when one kind is not known.
func (s *h265Sets) complete(units [][]byte) (all [][]byte, ok bool) {
	for _, kind := range s.kinds {
		if len(kind) == 0 {
			return nil, false
		}
		for _, p := range kind {
			all = append(all, p.unit)
		}
	}
	for _, u := range units {
		if t := h265.Type(u); t < h265.TypeVPS || t > h265.TypePPS {
			all = append(all, u)
		}
	}
	return all, true
}
