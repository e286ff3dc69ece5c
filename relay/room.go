package relay

import (
	"errors"
	"fmt"
	"time"

	"braid/event"
	"braid/media"
)

// pixelTime is what a pixel of a mix costs, in nanoseconds: four users decoded, composed
// and coded, as measured (doc/operations.md, "Size of the machine").
const pixelTime = 10.2

// roomRetry is when an automatic task that waits asks again.
const roomRetry = 2 * time.Second

// errNoRoom says that the mixes that run leave too little of the machine. It is a
// media.ErrLimit.
var errNoRoom = fmt.Errorf("there is no room on this server: %w", media.ErrLimit)

// cores is what a task takes, by estimate; of single streams nothing is counted.
func (s *Spec) cores() float64 {
	if s.Mode != Mix || s.Encode.AudioOnly {
		return 0
	}
	return float64(s.Encode.Width*s.Encode.Height*s.Encode.FPS) * pixelTime / 1e9
}

// roomLocked tells whether a new mix fits beside those that run. The first one always
// does.
func (s *Service) roomLocked(spec *Spec) error {
	wants := spec.cores()
	if s.cfg.Cores <= 0 || wants == 0 {
		return nil
	}
	used, mixes := 0.0, 0
	for _, t := range s.tasks {
		if running, _ := t.desired(); running.cores() > 0 {
			used += running.cores()
			mixes++
		}
	}
	if mixes > 0 && used+wants > s.cfg.Cores {
		return fmt.Errorf("a mix of %dx%d at %d pictures a second takes about %.2f cores, and %d mixes take %.2f of the %.1f that mixes may have (mixer.cores): %w",
			spec.Encode.Width, spec.Encode.Height, spec.Encode.FPS, wants, mixes, used, s.cfg.Cores, errNoRoom)
	}
	return nil
}

// waits tells whether an automatic task could not be begun for a reason that passes, and
// says so once; it is tried again until it is begun or nobody wants it.
func (f *follower) waits(spec *Spec, why error) bool {
	code, url := 0, ""
	switch {
	case errors.Is(why, errNoRoom):
		code = CodeNoRoom
	case errors.Is(why, errTaken):
		code, url = CodeTaken, spec.URLs[0]
	default:
		return false
	}
	if f.waiting[spec.Task] == code {
		return true
	}
	f.waiting[spec.Task] = code
	s := f.auto.s
	s.cfg.Log.Warn("an automatic task waits", "app", spec.App, "channel", spec.Channel, "task", spec.Task, "error", why)
	s.journal.queue.Put(event.Event{
		App: spec.App, Channel: spec.Channel, Type: event.RelayFailed, Time: time.Now(),
		Relay: relayed(spec.Task, url, code, ""),
	})
	return true
}

// forget drops what was said of tasks that are not wanted any more.
func (f *follower) forget(want map[string]*Spec) {
	for task := range f.waiting {
		if want[task] == nil {
			delete(f.waiting, task)
		}
	}
}
