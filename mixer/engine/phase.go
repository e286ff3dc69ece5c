package engine

import "time"

// phase keeps a pane that shows 30 pictures a second at 30 ticks a second from
// beating: when pictures fall due just at the ticks, a microsecond of jitter
// would show one twice and skip the next. So the moment at which a pane looks
// for its picture is the tick or half a frame after it, whichever is far from
// the moments at which pictures fall due.
type phase struct {
	early   bool
	changed time.Duration
}

// ahead is how far beyond the tick the pane looks, given one tick's length.
func (p *phase) ahead(frame time.Duration) time.Duration {
	if p.early {
		return frame / 2
	}
	return 0
}

// chose tells it how old a newly chosen picture was at the moment of looking.
// Pictures of another rate than the ticks' drift through every age, so it moves
// at most once a second.
func (p *phase) chose(age, frame, now time.Duration) {
	if now-p.changed < time.Second && p.changed != 0 {
		return
	}
	if age < frame/8 || age > frame-frame/8 && age < frame {
		p.early, p.changed = !p.early, now
	}
}
