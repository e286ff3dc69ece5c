package relay

import (
	"fmt"
	"time"

	"braid/media"
)

// Who looks at a task's picture wants a recent one; a key frame costs its viewers
// bits, so it is asked for rarely.
const (
	pictureFresh = 10 * time.Second // younger ones will do
	pictureEvery = 5 * time.Second  // between two that are asked for
)

// keyPicture is the newest key frame of a task's stream, guarded by its outlet.
type keyPicture struct {
	au    *media.AccessUnit
	made  time.Time
	asked time.Time
}

func (k *keyPicture) see(au *media.AccessUnit) {
	if au.Key {
		k.au, k.made = au, time.Now()
	}
}

// ask tells whether a newer one should be asked for.
func (k *keyPicture) ask(now time.Time) bool {
	if now.Sub(k.made) < pictureFresh || now.Sub(k.asked) < pictureEvery {
		return false
	}
	k.asked = now
	return true
}

// Picture is the newest key frame of what a task sends, and when it was made;
// the stream is asked for another when it is over ten seconds old. media.ErrNotFound:
// there is no such task, or it has sent no picture yet.
func (s *Service) Picture(app, name string) (*media.AccessUnit, time.Time, error) {
	t, err := s.find(app, name)
	if err != nil {
		return nil, time.Time{}, err
	}
	t.out.mu.Lock()
	au, made, ask := t.out.picture.au, t.out.picture.made, t.out.picture.ask(time.Now())
	t.out.mu.Unlock()
	if ask {
		t.source.keyFrame()
	}
	if au == nil {
		return nil, time.Time{}, fmt.Errorf("task %q has sent no picture yet: %w", name, media.ErrNotFound)
	}
	return au, made, nil
}
