package flv

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"braid/media"
	"braid/media/h264"
)

// sample is two seconds of H.264 (128x96, 15 fps, a key frame each second) and AAC
// (48 kHz stereo) as ffmpeg writes them.
func sample(t testing.TB) []*Tag {
	t.Helper()
	b, err := os.ReadFile("testdata/sample.flv")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, b)
}

func parse(t testing.TB, b []byte) []*Tag {
	t.Helper()
	r := bytes.NewReader(b)
	if err := ReadHeader(r); err != nil {
		t.Fatal(err)
	}
	var tags []*Tag
	for {
		tag, err := ReadTag(r)
		if err == io.EOF {
			return tags
		}
		if err != nil {
			t.Fatalf("tag %d: %v", len(tags), err)
		}
		tags = append(tags, tag)
	}
}

func TestTagBytes(t *testing.T) {
	want := []byte{
		9, 0, 0, 3, 0x34, 0x56, 0x78, 0x12, 0, 0, 0, // type, length, time with its high byte last, stream 0
		0xa, 0xb, 0xc,
		0, 0, 0, 14,
	}
	tag := &Tag{Type: Video, Timestamp: 0x12345678, Payload: []byte{0xa, 0xb, 0xc}}
	if got := AppendTag(nil, tag); !bytes.Equal(got, want) {
		t.Fatalf("got % x, want % x", got, want)
	}
	got, err := ReadTag(bytes.NewReader(want))
	if err != nil || !reflect.DeepEqual(got, tag) {
		t.Fatalf("got %+v %v, want %+v", got, err, tag)
	}
	if _, err := ReadTag(bytes.NewReader(want[:16])); err != io.ErrUnexpectedEOF {
		t.Fatalf("cut tag: got %v, want unexpected EOF", err)
	}
}

// The same file comes out again when it is read and written.
func TestFileRoundTrip(t *testing.T) {
	want, err := os.ReadFile("testdata/sample.flv")
	if err != nil {
		t.Fatal(err)
	}
	got := Header(true, true)
	for _, tag := range parse(t, want) {
		got = AppendTag(got, tag)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes, want the %d of the file", len(got), len(want))
	}
}

func TestAudioSpecificConfig(t *testing.T) {
	for _, c := range []struct {
		AudioConfig
		want []byte
	}{
		{AudioConfig{48000, 2}, []byte{0x11, 0x90}},
		{AudioConfig{44100, 2}, []byte{0x12, 0x10}},
		{AudioConfig{16000, 1}, []byte{0x14, 0x08}},
		{AudioConfig{8000, 1}, []byte{0x15, 0x88}},
		{AudioConfig{48000, 8}, []byte{0x11, 0xb8}},
		{AudioConfig{47999, 2}, []byte{0x17, 0x80, 0x5d, 0xbf, 0x90}},
	} {
		got := AudioSpecificConfig(c.SampleRate, c.Channels)
		if !bytes.Equal(got, c.want) {
			t.Errorf("%+v: got % x, want % x", c.AudioConfig, got, c.want)
		}
		back, err := ParseAudioSpecificConfig(got)
		if err != nil || back != c.AudioConfig {
			t.Errorf("% x: got %+v %v, want %+v", got, back, err, c.AudioConfig)
		}
	}
	for _, bad := range [][]byte{nil, {0x11}, {0x17, 0x80}, {0x16, 0x90 | 0xf}, {0x11, 0x80}} {
		if c, err := ParseAudioSpecificConfig(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("% x: got %+v %v, want ErrMalformed", bad, c, err)
		}
	}
}

// units demuxes all tags.
func units(t testing.TB, d *Demuxer, tags []*Tag) []*media.AccessUnit {
	t.Helper()
	var aus []*media.AccessUnit
	for i, tag := range tags {
		au, err := d.Demux(tag)
		if err != nil {
			t.Fatalf("tag %d: %v", i, err)
		}
		if au != nil {
			aus = append(aus, au)
		}
	}
	return aus
}

