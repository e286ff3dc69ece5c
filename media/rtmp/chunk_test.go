package rtmp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
)

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func repeat(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// chunkCases are bytes and the messages in them. They stand for the reader's
// tests and the fuzz seeds.
var chunkCases = []struct {
	name string
	in   []byte
	want []message
	err  error // after the messages
}{
	{"type 0", cat([]byte{4, 0, 0, 5, 0, 0, 2, 8, 1, 0, 0, 0}, []byte{7, 8}),
		[]message{{4, 8, 5, 1, []byte{7, 8}}}, io.EOF},
	{"types 1, 2 and 3 add differences", cat(
		[]byte{4, 0, 0, 5, 0, 0, 1, 8, 1, 0, 0, 0, 7},
		[]byte{1<<6 | 4, 0, 0, 10, 0, 0, 2, 9, 1, 2},
		[]byte{2<<6 | 4, 0, 0, 20, 3, 4},
		[]byte{3<<6 | 4, 5, 6}),
		[]message{{4, 8, 5, 1, []byte{7}}, {4, 9, 15, 1, []byte{1, 2}}, {4, 9, 35, 1, []byte{3, 4}}, {4, 9, 55, 1, []byte{5, 6}}}, io.EOF},
	{"message in three chunks", cat(
		[]byte{6, 0, 0, 5, 0, 1, 44, 9, 1, 0, 0, 0}, repeat(1, 128),
		[]byte{3<<6 | 6}, repeat(1, 128), []byte{3<<6 | 6}, repeat(1, 44)),
		[]message{{6, 9, 5, 1, repeat(1, 300)}}, io.EOF},
	{"two messages interleaved", cat(
		[]byte{6, 0, 0, 5, 0, 0, 130, 9, 1, 0, 0, 0}, repeat(1, 128),
		[]byte{4, 0, 0, 6, 0, 0, 1, 8, 1, 0, 0, 0, 7},
		[]byte{3<<6 | 6}, repeat(1, 2)),
		[]message{{4, 8, 6, 1, []byte{7}}, {6, 9, 5, 1, repeat(1, 130)}}, io.EOF},
	{"zero length", []byte{4, 0, 0, 5, 0, 0, 0, 8, 1, 0, 0, 0}, []message{{4, 8, 5, 1, []byte{}}}, io.EOF},
	{"two- and three-byte chunk stream ids", cat(
		[]byte{0, 6, 0, 0, 5, 0, 0, 1, 8, 1, 0, 0, 0, 7},
		[]byte{1, 6, 1, 0, 0, 5, 0, 0, 1, 8, 1, 0, 0, 0, 7}),
		[]message{{70, 8, 5, 1, []byte{7}}, {64 + 6 + 256, 8, 5, 1, []byte{7}}}, io.EOF},
	{"extended timestamp repeated in type 3", cat(
		[]byte{6, 0xff, 0xff, 0xff, 0, 0, 130, 9, 1, 0, 0, 0, 1, 2, 3, 4}, repeat(9, 128),
		[]byte{3<<6 | 6, 1, 2, 3, 4}, repeat(9, 2)),
		[]message{{6, 9, 0x01020304, 1, repeat(9, 130)}}, io.EOF},
	{"extended timestamp left out in type 3", cat(
		[]byte{6, 0xff, 0xff, 0xff, 0, 0, 140, 9, 1, 0, 0, 0, 1, 2, 3, 4}, repeat(9, 128),
		[]byte{3<<6 | 6}, repeat(9, 12)),
		[]message{{6, 9, 0x01020304, 1, repeat(9, 140)}}, io.EOF},
	{"extended difference", cat(
		[]byte{6, 0, 0, 1, 0, 0, 1, 9, 1, 0, 0, 0, 9},
		[]byte{1<<6 | 6, 0xff, 0xff, 0xff, 0, 0, 130, 9, 1, 0, 0, 0}, repeat(9, 128),
		[]byte{3<<6 | 6, 1, 0, 0, 0}, repeat(9, 2)),
		[]message{{6, 9, 1, 1, []byte{9}}, {6, 9, 0x01000001, 1, repeat(9, 130)}}, io.EOF},
	{"librtmp begins with type 1", []byte{1<<6 | 2, 0, 0, 0, 0, 0, 1, 8, 7}, []message{{2, 8, 0, 0, []byte{7}}}, io.EOF},
	{"begins with type 3", []byte{3<<6 | 6, 1, 2}, nil, ErrProtocol},
	{"header inside a message", cat(
		[]byte{6, 0, 0, 5, 0, 0, 130, 9, 1, 0, 0, 0}, repeat(1, 128), []byte{6, 0, 0, 5, 0, 0, 130, 9, 1, 0, 0, 0}), nil, ErrProtocol},
	{"media over its limit", []byte{6, 0, 0, 5, 0x40, 0, 1, 9, 1, 0, 0, 0}, nil, ErrProtocol},
	{"command over its limit", []byte{6, 0, 0, 5, 1, 0, 1, 20, 1, 0, 0, 0}, nil, ErrProtocol},
	{"cut in the header", []byte{6, 0, 0}, nil, io.ErrUnexpectedEOF},
	{"cut in the data", []byte{6, 0, 0, 5, 0, 0, 130, 9, 1, 0, 0, 0, 1}, nil, io.ErrUnexpectedEOF},
	{"empty", nil, nil, io.EOF},
}

func TestChunkReader(t *testing.T) {
	for _, c := range chunkCases {
		t.Run(c.name, func(t *testing.T) {
			r := newChunkReader(bufio.NewReader(bytes.NewReader(c.in)))
			for i, want := range c.want {
				got, err := r.next()
				if err != nil || !reflect.DeepEqual(*got, want) {
					t.Fatalf("message %d: got %+v %v, want %+v", i, got, err, want)
				}
			}
			if m, err := r.next(); !errors.Is(err, c.err) {
				t.Fatalf("at the end: got %+v %v, want %v", m, err, c.err)
			}
			if c.err == io.EOF && r.partial != 0 {
				t.Fatalf("half-read bytes at the end: %d", r.partial)
			}
		})
	}
}

func TestChunkReaderLimits(t *testing.T) {
	var many []byte // one more chunk stream than is allowed
	for id := range byte(maxChunkStreams + 1) {
		many = append(many, 2+id, 0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0, 7)
	}
	r := newChunkReader(bufio.NewReader(bytes.NewReader(many)))
	n := 0
	for {
		_, err := r.next()
		if err != nil {
			if !errors.Is(err, ErrProtocol) || n != maxChunkStreams {
				t.Fatalf("after %d messages: %v", n, err)
			}
			break
		}
		n++
	}

	// Half-read messages on three streams of 3 MiB each: over 8 MiB.
	var b bytes.Buffer
	for id := range byte(3) {
		b.Write([]byte{4 + id, 0, 0, 0, 0x30, 0, 1, 9, 1, 0, 0, 0})
		b.Write(repeat(1, 3<<20))
	}
	r = newChunkReader(bufio.NewReader(&b))
	r.size = 3 << 20
	if m, err := r.next(); !errors.Is(err, ErrProtocol) {
		t.Fatalf("half-read: got %v %v", m, err)
	}

	// The budget counts bytes that make no message.
	b.Reset()
	b.Write([]byte{6, 0, 0, 5, 0, 0xff, 0xff, 20, 1, 0, 0, 0})
	for range 100 {
		b.Write(repeat(1, 128))
		b.WriteByte(3<<6 | 6)
	}
	r = newChunkReader(bufio.NewReader(&b))
	r.budget = 1000
	if _, err := r.next(); !errors.Is(err, ErrProtocol) || r.read > 1200 {
		t.Fatalf("budget of 1000 bytes: %v after %d bytes", err, r.read)
	}
}

// A length field alone makes no memory: the first allocation is bounded.
func TestChunkReaderAllocatesAsBytesArrive(t *testing.T) {
	in := []byte{6, 0, 0, 5, 0x3f, 0xff, 0xff, 9, 1, 0, 0, 0, 1}
	r := newChunkReader(bufio.NewReader(bytes.NewReader(in)))
	r.alloc = setupAlloc
	if _, err := r.next(); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if got := cap(r.streams[6].buf); got > setupAlloc {
		t.Fatalf("got %d bytes for one, want at most %d", got, setupAlloc)
	}
}

func TestChunkReaderAbort(t *testing.T) {
	in := cat([]byte{6, 0, 0, 5, 0, 0, 130, 9, 1, 0, 0, 0}, repeat(1, 128),
		[]byte{4, 0, 0, 6, 0, 0, 1, 8, 1, 0, 0, 0, 7},
		[]byte{6, 0, 0, 9, 0, 0, 1, 9, 1, 0, 0, 0, 5})
	r := newChunkReader(bufio.NewReader(bytes.NewReader(in)))
	if _, err := r.next(); err != nil {
		t.Fatal(err)
	}
	r.abort(6)
	r.abort(99)
	m, err := r.next()
	if want := (message{6, 9, 9, 1, []byte{5}}); err != nil || !reflect.DeepEqual(*m, want) || r.partial != 0 {
		t.Fatalf("got %+v %v, want %+v; half-read %d", m, err, want, r.partial)
	}
}

// What the writer writes the reader reads, for any sizes and times.
func TestChunkRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 128, 4096, chunkSize} {
		var b bytes.Buffer
		bw := bufio.NewWriter(&b)
		w := newChunkWriter(bw)
		w.size = size
		var want []message
		for range 200 {
			n := rnd.IntN(3000)
			if size > 1000 && rnd.IntN(20) == 0 {
				n = rnd.IntN(200_000)
			}
			m := message{
				chunkStream: 2 + rnd.Uint32N(4), typ: 8 + byte(rnd.IntN(2)), stream: rnd.Uint32N(2),
				timestamp: rnd.Uint32() >> rnd.IntN(32), payload: make([]byte, n),
			}
			for i := range m.payload {
				m.payload[i] = byte(rnd.Uint32())
			}
			if err := w.write(&m); err != nil {
				t.Fatal(err)
			}
			want = append(want, m)
		}
		if err := bw.Flush(); err != nil {
			t.Fatal(err)
		}
		r := newChunkReader(bufio.NewReader(&b))
		r.size = uint32(size)
		for i := range want {
			got, err := r.next()
			if err != nil || !reflect.DeepEqual(*got, want[i]) {
				t.Fatalf("chunk size %d, message %d: %v", size, i, err)
			}
		}
	}
}

