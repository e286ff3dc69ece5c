package mixer

import (
	"time"

	"braid/media"
	"braid/mixer/wire"
)

// A mix never goes dark. When the last of its users stops publishing, the picture
// stays as it was for Config.Hold; then the slate comes, which is also where a
// mix begins that nobody is in:
//
//	somebody ── the last one goes ──→ held ── Config.Hold ──→ slate
//	    ↑                              │                        │
//	    └────────── somebody publishes ┴────────────────────────┘
//
// Encoder, timestamps and frame rate go on; the sound is silence. A change of the
// plan ends the holding, since what is held is no part of it.

// defaultHold is long enough for a page that is loaded again, and short enough not
// to be taken for a fault.
const defaultHold = 5 * time.Second

// absence is what a mix knows of its users' being away; owned by its run.
type absence struct {
	some  bool      // somebody is in the picture that was sent last
	since time.Time // zero: nobody is away
	due   *time.Timer
}

// held tells whether the picture stays as it is, for nobody is there any more, and
// wakes run when it no longer does.
func (m *Mix) held(present []UserRef) bool {
	a := &m.absence
	if len(present) > 0 {
		a.some, a.since = true, time.Time{}
		return false
	}
	if !a.some || m.sent == nil {
		return false
	}
	now := time.Now()
	if a.since.IsZero() {
		a.since = now
		m.slate() // to be there when it is needed
	}
	if left := m.pool.hold() - now.Sub(a.since); left > 0 {
		a.due.Reset(left)
		return true
	}
	a.some = false
	return false
}

// stay keeps what the held picture shows.
func (m *Mix) stay() (shown <-chan struct{}) {
	want := make(map[media.Track]person)
	for t, f := range m.feeds {
		if f.until == 0 {
			want[t] = f.who
		}
	}
	return m.leave(want)
}

func (p *Pool) hold() time.Duration {
	if p.cfg.Hold == 0 {
		return defaultHold
	}
	return max(p.cfg.Hold, 0)
}

// blank makes the layout of a mix that nobody is in: the plan's own pictures if it
// has any that are here, else the slate.
func (m *Mix) blank(l *wire.Layout) {
	var panes []wire.Pane
	for _, p := range l.Panes {
		if m.here(p.Image) {
			panes = append(panes, p)
		}
	}
	l.Panes = panes
	if len(panes) == 0 && !m.here(l.Background) {
		if slate := m.slate(); slate != 0 {
			l.Background, l.BackgroundFit = slate, wire.FitInside
		}
	}
}

// here tells whether the file of an image has come.
func (m *Mix) here(image uint32) bool {
	for _, p := range m.pictures {
		if p.id == image {
			return p.here.Load()
		}
	}
	return false
}

// slate is the image of that name in the mix's size, 0 when there is none.
func (m *Mix) slate() uint32 {
	size := [2]int{m.plan.Encode.Width, m.plan.Encode.Height}
	if m.pool.cfg.Slate == nil || size[0] == 0 {
		return 0
	}
	if m.slateSize == size {
		return m.slateImage
	}
	m.dropSlate()
	file, err := m.pool.cfg.Slate(m.cfg.App, size[0], size[1])
	if err != nil {
		m.w.log.Warn("no slate", "error", err)
		return 0
	}
	m.slateImage, m.slateSize = m.w.newID(), size
	m.w.setImage(m.slateImage, file)
	return m.slateImage
}

func (m *Mix) dropSlate() {
	if m.slateImage != 0 {
		m.w.setImage(m.slateImage, nil)
	}
	m.slateImage, m.slateSize = 0, [2]int{}
}
