package packet

import (
	"slices"

	"braid/media/vp9"
)

// addVP9 takes one packet's payload into the open frame, whose units are the layers
// of a picture. It is false when the payload breaks RFC 9628 or a packet of the layer
// is missing.
func (a *Assembler) addVP9(b []byte) bool {
	c := &a.cur
	d, data, ok := vp9.ParseDescriptor(b)
	if !ok || d.Begin != (len(c.parts) == 0) {
		return false
	}
	c.parts = append(c.parts, data)
	if d.End {
		c.units = append(c.units, slices.Concat(c.parts...))
		c.dropParts()
	}
	return true
}

// finishVP9 joins the layers to a superframe, each of which a decoder shows by its
// last frame.
func (a *Assembler) finishVP9(layers [][]byte) (_ [][]byte, key, ok bool) {
	if len(layers) == 0 {
		return nil, false, false
	}
	first, ok := vp9.ParseHeader(layers[0])
	if !ok {
		return nil, false, false
	}
	if len(layers) == 1 {
		return layers, first.Key, true
	}
	var frames [][]byte
	for _, l := range layers { // a layer may be a superframe itself
		s, ok := vp9.Split(l)
		if !ok {
			return nil, false, false
		}
		for f, more := s.Next(); more; f, more = s.Next() {
			frames = append(frames, f)
		}
	}
	joined := vp9.Join(frames)
	return [][]byte{joined}, first.Key, joined != nil
}
