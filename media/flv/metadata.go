package flv

import (
	"encoding/binary"
	"strings"
)

// AMF0 markers (Action Message Format AMF 0, section 2.1).
const (
	amfString    = 2
	amfObject    = 3
	amfECMAArray = 8
	amfEnd       = 9

	maxAMFDepth = 8
)

// OnlyMetadata is an onMetaData payload without what it says of the other kind of
// media; kind is Audio or Video. nil: it cannot be read.
func OnlyMetadata(payload []byte, kind byte) []byte {
	const name = "\x02\x00\x0aonMetaData"
	rest, ok := strings.CutPrefix(string(payload), name)
	if !ok || len(rest) == 0 {
		return nil
	}
	out := append(make([]byte, 0, len(payload)), name...)
	count := -1 // where the number of fields stands
	switch r := amfReader(rest[1:]); {
	case rest[0] == amfECMAArray && len(r) >= 4:
		out = append(out, amfECMAArray, 0, 0, 0, 0)
		count = len(out) - 4
		rest = string(r[4:])
	case rest[0] == amfObject:
		out = append(out, amfObject)
		rest = string(r)
	default:
		return nil
	}
	kept := uint32(0)
	for r := amfReader(rest); ; {
		if r.end() {
			if count >= 0 {
				binary.BigEndian.PutUint32(out[count:], kept)
			}
			return append(out, 0, 0, amfEnd)
		}
		before := r
		key, ok := r.text(2)
		if !ok || !r.skip(0) {
			return nil
		}
		if belongs(key, kind) {
			out = append(out, before[:len(before)-len(r)]...)
			kept++
		}
	}
}

// belongs tells whether a field of onMetaData says something of the kind, or of the
// whole stream.
func belongs(key string, kind byte) bool {
	other := Audio
	if kind == Audio {
		other = Video
	}
	switch k := strings.ToLower(key); {
	case strings.HasPrefix(k, "video"), k == "width", k == "height", k == "displaywidth", k == "displayheight",
		k == "framerate", k == "fps", k == "hasvideo", k == "haskeyframes":
		return other != Video
	case strings.HasPrefix(k, "audio"), k == "stereo", k == "hasaudio":
		return other != Audio
	}
	return true
}

// amfReader is what is left to read.
type amfReader string

func (r *amfReader) take(n int) bool {
	if n < 0 || n > len(*r) {
		return false
	}
	*r = (*r)[n:]
	return true
}

// text reads a string behind its length in so many bytes.
func (r *amfReader) text(lengthBytes int) (s string, ok bool) {
	if len(*r) < lengthBytes {
		return "", false
	}
	n := 0
	for _, c := range []byte((*r)[:lengthBytes]) {
		n = n<<8 | int(c)
	}
	s = string((*r)[lengthBytes:])
	if n > len(s) {
		return "", false
	}
	return s[:n], r.take(lengthBytes + n)
}

// end takes an object's end marker.
func (r *amfReader) end() bool {
	return strings.HasPrefix(string(*r), "\x00\x00\x09") && r.take(3)
}

// skip takes a value.
func (r *amfReader) skip(depth int) bool {
	if len(*r) == 0 || depth > maxAMFDepth {
		return false
	}
	marker := (*r)[0]
	r.take(1)
	switch marker {
	case 0: // number
		return r.take(8)
	case 1: // boolean
		return r.take(1)
	case amfString:
		_, ok := r.text(2)
		return ok
	case 5, 6, 13: // null, undefined, unsupported
		return true
	case 11: // date
		return r.take(10)
	case 12: // long string
		_, ok := r.text(4)
		return ok
	case 10: // strict array
		if len(*r) < 4 {
			return false
		}
		n := binary.BigEndian.Uint32([]byte((*r)[:4]))
		r.take(4)
		for range n {
			if !r.skip(depth + 1) {
				return false
			}
		}
		return true
	case amfECMAArray:
		return r.take(4) && r.skipFields(depth)
	case amfObject:
		return r.skipFields(depth)
	}
	return false
}

func (r *amfReader) skipFields(depth int) bool {
	for !r.end() {
		if _, ok := r.text(2); !ok || !r.skip(depth+1) {
			return false
		}
	}
	return true
}
