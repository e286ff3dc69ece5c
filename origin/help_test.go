package origin

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/media/flv"
	"braid/media/h264"
)

// TestMain fails the run when goroutines of this module outlive the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	testkit.Exit(code, "braid/")
}

// Tags as an encoder makes them, with bodies that only look like pictures.

func avcHeader(level byte) *flv.Tag {
	config := h264.DecoderConfig([]byte{0x67, 66, 0, level, 0x95, 0xa0, 0x14, 0x01, 0x6e, 0x40}, []byte{0x68, 0xce, 0x3c, 0x80})
	return &flv.Tag{Type: flv.Video, Payload: append([]byte{0x17, 0, 0, 0, 0}, config...)}
}

func aacHeader() *flv.Tag { return &flv.Tag{Type: flv.Audio, Payload: []byte{0xaf, 0, 0x11, 0x90}} }

func metaData() *flv.Tag {
	return &flv.Tag{Type: flv.Script, Payload: append(bytes.Clone(onMetaData), 8, 0, 0, 0, 0, 0, 0, 9)}
}

func picture(ms int, key bool) *flv.Tag {
	head, nal := byte(0x27), byte(0x41)
	if key {
		head, nal = 0x17, 0x65
	}
	return &flv.Tag{Type: flv.Video, Timestamp: uint32(ms), Payload: []byte{head, 1, 0, 0, 0, 0, 0, 0, 3, nal, byte(ms >> 8), byte(ms)}}
}

func sound(ms int) *flv.Tag {
	return &flv.Tag{Type: flv.Audio, Timestamp: uint32(ms), Payload: []byte{0xaf, 1, byte(ms >> 8), byte(ms)}}
}

// play sends pictures and sound, each 40 ms, from begin up to end, with a key
// frame at each multiple of gop ms. In a synctest bubble it takes as long as it says.
func play(in *Ingest, begin, end, gop int) {
	for ms := begin; ms < end; ms += 40 {
		in.WriteTag(picture(ms, ms%gop == 0))
		in.WriteTag(sound(ms))
		time.Sleep(40 * time.Millisecond)
	}
}

func open(in *Ingest) {
	in.WriteTag(metaData())
	in.WriteTag(avcHeader(30))
	in.WriteTag(aacHeader())
}

func publish(t *testing.T, h *Hub, name string) *Ingest {
	t.Helper()
	in, err := h.Publish("live", name, "test")
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func join(t *testing.T, h *Hub, name string) *Viewer {
	t.Helper()
	v, err := h.Play("live", name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// waiting is what Next returns at once, a copy.
func waiting(t *testing.T, v *Viewer) []*Tag {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tags, err := v.Next(ctx)
	if err != nil && err != context.Canceled && err != io.EOF {
		t.Fatal(err)
	}
	return append([]*Tag(nil), tags...)
}

// kinds writes tags as letters: M V A are headers, K a key frame, p a picture, a sound.
func kinds(tags []*Tag) string {
	var b []byte
	for _, t := range tags {
		c := "?KMVA"[t.kind]
		if t.kind == kindMedia {
			c = map[byte]byte{flv.Video: 'p', flv.Audio: 'a', flv.Script: 's'}[t.Type]
		}
		b = append(b, c)
	}
	return string(b)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
