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
	{media.H264, []byte{0x67, 0x42, 0, 0x1f}, true},                                         // SPS
	{media.H264, []byte{0x68, 0xce}, false},                                                 // PPS
	{media.H264, []byte{0x65, 0x88, 0x84}, true},                                            // first slice of an IDR
	{media.H264, []byte{0x65, 0x00, 0x84}, false},                                           // another slice
	{media.H264, []byte{0x41, 0x9a}, false},                                                 // P slice
	{media.H264, []byte{0x18, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce}, true},                    // STAP-A with SPS
	{media.H264, []byte{0x18, 0, 2, 0x09, 0xf0, 0, 3, 0x65, 0x88, 0x84}, true},              // STAP-A: AUD, IDR
	{media.H264, []byte{0x18, 0, 2, 0x09, 0xf0, 0, 2, 0x41, 0x9a}, false},                   // STAP-A without
	{media.H264, []byte{0x18, 0xff, 0xff, 0x67, 0x42}, false},                               // STAP-A that lies
	{media.H264, []byte{0x18, 0, 0, 0, 0, 0, 0}, false},                                     // STAP-A of nothing
	{media.H264, []byte{0x7c, 0x85, 0x88}, true},                                            // FU-A, start of IDR
	{media.H264, []byte{0x7c, 0x05, 0x88}, false},                                           // FU-A, middle
	{media.H264, []byte{0x7c, 0x81, 0x88}, false},                                           // FU-A, start of P
	{media.H264, []byte{0x7c, 0x85}, false},                                                 // FU-A, cut off
	{media.H264, []byte{0x65}, false},                                                       // cut off
	{media.H264, nil, false},                                                                //
	{media.VP8, []byte{0x10, 0x00}, true},                                                   // key frame
	{media.VP8, []byte{0x10, 0x01}, false},                                                  // interframe
	{media.VP8, []byte{0x00, 0x00}, false},                                                  // continuation
	{media.VP8, []byte{0x11, 0x00}, false},                                                  // partition 1
	{media.VP8, []byte{0x90, 0x80, 0x80, 0x01, 0x00}, true},                                 // 15-bit picture id
	{media.VP8, []byte{0x90, 0x80, 0x01, 0x00}, true},                                       // 7-bit picture id
	{media.VP8, []byte{0x90, 0xf0, 0x80, 0x01, 0x05, 0x40, 0x00}, true},                     // all extensions
	{media.VP8, []byte{0x90, 0xf0, 0x80, 0x01, 0x05, 0x40, 0x01}, false},                    // the same, interframe
	{media.VP8, []byte{0x90, 0x80}, false},                                                  // cut off
	{media.VP8, []byte{0x90, 0xff, 0xff}, false},                                            // cut off
	{media.VP8, []byte{0x10}, false},                                                        // cut off
	{media.Opus, []byte{0x10, 0x00}, false},                                                 // no pictures
	{media.VP9, append([]byte{0x0c}, vp9Key...), true},                                      // a frame in one packet
	{media.VP9, append([]byte{0x08}, vp9Key...), true},                                      // its first packet
	{media.VP9, append([]byte{0x04}, vp9Key...), false},                                     // its last packet
	{media.VP9, append([]byte{0x88, 0x80, 0x07}, vp9Key...), true},                          // 15-bit picture id
	{media.VP9, append([]byte{0xa8, 0x07, 0x00, 0x05}, vp9Key...), true},                    // layer 0, TL0PICIDX
	{media.VP9, append([]byte{0xa8, 0x07, 0x02, 0x05}, vp9Key...), false},                   // layer 1
	{media.VP9, append([]byte{0xb8, 0x07, 0x00}, vp9Key...), true},                          // flexible mode
	{media.VP9, append([]byte{0xf8, 0x07, 0x00, 0x02}, vp9Key...), false},                   // predicted
	{media.VP9, append([]byte{0x8a, 0x07, 0x18, 0, 160, 0, 120, 1, 4, 1}, vp9Key...), true}, // scalability structure
	{media.VP9, []byte{0x0c, 0x86, 0x00, 0x40, 0x92}, false},                                // interframe that is not marked P
	{media.VP9, []byte{0x0c, 0x82, 0x49, 0x83}, false},                                      // cut off
	{media.VP9, []byte{0x8a, 0x07, 0xf8}, false},                                            // cut off in the structure
	{media.VP9, []byte{0x0c}, false},                                                        //
	{media.AV1, append([]byte{0x18}, av1Key...), true},                                      // N, one element
	{media.AV1, append([]byte{0x10}, av1Key...), false},                                     // no N
	{media.AV1, append([]byte{0x98}, av1Key...), false},                                     // N and Z, which cannot be
	{media.AV1, []byte{0x18}, false},                                                        // nothing
	{media.H265, []byte{0x40, 0x01, 0x0c, 0x01}, true},                                      // VPS
	{media.H265, []byte{0x42, 0x01, 0x01, 0x01}, true},                                      // SPS
	{media.H265, []byte{0x44, 0x01, 0xc1}, false},                                           // PPS
	{media.H265, []byte{0x26, 0x01, 0xaf}, true},                                            // first slice segment of an IDR
	{media.H265, []byte{0x2a, 0x01, 0xaf}, true},                                            // of a CRA
	{media.H265, []byte{0x26, 0x01, 0x2f}, false},                                           // another slice segment
	{media.H265, []byte{0x02, 0x01, 0xd0}, false},                                           // TRAIL_R
	{media.H265, []byte{0x60, 0x01, 0, 3, 0x44, 0x01, 0xc1, 0, 3, 0x42, 0x01, 0x01}, true},  // AP: PPS, SPS
	{media.H265, []byte{0x60, 0x01, 0, 3, 0x46, 0x01, 0x50, 0, 3, 0x02, 0x01, 0xd0}, false}, // AP: AUD, TRAIL_R
	{media.H265, []byte{0x60, 0x01, 0, 9, 0x42, 0x01, 0x01}, false},                         // AP that lies
	{media.H265, []byte{0x60, 0x01, 0, 1, 0x42, 0, 3, 0x42, 0x01, 0x01}, false},             // AP with a unit that is too short
	{media.H265, []byte{0x62, 0x01, 0x93, 0xaf}, true},                                      // FU, start of IDR
	{media.H265, []byte{0x62, 0x01, 0x13, 0xaf}, false},                                     // FU, middle
	{media.H265, []byte{0x62, 0x01, 0x81, 0xd0}, false},                                     // FU, start of TRAIL_R
	{media.H265, []byte{0x62, 0x01, 0x93}, false},                                           // FU, cut off
	{media.H265, []byte{0x26, 0x01}, false},                                                 // cut off
}

