package rtmp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	amf0 "github.com/yutopp/go-amf0"
)

// AMF0 markers (Action Message Format AMF 0, section 2.1).
const (
	amfNumber      = 0
	amfBoolean     = 1
	amfString      = 2
	amfObject      = 3
	amfNull        = 5
	amfUndefined   = 6
	amfECMAArray   = 8
	amfObjectEnd   = 9
	amfStrictArray = 10
	amfDate        = 11
	amfLongString  = 12
	amfUnsupported = 13
	amfTypedObject = 16

	maxAMFDepth = 8
)

// object is an AMF0 object or ECMA array. Reading a missing key gives nil.
type object map[string]any

// text is the string under a key, or "".
func (o object) text(key string) string {
	s, _ := o[key].(string)
	return s
}

// readAMF reads the values of a command or data message: float64, bool, string,
// object, []any, or nil for null, undefined and unsupported. go-amf0's decoder is
// not used: it allocates an array by its length field and knows no undefined,
// which encoders send. What follows the first bad value is ignored: values
// before it are returned with the error.
func readAMF(b []byte) (values []any, err error) {
	r := amfReader{b: b}
	for len(r.b) > 0 {
		v, err := r.value(0)
		if err != nil {
			return values, err
		}
		values = append(values, v)
	}
	return values, nil
}

type amfReader struct{ b []byte }

func (r *amfReader) take(n int) ([]byte, error) {
	if n > len(r.b) {
		return nil, fmt.Errorf("%w: AMF0 value cut off", ErrProtocol)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b, nil
}

func (r *amfReader) uint(n int) (v int, err error) {
	b, err := r.take(n)
	for _, x := range b {
		v = v<<8 | int(x)
	}
	return v, err
}

func (r *amfReader) text(lengthBytes int) (string, error) {
	n, err := r.uint(lengthBytes)
	if err != nil {
		return "", err
	}
	b, err := r.take(n)
	return string(b), err
}

func (r *amfReader) value(depth int) (any, error) {
	if depth > maxAMFDepth {
		return nil, fmt.Errorf("%w: AMF0 nested deeper than %d", ErrProtocol, maxAMFDepth)
	}
	marker, err := r.uint(1)
	if err != nil {
		return nil, err
	}
	switch marker {
	case amfNumber:
		b, err := r.take(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case amfBoolean:
		v, err := r.uint(1)
		return v != 0, err
	case amfString:
		return r.text(2)
	case amfLongString:
		return r.text(4)
	case amfNull, amfUndefined, amfUnsupported:
		return nil, nil
	case amfDate: // milliseconds and a time zone nobody reads
		_, err := r.take(10)
		return nil, err
	case amfObject:
		return r.object(depth)
	case amfTypedObject:
		if _, err := r.text(2); err != nil {
			return nil, err
		}
		return r.object(depth)
	case amfECMAArray: // the count is a hint (section 2.10); the end marker decides
		if _, err := r.take(4); err != nil {
			return nil, err
		}
		return r.object(depth)
	case amfStrictArray:
		return r.array(depth)
	}
	return nil, fmt.Errorf("%w: AMF0 marker %d", ErrProtocol, marker)
}

func (r *amfReader) object(depth int) (object, error) {
	o := object{}
	for {
		key, err := r.text(2)
		if err != nil {
			return o, err
		}
		if key == "" && len(r.b) > 0 && r.b[0] == amfObjectEnd {
			r.b = r.b[1:]
			return o, nil
		}
		if o[key], err = r.value(depth + 1); err != nil {
			return o, err
		}
	}
}

func (r *amfReader) array(depth int) ([]any, error) {
	n, err := r.uint(4)
	if err != nil {
		return nil, err
	}
	var list []any // grows with the bytes that are there, not by n
	for range n {
		v, err := r.value(depth + 1)
		if err != nil {
			return list, err
		}
		list = append(list, v)
	}
	return list, nil
}

// writeAMF codes values; they are our own, so an error cannot happen.
func writeAMF(values ...any) []byte {
	var b bytes.Buffer
	enc := amf0.NewEncoder(&b)
	for _, v := range values {
		if err := enc.Encode(v); err != nil {
			panic(fmt.Sprintf("rtmp: own AMF0 value %T cannot be coded: %v", v, err))
		}
	}
	return b.Bytes()
}
