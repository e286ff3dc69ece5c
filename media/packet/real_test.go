package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp/codecs"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/h264"
)

// ffmpeg runs it on input and gives its standard output; anything it complains
// about fails the test.
func ffmpeg(t *testing.T, input []byte, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	cmd := exec.Command("ffmpeg", append([]string{"-v", "error"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("ffmpeg %v: %v: %s", args, err, stderr.Bytes())
	}
	return out
}

// pictures makes two seconds of H.264 as access units: a key frame each 20.
func pictures(t *testing.T, params string) [][][]byte {
	t.Helper()
	stream := ffmpeg(t, nil, "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30", "-frames:v", "60",
		"-c:v", "libx264", "-profile:v", "baseline", "-threads", "1", "-b:v", "1M",
		"-x264-params", "keyint=20:min-keyint=20:scenecut=0:repeat-headers=1:"+params, "-f", "h264", "-")
	var all [][][]byte
	var au [][]byte
	slice := false
	for _, u := range h264.SplitAnnexB(nil, stream) {
		begins := !h264.IsSlice(u) || startsPicture(u)
		if slice && begins {
			all, au, slice = append(all, au), nil, false
		}
		slice = slice || h264.IsSlice(u)
		au = append(au, u)
	}
	if all = append(all, au); len(all) != 60 {
		t.Fatalf("x264 made %d pictures, want 60", len(all))
	}
	return all
}

// packetize makes RTP packets with Pion, an implementation that is not ours.
func packetize(payload func(mtu uint16, frame []byte) [][]byte, frames [][]byte) []*media.Packet {
	var all []*media.Packet
	seq := uint16(65500)
	for i, f := range frames {
		payloads := payload(1200, f)
		for j, b := range payloads {
			all = append(all, &media.Packet{
				Seq: seq, Timestamp: 4294960000 + uint32(i)*3000, Payload: b,
				Marker: j == len(payloads)-1, Arrival: at(i * 33),
			})
			seq++
		}
	}
	return all
}

func TestAssemblerRealH264(t *testing.T) {
	for _, params := range []string{"slices=1", "slices=4:aud=1", "slice-max-size=500"} {
		t.Run(params, func(t *testing.T) {
			want := pictures(t, params)
			var stream [][]byte
			for _, au := range want {
				stream = append(stream, h264.AppendAnnexB(nil, au))
			}
			packets := packetize((&codecs.H264Payloader{}).Payload, stream)
			for _, marked := range []bool{true, false} {
				frames := assemble(media.H264, packets, marked)
				if !marked {
					want = want[:len(want)-1] // nothing ends the last one
				}
				if len(frames) != len(want) {
					t.Fatalf("marker %t: got %d frames, want %d", marked, len(frames), len(want))
				}
				for i, f := range frames {
					au := slices.DeleteFunc(slices.Clone(want[i]), func(u []byte) bool { return h264.Type(u) == h264.TypeAUD })
					if !slices.EqualFunc(f.Units, au, bytes.Equal) {
						t.Fatalf("marker %t, frame %d: units differ: got %d, want %d", marked, i, len(f.Units), len(au))
					}
					if f.Key != (i%20 == 0) || f.Lost || f.Timestamp != uint32(4294960000+i*3000) {
						t.Fatalf("marker %t, frame %d: got key %t, lost %t, timestamp %d", marked, i, f.Key, f.Lost, f.Timestamp)
					}
				}
			}
		})
	}
}

func assemble(codec media.Codec, packets []*media.Packet, marked bool) []Frame {
	a := NewAssembler(codec)
	var frames []Frame
	for _, p := range packets {
		if q := *p; !marked {
			q.Marker = false
			p = &q
		}
		frames = append(frames, a.Push(p, false)...)
	}
	return frames
}

func TestAssemblerRealVP8(t *testing.T) {
	ivf := ffmpeg(t, nil, "-f", "lavfi", "-i", "testsrc2=size=322x182:rate=30", "-frames:v", "60",
		"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", "-g", "20", "-b:v", "1M", "-f", "ivf", "-")
	var want [][]byte
	for b := ivf[32:]; len(b) >= 12; {
		n := int(binary.LittleEndian.Uint32(b))
		want = append(want, b[12:12+n])
		b = b[12+n:]
	}
	if len(want) != 60 {
		t.Fatalf("libvpx made %d frames, want 60", len(want))
	}
	for _, id := range []bool{false, true} {
		frames := assemble(media.VP8, packetize((&codecs.VP8Payloader{EnablePictureID: id}).Payload, want), true)
		if len(frames) != len(want) {
			t.Fatalf("got %d frames, want %d", len(frames), len(want))
		}
		for i, f := range frames {
			w, h, ok := VP8Size(f.Units[0])
			if !bytes.Equal(f.Units[0], want[i]) || f.Key != (i%20 == 0) || ok != f.Key {
				t.Fatalf("frame %d: got %d bytes, key %t, want %d bytes", i, len(f.Units[0]), f.Key, len(want[i]))
			}
			if ok && (w != 322 || h != 182) {
				t.Fatalf("frame %d: got %dx%d, want 322x182", i, w, h)
			}
		}
	}
}

// TestLossAndJitterDecodes loses, repeats and exchanges packets at random and
// wants a decoder to find nothing wrong with what comes out.
func TestLossAndJitterDecodes(t *testing.T) {
	aus := pictures(t, "slices=3")
	var stream [][]byte
	for _, au := range aus {
		stream = append(stream, h264.AppendAnnexB(nil, au))
	}
	packets := packetize((&codecs.H264Payloader{}).Payload, stream)
	for seed := range uint64(8) {
		frames, lost := impair(packets, rand.New(rand.NewPCG(seed, 7)))
		if lost == 0 || len(frames) == 0 || len(frames) == len(aus) {
			t.Fatalf("seed %d: %d packets lost, %d frames out: nothing was tried", seed, lost, len(frames))
		}
		var out []byte
		for i, f := range frames {
			want := aus[(f.Timestamp-4294960000)/3000]
			if !slices.EqualFunc(f.Units, want, bytes.Equal) {
				t.Fatalf("seed %d, frame %d: units differ", seed, i)
			}
			if i > 0 && !f.Key && f.Timestamp != frames[i-1].Timestamp+3000 {
				t.Fatalf("seed %d, frame %d follows a hole and is no key frame", seed, i)
			}
			out = h264.AppendAnnexB(out, f.Units)
		}
		raw := ffmpeg(t, out, "-f", "h264", "-i", "-", "-f", "rawvideo", "-pix_fmt", "gray", "-fps_mode", "passthrough", "-")
		if got := len(raw) / (640 * 360); got != len(frames) {
			t.Fatalf("seed %d: decoded %d pictures of %d frames", seed, got, len(frames))
		}
	}
}

// impair sends the packets through a bad network, a Buffer and an Assembler.
func impair(packets []*media.Packet, rnd *rand.Rand) (frames []Frame, lost int) {
	b := NewBuffer(80*time.Millisecond, 200)
	a := NewAssembler(media.H264)
	var sent []*media.Packet
	for i, p := range packets {
		if rnd.IntN(60) == 0 && i > 0 {
			lost++
			continue
		}
		for range 1 + rnd.IntN(20)/19 {
			q := *p
			q.Arrival = q.Arrival.Add(time.Duration(rnd.IntN(60)) * time.Millisecond)
			if i == 0 {
				q.Arrival = p.Arrival
			}
			sent = append(sent, &q)
		}
	}
	slices.SortStableFunc(sent, func(p, q *media.Packet) int { return p.Arrival.Compare(q.Arrival) })
	pop := func(now time.Time) {
		for p, gap := b.Pop(now); p != nil; p, gap = b.Pop(now) {
			frames = append(frames, a.Push(p, gap)...)
		}
	}
	for _, p := range sent {
		if due, ok := b.Deadline(); ok && due.Before(p.Arrival) {
			pop(due)
		}
		b.Push(p)
		pop(p.Arrival)
	}
	if due, ok := b.Deadline(); ok {
		pop(due)
	}
	return frames, lost
}

// fuzzPackets reads packets from fuzz input: how, timestamp step, length, payload.
func fuzzPackets(in []byte, each func(p *media.Packet, gap bool)) {
	ts := uint32(0)
	for len(in) >= 3 {
		how, step, n := in[0], in[1], min(int(in[2]), len(in)-3)
		ts += uint32(step & 3)
		each(&media.Packet{Timestamp: ts, Marker: how&1 != 0, Payload: in[3 : 3+n : 3+n], Level: -1, Arrival: epoch}, how&6 == 6)
		in = in[3+n:]
	}
}

// fuzzInput is the other way, for seeds.
func fuzzInput(t testing.TB, steps []step) []byte {
	var out []byte
	last := uint32(0)
	for _, s := range steps {
		how := byte(0)
		for _, c := range s.how {
			how |= map[rune]byte{'m': 1, 'g': 6}[c]
		}
		payload := testkit.Unhex(t, s.payload)
		out = append(out, how, byte(s.timestamp-last), byte(len(payload)))
		out = append(out, payload...)
		last = s.timestamp
	}
	return out
}

func FuzzAssemblerH264(f *testing.F) {
	for _, c := range h264Cases {
		f.Add(fuzzInput(f, c.steps))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		a := NewAssembler(media.H264)
		hole := false // a gap since the last frame
		begun := false
		pushed, gave := 0, 0
		fuzzPackets(in, func(p *media.Packet, gap bool) {
			hole = hole || gap
			pushed += len(p.Payload)
			for _, f := range a.Push(p, gap) {
				if !begun && !f.Key {
					t.Fatalf("the first frame is no key frame: %s", show([]Frame{f}))
				}
				if f.Lost && !f.Key {
					t.Fatalf("a frame after a loss is no key frame: %s", show([]Frame{f}))
				}
				begun = true
				checkH264(t, f)
				gave += len(f.Units)
			}
			if gap && !a.NeedKey() && len(a.out) == 0 {
				t.Fatal("NeedKey is false after a gap")
			}
		})
		if gave > (1+maxSets*2)*(pushed+1) {
			t.Fatalf("%d units of %d bytes", gave, pushed)
		}
	})
}

func checkH264(t *testing.T, f Frame) {
	t.Helper()
	if !slices.ContainsFunc(f.Units, h264.IsSlice) || f.Key != h264.IsKey(f.Units) {
		t.Fatalf("no picture, or wrong key: %s", show([]Frame{f}))
	}
	if f.Key && (!hasType(f.Units, h264.TypeSPS) || !hasType(f.Units, h264.TypePPS)) {
		t.Fatalf("key frame without parameter sets: %s", show([]Frame{f}))
	}
	for _, u := range f.Units {
		switch n := h264.Type(u); {
		case n == 0, n >= 24, n == h264.TypeAUD, n == h264.TypeFiller, h264.StartCode(u) >= 0, u[0]&0x80 != 0:
			t.Fatalf("unit %x", u)
		}
	}
}

func FuzzAssemblerVP8(f *testing.F) {
	for _, c := range vp8Cases {
		f.Add(fuzzInput(f, c.steps))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		a := NewAssembler(media.VP8)
		held := true
		fuzzPackets(in, func(p *media.Packet, gap bool) {
			held = held || gap
			for _, f := range a.Push(p, gap) {
				if len(f.Units) != 1 || f.Key != (f.Units[0][0]&1 == 0) {
					t.Fatalf("got %s", show([]Frame{f}))
				}
				if _, _, ok := VP8Size(f.Units[0]); ok != f.Key {
					t.Fatalf("key %t, size %t: %s", f.Key, ok, show([]Frame{f}))
				}
				if held && !f.Key && f.Timestamp == p.Timestamp {
					t.Fatalf("held back, but got %s", show([]Frame{f}))
				}
				held = held && !f.Key
			}
		})
	})
}

