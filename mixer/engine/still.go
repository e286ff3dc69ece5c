package engine

import (
	"bytes"
	"fmt"
	"image/jpeg"

	"braid/media"
	"braid/media/codec"
	"braid/mixer/wire"
)

const (
	// maxStills bounds the key frames that wait to become JPEG files, each at most
	// wire.MaxMessage. The server has fewer under way.
	maxStills = 16
	// Small pictures beside others: sharp enough, 8 to 15 KB at 320x180.
	stillQuality = 75
	// A JPEG has to be worth looking at, and wire.Still's width has 16 bits.
	minStillWidth, maxStillWidth = 16, 4096
)

// queueStill lets a picture wait its turn.
func (e *engine) queueStill(m *wire.Still) error {
	select {
	case e.stills <- m:
		return nil
	default:
		return fmt.Errorf("%d pictures wait: %w", maxStills, media.ErrLimit)
	}
}

// makeStills makes one JPEG after the other, so that stills never take more than one
// core, and none of those that decode live media.
func (e *engine) makeStills() {
	for {
		select {
		case <-e.ctx.Done():
			return
		case m := <-e.stills:
			if file, err := e.still(m); err != nil {
				e.write(&wire.Failed{Still: m.Still, Reason: err.Error()})
			} else {
				e.write(&wire.JPEG{Still: m.Still, Data: file})
			}
		}
	}
}

// still is a key frame as a JPEG file. A picture is made smaller, never larger.
func (e *engine) still(m *wire.Still) ([]byte, error) {
	width := int(m.Width)
	if width != 0 && (width < minStillWidth || width > maxStillWidth) {
		return nil, fmt.Errorf("width %d, want %d..%d or 0: %w", width, minStillWidth, maxStillWidth, media.ErrInvalid)
	}
	decoded, err := codec.DecodeStill(m.Codec, m.Units, e.maxWidth, e.maxHeight)
	if err != nil {
		return nil, err
	}
	defer decoded.Free()
	pic := &decoded.Picture
	if width != 0 && width < pic.W {
		small := codec.NewPicture(width, max(1, (pic.H*width+pic.W/2)/pic.W))
		codec.Scale(small, pic)
		pic = small
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, pic.YCbCr(), &jpeg.Options{Quality: stillQuality}); err != nil {
		return nil, err
	}
	return file.Bytes(), nil
}
