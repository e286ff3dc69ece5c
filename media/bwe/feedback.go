package bwe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Sizes and kinds of draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.
const (
	rtpfb       = 205 // transport layer feedback, RFC 4585 section 6.1
	formatTWCC  = 15
	fixedPart   = 20 // header, two SSRCs, base, count, reference time, feedback count
	refUnit     = 64 * time.Millisecond
	deltaUnit   = 250 * time.Microsecond
	notReceived = 0
	smallDelta  = 1
	largeDelta  = 2
	noDelta     = 3 // reserved by the draft; used for "received, when is unknown"
)

var errFeedback = errors.New("bwe: malformed feedback")

// report is one feedback packet, checked whole: next cannot run out of bytes.
type report struct {
	base  uint16
	count int    // packets told about
	ref   uint32 // reference time, 24 bits, in refUnit

	chunks, deltas []byte
	left           int    // of the chunk at hand
	run            bool   // it is a run of one status
	status         uint8  // of the run
	vector         uint16 // statuses not taken yet, highest bits first
	width          uint8  // bits per status of a vector
	told           int    // statuses given out
	deltaSum       time.Duration
}

// nextFeedback cuts the first transport-wide feedback out of raw, a compound.
// It returns what follows. ok is false when there is none.
func nextFeedback(raw []byte) (r report, rest []byte, ok bool, err error) {
	for len(raw) > 0 {
		if len(raw) < 4 || raw[0]>>6 != 2 {
			return r, nil, false, fmt.Errorf("%w: no RTCP header", errFeedback)
		}
		size := 4 * (int(binary.BigEndian.Uint16(raw[2:])) + 1)
		if size > len(raw) {
			return r, nil, false, fmt.Errorf("%w: cut", errFeedback)
		}
		packet := raw[:size]
		raw = raw[size:]
		if packet[1] == rtpfb && packet[0]&31 == formatTWCC {
			r, err = readReport(packet)
			return r, raw, err == nil, err
		}
	}
	return r, nil, false, nil
}

func readReport(p []byte) (r report, err error) {
	if p[0]&0x20 != 0 { // RFC 3550 section 6.4.1: the last byte counts the padding, itself included
		pad := int(p[len(p)-1])
		if pad == 0 || pad > len(p)-4 {
			return r, fmt.Errorf("%w: padding", errFeedback)
		}
		p = p[:len(p)-pad]
	}
	if len(p) < fixedPart {
		return r, fmt.Errorf("%w: short", errFeedback)
	}
	r.base = binary.BigEndian.Uint16(p[12:])
	r.count = int(binary.BigEndian.Uint16(p[14:]))
	r.ref = binary.BigEndian.Uint32(p[16:]) >> 8
	if r.count == 0 {
		return r, fmt.Errorf("%w: about no packet", errFeedback)
	}
	chunks, need, ok := measure(p[fixedPart:], r.count)
	if !ok {
		return r, fmt.Errorf("%w: fewer statuses than told", errFeedback)
	}
	r.chunks = p[fixedPart : fixedPart+chunks]
	r.deltas = p[fixedPart+chunks:]
	if len(r.deltas) < need {
		return r, fmt.Errorf("%w: fewer times than packets", errFeedback)
	}
	return r, nil
}

// measure finds how many bytes the chunks for count packets take and how many
// the deltas that belong to them.
func measure(p []byte, count int) (chunks, deltas int, ok bool) {
	for count > 0 {
		if len(p) < chunks+2 {
			return 0, 0, false
		}
		c := binary.BigEndian.Uint16(p[chunks:])
		chunks += 2
		if c&0x8000 == 0 {
			n := min(int(c&0x1FFF), count)
			if n == 0 {
				return 0, 0, false // would take any number of such
			}
			deltas += n * deltaBytes(uint8(c>>13&3))
			count -= n
			continue
		}
		n, width := vectorShape(c)
		for i := range min(n, count) {
			deltas += deltaBytes(uint8(c<<(16-uint(n)*uint(width))<<(uint(i)*uint(width))>>(16-width)) & 3)
		}
		count -= min(n, count)
	}
	return chunks, deltas, true
}

func deltaBytes(status uint8) int {
	if status == noDelta {
		return 0
	}
	return int(status)
}

// vectorShape returns how many statuses a vector chunk has, and of how many bits.
func vectorShape(c uint16) (n int, width uint8) {
	if c&0x4000 == 0 {
		return 14, 1
	}
	return 7, 2
}

// next returns the next statuses: offset is that of the first from base, n how
// many share the status; more than one only when they have no times. Arrival
// is on the receiver's clock, after the reference time. n is 0 at the end.
func (r *report) next() (offset, n int, status uint8, arrival time.Duration) {
	if r.told >= r.count {
		return 0, 0, 0, 0
	}
	if r.left == 0 {
		r.open()
	}
	offset, n = r.told, 1
	if r.run {
		status = r.status
		if status == notReceived || status == noDelta {
			n = min(r.left, r.count-r.told)
		}
	} else {
		status = uint8(r.vector >> (16 - r.width))
		r.vector <<= r.width
	}
	r.left -= n
	r.told += n
	switch status {
	case smallDelta:
		r.deltaSum += time.Duration(r.deltas[0]) * deltaUnit
		r.deltas = r.deltas[1:]
	case largeDelta:
		r.deltaSum += time.Duration(int16(binary.BigEndian.Uint16(r.deltas))) * deltaUnit
		r.deltas = r.deltas[2:]
	}
	return offset, n, status, r.deltaSum
}

func (r *report) open() {
	c := binary.BigEndian.Uint16(r.chunks)
	r.chunks = r.chunks[2:]
	if r.run = c&0x8000 == 0; r.run {
		r.left, r.status = int(c&0x1FFF), uint8(c>>13&3)
		return
	}
	r.left, r.width = vectorShape(c)
	r.vector = c << (16 - uint(r.left)*uint(r.width))
}
