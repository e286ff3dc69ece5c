package mpegts

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"braid/media"
	"braid/media/h264"
	"braid/media/h265"
)

// stereo48k is AAC-LC, 48 kHz, stereo.
var stereo48k = []byte{0x11, 0x90}

// tsPacket is what the tests look at in one packet (ISO/IEC 13818-1 clause 2.4.3).
type tsPacket struct {
	pid     int
	start   bool // payload_unit_start_indicator
	cc      byte
	payload []byte
	random  bool
	pcr     int64 // 90 kHz; -1 without
}

func packets(t *testing.T, b []byte) []tsPacket {
	t.Helper()
	if len(b)%188 != 0 {
		t.Fatalf("%d bytes are not whole packets", len(b))
	}
	var all []tsPacket
	for ; len(b) > 0; b = b[188:] {
		p := b[:188]
		if p[0] != 0x47 {
			t.Fatalf("packet %d: sync byte %#x", len(all), p[0])
		}
		k := tsPacket{pid: int(p[1]&31)<<8 | int(p[2]), start: p[1]&0x40 != 0, cc: p[3] & 15, pcr: -1}
		rest := p[4:]
		if p[3]&0x20 != 0 { // adaptation field
			n := int(rest[0])
			if n > 0 {
				k.random = rest[1]&0x40 != 0
				if rest[1]&0x10 != 0 {
					k.pcr = int64(binary.BigEndian.Uint32(rest[2:]))<<1 | int64(rest[6]>>7)
				}
			}
			rest = rest[1+n:]
		}
		if p[3]&0x10 != 0 {
			k.payload = rest
		}
		all = append(all, k)
	}
	return all
}

// pes joins the payloads of a stream's PES packets.
func pes(all []tsPacket, pid int) (units [][]byte) {
	for _, p := range all {
		if p.pid != pid {
			continue
		}
		if p.start {
			units = append(units, nil)
		}
		units[len(units)-1] = append(units[len(units)-1], p.payload...)
	}
	return units
}

// pts reads a PES header's time stamp at b (clause 2.4.3.7).
func pts(b []byte) int64 {
	return int64(b[0]>>1&7)<<30 | int64(b[1])<<22 | int64(b[2]>>1)<<15 | int64(b[3])<<7 | int64(b[4]>>1)
}

func checkCounters(t *testing.T, all []tsPacket) {
	t.Helper()
	last := map[int]byte{}
	for i, p := range all {
		if p.payload == nil {
			continue
		}
		if cc, ok := last[p.pid]; ok && p.cc != (cc+1)&15 {
			t.Fatalf("packet %d of PID %#x: continuity counter %d after %d", i, p.pid, p.cc, cc)
		}
		last[p.pid] = p.cc
	}
}

func TestPictures(t *testing.T) {
	var out bytes.Buffer
	m, err := NewMuxer(&out, media.H264, stereo48k)
	if err != nil {
		t.Fatal(err)
	}
	sps, pps, sei := []byte{0x67, 1, 2}, []byte{0x68, 3}, []byte{6, 5, 1, 9, 0x80}
	aud := []byte{9, 0x10}
	begin := 5 * time.Second
	for i := range 90 {
		at := begin + time.Duration(i)*time.Second/30
		au := &media.AccessUnit{Codec: media.H264, PTS: at, Units: [][]byte{sei, bytes.Repeat([]byte{0x41, 7}, 100+i)}}
		if i%30 == 0 {
			au.Key, au.Units = true, [][]byte{aud, sps, pps, sei, bytes.Repeat([]byte{0x65, 9}, 4000)}
		}
		if err := m.Write(au); err != nil {
			t.Fatal(err)
		}
		if err := m.Write(&media.AccessUnit{Codec: media.AAC, PTS: at, Key: true, Units: [][]byte{make([]byte, 300)}}); err != nil {
			t.Fatal(err)
		}
	}
	all := packets(t, out.Bytes())
	checkCounters(t, all)

	if all[0].pid != 0 || all[1].pid != 0x1000 || !all[2].random || all[2].pid != videoPID {
		t.Fatalf("begins with PIDs %#x %#x %#x, want PAT, PMT and the key frame", all[0].pid, all[1].pid, all[2].pid)
	}
	var random, tables int
	lastPCR := int64(-1)
	for i, p := range all {
		if p.random {
			random++
			if all[i-1].pid != 0x1000 {
				t.Errorf("packet %d: key frame without PAT and PMT ahead", i)
			}
		}
		if p.pid == 0 {
			tables++
		}
		if p.pcr >= 0 {
			if p.pid != videoPID || lastPCR >= 0 && p.pcr-lastPCR != 3000 {
				t.Errorf("packet %d: PID %#x PCR %d after %d, want steps of 3000", i, p.pid, p.pcr, lastPCR)
			}
			lastPCR = p.pcr
		}
	}
	if random != 3 || tables < 3 || tables > 10 || lastPCR < 0 {
		t.Errorf("got %d random access points, %d tables, last PCR %d", random, tables, lastPCR)
	}

	video := pes(all, videoPID)
	if len(video) != 90 {
		t.Fatalf("got %d pictures, want 90", len(video))
	}
	want := append([]byte{0, 0, 0, 1, 9, 0xf0}, h264.AppendAnnexB(nil, [][]byte{sps, pps, sei, bytes.Repeat([]byte{0x65, 9}, 4000)})...)
	if got := video[0]; got[7]>>6 != 2 || got[8] != 5 || pts(got[9:]) != (5000+100)*90 || !bytes.Equal(got[14:], want) {
		t.Errorf("key frame: header % x, pts %d, data % x...", got[:14], pts(got[9:]), got[14:50])
	}
	sound := pes(all, audioPID)
	if len(sound) != 90 {
		t.Fatalf("got %d audio frames, want 90", len(sound))
	}
	// 300+7 bytes, LC, index 3, two channels
	if got, want := sound[0][14:21], []byte{0xff, 0xf1, 0x4c, 0x80, 0x26, 0x7f, 0xfc}; !bytes.Equal(got, want) {
		t.Errorf("ADTS: got % x, want % x", got, want)
	}
}

