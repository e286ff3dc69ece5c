package flv

import (
	"strings"
	"testing"
)

const metaName = "\x02\x00\x0aonMetaData"

// Fields of onMetaData as encoders write them.
const (
	fieldWidth  = "\x00\x05width\x00\x40\x94\x00\x00\x00\x00\x00\x00"
	fieldVideo  = "\x00\x0cvideocodecid\x02\x00\x04avc1"
	fieldAudio  = "\x00\x0caudiocodecid\x00\x40\x24\x00\x00\x00\x00\x00\x00"
	fieldStereo = "\x00\x06stereo\x01\x01"
	fieldTitle  = "\x00\x05title\x0c\x00\x00\x00\x02hi"
	fieldTracks = "\x00\x13videoTrackIdInfoMap\x03\x00\x010\x08\x00\x00\x00\x00\x00\x00\x09\x00\x01n\x05\x00\x00\x09"
	fieldTimes  = "\x00\x05times\x0a\x00\x00\x00\x02\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06"
	fieldsEnd   = "\x00\x00\x09"
)

var metadataCases = []struct{ name, payload, audio, video string }{
	{"array", metaName + "\x08\x00\x00\x00\x07" + fieldWidth + fieldVideo + fieldAudio + fieldStereo + fieldTitle + fieldTracks + fieldTimes + fieldsEnd,
		metaName + "\x08\x00\x00\x00\x04" + fieldAudio + fieldStereo + fieldTitle + fieldTimes + fieldsEnd,
		metaName + "\x08\x00\x00\x00\x05" + fieldWidth + fieldVideo + fieldTitle + fieldTracks + fieldTimes + fieldsEnd},
	{"object", metaName + "\x03" + fieldAudio + fieldWidth + fieldsEnd, metaName + "\x03" + fieldAudio + fieldsEnd, metaName + "\x03" + fieldWidth + fieldsEnd},
	{"what follows is left out", metaName + "\x03" + fieldsEnd + "\x05", metaName + "\x03" + fieldsEnd, metaName + "\x03" + fieldsEnd},
	{"no end", metaName + "\x03" + fieldAudio, "", ""},
	{"cut short", metaName + "\x08\x00\x00", "", ""},
	{"value cut short", metaName + "\x03" + fieldWidth[:10], "", ""},
	{"no object", metaName + "\x05", "", ""},
	{"another name", "\x02\x00\x01x\x03" + fieldsEnd, "", ""},
	{"unknown marker", metaName + "\x03\x00\x01a\x20" + fieldsEnd, "", ""},
	{"too deep", metaName + "\x03\x00\x01a" + strings.Repeat("\x0a\x00\x00\x00\x01", 20) + "\x05" + fieldsEnd, "", ""},
	{"array longer than the message", metaName + "\x03\x00\x01a\x0a\xff\xff\xff\xff\x05" + fieldsEnd, "", ""},
}

func TestOnlyMetadata(t *testing.T) {
	for _, c := range metadataCases {
		if got := string(OnlyMetadata([]byte(c.payload), Audio)); got != c.audio {
			t.Errorf("%s: audio: got %q, want %q", c.name, got, c.audio)
		}
		if got := string(OnlyMetadata([]byte(c.payload), Video)); got != c.video {
			t.Errorf("%s: video: got %q, want %q", c.name, got, c.video)
		}
	}
}

func FuzzOnlyMetadata(f *testing.F) {
	for _, c := range metadataCases {
		f.Add([]byte(c.payload))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []byte{Audio, Video} {
			one := OnlyMetadata(b, kind)
			if one == nil {
				continue
			}
			if again := OnlyMetadata(one, kind); string(again) != string(one) {
				t.Fatalf("%q: again %q, first %q", b, again, one)
			}
			if other := OnlyMetadata(one, Audio+Video-kind); other == nil || len(other) > len(one) {
				t.Fatalf("%q: the other kind of %q is %q", b, one, other)
			}
		}
	})
}
