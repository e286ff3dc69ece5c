package wire

import (
	"bytes"
	"io"
	"reflect"
	"testing"
	"time"

	"braid/media"
)

// messages is one of each; the round trip test and the fuzz seeds share it.
func messages() []any {
	return []any{
		&Hello{Version: Version, Elapsed: 3 * time.Second, MaxWidth: 1920, MaxHeight: 1088},
		&OpenInput{Input: 1, Group: 7, Codec: media.VP8},
		&OpenInput{Input: 2, Codec: media.H264, Feed: true},
		&OpenInput{Input: 3, Codec: media.AAC, Config: []byte{0x11, 0x90}},
		&CloseInput{Input: 1},
		&OpenMix{Output: 2, Encode: Encode{Width: 1280, Height: 720, FPS: 30, VideoKbps: 2000, GOP: 60, SampleRate: 48000, Channels: 2, AudioKbps: 128}},
		&OpenTranscode{Output: 3, Input: 1, Encode: Encode{SampleRate: 48000}},
		&OpenTranscode{Output: 4, Input: 3, Encode: Encode{Sound: media.Opus, SampleRate: 48000, Channels: 2}},
		&CloseOutput{Output: 3},
		&KeyFrame{Output: 2},
		&Layout{Output: 2, Revision: 9, Panes: []Pane{{X: 2, W: 640, H: 360, Fit: FitCrop, Input: 1}}, Audio: []uint32{1}},
		&Image{Image: 4, Data: []byte("\x89PNG")},
		&Media{Input: 1, PTS: -21 * time.Millisecond, Key: true, Lost: true, Units: [][]byte{{0x67, 1}, {0x65, 2, 3}}},
		&Ready{Version: Version},
		&Output{Output: 2, Codec: media.H264, PTS: time.Hour, Key: true, Revision: 9,
			Levels: []Level{{Input: 1, Vol: 200, Vad: 150}, {Input: 5}}, Units: [][]byte{{0x65, 1}}},
		&Output{Output: 2, Codec: media.AAC, PTS: 1, Units: [][]byte{{1, 2, 3}}},
		&Output{Output: 2, Codec: media.MP3, PTS: 1, Units: [][]byte{{0xff, 0xfb, 0x94, 0x40}}},
		&NeedKey{Input: 1},
		&Still{Still: 6, Codec: media.AV1, Width: 320, Units: [][]byte{{0x12, 0}, {0x0a, 1, 2}}},
		&JPEG{Still: 6, Data: []byte("\xff\xd8\xff")},
		&Failed{Still: 6, Reason: "key frame needed"},
		&Failed{Input: 1, Reason: "picture of 16384x8704 is over 1920x1088"},
	}
}

func TestRoundTrip(t *testing.T) {
	var pipe bytes.Buffer
	c := NewConn(&pipe)
	for _, m := range messages() {
		if err := c.Write(m); err != nil {
			t.Fatalf("write %T: %v", m, err)
		}
	}
	for _, want := range messages() {
		got, err := c.Read()
		if err != nil {
			t.Fatalf("read %T: %v", want, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if _, err := c.Read(); err != io.EOF {
		t.Errorf("after the last message: got %v, want EOF", err)
	}
}

func TestOversized(t *testing.T) {
	c := NewConn(&bytes.Buffer{})
	if err := c.Write(&Media{Units: [][]byte{make([]byte, MaxMessage)}}); err == nil {
		t.Error("a message over the limit was sent")
	}
	c = NewConn(bytes.NewBuffer([]byte{0xff, 0xff, 0xff, 0xff, 1}))
	if _, err := c.Read(); err == nil {
		t.Error("a length over the limit was believed")
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range messages() {
		b, err := Append(nil, m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[4:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Append(nil, m)
		if err != nil {
			t.Fatalf("%T was read but cannot be written: %v", m, err)
		}
		if _, err := Parse(again[4:]); err != nil {
			t.Fatalf("%T does not survive a second trip: %v", m, err)
		}
	})
}
