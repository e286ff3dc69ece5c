// Package slate draws what a stream shows while nobody is in it: a calm, dark
// picture with a few words. It starts no goroutine and keeps nothing.
package slate

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"

	"braid/media"
)

// Neutral and dark, so that it neither glares nor looks like a fault, which black
// does.
var (
	ground = color.RGBA{0x26, 0x2b, 0x33, 0xff}
	ink    = color.RGBA{0xc6, 0xcc, 0xd4, 0xff}
	accent = color.RGBA{0x5b, 0x66, 0x75, 0xff}
)

// Limits of a slate's sides, in pixels.
const minSide, maxSide = 16, 4096

// PNG draws a slate of the given size with words in its middle, in letters of a
// twelfth of its height, smaller when they are many. Words with characters that the
// built-in font (Go Regular: Latin, Greek, Cyrillic) lacks are left out, for boxes
// in their place would look broken.
func PNG(words string, width, height int) ([]byte, error) {
	if width < minSide || height < minSide || width > maxSide || height > maxSide {
		return nil, fmt.Errorf("slate: %dx%d, sides are %d to %d: %w", width, height, minSide, maxSide, media.ErrInvalid)
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(img, img.Rect, image.NewUniform(ground), image.Point{}, draw.Src)
	if err := write(img, words); err != nil {
		return nil, fmt.Errorf("slate: %w", err)
	}
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		return nil, fmt.Errorf("slate: %w", err)
	}
	return file.Bytes(), nil
}

// write puts the words and a short line under them.
func write(img *image.RGBA, words string) error {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	face, err := fitting(words, w, h)
	if err != nil {
		return err
	}
	line := image.Rect(w/2-w/32, h*58/100, w/2+w/32, h*58/100+max(h/180, 2))
	draw.Draw(img, line, image.NewUniform(accent), image.Point{}, draw.Src)
	if face == nil {
		return nil
	}
	defer face.Close()
	d := font.Drawer{Dst: img, Src: image.NewUniform(ink), Face: face}
	d.Dot = fixed.Point26_6{X: (fixed.I(w) - d.MeasureString(words)) / 2, Y: fixed.I(h * 52 / 100)}
	d.DrawString(words)
	return nil
}

// fitting is the font in a size in which the words fill four fifths of the width at
// most; nil when they cannot be written.
func fitting(words string, w, h int) (font.Face, error) {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	if words == "" || !has(f, words) {
		return nil, nil
	}
	const atLeast = 8 // pixels; smaller cannot be read
	for size := float64(h) / 12; size >= atLeast; size *= 0.9 {
		face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingNone})
		if err != nil {
			return nil, err
		}
		if font.MeasureString(face, words) <= fixed.I(w*4/5) {
			return face, nil
		}
		face.Close()
	}
	return nil, nil
}

// has tells whether the font has all of the words' characters.
func has(f *sfnt.Font, words string) bool {
	var b sfnt.Buffer
	for _, r := range words {
		if i, err := f.GlyphIndex(&b, r); err != nil || i == 0 {
			return false
		}
	}
	return true
}
