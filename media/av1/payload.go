package av1

// Payload is an RTP payload: OBU elements, each an OBU or a part of one (section 4
// of the payload format).
//
//	|Z|Y| W |N|-|-|-| length | element | length | element | ...
type Payload struct {
	Continues  bool // Z: the first element goes on with the packet's before
	Unfinished bool // Y: the last element goes on in the next packet
	New        bool // N: a coded video sequence begins here: a key frame
	count      int  // W: elements, of which the last has no length; 0: all have one
	taken      int
	rest       []byte
	bad        bool
}

// ParsePayload reads the aggregation header. ok is false when there is nothing
// behind it.
func ParsePayload(p []byte) (a Payload, ok bool) {
	if len(p) < 2 {
		return Payload{}, false
	}
	return Payload{
		Continues: p[0]&0x80 != 0, Unfinished: p[0]&0x40 != 0, New: p[0]&0x08 != 0,
		count: int(p[0] >> 4 & 3), rest: p[1:],
	}, true
}

// Next takes the next element, which may be empty; ok is false behind the last.
func (a *Payload) Next() (element []byte, ok bool) {
	if a.bad || len(a.rest) == 0 || a.count > 0 && a.taken == a.count {
		return nil, false
	}
	if a.taken++; a.taken == a.count {
		element, a.rest = a.rest, nil
		return element, true
	}
	size, n := Leb128(a.rest)
	if n == 0 || size > len(a.rest)-n {
		a.bad = true
		return nil, false
	}
	end := n + size
	element, a.rest = a.rest[n:end:end], a.rest[end:]
	return element, true
}

// Last tells whether the element that Next gave was the last one.
func (a *Payload) Last() bool { return len(a.rest) == 0 }

// Bad tells that an element broke off, or that there are fewer than announced.
func (a *Payload) Bad() bool { return a.bad || len(a.rest) == 0 && a.taken < a.count }
