package bwe

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// told is what a report says of one packet.
type told struct {
	number uint16
	status uint8
	came   time.Duration // after the reference time
}

// head is a feedback packet's fixed part: base, count and reference time.
func head(words byte, base, count uint16, ref uint32) []byte {
	return []byte{0x8F, 205, 0, words, 0, 0, 0, 1, 0, 0, 0, 2, byte(base >> 8), byte(base), byte(count >> 8), byte(count),
		byte(ref >> 16), byte(ref >> 8), byte(ref), 0}
}

var feedbackCases = []struct {
	name string
	raw  []byte
	want []told
	bad  bool
}{
	{name: "run of small deltas", raw: append(head(5, 10, 2, 1), 0x20, 2, 4, 8),
		want: []told{{10, 1, time.Millisecond}, {11, 1, 3 * time.Millisecond}}},
	{name: "vector of one bit", raw: append(head(5, 65535, 3, 1), 0xA8, 0, 4, 4), // 101: received, not, received
		want: []told{{65535, 1, time.Millisecond}, {0, 0, 0}, {1, 1, 2 * time.Millisecond}}},
	{name: "vector of two bits, a delta back", raw: append(head(6, 5, 3, 1), 0xD8, 0x40, 4, 0xFF, 0xFC, 4, 0, 0), // 01 10 00 01
		want: []told{{5, 1, time.Millisecond}, {6, 2, 0}, {7, 0, 0}}},
	{name: "received, when is unknown", raw: append(head(5, 5, 1, 1), 0x60, 1, 0, 0), want: []told{{5, 3, 0}}},
	{name: "run of lost, then one", raw: append(head(6, 5, 3, 1), 0, 2, 0x20, 1, 4, 0, 0, 0),
		want: []told{{5, 0, 0}, {6, 0, 0}, {7, 1, time.Millisecond}}},
	{name: "run longer than the count", raw: append(head(5, 10, 1, 1), 0x3F, 0xFF, 4, 0), want: []told{{10, 1, time.Millisecond}}},
	{name: "after a receiver report", raw: append([]byte{0x80, 201, 0, 1, 0, 0, 0, 1}, append(head(5, 10, 1, 1), 0x20, 1, 4, 0)...),
		want: []told{{10, 1, time.Millisecond}}},
	{name: "padding", raw: append(append([]byte{0xAF}, head(6, 10, 1, 1)[1:]...), 0x20, 1, 4, 0, 0, 0, 0, 4), want: []told{{10, 1, time.Millisecond}}},
	{name: "other packets only", raw: []byte{0x80, 201, 0, 1, 0, 0, 0, 1}},
	{name: "nothing"},
	{name: "no packets", raw: append(head(5, 10, 0, 1), 0, 0, 0, 0), bad: true},
	{name: "empty run", raw: append(head(5, 10, 1, 1), 0, 0, 0, 0), bad: true},
	{name: "no chunk", raw: head(4, 10, 1, 1), bad: true},
	{name: "deltas missing", raw: append(head(5, 10, 3, 1), 0x20, 3, 4, 8), bad: true},
	{name: "cut", raw: append(head(9, 10, 2, 1), 0x20, 2, 4, 8), bad: true},
	{name: "shorter than the fixed part", raw: []byte{0x8F, 205, 0, 1, 0, 0, 0, 1}, bad: true},
	{name: "padding longer than the packet", raw: append(append([]byte{0xAF}, head(5, 10, 1, 1)[1:]...), 0x20, 1, 4, 200), bad: true},
	{name: "not RTCP", raw: []byte{1, 2, 3, 4}, bad: true},
	{name: "three bytes", raw: []byte{0x80, 205, 0}, bad: true},
}

// read lists what all feedback of a compound tells.
func read(raw []byte) (all []told, err error) {
	for {
		r, rest, ok, err := nextFeedback(raw)
		if err != nil || !ok {
			return all, err
		}
		for {
			offset, n, status, came := r.next()
			if n == 0 {
				break
			}
			for i := range n {
				if status == notReceived {
					came = 0
				}
				all = append(all, told{r.base + uint16(offset+i), status, came})
			}
		}
		raw = rest
	}
}

func TestFeedback(t *testing.T) {
	for _, c := range feedbackCases {
		got, err := read(c.raw)
		if (err != nil) != c.bad || err != nil && !errors.Is(err, errFeedback) {
			t.Errorf("%s: got error %v, want one: %v", c.name, err, c.bad)
		}
		if !c.bad && !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// FuzzFeedback holds the parser against Pion's, and the estimator against
// whatever feedback says.
func FuzzFeedback(f *testing.F) {
	for _, c := range feedbackCases {
		f.Add(c.raw, uint16(8), int64(1))
	}
	f.Fuzz(func(t *testing.T, raw []byte, first uint16, step int64) {
		all, err := read(raw)
		if err == nil && len(all) > 0 {
			same(t, raw, all)
		}
		e := New(Config{})
		at := time.Duration(0)
		for i := range 300 {
			e.Sent(first+uint16(i), 1200, at)
			at += time.Duration(step) % (50 * time.Millisecond)
			if i%30 == 0 {
				_ = e.Feedback(raw, at)
				if p := e.Probe(5_000_000, at); p.Bytes < 0 || p.Bytes > 100_000 {
					t.Fatalf("probe of %d bytes", p.Bytes)
				}
			}
			if got := e.Estimate(at); got.Rate < DefaultMin || got.Rate > DefaultMax || got.Loss < 0 || got.Loss > 1 {
				t.Fatalf("estimate %+v", got)
			}
		}
	})
}

// same compares with what Pion reads from a single packet.
func same(t *testing.T, raw []byte, all []told) {
	var p rtcp.TransportLayerCC
	if raw[1] != 205 || raw[0]&0x20 != 0 || p.Unmarshal(raw) != nil || 4*(int(p.Header.Length)+1) != len(raw) {
		return
	}
	if int(p.PacketStatusCount) != len(all) || p.BaseSequenceNumber != all[0].number {
		t.Fatalf("got %d packets from %d, Pion reads %d from %d", len(all), all[0].number, p.PacketStatusCount, p.BaseSequenceNumber)
	}
	var sum time.Duration
	i := 0
	for _, d := range p.RecvDeltas {
		for i < len(all) && all[i].status != smallDelta && all[i].status != largeDelta {
			i++
		}
		if i == len(all) {
			return // Pion reads deltas of statuses beyond the count
		}
		sum += time.Duration(d.Delta) * time.Microsecond
		if all[i].came != sum {
			t.Fatalf("packet %d: got %v, Pion reads %v", i, all[i].came, sum)
		}
		i++
	}
}
