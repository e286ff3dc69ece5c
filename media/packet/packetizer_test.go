package packet

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtp/codecs"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/h264"
)

// payloads writes packets as "67.. 41..m": payloads in hex, m for the marker.
func payloads(packets []*media.Packet) string {
	var all []string
	for _, p := range packets {
		s := hex.EncodeToString(p.Payload)
		if p.Marker {
			s += "m"
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

var packetizerCases = []struct {
	name  string
	units string // hex, separated by spaces
	want  string
}{
	{"slice", p1, p1 + "m"},
	{"two slices", p1 + " " + p2, p1 + " " + p2 + "m"},
	{"key frame", sps + " " + pps + " " + idr, stap(sps, pps) + " " + idr + "m"},
	{"SEI in front", sps + " " + pps + " " + sei + " " + idr + " " + idr2, stap(sps, pps) + " " + sei + " " + idr + " " + idr2 + "m"},
	{"SPS alone", sps + " " + idr, sps + " " + idr + "m"},
	{"sets of different importance", "2742001fda79 48ce3c80 " + idr, "58" + stap("2742001fda79", "48ce3c80")[2:] + " " + idr + "m"},
	{"sets that follow a slice", p1 + " " + sps + " " + pps, p1 + " " + stap(sps, pps) + "m"},
	{"reserved types", "1800 " + p1 + " 1c85 1f00 00", p1 + "m"},
	{"nothing", "", ""},
}

func unhexAll(t testing.TB, s string) (units [][]byte) {
	for _, u := range strings.Fields(s) {
		units = append(units, testkit.Unhex(t, u))
	}
	return units
}

func TestPacketizeH264(t *testing.T) {
	for _, c := range packetizerCases {
		p := &Packetizer{Codec: media.H264, Seq: 65535}
		got := p.Packetize(nil, unhexAll(t, c.units), 9, at(1))
		if payloads(got) != c.want {
			t.Errorf("%s: got %s, want %s", c.name, payloads(got), c.want)
		}
		for i, q := range got {
			if q.Seq != uint16(65535+i) || q.Timestamp != 9 || !q.Arrival.Equal(at(1)) || q.Level != -1 {
				t.Errorf("%s: packet %d is %+v", c.name, i, q)
			}
		}
	}
}

// Units around the limit; fragments are even and together the unit.
func TestPacketizeLarge(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{MaxPayload - 1, MaxPayload, MaxPayload + 1, 2*MaxPayload - 3, 2 * MaxPayload, 100_000} {
		unit := randomUnit(rnd, 0x65, size)
		got := (&Packetizer{Codec: media.H264}).Packetize(nil, [][]byte{testkit.Unhex(t, sps), testkit.Unhex(t, pps), unit}, 1, at(0))
		for _, p := range got {
			if len(p.Payload) > MaxPayload {
				t.Fatalf("unit of %d: a payload of %d bytes", size, len(p.Payload))
			}
		}
		if n := 1 + (size+MaxPayload-1)/MaxPayload; len(got) > n+1+size/MaxPayload/500 {
			t.Errorf("unit of %d: %d packets", size, len(got))
		}
		if frames := assemble(media.H264, got, true); len(frames) != 1 || !bytes.Equal(frames[0].Units[2], unit) {
			t.Fatalf("unit of %d does not come back", size)
		}
	}
	var sets [][]byte // more than one packet holds
	for i := range 8 {
		sets = append(sets, randomUnit(rnd, 0x68, 300+i))
	}
	got := (&Packetizer{Codec: media.H264}).Packetize(nil, append(sets, testkit.Unhex(t, p1)), 1, at(0))
	if len(got) != 4 || len(got[0].Payload) > MaxPayload {
		t.Errorf("8 sets of 300 bytes in %d packets, want 3 and the slice", len(got))
	}
}

// randomUnit has no start code and does not end in zero.
func randomUnit(rnd *rand.Rand, head byte, size int) []byte {
	u := make([]byte, size)
	for i := range u {
		u[i] = byte(1 + rnd.IntN(255))
	}
	u[0], u[1] = head, u[1]|0x80
	return u
}

func TestPacketizeAudio(t *testing.T) {
	p := &Packetizer{Codec: media.Opus, Seq: 7}
	got := p.Packetize(nil, [][]byte{{0xfc, 1}, {}, {0xfc, 2}}, 960, at(2))
	if payloads(got) != "fc01 fc02" || got[1].Seq != 8 || p.Seq != 9 {
		t.Errorf("got %s from number %d", payloads(got), got[0].Seq)
	}
}

// Real pictures come back whole from our Assembler and from Pion's depacketizer.
func TestPacketizeReal(t *testing.T) {
	want := pictures(t, "slices=2")
	p := &Packetizer{Codec: media.H264, Seq: 65000}
	var packets []*media.Packet
	var stream, pion []byte
	other := codecs.H264Packet{}
	for i, au := range want {
		from := len(packets)
		packets = p.Packetize(packets, au, uint32(i*3000), at(i*33))
		stream = h264.AppendAnnexB(stream, au)
		for _, q := range packets[from:] {
			b, err := other.Unmarshal(q.Payload)
			if err != nil {
				t.Fatalf("picture %d: Pion: %v", i, err)
			}
			pion = append(pion, b...)
		}
	}
	frames := assemble(media.H264, packets, true)
	if len(frames) != len(want) {
		t.Fatalf("got %d frames, want %d", len(frames), len(want))
	}
	for i, f := range frames {
		if !slices.EqualFunc(f.Units, want[i], bytes.Equal) || f.Timestamp != uint32(i*3000) || f.Key != (i%20 == 0) {
			t.Fatalf("frame %d differs", i)
		}
	}
	if !bytes.Equal(pion, stream) {
		t.Errorf("Pion reads %d bytes, want %d, the same", len(pion), len(stream))
	}
}

// FuzzPacketize makes units of the input (each cut at "|") and wants them back.
func FuzzPacketize(f *testing.F) {
	for _, c := range packetizerCases {
		f.Add(bytes.Join(unhexAll(f, c.units), []byte("|")), uint16(0))
	}
	f.Add(testkit.Unhex(f, idr), uint16(5000))
	f.Fuzz(func(t *testing.T, b []byte, pad uint16) {
		var units, want [][]byte
		for u := range bytes.SplitSeq(b, []byte("|")) {
			if len(u) > 0 && pad > 0 {
				u = append(bytes.Clone(u), bytes.Repeat([]byte{0x80}, int(pad))...)
			}
			units = append(units, u)
			if kind := h264.Type(u); kind > 0 && kind < stapA {
				want = append(want, u)
			}
		}
		p := &Packetizer{Codec: media.H264}
		packets := p.Packetize(nil, units, 1, at(0))
		a := NewAssembler(media.H264)
		a.cur = pending{open: true}
		for i, q := range packets {
			if len(q.Payload) > MaxPayload || len(q.Payload) == 0 || q.Marker != (i == len(packets)-1) {
				t.Fatalf("packet %d of %d: %d bytes, marker %t", i, len(packets), len(q.Payload), q.Marker)
			}
		}
		if broken(want) {
			return // the Assembler splits and refuses these, as it should
		}
		for i, q := range packets {
			if !a.addH264(q.Payload) {
				t.Fatalf("packet %d of %s does not assemble", i, payloads(packets))
			}
		}
		want = slices.DeleteFunc(want, func(u []byte) bool {
			return h264.Type(u) == h264.TypeAUD || h264.Type(u) == h264.TypeFiller
		})
		if !slices.EqualFunc(a.cur.units, want, bytes.Equal) {
			t.Fatalf("got %s, want %s", fmt.Sprintf("%x", a.cur.units), fmt.Sprintf("%x", want))
		}
	})
}

// broken tells whether units break H.264: start codes, the forbidden bit, too many.
func broken(units [][]byte) bool {
	return len(units) > maxUnits || slices.ContainsFunc(units, func(u []byte) bool {
		return h264.StartCode(u) >= 0 || u[0]&0x80 != 0
	})
}
