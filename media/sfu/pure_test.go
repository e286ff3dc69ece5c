package sfu

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"braid/media"
)

func TestRenumber(t *testing.T) {
	type in struct {
		seq     uint16
		padding bool
	}
	const drop = -1
	for name, c := range map[string]struct {
		in   []in
		want []int
	}{
		"as it comes":              {[]in{{7, false}, {8, false}, {9, false}}, []int{7, 8, 9}},
		"padding closes":           {[]in{{7, false}, {8, true}, {9, false}, {10, true}, {11, true}, {12, false}}, []int{7, drop, 8, drop, drop, 9}},
		"padding first":            {[]in{{6, true}, {7, false}}, []int{drop, 7}},
		"across zero":              {[]in{{65534, false}, {65535, true}, {0, false}, {1, false}}, []int{65534, drop, 65535, 0}},
		"a loss stays a hole":      {[]in{{7, false}, {9, false}, {8, false}}, []int{7, 9, 8}},
		"late before padding":      {[]in{{7, false}, {9, true}, {10, false}, {8, false}}, []int{7, drop, 9, 8}},
		"late padding":             {[]in{{7, false}, {9, false}, {8, true}, {10, false}}, []int{7, 9, drop, 10}},
		"duplicates":               {[]in{{7, false}, {7, false}, {8, false}, {7, false}, {9, true}, {9, true}, {10, false}}, []int{7, drop, 8, drop, drop, drop, 9}},
		"older than the window":    {[]in{{1000, false}, {400, false}, {1001, false}}, []int{1000, drop, 1001}},
		"before the first":         {[]in{{7, false}, {6, false}}, []int{7, 6}},
		"a jump is a hole":         {[]in{{7, false}, {9007, false}, {9006, false}}, []int{7, 9007, 9006}},
		"retransmission of padded": {[]in{{7, false}, {8, true}, {9, false}, {8, true}, {11, false}, {10, false}}, []int{7, drop, 8, drop, 10, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			var r renumber
			for i, p := range c.in {
				got := drop
				if out, ok := r.next(p.seq, p.padding); ok {
					got = int(out)
				}
				if got != c.want[i] {
					t.Fatalf("packet %d (%+v): got %d, want %d", i, p, got, c.want[i])
				}
			}
		})
	}
}

// TestRenumberAnew: a sender that begins to count anew is followed after some
// packets, without a hole.
func TestRenumberAnew(t *testing.T) {
	var r renumber
	r.next(30000, false)
	kept := 0
	for i := range uint16(100) {
		if out, ok := r.next(5+i, false); ok {
			kept++
			if out != 30000+uint16(kept) {
				t.Fatalf("packet %d: got %d, want %d", i, out, 30000+kept)
			}
		}
	}
	if kept != 100-maxStale+1 {
		t.Errorf("kept %d packets", kept)
	}
}

// TestRenumberAgainstTwin compares with a plain calculation on a long random
// stream: a number goes down by the padding sent before it.
func TestRenumberAgainstTwin(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	const n = 200_000
	padding := make([]bool, n)
	want := make([]uint16, n)
	dropped := uint16(0)
	order := make([]int, n)
	for i := range n {
		padding[i] = i > 0 && random.IntN(5) == 0
		want[i] = uint16(i) - dropped
		if padding[i] {
			dropped++
		}
		order[i] = i
	}
	for i := 1; i+30 < n; i += 30 { // media packets trade places with their next neighbour
		if !padding[i] && !padding[i+1] {
			order[i], order[i+1] = order[i+1], order[i]
		}
	}
	var r renumber
	for _, i := range order {
		out, ok := r.next(uint16(i), padding[i])
		if ok == padding[i] || ok && out != want[i] {
			t.Fatalf("packet %d (padding %v): got %d, %v, want %d", i, padding[i], out, ok, want[i])
		}
	}
}

var keyFrames = []struct {
	codec   media.Codec
	payload []byte
	want    bool
}{
	{media.H264, []byte{0x67, 0x42, 0, 0x1f}, true},                            // SPS
	{media.H264, []byte{0x68, 0xce}, false},                                    // PPS
	{media.H264, []byte{0x65, 0x88, 0x84}, true},                               // first slice of an IDR
	{media.H264, []byte{0x65, 0x00, 0x84}, false},                              // another slice
	{media.H264, []byte{0x41, 0x9a}, false},                                    // P slice
	{media.H264, []byte{0x18, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce}, true},       // STAP-A with SPS
	{media.H264, []byte{0x18, 0, 2, 0x09, 0xf0, 0, 3, 0x65, 0x88, 0x84}, true}, // STAP-A: AUD, IDR
	{media.H264, []byte{0x18, 0, 2, 0x09, 0xf0, 0, 2, 0x41, 0x9a}, false},      // STAP-A without
	{media.H264, []byte{0x18, 0xff, 0xff, 0x67, 0x42}, false},                  // STAP-A that lies
	{media.H264, []byte{0x18, 0, 0, 0, 0, 0, 0}, false},                        // STAP-A of nothing
	{media.H264, []byte{0x7c, 0x85, 0x88}, true},                               // FU-A, start of IDR
	{media.H264, []byte{0x7c, 0x05, 0x88}, false},                              // FU-A, middle
	{media.H264, []byte{0x7c, 0x81, 0x88}, false},                              // FU-A, start of P
	{media.H264, []byte{0x7c, 0x85}, false},                                    // FU-A, cut off
	{media.H264, []byte{0x65}, false},                                          // cut off
	{media.H264, nil, false},                                                   //
	{media.VP8, []byte{0x10, 0x00}, true},                                      // key frame
	{media.VP8, []byte{0x10, 0x01}, false},                                     // interframe
	{media.VP8, []byte{0x00, 0x00}, false},                                     // continuation
	{media.VP8, []byte{0x11, 0x00}, false},                                     // partition 1
	{media.VP8, []byte{0x90, 0x80, 0x80, 0x01, 0x00}, true},                    // 15-bit picture id
	{media.VP8, []byte{0x90, 0x80, 0x01, 0x00}, true},                          // 7-bit picture id
	{media.VP8, []byte{0x90, 0xf0, 0x80, 0x01, 0x05, 0x40, 0x00}, true},        // all extensions
	{media.VP8, []byte{0x90, 0xf0, 0x80, 0x01, 0x05, 0x40, 0x01}, false},       // the same, interframe
	{media.VP8, []byte{0x90, 0x80}, false},                                     // cut off
	{media.VP8, []byte{0x90, 0xff, 0xff}, false},                               // cut off
	{media.VP8, []byte{0x10}, false},                                           // cut off
	{media.Opus, []byte{0x10, 0x00}, false},                                    // no pictures
}

