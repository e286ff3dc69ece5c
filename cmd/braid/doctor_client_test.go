package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"
)

var doctorAnswers = []struct{ text, want string }{
	{"v=0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AA\r\n" +
		"a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host\r\na=candidate:2 1 TCP 1 2001:db8::1 8189 typ host tcptype passive\r\na=end-of-candidates\r\n",
		"[UDP 192.0.2.1:8189 TCP [2001:db8::1]:8189]"},
	{"a=ice-ufrag:u\na=ice-pwd:p\na=fingerprint:sha-256 AA\na=candidate:1 1 udp 1 name.local 9 typ host\na=candidate:1 1 quic 1 ::1 9\na=candidate:1 1 udp 1 ::1 99999\na=candidate:\n", "[]"},
	{"v=0\r\na=ice-ufrag:u\r\n", "error"}, {"", "error"},
}

func TestReadSDP(t *testing.T) {
	for _, c := range doctorAnswers {
		a, err := readSDP(c.text)
		if got := fmt.Sprint(a.candidates); err == nil && got != c.want || err != nil && c.want != "error" {
			t.Errorf("%q: got %s, %v; want %s", c.text, got, err, c.want)
		}
	}
}

func FuzzReadSDP(f *testing.F) {
	for _, c := range doctorAnswers {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := readSDP(text)
		if err != nil {
			return
		}
		for _, c := range a.candidates {
			if !c.at.IsValid() || c.transport != "udp" && c.transport != "tcp" {
				t.Fatalf("%q gave %v", text, c)
			}
		}
	})
}

// Packets over TCP keep their borders, however the bytes come, and a deadline
// within one loses nothing.
func TestFrames(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	out, in := &frames{Conn: a}, &frames{Conn: b}
	go func() {
		out.Write([]byte("one"))
		out.Write(nil)
		whole := append(binary.BigEndian.AppendUint16(nil, 5), "three"...)
		a.Write(whole[:3])
		a.Write(whole[3:])
	}()
	buf := make([]byte, 100)
	for _, want := range []string{"one", ""} {
		if n, err := in.Read(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("got %q, %v; want %q", buf[:n], err, want)
		}
	}
	b.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := in.Read(buf); err == nil {
		t.Error("a deadline that has passed is not told")
	}
	b.SetReadDeadline(time.Time{})
	if n, err := in.Read(buf); err != nil || string(buf[:n]) != "three" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
}

// The padded silence is a legal packet of Opus (RFC 6716 section 3.2.5) of the
// size that is meant.
func TestSilence(t *testing.T) {
	b := silence(true)
	if len(b) != largeBytes || b[0]&3 != 3 || b[1] != 0x41 {
		t.Fatalf("%d bytes, beginning %x", len(b), b[:4])
	}
	padding, i := 0, 2
	for ; b[i] == 255; i++ {
		padding += 254
	}
	padding += int(b[i])
	if frame := b[i+1 : len(b)-padding]; !bytes.Equal(frame, []byte{0xff, 0xfe}) {
		t.Errorf("the frame is %x, with %d bytes of padding", frame, padding)
	}
	if len(silence(false)) != 3 {
		t.Error("a small one has 3 bytes")
	}
}
