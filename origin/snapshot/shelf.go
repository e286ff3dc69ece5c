package snapshot

import (
	"sync"
	"time"
)

// Shelf keeps the newest picture of each stream in memory, for players' pages that
// ask again and again. Its zero value is empty; a nil Shelf keeps nothing. All
// methods may be called from any goroutine.
type Shelf struct {
	mu       sync.Mutex
	pictures map[[2]string]shelved
}

type shelved struct {
	by    *job
	file  []byte
	taken time.Time
}

// Latest is the newest picture of a stream that is on air, and when it was taken.
func (s *Shelf) Latest(app, name string) (file []byte, taken time.Time, ok bool) {
	if s == nil {
		return nil, time.Time{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pictures[[2]string{app, name}]
	return p.file, p.taken, ok
}

func (s *Shelf) put(j *job, file []byte, taken time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pictures == nil {
		s.pictures = make(map[[2]string]shelved)
	}
	s.pictures[[2]string{j.App, j.Name}] = shelved{by: j, file: file, taken: taken}
}

// remove takes away what j put there, when its stream has ended.
func (s *Shelf) remove(j *job) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := [2]string{j.App, j.Name}; s.pictures[k].by == j {
		delete(s.pictures, k)
	}
}