func TestKeyFrameStart(t *testing.T) {
	for _, c := range keyFrames {
		if got := keyFrameStart(c.codec, c.payload); got != c.want {
			t.Errorf("%s % x: got %v, want %v", c.codec, c.payload, got, c.want)
		}
	}
}

// FuzzPacket throws bytes from the wire at everything that reads them between
// SRTP and the receivers.
func FuzzPacket(f *testing.F) {
	for _, c := range keyFrames {
		f.Add(append([]byte{0x80, 96, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7}, c.payload...))
	}
	f.Add([]byte{0xb0, 96, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7, 0xbe, 0xde, 0, 1, 0x10, 0x80, 0, 0, 1, 2, 3, 3})
	f.Add([]byte{0xa0, 96, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []media.Codec{media.H264, media.VP8, media.Opus} {
			in := intake{codec: codec{name: name, payload: 96}, levelID: 1}
			p := in.packet(b, time.Now())
			if p == nil {
				continue
			}
			if len(p.Payload) == 0 || len(p.Payload) > len(b)-12 || p.Level < -1 {
				t.Fatalf("% x became %+v", b, p)
			}
			keyFrameStart(name, p.Payload)
			if in.packet(b, time.Now()) != nil {
				t.Fatal("a duplicate got through")
			}
		}
	})
}

func TestPacketTooLong(t *testing.T) {
	in := intake{codec: codec{name: media.VP8, payload: 96}}
	b := make([]byte, maxPacket+1)
	b[0], b[1] = 0x80, 96
	if in.packet(b, time.Now()) != nil {
		t.Error("a packet of 1501 bytes got through")
	}
	if in.packet(b[:maxPacket], time.Now()) == nil {
		t.Error("a packet of 1500 bytes was dropped")
	}
}

var fragments = []struct {
	text string
	want fragment
	ok   bool
}{
	{"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 UDP 1 198.51.100.1 9 typ host\r\n", fragment{"EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"}, true}, // RFC 9725 section 4.3.2
	{"a=candidate:0 1 tcp 1 fd00::2 9 typ host\n", fragment{}, true},
	{"a=end-of-candidates", fragment{}, true},
	{"m=audio 9 RTP/AVP 0\r\n", fragment{}, false},
	{"<html>", fragment{}, false},
	{"", fragment{}, false},
	{"\x00\xff", fragment{}, false},
}

func TestParseFragment(t *testing.T) {
	for _, c := range fragments {
		got, err := parseFragment(c.text)
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("%q: got %+v, %v", c.text, got, err)
		}
	}
}

func FuzzFragment(f *testing.F) {
	for _, c := range fragments {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseFragment(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(got.ufrag+got.pwd, "\r\n") {
			t.Fatalf("%q became %+v", text, got)
		}
		if _, err := withCredentials(chromiumOffer, got); err != nil && !strings.Contains(err.Error(), "credentials") {
			t.Fatal(err)
		}
	})
}

func TestCandidates(t *testing.T) {
	got := candidateLines([]netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("fd00::2")}, 8189)
	want := []string{
		"1 1 udp 2130706431 192.0.2.2 8189 typ host",
		"2 1 udp 2130706175 fd00::2 8189 typ host",
		"3 1 tcp 1526726655 192.0.2.2 8189 typ host tcptype passive",
		"4 1 tcp 1526726399 fd00::2 8189 typ host tcptype passive",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	addrs, err := ownAddresses(netip.IPv6Unspecified())
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range addrs {
		if a.IsLinkLocalUnicast() || i > 0 && rank(addrs[i-1]) > rank(a) {
			t.Errorf("advertised %v", addrs)
		}
	}
	if addrs, err := ownAddresses(netip.MustParseAddr("::ffff:127.0.0.1")); err != nil || fmt.Sprint(addrs) != "[127.0.0.1]" {
		t.Errorf("bound to one address: got %v, %v", addrs, err)
	}
}