func TestDemuxSample(t *testing.T) {
	var d Demuxer
	aus := units(t, &d, sample(t))
	var video, keys, audio int
	for _, au := range aus {
		if au.Codec == media.AAC {
			audio++
			continue
		}
		video++
		if !au.Key {
			continue
		}
		keys++
		if sps, pps := parameterSets(au.Units); sps == nil || pps == nil {
			t.Errorf("key frame at %v has no SPS or PPS", au.PTS)
		}
	}
	if video != 30 || keys != 2 || audio < 94 || audio > 97 {
		t.Errorf("got %d pictures, %d keys, %d sounds; want 30, 2 and about 95", video, keys, audio)
	}
	if want := (AudioConfig{48000, 2}); d.Audio() != want {
		t.Errorf("audio: got %+v, want %+v", d.Audio(), want)
	}
	if last := aus[len(aus)-1].PTS; last < 1900*time.Millisecond || last > 2100*time.Millisecond {
		t.Errorf("last PTS: got %v, want about 2 s", last)
	}
}

// What the muxer makes of the sample, ffmpeg decodes without a word.
func TestMuxDecodes(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
	var d Demuxer
	aus := units(t, &d, sample(t))
	m := NewMuxer(Config{Audio: d.Audio(), Video: true, FPS: 15})
	file := Header(true, true)
	for _, au := range aus {
		tags, err := m.Append(nil, au)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags {
			file = AppendTag(file, tag)
		}
	}
	path := t.TempDir() + "/out.flv"
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ffmpeg", "-v", "warning", "-i", path, "-f", "null", "-").CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("ffmpeg: %v\n%s", err, out)
	}
	out, err = exec.Command("ffprobe", "-v", "error", "-count_frames", "-show_entries",
		"stream=codec_name,width,height,sample_rate,channels,nb_read_frames", "-of", "csv", path).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "h264,128,96,30") || !strings.Contains(string(out), "aac,48000,2,") {
		t.Errorf("ffprobe sees:\n%s", out)
	}
}

// testSPS makes an SPS that differs from others of another level.
func testSPS(t testing.TB, level byte) []byte {
	t.Helper()
	var d Demuxer
	units(t, &d, sample(t))
	sps, _ := d.ParameterSets()
	sps = bytes.Clone(sps)
	sps[3] = level
	return sps
}

func video(pts time.Duration, units ...[]byte) *media.AccessUnit {
	return &media.AccessUnit{Codec: media.H264, PTS: pts, Key: h264.IsKey(units), Units: units}
}

func audio(pts time.Duration) *media.AccessUnit {
	return &media.AccessUnit{Codec: media.AAC, PTS: pts, Key: true, Units: [][]byte{{1, 2, 3}}}
}

// story tells tags as words: "meta@0 avc@0 key@0 aac@7 audio@7".
func story(tags []*Tag) string {
	var b strings.Builder
	for _, t := range tags {
		name := "audio"
		switch {
		case t.Type == Script:
			name = "meta"
		case t.Type == Video && IsSequenceHeader(t):
			name = "avc"
		case t.Type == Audio && IsSequenceHeader(t):
			name = "aac"
		case t.Type == Video && IsVideoKey(t.Payload):
			name = "key"
		case t.Type == Video:
			name = "inter"
		}
		b.WriteString(" " + name + "@")
		b.WriteString(time.Duration(time.Duration(t.Timestamp) * time.Millisecond).String())
	}
	return strings.TrimSpace(b.String())
}

