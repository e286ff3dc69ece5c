package main

import (
	"encoding/binary"
	"slices"
	"time"
)

// botArrivals is what a watcher tells of transport-wide numbers
// (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1): all that has
// arrived since it told last, and what is missing between. The zero value has told
// nothing.
type botArrivals struct {
	all   []botArrival // since the last feedback
	told  bool
	next  uint16 // that the next feedback begins with, once told
	count uint8  // of feedback packets
	out   []byte
}

type botArrival struct {
	number uint16
	at     time.Duration // on any clock
}

const (
	botFeedbackEvery = 100 * time.Millisecond // libwebrtc: 50 to 250 ms, by the bitrate
	botMostNumbers   = 2000                   // in one feedback, which fits a packet as they are sent here
	twccTick         = 250 * time.Microsecond
	twccReference    = 64 * time.Millisecond
)

func (a *botArrivals) add(number uint16, at time.Duration) {
	if len(a.all) < botMostNumbers && (!a.told || int16(number-a.next) >= 0) {
		a.all = append(a.all, botArrival{number, at})
	}
}

// feedback is the packet for what has been added, nil when that is nothing. It is
// valid until the next call.
func (a *botArrivals) feedback(ssrc, media uint32) []byte {
	if len(a.all) == 0 {
		return nil
	}
	slices.SortStableFunc(a.all, func(x, y botArrival) int { return int(int16(x.number - y.number)) })
	a.all = slices.CompactFunc(a.all, func(x, y botArrival) bool { return x.number == y.number })
	base := a.all[0].number
	if a.told {
		base = a.next
	}
	count := a.all[len(a.all)-1].number - base + 1
	reference := a.all[0].at / twccReference
	b := append(a.out[:0], 0x8f, 205, 0, 0)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint32(b, media)
	b = binary.BigEndian.AppendUint16(b, base)
	b = binary.BigEndian.AppendUint16(b, count)
	b = append(b, byte(reference>>16), byte(reference>>8), byte(reference), a.count)
	b = a.appendChunks(b, base, int(count), reference)
	b = a.appendDeltas(b, reference)
	for len(b)%4 != 0 {
		b = append(b, 0) // read by its count, not by its length
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)/4-1))
	a.out, a.told, a.next = b, true, base+count
	a.count++
	a.all = a.all[:0]
	return b
}

// Symbols of section 3.1.1.
const (
	twccLost  = 0
	twccSmall = 1
	twccLarge = 2
)

// deltas gives each arrival's distance to the one before in ticks, the first's to
// the reference.
func (a *botArrivals) deltas(reference time.Duration, do func(i int, ticks int64)) {
	last := int64(reference) * int64(twccReference/twccTick)
	for i := range a.all {
		now := int64(a.all[i].at / twccTick)
		do(i, min(max(now-last, -1<<15), 1<<15-1))
		last = now
	}
}

// appendChunks writes runs of equal symbols, and seven by seven what differs.
func (a *botArrivals) appendChunks(b []byte, base uint16, count int, reference time.Duration) []byte {
	symbols := make([]byte, count, count+7)
	a.deltas(reference, func(i int, ticks int64) {
		symbol := byte(twccLarge)
		if ticks >= 0 && ticks <= 255 {
			symbol = twccSmall
		}
		symbols[a.all[i].number-base] = symbol
	})
	for len(symbols) > 0 {
		run := 1
		for run < len(symbols) && run < 1<<13-1 && symbols[run] == symbols[0] {
			run++
		}
		if run >= 7 || run == len(symbols) {
			b = binary.BigEndian.AppendUint16(b, uint16(symbols[0])<<13|uint16(run))
			symbols = symbols[run:]
			continue
		}
		chunk := uint16(3) << 14 // a vector of two bits each
		for i := range min(7, len(symbols)) {
			chunk |= uint16(symbols[i]) << (12 - 2*i)
		}
		b = binary.BigEndian.AppendUint16(b, chunk)
		symbols = symbols[min(7, len(symbols)):]
	}
	return b
}

func (a *botArrivals) appendDeltas(b []byte, reference time.Duration) []byte {
	a.deltas(reference, func(_ int, ticks int64) {
		if ticks >= 0 && ticks <= 255 {
			b = append(b, byte(ticks))
		} else {
			b = binary.BigEndian.AppendUint16(b, uint16(ticks))
		}
	})
	return b
}

// transportNumber finds the number in an RTP packet with one-byte extensions
// (RFC 8285 section 4.2).
func transportNumber(b []byte, id uint8) (number uint16, ok bool) {
	at := 12 + 4*int(b[0]&15)
	if b[0]&0x10 == 0 || len(b) < at+4 || binary.BigEndian.Uint16(b[at:]) != 0xbede {
		return 0, false
	}
	size := 4 * int(binary.BigEndian.Uint16(b[at+2:]))
	b = b[at+4:]
	if size > len(b) {
		return 0, false
	}
	for b = b[:size]; len(b) > 0; {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		length := int(b[0]&15) + 1
		if len(b) < 1+length {
			return 0, false
		}
		if b[0]>>4 == id && length == 2 {
			return binary.BigEndian.Uint16(b[1:]), true
		}
		b = b[1+length:]
	}
	return 0, false
}
