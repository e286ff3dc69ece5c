package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// read gives the numbers that a feedback tells of, with their times or "lost".
func readFeedback(t *testing.T, raw []byte) (told []string) {
	t.Helper()
	var fb rtcp.TransportLayerCC
	if err := fb.Unmarshal(raw); err != nil {
		t.Fatalf("% x: %v", raw, err)
	}
	at, deltas, number := time.Duration(fb.ReferenceTime)*64*time.Millisecond, fb.RecvDeltas, fb.BaseSequenceNumber
	add := func(symbol uint16) {
		if int(number-fb.BaseSequenceNumber) >= int(fb.PacketStatusCount) {
			return
		}
		if symbol == rtcp.TypeTCCPacketNotReceived {
			told = append(told, fmt.Sprint(number, " lost"))
		} else {
			at += time.Duration(deltas[0].Delta) * time.Microsecond
			deltas = deltas[1:]
			told = append(told, fmt.Sprint(number, " ", at))
		}
		number++
	}
	for _, chunk := range fb.PacketChunks {
		switch c := chunk.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				add(c.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList {
				add(symbol)
			}
		}
	}
	if len(deltas) > 0 {
		t.Errorf("%d times too many", len(deltas))
	}
	return told
}

func TestBotFeedback(t *testing.T) {
	const ms = time.Millisecond
	var a botArrivals
	if a.feedback(1, 2) != nil {
		t.Error("feedback on nothing")
	}
	for _, tt := range []struct {
		arrivals []botArrival
		want     string
	}{
		{[]botArrival{{65533, 1000 * ms}, {65534, 1001 * ms}, {0, 1003 * ms}}, "[65533 1s 65534 1.001s 65535 lost 0 1.003s]"},
		{[]botArrival{{2, 1100 * ms}, {1, 1101 * ms}, {2, 1102 * ms}, {0, 1103 * ms}}, "[1 1.101s 2 1.1s]"}, // another order, again, too late
		{[]botArrival{{5, 1200 * ms}, {6, 1900 * ms}}, "[3 lost 4 lost 5 1.2s 6 1.9s]"},
	} {
		for _, p := range tt.arrivals {
			a.add(p.number, p.at)
		}
		if got := fmt.Sprint(readFeedback(t, a.feedback(1, 2))); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
	for n := range 300 { // long runs of each kind
		if n < 100 || n > 200 {
			a.add(uint16(7+n), 2*time.Second+time.Duration(n)*ms)
		}
	}
	told := readFeedback(t, a.feedback(1, 2))
	if len(told) != 300 || told[99] != "106 2.099s" || told[150] != "157 lost" || told[299] != "306 2.299s" {
		t.Errorf("got %d: %v", len(told), told)
	}
}

func TestTransportNumber(t *testing.T) {
	h := rtp.Header{Version: 2, CSRC: []uint32{1, 2}}
	for id, b := range map[uint8][]byte{1: {9}, 3: {0x12, 0x34}, 5: {1, 2, 3}} {
		if err := h.SetExtension(id, b); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := transportNumber(b, 3); n != 0x1234 || !ok {
		t.Errorf("got %#x, %v", n, ok)
	}
	for cut := 12; cut <= len(b); cut++ {
		if _, ok := transportNumber(b[:cut], 4); ok {
			t.Errorf("%d bytes have another's extension", cut)
		}
	}
}
