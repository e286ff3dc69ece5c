package engine

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	_ "image/jpeg" // as image formats
	_ "image/png"
	"sync"
	"sync/atomic"

	"braid/media"
	"braid/media/codec"
	"braid/mixer/wire"
)

const (
	maxImageSide  = 4096
	maxImageBytes = 16 << 20
	imageQueue    = 2 * maxImages // that wait for decoding, a whole replay; full: refuse
	scaledImages  = 16            // sizes kept of one image
)

// images decodes still pictures on a goroutine of its own, in order: a large
// PNG takes a quarter of a second, and media must not wait.
type images struct {
	registry[*still]
	e     *engine
	queue chan *wire.Image // sent by the engine's reader, never closed
	known map[uint32]bool  // owned by the engine's reader: given and not forgotten
	left  atomic.Int32     // how many of the queue are not done
}

func newImages(e *engine) *images {
	s := &images{e: e, queue: make(chan *wire.Image, imageQueue), known: make(map[uint32]bool)}
	e.start(s.run)
	return s
}

// set takes a PNG or JPEG file; without data it forgets the image.
func (s *images) set(id uint32, data []byte) error {
	switch {
	case id == 0:
		return fmt.Errorf("image 0: %w", media.ErrInvalid)
	case len(data) > maxImageBytes:
		return fmt.Errorf("image %d: %d bytes, at most %d: %w", id, len(data), maxImageBytes, media.ErrLimit)
	case len(data) > 0 && !s.known[id] && len(s.known) >= maxImages:
		return fmt.Errorf("image %d: %d images: %w", id, maxImages, media.ErrLimit)
	}
	s.left.Add(1)
	select {
	case s.queue <- &wire.Image{Image: id, Data: data}:
	default:
		s.left.Add(-1)
		return fmt.Errorf("image %d: too many at once: %w", id, media.ErrLimit)
	}
	if len(data) > 0 {
		s.known[id] = true
	} else {
		delete(s.known, id)
	}
	return nil
}

func (s *images) run() {
	for {
		select {
		case <-s.e.ctx.Done():
			return
		case m := <-s.queue:
			s.take(m)
			s.left.Add(-1)
		}
	}
}

func (s *images) take(m *wire.Image) {
	if len(m.Data) == 0 {
		s.change(func(all map[uint32]*still) { delete(all, m.Image) })
		return
	}
	pic, err := decodeImage(m.Data)
	if err != nil {
		s.e.failed(&wire.Failed{Image: m.Image, Reason: err.Error()})
		return
	}
	s.registry.set(m.Image, &still{pic: pic, scaled: make(map[scaledKey]*codec.Picture)})
}

// pending tells whether images are still to be decoded.
func (s *images) pending() bool { return s.left.Load() > 0 }

// still is a decoded image and the sizes that panes asked for.
type still struct {
	pic    *codec.Picture
	mu     sync.Mutex
	scaled map[scaledKey]*codec.Picture // owned by mu
}

type scaledKey struct {
	w, h int
	fit  wire.Fit
}

// filling is the image as it fills a pane, bars included.
func (s *still) filling(w, h int, fit wire.Fit) *codec.Picture {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := scaledKey{w, h, fit}
	if p := s.scaled[key]; p != nil {
		return p
	}
	if len(s.scaled) >= scaledImages {
		clear(s.scaled)
	}
	p := codec.NewPicture(w, h)
	compose(p, rect{0, 0, w, h}, s.pic, fit)
	s.scaled[key] = p
	return p
}

// decodeImage makes a 4:2:0 picture of a PNG or JPEG file, transparent parts
// over black. The size is known before anything is decoded.
func decodeImage(data []byte) (*codec.Picture, error) {
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	if config.Width > maxImageSide || config.Height > maxImageSide || config.Width < 2 || config.Height < 2 {
		return nil, fmt.Errorf("image: %s of %dx%d, sides are 2..%d: %w", format, config.Width, config.Height, maxImageSide, media.ErrLimit)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return convertImage(img), nil
}

// convertImage turns img into limited range BT.601, which is what libyuv and a
// player of video without a colour description take 4:2:0 for. An odd last row
// or column is left out.
func convertImage(img image.Image) *codec.Picture {
	b := img.Bounds()
	w, h := b.Dx()&^1, b.Dy()&^1
	pic := codec.NewPicture(w, h)
	rows := image.NewRGBA(image.Rect(0, 0, w, 2))
	for y := 0; y < h; y += 2 {
		draw.Draw(rows, rows.Rect, image.NewUniform(color.Black), image.Point{}, draw.Src)
		draw.Draw(rows, rows.Rect, img, b.Min.Add(image.Pt(0, y)), draw.Over)
		convertRows(pic, y, rows)
	}
	return pic
}

// convertRows writes two rows of luma and one of chroma.
func convertRows(pic *codec.Picture, y int, rows *image.RGBA) {
	for x := 0; x < pic.W; x += 2 {
		var r, g, b int
		for i := range 4 {
			px := rows.Pix[i/2*rows.Stride+(x+i%2)*4:]
			pr, pg, pb := int(px[0]), int(px[1]), int(px[2])
			pic.Y[(y+i/2)*pic.YStride+x+i%2] = byte((66*pr+129*pg+25*pb+128)>>8 + 16)
			r, g, b = r+pr, g+pg, b+pb
		}
		pic.U[y/2*pic.UStride+x/2] = byte((-38*r-74*g+112*b+512)>>10 + 128)
		pic.V[y/2*pic.VStride+x/2] = byte((112*r-94*g-18*b+512)>>10 + 128)
	}
}