func TestMuxerOrder(t *testing.T) {
	const ms = time.Millisecond
	sps1, sps2 := testSPS(t, 30), testSPS(t, 31)
	pps := []byte{0x68, 0xce, 0x38, 0x80}
	idr, p := []byte{0x65, 1}, []byte{0x41, 2}
	for _, c := range []struct {
		name string
		cfg  Config
		in   []*media.AccessUnit
		want string
	}{
		{"waits for the key frame", Config{Audio: AudioConfig{48000, 2}, Video: true},
			[]*media.AccessUnit{audio(990 * ms), video(995*ms, p), video(1000*ms, sps1, pps, idr), audio(1007 * ms), video(1033*ms, p)},
			"meta@0s avc@0s key@0s aac@7ms audio@7ms inter@33ms"},
		{"audio starts alone", Config{Audio: AudioConfig{48000, 2}},
			[]*media.AccessUnit{audio(500 * ms), audio(521 * ms), video(530*ms, sps1, pps, idr), video(560*ms, p)},
			"meta@0s aac@0s audio@0s audio@21ms avc@30ms key@30ms inter@60ms"},
		{"a new header when the SPS changes, and only then", Config{Video: true},
			[]*media.AccessUnit{video(0, sps1, pps, idr), video(33*ms, sps1, pps, idr), video(66*ms, sps2, pps, idr), video(100*ms, p)},
			"meta@0s avc@0s key@0s key@33ms avc@66ms key@66ms inter@100ms"},
		{"a new header when the PPS changes", Config{Video: true},
			[]*media.AccessUnit{video(0, sps1, pps, idr), video(33*ms, sps1, []byte{0x68, 0xce, 0x3c, 0x80}, idr)},
			"meta@0s avc@0s key@0s avc@33ms key@33ms"},
		{"time never stands still or goes back", Config{Audio: AudioConfig{48000, 2}, Video: true},
			[]*media.AccessUnit{video(1000*ms, sps1, pps, idr), video(1000*ms, p), video(900*ms, p), video(1033*ms, p), audio(990 * ms), audio(1000 * ms), audio(800 * ms)},
			"meta@0s avc@0s key@0s inter@1ms inter@2ms inter@33ms aac@0s audio@0s audio@1ms"},
		{"rounds the total", Config{Audio: AudioConfig{48000, 2}},
			[]*media.AccessUnit{audio(0), audio(21333333), audio(42666666), audio(64000000)},
			"meta@0s aac@0s audio@0s audio@21ms audio@43ms audio@64ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := NewMuxer(c.cfg)
			var tags []*Tag
			for _, au := range c.in {
				var err error
				if tags, err = m.Append(tags, au); err != nil {
					t.Fatal(err)
				}
			}
			if got := story(tags); got != c.want {
				t.Fatalf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestMuxerRefuses(t *testing.T) {
	m := NewMuxer(Config{})
	for _, c := range []struct {
		au   *media.AccessUnit
		want error
	}{
		{&media.AccessUnit{Codec: media.Opus, Units: [][]byte{{1}}}, ErrUnsupported},
		{audio(0), ErrUnsupported},
		{video(0, []byte{0x65, 1}), ErrMalformed},
		{video(0, []byte{0x67, 1}, []byte{0x68, 1}, []byte{0x65, 1}), ErrMalformed},
	} {
		if tags, err := m.Append(nil, c.au); !errors.Is(err, c.want) || len(tags) > 0 {
			t.Errorf("%s: got %s %v, want %v", c.au.Codec, story(tags), err, c.want)
		}
	}
}

// The SPS and PPS stay in the key frame's tag, as VLC needs them.
func TestMuxerKeepsParameterSetsInBand(t *testing.T) {
	sps, pps, idr := testSPS(t, 30), []byte{0x68, 0xce, 0x38, 0x80}, []byte{0x65, 1}
	tags, err := NewMuxer(Config{Video: true}).Append(nil, video(0, sps, pps, idr))
	if err != nil || len(tags) != 3 {
		t.Fatalf("got %d tags, %v", len(tags), err)
	}
	got, err := h264.SplitAVCC(nil, tags[2].Payload[5:])
	if want := [][]byte{sps, pps, idr}; err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v %v, want %v", got, err, want)
	}
	if s := string(tags[0].Payload); !strings.Contains(s, "onMetaData") || !strings.Contains(s, "width") {
		t.Fatalf("metadata: %q", s)
	}
}

// demuxCases are payloads after a good avcC and AudioSpecificConfig.
var demuxCases = []struct {
	name string
	tag  Tag
	want string // units as hex, or the error
}{
	{"IDR gets SPS and PPS", Tag{Video, 40, []byte{0x17, 1, 0, 0, 0, 0, 0, 0, 2, 0x65, 1}}, "key@40ms sps pps 6501"},
	{"AUD is left out", Tag{Video, 40, []byte{0x27, 1, 0, 0, 0, 0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 2, 0x41, 1}}, "@40ms 4101"},
	{"AUD alone is no picture", Tag{Video, 40, []byte{0x27, 1, 0, 0, 0, 0, 0, 0, 2, 9, 0xf0}}, "none"},
	{"composition time", Tag{Video, 40, []byte{0x27, 1, 0, 0, 33, 0, 0, 0, 2, 0x41, 1}}, "@73ms 4101"},
	{"negative composition time", Tag{Video, 40, []byte{0x27, 1, 0xff, 0xff, 0xfe, 0, 0, 0, 2, 0x41, 1}}, "@38ms 4101"},
	{"length beyond the end", Tag{Video, 40, []byte{0x27, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x41}}, "malformed"},
	{"short video", Tag{Video, 40, []byte{0x17, 1}}, "malformed"},
	{"end of sequence", Tag{Video, 40, []byte{0x17, 2, 0, 0, 0}}, "none"},
	{"video packet type", Tag{Video, 40, []byte{0x17, 3, 0, 0, 0}}, "malformed"},
	{"bad avcC", Tag{Video, 40, []byte{0x17, 0, 0, 0, 0, 2}}, "malformed"},
	{"two-byte lengths", Tag{Video, 40, []byte{0x17, 0, 0, 0, 0, 1, 77, 0, 30, 0xfd, 0xe0, 0}}, "unsupported"},
	{"empty", Tag{Video, 40, nil}, "none"},
	{"Sorenson", Tag{Video, 40, []byte{0x12, 0}}, "unsupported"},
	{"Enhanced RTMP, another codec", Tag{Video, 40, []byte("\x91abcd12345")}, "unsupported"},
	{"Enhanced RTMP, another sound", Tag{Audio, 40, []byte("\x91ac-3xx")}, "unsupported"},
	{"Enhanced RTMP H.264", Tag{Video, 40, []byte("\x91avc1\x00\x00\x21\x00\x00\x00\x02\x65\x01")}, "key@73ms sps pps 6501"},
	{"Enhanced RTMP H.264, no composition time", Tag{Video, 40, []byte("\xa3avc1\x00\x00\x00\x02\x41\x01")}, "@40ms 4101"},
	{"Opus", Tag{Audio, 40, []byte("\x91Opus\x07\x08")}, "key@40ms 0708"},
	{"AV1 before its header", Tag{Video, 40, []byte("\x91av01\x0a")}, "none"},
	{"HEVC without a record", Tag{Video, 40, []byte("\x90hvc1")}, "malformed"},
	{"MP3", Tag{Audio, 40, []byte{0x2f, 1}}, "unsupported"},
	{"AAC", Tag{Audio, 40, []byte{0xaf, 1, 7, 8}}, "key@40ms 0708"},
	{"empty AAC", Tag{Audio, 40, []byte{0xaf, 1}}, "none"},
	{"short AAC", Tag{Audio, 40, []byte{0xaf}}, "malformed"},
	{"bad AudioSpecificConfig", Tag{Audio, 40, []byte{0xaf, 0, 0}}, "malformed"},
	{"script", Tag{Script, 40, []byte{2, 0, 1, 'x'}}, "none"},
}

// ready is a demuxer that has seen both sequence headers.
func ready(t testing.TB) *Demuxer {
	d := &Demuxer{}
	for _, tag := range sample(t) {
		if IsSequenceHeader(tag) {
			if au, err := d.Demux(&Tag{Type: tag.Type, Payload: tag.Payload}); au != nil || err != nil {
				t.Fatalf("sequence header: got %v %v", au, err)
			}
		}
	}
	return d
}

func TestDemux(t *testing.T) {
	for _, c := range demuxCases {
		d := ready(t)
		au, err := d.Demux(&c.tag)
		if got := describe(d, au, err); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	d := &Demuxer{}
	for _, c := range demuxCases[:2] {
		if au, err := d.Demux(&c.tag); au != nil || err != nil {
			t.Errorf("before the sequence header: got %v %v", au, err)
		}
	}
}

func describe(d *Demuxer, au *media.AccessUnit, err error) string {
	switch {
	case errors.Is(err, ErrMalformed):
		return "malformed"
	case errors.Is(err, ErrUnsupported):
		return "unsupported"
	case au == nil:
		return "none"
	}
	s := "@" + au.PTS.String()
	if au.Key {
		s = "key" + s
	}
	for _, u := range au.Units {
		switch {
		case len(d.sets) == 2 && bytes.Equal(u, d.sets[0]):
			s += " sps"
		case len(d.sets) == 2 && bytes.Equal(u, d.sets[1]):
			s += " pps"
		default:
			s += " " + hexOf(u)
		}
	}
	return s
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s []byte
	for _, x := range b {
		s = append(s, digits[x>>4], digits[x&15])
	}
	return string(s)
}

func TestDemuxTimeWraps(t *testing.T) {
	d := ready(t)
	d.started = false
	var got []time.Duration
	for _, ts := range []uint32{0xffffffff - 9, 10, 30} {
		au, err := d.Demux(&Tag{Type: Audio, Timestamp: ts, Payload: []byte{0xaf, 1, 7}})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, au.PTS)
	}
	if got[1]-got[0] != 20*time.Millisecond || got[2]-got[1] != 20*time.Millisecond {
		t.Fatalf("got %v, want steps of 20 ms", got)
	}
}

func FuzzDemux(f *testing.F) {
	for _, c := range demuxCases {
		f.Add(c.tag.Type, c.tag.Timestamp, c.tag.Payload)
	}
	for _, tag := range sample(f)[:12] {
		f.Add(tag.Type, tag.Timestamp, tag.Payload)
	}
	f.Fuzz(func(t *testing.T, typ byte, ts uint32, payload []byte) {
		d := ready(t)
		tag := &Tag{Type: typ, Timestamp: ts, Payload: payload}
		IsVideoKey(payload)
		IsSequenceHeader(tag)
		for range 2 {
			au, err := d.Demux(tag)
			if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("untyped error %v", err)
			}
			if au == nil {
				continue
			}
			if len(au.Units) == 0 || au.Size() == 0 || !au.Codec.Video() && !au.Key || au.Codec == media.H264 && au.Key != h264.IsKey(au.Units) {
				t.Fatalf("got %+v", au)
			}
			_, _ = NewMuxer(Config{Audio: AudioConfig{48000, 2}}).Append(nil, au)
		}
	})
}

func FuzzReadTag(f *testing.F) {
	b, err := os.ReadFile("testdata/sample.flv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:800])
	f.Add([]byte{9, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 14})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		if ReadHeader(r) != nil {
			r.Reset(b)
		}
		for {
			tag, err := ReadTag(r)
			if err != nil {
				return
			}
			if back, err := ReadTag(bytes.NewReader(AppendTag(nil, tag))); err != nil || !reflect.DeepEqual(tag, back) {
				t.Fatalf("got %+v %v, want %+v", back, err, tag)
			}
		}
	})
}

func BenchmarkMuxer(b *testing.B) {
	var d Demuxer
	aus := units(b, &d, sample(b))
	b.ReportAllocs()
	var tags []*Tag
	for b.Loop() {
		m := NewMuxer(Config{Audio: d.Audio(), Video: true})
		for _, au := range aus {
			tags, _ = m.Append(tags[:0], au)
		}
	}
}
