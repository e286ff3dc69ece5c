package engine

import (
	"fmt"
	"slices"

	"braid/media"
	"braid/mixer/wire"
)

// plan is a checked Layout. It is immutable.
type plan struct {
	wire.Layout
	covered bool // some panes overlap: a lower one that changed needs those above again
}

// newPlan checks a layout for a canvas of w x h; w is 0 when there is no picture.
func newPlan(m *wire.Layout, w, h int) (*plan, error) {
	if len(m.Panes) > maxPanes || len(m.Audio) > maxInputs {
		return nil, fmt.Errorf("%d panes, %d voices: %w", len(m.Panes), len(m.Audio), media.ErrLimit)
	}
	p := &plan{Layout: *m}
	for i, pane := range m.Panes {
		if w > 0 && !inside(pane, w, h) {
			return nil, fmt.Errorf("pane %d: %dx%d at %d,%d, want even numbers inside %dx%d: %w",
				i, pane.W, pane.H, pane.X, pane.Y, w, h, media.ErrInvalid)
		}
		for _, below := range m.Panes[:i] {
			p.covered = p.covered || area(pane).overlaps(area(below))
		}
	}
	slices.Sort(p.Audio)
	p.Audio = slices.Compact(p.Audio)
	return p, nil
}

func inside(p wire.Pane, w, h int) bool {
	return (p.X|p.Y|p.W|p.H)&1 == 0 && p.X >= 0 && p.Y >= 0 && p.W > 0 && p.H > 0 &&
		p.W <= w && p.H <= h && p.X <= w-p.W && p.Y <= h-p.H
}

func area(p wire.Pane) rect { return rect{p.X, p.Y, p.W, p.H} }