func FuzzChunkReader(f *testing.F) {
	for _, c := range chunkCases {
		f.Add(c.in, uint32(128))
	}
	f.Fuzz(func(t *testing.T, b []byte, size uint32) {
		r := newChunkReader(bufio.NewReader(bytes.NewReader(b)))
		r.size = max(1, size%(1<<24))
		for {
			m, err := r.next()
			if err != nil {
				break
			}
			if m.typ == typeSetChunkSize && len(m.payload) >= 4 {
				r.size = max(1, binary.BigEndian.Uint32(m.payload)%(1<<24))
			}
		}
		sum := 0
		for _, s := range r.streams {
			sum += len(s.buf)
		}
		if sum > len(b) || r.partial != sum {
			t.Fatalf("%d bytes held, %d counted, of %d that came", sum, r.partial, len(b))
		}
	})
}

func BenchmarkChunkRoundTrip(b *testing.B) {
	payload := make([]byte, 10_000)
	var pipe bytes.Buffer
	bw := bufio.NewWriterSize(&pipe, bufferSize)
	w, r := newChunkWriter(bw), newChunkReader(bufio.NewReaderSize(&pipe, bufferSize))
	w.size, r.size = chunkSize, chunkSize
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for i := uint32(0); b.Loop(); i++ {
		if err := w.write(&message{chunkStream: 6, typ: typeVideo, stream: 1, timestamp: 33 * i, payload: payload}); err != nil {
			b.Fatal(err)
		}
		if err := bw.Flush(); err != nil {
			b.Fatal(err)
		}
		if _, err := r.next(); err != nil {
			b.Fatal(err)
		}
	}
}
