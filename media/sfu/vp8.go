package sfu

// The VP8 payload descriptor (RFC 7741 section 4.2) counts pictures (PictureID)
// and base layer pictures (TL0PICIDX). A decoder takes steps in them for loss, so
// a viewer who changes layers gets them renumbered.

// vp8Descriptor is where a descriptor has them; 0: it has not.
type vp8Descriptor struct {
	picture int  // offset of PictureID
	wide    bool // which has 15 bits instead of 7
	base    int  // offset of TL0PICIDX
	size    int  // of the descriptor
}

// vp8Describe reads a payload's descriptor; ok is false when it is broken.
func vp8Describe(p []byte) (d vp8Descriptor, ok bool) {
	if len(p) < 1 {
		return d, false
	}
	d.size = 1
	if p[0]&0x80 == 0 {
		return d, true
	}
	if len(p) < 2 {
		return d, false
	}
	extensions := p[1]
	d.size = 2
	if extensions&0x80 != 0 {
		d.picture = d.size
		if len(p) <= d.size {
			return d, false
		}
		d.size++
		if d.wide = p[d.picture]&0x80 != 0; d.wide {
			d.size++
		}
	}
	if extensions&0x40 != 0 {
		d.base = d.size
		d.size++
	}
	if extensions&0x30 != 0 {
		d.size++
	}
	return d, d.size <= len(p)
}

func (d *vp8Descriptor) pictureID(p []byte) uint16 {
	if d.wide {
		return uint16(p[d.picture]&0x7f)<<8 | uint16(p[d.picture+1])
	}
	return uint16(p[d.picture] & 0x7f)
}

// vp8Shift is added to a stream's counts, modulo their width.
type vp8Shift struct {
	picture uint16
	base    uint8
}

// vp8Pictures are the newest counts that a viewer got.
type vp8Pictures struct {
	known   bool
	picture uint16
	base    uint8
}

// see takes note of a packet that goes out with a shift.
func (v *vp8Pictures) see(p []byte, s vp8Shift) {
	d, ok := vp8Describe(p)
	if !ok || d.picture == 0 {
		return
	}
	picture := d.pictureID(p) + s.picture
	if v.known && int16((picture-v.picture)<<1) < 0 { // 15 bits around
		return
	}
	v.known, v.picture = true, picture&0x7fff
	if d.base != 0 {
		v.base = p[d.base] + s.base
	}
}

// after is the shift with which a stream that begins with p goes on.
func (v *vp8Pictures) after(p []byte) (s vp8Shift) {
	d, ok := vp8Describe(p)
	if !v.known || !ok || d.picture == 0 {
		return s
	}
	s.picture = (v.picture + 1 - d.pictureID(p)) & 0x7fff
	if d.base != 0 {
		s.base = v.base + 1 - p[d.base]
	}
	return s
}

// append writes p's descriptor with its counts shifted, and tells how many bytes of
// p it replaces; none when there is nothing to shift.
func (s vp8Shift) append(b, p []byte) (head []byte, replaced int) {
	if s == (vp8Shift{}) {
		return b, 0
	}
	d, ok := vp8Describe(p)
	if !ok || d.picture == 0 {
		return b, 0
	}
	start := len(b)
	b = append(b, p[:d.size]...)
	own := b[start:]
	picture := d.pictureID(p) + s.picture
	if d.wide {
		own[d.picture], own[d.picture+1] = 0x80|byte(picture>>8)&0x7f, byte(picture)
	} else {
		own[d.picture] = byte(picture) & 0x7f
	}
	if d.base != 0 {
		own[d.base] += s.base
	}
	return b, d.size
}
