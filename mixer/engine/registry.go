package engine

import (
	"maps"
	"sync"
	"sync/atomic"
)

// registry is a map that is read at every tick and changed rarely: readers
// take an immutable map, writers copy it.
type registry[T comparable] struct {
	mu  sync.Mutex // held by writers
	now atomic.Pointer[map[uint32]T]
}

func (r *registry[T]) all() map[uint32]T {
	if m := r.now.Load(); m != nil {
		return *m
	}
	return nil
}

func (r *registry[T]) get(id uint32) (v T, ok bool) {
	v, ok = r.all()[id]
	return v, ok
}

func (r *registry[T]) set(id uint32, v T) {
	r.change(func(m map[uint32]T) { m[id] = v })
}

// remove takes id away if it still stands for v.
func (r *registry[T]) remove(id uint32, v T) {
	r.change(func(m map[uint32]T) {
		if m[id] == v {
			delete(m, id)
		}
	})
}

func (r *registry[T]) change(f func(map[uint32]T)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := make(map[uint32]T, len(r.all())+1)
	maps.Copy(m, r.all())
	f(m)
	r.now.Store(&m)
}
