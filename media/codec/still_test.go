//go:build cgo

package codec

import (
	"bytes"
	"errors"
	"image/color"
	"testing"

	"braid/media"
)

// A key frame alone gives the picture that ffmpeg decodes, of every codec, and of
// encoders that put pictures out of order.
func TestDecodeStill(t *testing.T) {
	for _, c := range videoCodecs {
		t.Run(string(c), func(t *testing.T) {
			clip := makeClip(t, c, 322, 182, 3)
			still(t, clip, clip.raw(t)[:322*182*3/2])
		})
	}
	t.Run("B-frames", func(t *testing.T) {
		clip := makeClip(t, media.H264, 320, 180, 12, "-bf", "3", "-preset", "medium")
		still(t, clip, clip.raw(t)[:320*180*3/2])
	})
	t.Run("4:4:4 of 10 bits", func(t *testing.T) {
		clip := makeClip(t, media.H264, 160, 96, 1, "-pix_fmt", "yuv444p10le")
		pic, err := DecodeStill(media.H264, clip.units[0], 160, 96)
		if err != nil {
			t.Fatal(err)
		}
		pic.Free()
	})
}

func still(t *testing.T, clip clip, want []byte) {
	t.Helper()
	pic, err := DecodeStill(clip.codec, clip.units[0], 1920, 1088)
	if err != nil {
		t.Fatal(err)
	}
	defer pic.Free()
	if !bytes.Equal(pack(&pic.Picture), want) {
		t.Errorf("%s: the picture of %dx%d is not ffmpeg's", clip.codec, pic.W, pic.H)
	}
}

func TestDecodeStillRefuses(t *testing.T) {
	clip := makeClip(t, media.H264, 320, 180, 3)
	if _, err := DecodeStill(media.H264, clip.units[0], 160, 96); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a picture over the maximum: got %v, want %v", err, ErrTooLarge)
	}
	if _, err := DecodeStill(media.H264, clip.units[1], 1920, 1088); !errors.Is(err, ErrNeedKey) {
		t.Errorf("a picture between key frames: got %v, want %v", err, ErrNeedKey)
	}
	if _, err := DecodeStill(media.Opus, clip.units[0], 1920, 1088); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("sound: got %v, want %v", err, media.ErrInvalid)
	}
}

// Full range: limited black, white and gray become 0, 255 and as much between as the
// standard's formula says; an image of one colour looks as it does in a player.
func TestYCbCr(t *testing.T) {
	for _, c := range []struct {
		y, u, v byte
		want    color.RGBA
	}{
		{16, 128, 128, color.RGBA{0, 0, 0, 255}},
		{235, 128, 128, color.RGBA{255, 255, 255, 255}},
		{0, 128, 128, color.RGBA{0, 0, 0, 255}},
		{126, 128, 128, color.RGBA{128, 128, 128, 255}},
		{81, 90, 240, color.RGBA{254, 0, 0, 255}}, // BT.601 red
		{145, 54, 34, color.RGBA{0, 255, 1, 255}},
		{41, 240, 110, color.RGBA{0, 0, 255, 255}},
	} {
		p := NewPicture(5, 3)
		p.Fill(c.y, c.u, c.v)
		r, g, b, _ := p.YCbCr().At(4, 2).RGBA()
		got := color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
		if off(got.R, c.want.R) > 2 || off(got.G, c.want.G) > 2 || off(got.B, c.want.B) > 2 {
			t.Errorf("%d %d %d: got %v, want %v", c.y, c.u, c.v, got, c.want)
		}
	}
}