func TestReorderedPictureCarriesDTS(t *testing.T) {
	var out bytes.Buffer
	m, _ := NewMuxer(&out, media.H264, nil)
	au := &media.AccessUnit{Codec: media.H264, PTS: 80 * time.Millisecond, Units: [][]byte{{0x41, 1}}}
	if err := m.WriteAt(au, 40*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	got := pes(packets(t, out.Bytes()), videoPID)[0]
	if got[7]>>6 != 3 || pts(got[9:]) != 180*90 || pts(got[14:]) != 140*90 {
		t.Errorf("got flags %d, PTS %d, DTS %d, want 3, %d, %d", got[7]>>6, pts(got[9:]), pts(got[14:]), 180*90, 140*90)
	}
}

func TestSoundAloneCarriesTheClock(t *testing.T) {
	var out bytes.Buffer
	m, err := NewMuxer(&out, "", stereo48k)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		au := &media.AccessUnit{Codec: media.AAC, PTS: time.Duration(i) * 21333 * time.Microsecond, Key: true, Units: [][]byte{make([]byte, 200)}}
		if err := m.Write(au); err != nil {
			t.Fatal(err)
		}
	}
	all := packets(t, out.Bytes())
	checkCounters(t, all)
	var clocks, tables int
	for _, p := range all {
		if p.pcr >= 0 && p.pid == audioPID {
			clocks++
		}
		if p.pid == 0 {
			tables++
		}
	}
	if clocks != 100 || tables < 2 || tables > 4 {
		t.Errorf("got %d clock references and %d tables for 100 frames", clocks, tables)
	}
}

func TestTimeWraps(t *testing.T) {
	var out bytes.Buffer
	m, _ := NewMuxer(&out, media.H264, nil)
	wrap := time.Duration(1<<33) * time.Second / 90000
	if err := m.Write(&media.AccessUnit{Codec: media.H264, PTS: wrap - 50*time.Millisecond, Units: [][]byte{{0x41, 1}}}); err != nil {
		t.Fatal(err)
	}
	got := pes(packets(t, out.Bytes()), videoPID)[0]
	if p := pts(got[9:]); p < 4490 || p > 4500 {
		t.Errorf("50 ms before the wrap and 100 ms later: got PTS %d, want about 4500", p)
	}
}

func TestRefusals(t *testing.T) {
	if _, err := NewMuxer(new(bytes.Buffer), media.AV1, stereo48k); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("AV1: got %v, want ErrInvalid", err)
	}
	for name, config := range map[string][]byte{
		"empty":          {},
		"short":          {0x11},
		"null object":    {0x01, 0x90},
		"explicit rate":  {0x17, 0x90, 0, 0, 0},
		"no channels":    {0x11, 0x80},
		"reserved rate":  {0x16, 0x90},
		"xHE-AAC":        {0xf9, 0x90},
		"cut extension":  {0x29, 0x90},
		"16 channels":    {0x11, 0xf8},
		"odd extension":  {0x29, 0x97, 0x80},
		"scalable (AOT)": {0x31, 0x90},
	} {
		if _, err := NewMuxer(new(bytes.Buffer), media.H264, config); !errors.Is(err, media.ErrInvalid) {
			t.Errorf("%s: % x: got %v, want ErrInvalid", name, config, err)
		}
	}
	if _, err := NewMuxer(new(bytes.Buffer), "", nil); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("nothing to carry: got %v", err)
	}
	m, _ := NewMuxer(new(bytes.Buffer), media.H264, nil)
	if err := m.Write(&media.AccessUnit{Codec: media.AAC, Units: [][]byte{{1}}}); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("sound into a program without: got %v", err)
	}
	m, _ = NewMuxer(new(bytes.Buffer), "", stereo48k)
	if err := m.Write(&media.AccessUnit{Codec: media.AAC, Units: [][]byte{make([]byte, 8185)}}); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("frame over 13 bits: got %v", err)
	}
	// HE-AAC: the core's object type and rate.
	if a, err := parseAudioConfig([]byte{0x2b, 0x11, 0x88, 0}); err != nil || a != (adts{profile: 1, rate: 6, channels: 2}) {
		t.Errorf("HE-AAC: got %+v, %v", a, err)
	}
}

