package slate

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// inked is the box around what is as light as letters are.
func inked(img image.Image) (box image.Rectangle) {
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if r, _, _, _ := img.At(x, y).RGBA(); r>>8 > 0x90 {
				box = box.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return box
}

func TestPNG(t *testing.T) {
	for _, c := range []struct {
		name, words string
		w, h        int
		written     bool
	}{
		{"plain", "Morning show", 1280, 720, true},
		{"long", strings.Repeat("many words ", 8), 1280, 720, true},
		{"upright", "Überraschung Привет", 360, 640, true},
		{"far too long", strings.Repeat("w", 400), 320, 180, false},
		{"no words", "", 640, 360, false},
		{"characters that the font lacks", "早上好", 640, 360, false},
		{"tiny", "x", 16, 16, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, err := PNG(c.words, c.w, c.h)
			if err != nil {
				t.Fatal(err)
			}
			img, err := png.Decode(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			if dir := os.Getenv("BRAID_KEEP"); dir != "" {
				os.WriteFile(filepath.Join(dir, "slate-"+c.name+".png"), file, 0o644)
			}
			if img.Bounds().Size() != image.Pt(c.w, c.h) {
				t.Errorf("got %v, want %dx%d", img.Bounds(), c.w, c.h)
			}
			box := inked(img)
			if written := !box.Empty(); written != c.written {
				t.Fatalf("words are written: %v, want %v", written, c.written)
			}
			if !c.written {
				return
			}
			if box.Dx() > c.w*4/5+2 {
				t.Errorf("the words are %d pixels wide on %d", box.Dx(), c.w)
			}
			if left, right := box.Min.X, c.w-box.Max.X; left-right > c.w/50 || right-left > c.w/50 {
				t.Errorf("%d pixels free on the left, %d on the right", left, right)
			}
		})
	}
	for _, s := range [][2]int{{0, 720}, {1280, 5000}, {-1, 16}} {
		if _, err := PNG("x", s[0], s[1]); err == nil {
			t.Errorf("%v: drawn", s)
		}
	}
}
