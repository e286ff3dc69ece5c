package engine

import (
	"fmt"
	"runtime"
	"time"

	"braid/media"
	"braid/media/codec"
	"braid/mixer/wire"
)

// pictureMix draws a mix's picture. The canvas is the encoder's input and stays
// from tick to tick; only what changed is drawn again.
type pictureMix struct {
	e      *engine
	frame  time.Duration // one tick
	canvas *codec.Picture
	enc    *codec.VideoEncoder

	drawn  *plan               // what the canvas shows
	ground *still              // its background
	panes  []content           // one each pane of drawn
	eyes   map[*input]*eye     // by input, kept over changes of the plan
	looks  map[*input]*picture // of the tick at hand
}

// content is what fills a pane: a picture, an image, or nothing.
type content struct {
	in    *input
	pts   time.Duration // of in's picture
	image *still
}

// eye is how a mix follows an input.
type eye struct {
	phase phase
	shown time.Duration // PTS of the newest picture shown: a pane never goes back
	some  bool          // shown is set
}

func newPictureMix(e *engine, c wire.Encode) (*pictureMix, error) {
	if c.FPS < 1 || c.FPS > 60 {
		return nil, fmt.Errorf("%d pictures a second, want 1..60: %w", c.FPS, media.ErrInvalid)
	}
	enc, err := newEncoder(c, c.Width, c.Height)
	if err != nil {
		return nil, err
	}
	return &pictureMix{
		e: e, frame: time.Second / time.Duration(c.FPS),
		canvas: codec.NewPicture(c.Width, c.Height), enc: enc,
		eyes: make(map[*input]*eye), looks: make(map[*input]*picture),
	}, nil
}

// newEncoder opens an encoder for pictures of w x h. Above 720p two slices are
// coded side by side when there is a second core, so that a tick does not last
// longer than half a frame time; below, one thread does the same work cheaper.
func newEncoder(c wire.Encode, w, h int) (*codec.VideoEncoder, error) {
	p := codec.VideoParams{
		Width: w, Height: h, FPS: c.FPS, Kbps: c.VideoKbps, GOP: c.GOP,
		Profile: c.Profile, Preset: c.Preset, Threads: 1,
	}
	if p.FPS == 0 {
		p.FPS = 30
	}
	if p.GOP == 0 {
		p.GOP = 2 * p.FPS
	}
	if p.Kbps == 0 {
		p.Kbps = max(w*h/460, 64) // 2000 at 720p
	}
	if w*h > 1280*720 && runtime.NumCPU() > 1 {
		p.Threads = 2
	}
	return codec.NewVideoEncoder(p)
}

func (x *pictureMix) free() { x.enc.Close() }

// draw brings the canvas to plan p at time t.
func (x *pictureMix) draw(p *plan, t time.Duration) {
	x.look(p, t)
	all := x.begin(p)
	for i, pane := range p.Panes {
		c, pic := x.content(pane)
		if c == x.panes[i] && !all {
			continue
		}
		x.panes[i] = c
		x.fill(pane, c, pic)
		// Panes above may be hurt.
		all = all || p.covered
	}
	x.blink(t)
}

// begin draws the background when the plan or its image is another one, and
// tells whether all panes must follow.
func (x *pictureMix) begin(p *plan) bool {
	ground, _ := x.e.images.get(p.Background)
	if x.drawn == p && x.ground == ground {
		return false
	}
	x.drawn, x.ground = p, ground
	x.panes = make([]content, len(p.Panes))
	whole := rect{0, 0, x.canvas.W, x.canvas.H}
	if ground != nil {
		codec.Copy(x.canvas, ground.filling(whole.W, whole.H, p.BackgroundFit))
	} else {
		fill(x.canvas, whole)
	}
	return true
}

// look chooses the picture of each input that the plan shows.
func (x *pictureMix) look(p *plan, t time.Duration) {
	for _, pane := range p.Panes {
		in, ok := x.e.inputs.get(pane.Input)
		if !ok || in.pictures == nil || x.looks[in] != nil {
			continue
		}
		e := x.eyes[in]
		if e == nil {
			e = new(eye)
			x.eyes[in] = e
		}
		if pic := e.choose(in, t, x.frame); pic != nil {
			x.looks[in] = pic
		}
	}
}

// choose gives the picture of in that is due at t; the caller releases it.
func (e *eye) choose(in *input, t, frame time.Duration) *picture {
	at := t + e.phase.ahead(frame) - in.group.get()
	if e.some {
		at = max(at, e.shown)
	}
	pic := in.pictures.pick(at)
	if pic == nil {
		e.some = false
		return nil
	}
	if !e.some || pic.pts != e.shown {
		e.phase.chose(at-pic.pts, frame, t)
	}
	e.shown, e.some = pic.pts, true
	return pic
}

// blink lets the tick's pictures go and forgets inputs that ended.
func (x *pictureMix) blink(t time.Duration) {
	for in, pic := range x.looks {
		pic.release()
		delete(x.looks, in)
	}
	for in := range x.eyes {
		if now, _ := x.e.inputs.get(in.id); now != in {
			delete(x.eyes, in)
		}
	}
}

// content is what a pane shows now.
func (x *pictureMix) content(pane wire.Pane) (content, *codec.Picture) {
	if in, ok := x.e.inputs.get(pane.Input); ok {
		if pic := x.looks[in]; pic != nil {
			return content{in: in, pts: pic.pts}, &pic.Picture
		}
	}
	image, _ := x.e.images.get(pane.Image)
	return content{image: image}, nil
}

func (x *pictureMix) fill(pane wire.Pane, c content, pic *codec.Picture) {
	switch {
	case pic != nil:
		compose(x.canvas, area(pane), pic, pane.Fit)
	case c.image != nil:
		codec.Copy(x.canvas.Crop(pane.X, pane.Y, pane.W, pane.H), c.image.filling(pane.W, pane.H, pane.Fit))
	default:
		fill(x.canvas, area(pane))
	}
}
