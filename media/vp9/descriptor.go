package vp9

// Descriptor is what an RTP payload begins with (RFC 9628 section 4.2).
type Descriptor struct {
	Begin, End bool // the payload begins, ends a frame, which is one layer of a picture
	Predicted  bool // the frame needs pictures before it
	Spatial    int  // the frame's spatial layer, 0 the lowest
	Temporal   int  // its temporal layer

	// Width and Height are the largest layer's, when the scalability structure is
	// here and tells them, else 0.
	Width, Height int
}

// ParseDescriptor reads a payload's descriptor; frame is what follows it. ok is
// false when the payload breaks off or holds nothing.
//
//	|I|P|L|F|B|E|V|Z| picture id | TID U SID D | TL0PICIDX | P_DIFF N ... | SS |
func ParseDescriptor(p []byte) (d Descriptor, frame []byte, ok bool) {
	if len(p) == 0 {
		return d, nil, false
	}
	first := p[0]
	flexible := first&0x10 != 0
	d.Begin, d.End, d.Predicted = first&0x08 != 0, first&0x04 != 0, first&0x40 != 0
	c := cursor{p[1:]}
	if first&0x80 != 0 { // I: picture id of 7 or, with its M bit, 15 bits
		if c.byte()&0x80 != 0 {
			c.byte()
		}
	}
	if first&0x20 != 0 { // L: layer indices
		b := c.byte()
		d.Temporal, d.Spatial = int(b>>5), int(b>>1&7)
		if !flexible {
			c.byte() // TL0PICIDX
		}
	}
	if d.Predicted && flexible {
		for range 3 {
			if c.byte()&1 == 0 { // N: no further reference index
				break
			}
		}
	}
	if first&0x02 != 0 { // V
		d.structure(&c)
	}
	if len(c.rest) == 0 {
		return Descriptor{}, nil, false
	}
	return d, c.rest, true
}

// structure reads the scalability structure (section 4.2.1).
func (d *Descriptor) structure(c *cursor) {
	head := c.byte()
	if head&0x10 != 0 { // Y: the size of each layer
		for range int(head>>5) + 1 {
			w, h := c.byte()<<8|c.byte(), c.byte()<<8|c.byte()
			if w*h > d.Width*d.Height {
				d.Width, d.Height = w, h
			}
		}
	}
	if head&0x08 != 0 { // G: a description of the picture group
		for range c.byte() {
			for range c.byte() >> 2 & 3 {
				c.byte()
			}
		}
	}
}

// cursor reads bytes; past the end they are 0 and rest is empty.
type cursor struct{ rest []byte }

func (c *cursor) byte() int {
	if len(c.rest) == 0 {
		return 0
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return int(b)
}