func FuzzParseAudioConfig(f *testing.F) {
	f.Add(stereo48k)
	f.Add([]byte{0x2b, 0x11, 0x88, 0})
	f.Add([]byte{0x17, 0x90, 0, 0, 0})
	f.Add([]byte{0x29, 0x90})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAudioConfig(b)
		if err != nil {
			return
		}
		frame, err := a.appendFrame(nil, []byte{1, 2, 3})
		if err != nil || len(frame) != 10 || frame[0] != 0xff || frame[1] != 0xf1 {
			t.Fatalf("% x: header % x, %v", b, frame, err)
		}
		if a.profile > 3 || a.rate > 12 || a.channels > 7 {
			t.Fatalf("% x: %+v does not fit an ADTS header", b, a)
		}
	})
}

// TestFFprobeReads muxes real encoders' output and lets ffprobe decode it.
func TestFFprobeReads(t *testing.T) {
	for _, tool := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	for _, c := range []struct {
		codec media.Codec
		name  string // as ffprobe says it
		args  []string
	}{
		{media.H264, "h264", []string{"-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-x264-params", "aud=1", "-f", "h264"}},
		{media.H265, "hevc", []string{"-c:v", "libx265", "-preset", "ultrafast", "-bf", "0", "-x265-params", "aud=1:log-level=none", "-f", "hevc"}},
	} {
		t.Run(c.name, func(t *testing.T) { ffprobeReads(t, c.codec, c.name, c.args) })
	}
}

func ffprobeReads(t *testing.T, codec media.Codec, name string, encoder []string) {
	dir := t.TempDir()
	v, a := filepath.Join(dir, "v"), filepath.Join(dir, "a.aac")
	args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", "sine=r=48000",
		"-t", "4", "-map", "1:a", "-ac", "2", "-c:a", "aac", "-f", "adts", a,
		"-t", "4", "-map", "0:v", "-g", "50"}
	run(t, "ffmpeg", append(append(args, encoder...), v)...)

	var out bytes.Buffer
	m, err := NewMuxer(&out, codec, stereo48k)
	if err != nil {
		t.Fatal(err)
	}
	pictures, sound := readPictures(t, codec, v), readADTS(t, a)
	for len(pictures) > 0 || len(sound) > 0 { // in order of time
		from := &pictures
		if len(pictures) == 0 || len(sound) > 0 && sound[0].PTS < pictures[0].PTS {
			from = &sound
		}
		if err := m.Write((*from)[0]); err != nil {
			t.Fatal(err)
		}
		*from = (*from)[1:]
	}
	checkCounters(t, packets(t, out.Bytes()))
	ts := filepath.Join(dir, "out.ts")
	if err := os.WriteFile(ts, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var probe struct {
		Streams []struct {
			Codec  string `json:"codec_name"`
			Frames string `json:"nb_read_frames"`
		}
	}
	if err := json.Unmarshal(run(t, "ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", ts), &probe); err != nil {
		t.Fatal(err)
	}
	if len(probe.Streams) != 2 || probe.Streams[0].Codec != name || probe.Streams[0].Frames != "100" || probe.Streams[1].Codec != "aac" {
		t.Errorf("got %+v, want 100 frames of %s and aac", probe.Streams, name)
	}
}

// run fails on anything the tool complains about.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v\n%s", name, err, stderr.Bytes())
	}
	return out
}

// readPictures splits a byte stream with delimiters, 25 pictures a second.
func readPictures(t *testing.T, codec media.Codec, path string) (aus []*media.AccessUnit) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range h264.SplitAnnexB(nil, b) {
		if delimiter(codec, u) {
			aus = append(aus, &media.AccessUnit{Codec: codec, PTS: time.Duration(len(aus)) * 40 * time.Millisecond})
			continue
		}
		au := aus[len(aus)-1]
		au.Units = append(au.Units, u)
		au.Key = au.Key || codec == media.H265 && h265.IsIRAP(u) || codec == media.H264 && h264.IsKey([][]byte{u})
	}
	return aus
}

func readADTS(t *testing.T, path string) (aus []*media.AccessUnit) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 7 {
		n := int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5]>>5)
		pts := time.Duration(len(aus)) * 1024 * time.Second / 48000
		aus = append(aus, &media.AccessUnit{Codec: media.AAC, PTS: pts, Key: true, Units: [][]byte{b[7:n]}})
		b = b[n:]
	}
	return aus
}
