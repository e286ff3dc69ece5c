// Package sei writes and reads H.264 supplemental enhancement information: the
// NAL unit (H.264 section 7.3.2.3), its place in an access unit, the JSON body
// that says who is where in the picture, and the decision when to write it. It
// runs nothing and starts no goroutine.
//
// The body goes out as user_data_unregistered (payload type 5), which begins
// with a UUID that says whose data it is. braid's own, chosen at random once and
// fixed since, is
//
//	075ce9d2-8cd6-47ca-b8ef-b01797be9759
//
// A task may ask for a payload type of 100 to 254 instead; there the body stands
// alone, without a UUID.
package sei

import (
	"errors"
	"fmt"

	"braid/media/h264"
)

// UUID are the 16 bytes in front of braid's body in a message of type 5.
const UUID = "\x07\x5c\xe9\xd2\x8c\xd6\x47\xca\xb8\xef\xb0\x17\x97\xbe\x97\x59"

// TypeUser is the payload type of user_data_unregistered (H.264 section D.1.7).
const TypeUser = 5

// Message is one SEI message: sei_message() of H.264 section 7.3.2.3.1.
type Message struct {
	Type    int // payloadType, 0 or more
	Payload []byte
}

// User is the message that carries braid's body: with the UUID in front for
// type 5, the body alone for any other type.
func User(payloadType int, body []byte) Message {
	if payloadType != TypeUser {
		return Message{Type: payloadType, Payload: body}
	}
	payload := make([]byte, 0, len(UUID)+len(body))
	return Message{Type: TypeUser, Payload: append(append(payload, UUID...), body...)}
}

// AppendNAL appends one SEI NAL unit with the messages to dst, without start
// code or length and with emulation prevention.
func AppendNAL(dst []byte, msgs ...Message) []byte {
	var scratch [1024]byte // on the stack: a layout of a few panes fits
	rbsp := scratch[:0]
	for _, m := range msgs {
		rbsp = appendNumber(rbsp, m.Type)
		rbsp = appendNumber(rbsp, len(m.Payload))
		rbsp = append(rbsp, m.Payload...)
	}
	rbsp = append(rbsp, 0x80) // rbsp_trailing_bits
	return h264.EscapeRBSP(append(dst, h264.TypeSEI), rbsp)
}

// appendNumber writes payloadType or payloadSize: ff for each 255, then the rest.
func appendNumber(dst []byte, n int) []byte {
	for ; n >= 255; n -= 255 {
		dst = append(dst, 0xff)
	}
	return append(dst, byte(n))
}

// Parse reads an SEI NAL unit. The payloads share no memory with nal.
func Parse(nal []byte) ([]Message, error) {
	if h264.Type(nal) != h264.TypeSEI {
		return nil, fmt.Errorf("sei: parse: NAL unit of type %d", h264.Type(nal))
	}
	b := h264.UnescapeRBSP(make([]byte, 0, len(nal)), nal[1:])
	end := len(b)
	for end > 0 && b[end-1] == 0 { // left by a splitter that keeps trailing_zero_8bits
		end--
	}
	if end == 0 || b[end-1] != 0x80 {
		return nil, errors.New("sei: parse: no trailing bits")
	}
	b = b[:end-1]
	var msgs []Message
	for len(b) > 0 {
		var m Message
		var size int
		var ok bool
		if m.Type, b, ok = number(b); ok {
			size, b, ok = number(b)
		}
		if !ok || size > len(b) {
			return nil, errors.New("sei: parse: cut short")
		}
		m.Payload, b = b[:size:size], b[size:]
		msgs = append(msgs, m)
	}
	return msgs, nil
}

// number reads what appendNumber writes.
func number(b []byte) (n int, rest []byte, ok bool) {
	for i, c := range b {
		n += int(c)
		if c != 0xff {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}

// Insert gives a new slice with the NAL unit sei in front of the first slice,
// behind delimiter, parameter sets and other SEI (the order of H.264 section
// 7.4.1.2.3); at the end when there is no slice. units stays as it is.
func Insert(units [][]byte, sei []byte) [][]byte {
	at := len(units)
	for i, u := range units {
		if h264.IsSlice(u) || h264.Type(u) == h264.TypePrefix {
			at = i
			break
		}
	}
	all := make([][]byte, 0, len(units)+1)
	all = append(all, units[:at]...)
	all = append(all, sei)
	return append(all, units[at:]...)
}