// The beginnings of real key frames of 160x120: testdata/vp9.ivf, testdata/av1.ivf
// (its sequence header), and their parameter sets: testdata/clip.h265.
var (
	vp9Key  = []byte{0x82, 0x49, 0x83, 0x42, 0x00, 0x09, 0xf0, 0x07, 0x76, 0x06, 0x38}
	av1Key  = []byte{0x08, 0x00, 0x00, 0x00, 0x03, 0xb4, 0xff, 0x73, 0x6b, 0xe4, 0x01}
	h265VPS = []byte{0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x1e, 0xba, 0x02, 0x40}
	h265SPS = []byte{0x42, 0x01, 0x01, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x1e, 0xa0, 0x14, 0x20, 0x79, 0x65, 0xba, 0x92, 0x4c, 0xaf, 0x01, 0x68, 0x08, 0, 0, 3, 0, 8, 0, 0, 3, 0, 0x78, 0x40}
)

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
	f.Add([]byte{0x90, 96, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7, 0x10, 0, 0, 2, 2, 4, 0x80, 1, 2, 3, 0, 0, 0x18, 8}) // a dependency descriptor
	f.Add([]byte{0x80, 97, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7, 0xe0, 0x0f, 0, 2, 0x60, 0xf8, 1, 0xf8, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []media.Codec{media.H264, media.VP8, media.VP9, media.AV1, media.H265, media.Opus} {
			in := intake{codec: codec{name: name, payload: 96}, levelID: 1, dependsID: 2}
			if name == media.Opus {
				in.codec.red = 97
			}
			for _, p := range in.packets(b, time.Now()) {
				if len(p.Payload) == 0 || len(p.Payload) > len(b)-12 || p.Level < -1 {
					t.Fatalf("% x became %+v", b, p)
				}
				keyFrameStart(name, p.Payload)
				shiftFrame(p.Dependencies, 1)
			}
			if len(in.packets(b, time.Now())) > 0 {
				t.Fatal("a duplicate got through")
			}
		}
	})
}

func TestPacketTooLong(t *testing.T) {
	in := intake{codec: codec{name: media.VP8, payload: 96}}
	b := make([]byte, maxPacket+1)
	b[0], b[1] = 0x80, 96
	if len(in.packets(b, time.Now())) > 0 {
		t.Error("a packet of 1501 bytes got through")
	}
	if len(in.packets(b[:maxPacket], time.Now())) == 0 {
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

// TestRenumberAnewIsLate: what comes late after a sender began to count anew is not
// given a number that another packet had.
func TestRenumberAnewIsLate(t *testing.T) {
	var r renumber
	used := map[uint16]bool{}
	take := func(seq uint16) {
		if out, ok := r.next(seq, false); ok {
			if used[out] || int16(out-30000) < 0 || out > 30200 {
				t.Fatalf("packet %d became %d", seq, out)
			}
			used[out] = true
		}
	}
	for n := range uint16(60) {
		take(30000 + n)
	}
	for n := range uint16(60) {
		if n != 52 {
			take(1000 + n)
		}
	}
	for _, late := range []uint16{1052, 1040, 1048, 1049, 1055} {
		take(late)
	}
	take(1060)
}
