package flv

import (
	"bytes"
	"fmt"
	"testing"
)

// packetCases are payloads, how they are read, and what Plain makes of them ("=":
// the same, "": nothing).
var packetCases = []struct {
	name    string
	typ     byte
	payload string
	want    string
	plain   string
}{
	{"H.264", Video, "\x17\x01\x00\x00\x05ab", "frame H264  key +5 ab", "="},
	{"H.264 header", Video, "\x17\x00\x00\x00\x00ab", "config H264  key +0 ab", "="},
	{"HEVC under number 12", Video, "\x2c\x01\xff\xff\xffab", "frame H265  -1 ab", "="},
	{"Sorenson", Video, "\x12ab", "frame   key +0 ab", "="},
	{"AAC", Audio, "\xaf\x01ab", "frame AAC  key +0 ab", "="},
	{"script", Script, "\x02", "other    +0 ", "="},
	{"empty", Video, "", "other    +0 ", "="},
	{"HEVC header", Video, "\x90hvc1ab", "config H265 hvc1 key +0 ab", "="},
	{"HEVC frame", Video, "\xa1hvc1\x00\x00\x07ab", "frame H265 hvc1 +7 ab", "="},
	{"HEVC frame, no composition time", Video, "\x93hvc1ab", "frame H265 hvc1 key +0 ab", "="},
	{"HEVC frame cut short", Video, "\x91hvc1ab", "error", "="},
	{"AV1 frame has no composition time", Video, "\x91av01ab", "frame AV1 av01 key +0 ab", "="},
	{"VP9 end", Video, "\x92vp09", "end VP9 vp09 key +0 ", "="},
	{"colours", Video, "\x94hvc1ab", "color H265 hvc1 +0 ab", "="},
	{"seeking", Video, "\xd1\x00", "other    +0 ", "="},
	{"FourCC cut short", Video, "\x91hvc", "error", "="},
	{"another FourCC", Video, "\x91abcdxy", "frame  abcd key +0 xy", "="},
	{"Opus header", Audio, "\x90OpusOpusHead", "config opus Opus key +0 OpusHead", "="},
	{"AAC by FourCC", Audio, "\x91mp4aab", "frame AAC mp4a key +0 ab", "="},
	{"sound of several channels", Audio, "\x94Opus\x00", "other opus Opus key +0 \x00", "="},
	{"modifier", Video, "\xa7\x02\x00\x00\x09\x03hvc1ab", "frame H265 hvc1 +0 ab", "\xa3hvc1ab"},
	{"two modifiers", Video, "\xa7\x00\x09\x07\x00\x08\x03hvc1ab", "frame H265 hvc1 +0 ab", "\xa3hvc1ab"},
	{"modifier of 300 bytes", Audio, "\x97\xff\x01\x2b" + string(make([]byte, 300)) + "\x01Opusab", "frame opus Opus key +0 ab", "\x91Opusab"},
	{"modifier cut short", Video, "\xa7\x02\x00\x00\x09", "error", ""},
	{"modifier and nothing", Video, "\xa7", "error", ""},
	{"one track, the first", Video, "\x96\x01av01\x00ab", "frame AV1 av01 key +0 ab", "\x91av01ab"},
	{"one track, the second", Video, "\x96\x01av01\x01ab", "other    +0 ", ""},
	{"two tracks", Video, "\x96\x10av01\x01\x00\x00\x01x\x00\x00\x00\x02ab", "config AV1 av01 key +0 ab", "\x90av01ab"},
	{"two tracks of two codecs", Video, "\xa6\x23av01\x01\x00\x00\x01xhvc1\x00\x00\x00\x02ab", "frame H265 hvc1 +0 ab", "\xa3hvc1ab"},
	{"two tracks of sound", Audio, "\x95\x11Opus\x00\x00\x00\x02ab\x01\x00\x00\x01x", "frame opus Opus key +0 ab", "\x91Opusab"},
	{"a track cut short", Video, "\x96\x11av01\x00\x00\x00\x03ab", "error", ""},
	{"tracks within tracks", Video, "\x96\x16av01\x00\x00\x00\x02ab", "error", ""},
	{"unknown kind of tracks", Video, "\x96\x31av01\x00\x00\x00\x02ab", "error", ""},
}

func TestPacket(t *testing.T) {
	roles := []string{"other", "config", "frame", "end", "color"}
	for _, c := range packetCases {
		tag := &Tag{Type: c.typ, Timestamp: 7, Payload: []byte(c.payload)}
		got := "error"
		if k, err := ParsePacket(tag); err == nil {
			key := ""
			if k.Key {
				key = " key"
			}
			got = fmt.Sprintf("%s %s %s%s %+d %s", roles[k.Role], k.Codec, k.FourCC, key, k.Composition, k.Body)
			if k.Role == RoleOther && k.FourCC == "" {
				got = fmt.Sprintf("other    %+d ", k.Composition)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		plain := Plain(tag)
		switch {
		case c.plain == "=" && plain != tag, c.plain == "" && plain != nil:
			t.Errorf("%s: Plain gives %+v", c.name, plain)
		case len(c.plain) > 1 && (plain == nil || string(plain.Payload) != c.plain || plain.Type != c.typ || plain.Timestamp != 7):
			t.Errorf("%s: Plain gives %+v, want %q", c.name, plain, c.plain)
		}
	}
}

// What Plain gives is read as before and is plain.
func FuzzPacket(f *testing.F) {
	for _, c := range packetCases {
		f.Add(c.typ == Audio, []byte(c.payload))
	}
	f.Fuzz(func(t *testing.T, audio bool, payload []byte) {
		tag := &Tag{Type: Video, Payload: payload}
		if audio {
			tag.Type = Audio
		}
		k, err := ParsePacket(tag)
		ConfigSize(k.Codec, k.Body)
		KeySize(k.Codec, k.Body)
		plain := Plain(tag)
		if plain == nil || plain == tag {
			return
		}
		again, errAgain := ParsePacket(plain)
		if (err == nil) != (errAgain == nil) || k.Role != again.Role || k.FourCC != again.FourCC || !bytes.Equal(k.Body, again.Body) {
			t.Fatalf("% x: got %+v %v, plain %+v %v", payload, k, err, again, errAgain)
		}
		if Plain(plain) != plain {
			t.Fatalf("% x: Plain of % x is another", payload, plain.Payload)
		}
	})
}
