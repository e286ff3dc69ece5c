package rtmp

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	amf0 "github.com/yutopp/go-amf0"
)

var amfCases = []struct {
	name string
	in   []byte
	want []any
	bad  bool
}{
	{"number", []byte{0, 0x40, 0x24, 0, 0, 0, 0, 0, 0}, []any{10.0}, false},
	{"booleans", []byte{1, 0, 1, 1}, []any{false, true}, false},
	{"string", []byte{2, 0, 2, 'h', 'i'}, []any{"hi"}, false},
	{"long string", []byte{12, 0, 0, 0, 2, 'h', 'i'}, []any{"hi"}, false},
	{"null, undefined, unsupported", []byte{5, 6, 13}, []any{nil, nil, nil}, false},
	{"object", []byte{3, 0, 1, 'a', 1, 1, 0, 0, 9}, []any{object{"a": true}}, false},
	{"typed object", []byte{16, 0, 1, 'T', 0, 1, 'a', 1, 1, 0, 0, 9}, []any{object{"a": true}}, false},
	{"ECMA array with a wrong count", []byte{8, 0, 0, 0, 99, 0, 1, 'a', 5, 0, 0, 9}, []any{object{"a": nil}}, false},
	{"array", []byte{10, 0, 0, 0, 2, 5, 1, 1}, []any{[]any{nil, true}}, false},
	{"date", []byte{11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []any{nil}, false},
	{"two objects in an array", []byte{8, 0, 0, 0, 2, 0, 1, 'a', 3, 0, 0, 9, 0, 1, 'b', 3, 0, 0, 9, 0, 0, 9}, []any{object{"a": object{}, "b": object{}}}, false},
	{"array of 4 billion", []byte{5, 10, 0xff, 0xff, 0xff, 0xff, 5}, []any{nil}, true},
	{"cut string", []byte{2, 0, 5, 'h'}, nil, true},
	{"cut object", []byte{3, 0, 1, 'a', 1, 1}, nil, true},
	{"reference", []byte{5, 7, 0, 1}, []any{nil}, true},
	{"nested 100 deep", bytes.Repeat([]byte{10, 0, 0, 0, 1}, 100), nil, true},
}

func TestReadAMF(t *testing.T) {
	for _, c := range amfCases {
		got, err := readAMF(c.in)
		if !reflect.DeepEqual(got, c.want) || (err != nil) != c.bad || err != nil && !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: got %v %v, want %v", c.name, got, err, c.want)
		}
	}
}

// The encoder is go-amf0's, the decoder our own: they must agree.
func TestAMFRoundTrip(t *testing.T) {
	got, err := readAMF(writeAMF("connect", 1, nil, true, status{"status", "A.B", "words"},
		amf0.ECMAArray{"width": 640.0}, map[string]any{"x": []any{1.5, "y"}}))
	want := []any{"connect", 1.0, nil, true, object{"level": "status", "code": "A.B", "description": "words"},
		object{"width": 640.0}, object{"x": []any{1.5, "y"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v %v, want %v", got, err, want)
	}
}

func FuzzReadAMF(f *testing.F) {
	for _, c := range amfCases {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		values, _ := readAMF(b)
		if len(values) > len(b) {
			t.Fatalf("%d values in %d bytes", len(values), len(b))
		}
		if c, ok := parseCall(&message{payload: b}); ok {
			_, _ = c.info().text("code"), c.text(1)
		}
	})
}
