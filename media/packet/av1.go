package packet

import (
	"slices"

	"braid/media/av1"
)

// addAV1 takes one packet's payload into the open frame, whose units are OBUs. It is
// false when the payload breaks the payload format or a part of an OBU is missing.
func (a *Assembler) addAV1(b []byte) bool {
	c := &a.cur
	p, ok := av1.ParsePayload(b)
	if !ok || p.Continues != (len(c.parts) > 0) {
		return false
	}
	for element, more := p.Next(); more; element, more = p.Next() {
		if p.Unfinished && p.Last() {
			c.parts = append(c.parts, element)
			break
		}
		if len(c.parts) > 0 {
			element = slices.Concat(append(c.parts, element)...)
			c.dropParts()
		}
		if len(element) > 0 && !a.addOBU(element) {
			return false
		}
	}
	return !p.Bad()
}

// addOBU takes one OBU; delimiters and padding have no use here (section 5 of the
// payload format).
func (a *Assembler) addOBU(b []byte) bool {
	o, rest, ok := av1.ParseOBU(b)
	if !ok || len(rest) > 0 {
		return false
	}
	switch o.Type {
	case av1.TypeTemporalDelimiter, av1.TypePadding, av1.TypeTileList:
		return true
	}
	a.cur.units = append(a.cur.units, b)
	return len(a.cur.units) <= maxUnits
}

// finishAV1 joins the OBUs to a temporal unit, each with its size.
func (a *Assembler) finishAV1(obus [][]byte) (_ [][]byte, key, ok bool) {
	size := 2
	for _, b := range obus {
		size += len(b) + 4 // a size of up to 4 bytes: maxBytes is less than 2^28
	}
	unit := append(make([]byte, 0, size), av1.TypeTemporalDelimiter<<3|0x02, 0)
	for _, b := range obus {
		o, _, _ := av1.ParseOBU(b) // addOBU did it before
		unit = av1.AppendSized(unit, o)
		switch o.Type {
		case av1.TypeFrame, av1.TypeFrameHeader:
			ok = true
		}
	}
	return [][]byte{unit}, ok && av1.IsKey(unit), ok
}