func FuzzAssemblerOpus(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0xfc, 1, 6, 1, 1, 0xfc, 6, 1, 0, 0, 1, 1, 0xfc})
	f.Fuzz(func(t *testing.T, in []byte) {
		a := NewAssembler(media.Opus)
		lost := false
		fuzzPackets(in, func(p *media.Packet, gap bool) {
			lost = lost || gap
			got := a.Push(p, gap)
			if len(p.Payload) == 0 && len(got) == 0 {
				return
			}
			if len(got) != 1 || !bytes.Equal(got[0].Units[0], p.Payload) || got[0].Lost != lost || !got[0].Key || a.NeedKey() {
				t.Fatalf("got %s of %x, lost %t", show(got), p.Payload, lost)
			}
			lost = false
		})
	})
}

func BenchmarkAssemblerH264(b *testing.B) {
	a := NewAssembler(media.H264)
	set := testkit.Unhex(b, stap(sps, pps))
	start := append(testkit.Unhex(b, "7c8588"), bytes.Repeat([]byte{0xaa}, 1197)...)
	middle := append(testkit.Unhex(b, "7c05"), bytes.Repeat([]byte{0xaa}, 1198)...)
	end := append(testkit.Unhex(b, "7c45"), bytes.Repeat([]byte{0xaa}, 1198)...)
	b.ReportAllocs()
	n := 0
	for ts := uint32(0); b.Loop(); ts += 3000 {
		for _, p := range [][]byte{set, start, middle, middle, middle, end} {
			q := media.Packet{Timestamp: ts, Payload: p, Marker: p[1] == 0x45}
			n += len(a.Push(&q, false))
		}
	}
	if n == 0 {
		b.Fatal("no frames")
	}
}
