package relay

import (
	"sync"
	"time"

	"braid/media"
)

// pushQueue holds access units between Write and Run, in the order of Write.
type pushQueue struct {
	ready chan struct{} // holds one token when there may be something to take; sent by put

	mu      sync.Mutex
	isOpen  bool
	units   []queued
	bytes   int
	skip    bool // pictures are dropped up to the next key frame
	begun   bool // the session has had its first key frame: what comes before is not missed
	dropped uint64
}

type queued struct {
	au      *media.AccessUnit
	arrived time.Time
}

// open empties the queue for a new session; with video it begins at a key frame.
func (q *pushQueue) open(video bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.isOpen, q.skip, q.begun = true, video, !video
}

// close makes put leave everything out.
func (q *pushQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.isOpen = false
	q.dropped += uint64(len(q.units))
	clear(q.units)
	q.units, q.bytes = q.units[:0], 0
}

func (q *pushQueue) put(au *media.AccessUnit, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.isOpen {
		return
	}
	if q.skip && au.Codec.Video() {
		if !au.Key {
			if q.begun {
				q.dropped++
			}
			return
		}
		q.skip, q.begun = false, true
	}
	q.units = append(q.units, queued{au, now})
	q.bytes += au.Size()
	if q.bytes > queueBytes || q.lateLocked(now, true, queueTime) {
		q.dropVideoLocked(now)
	}
	for q.bytes > queueBytes || q.lateLocked(now, false, 2*queueTime) { // the sound alone is late
		q.dropped++
		q.bytes -= q.units[0].au.Size()
		q.units[0] = queued{}
		q.units = q.units[1:]
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// lateLocked tells whether the oldest unit, or the oldest picture, waits for longer
// than the limit.
func (q *pushQueue) lateLocked(now time.Time, video bool, limit time.Duration) bool {
	for _, u := range q.units {
		if now.Sub(u.arrived) <= limit {
			return false // the rest is younger
		}
		if !video || u.au.Codec.Video() {
			return true
		}
	}
	return false
}

// dropVideoLocked drops the pictures before the newest key frame if that is young
// enough to be worth it and the rest is small enough, else all of them and those that
// come before the next one.
func (q *pushQueue) dropVideoLocked(now time.Time) {
	from := len(q.units)
	for i, u := range q.units {
		if u.au.Codec.Video() && u.au.Key && now.Sub(u.arrived) <= queueTime/2 {
			from = i
		}
	}
	q.skip = from == len(q.units) || q.skip
	q.removeVideoLocked(from)
	if q.bytes > queueBytes {
		q.skip = true
		q.removeVideoLocked(len(q.units))
	}
}

func (q *pushQueue) removeVideoLocked(before int) {
	kept := q.units[:0]
	for i, u := range q.units {
		if i < before && u.au.Codec.Video() {
			q.dropped++
			q.bytes -= u.au.Size()
			continue
		}
		kept = append(kept, u)
	}
	clear(q.units[len(kept):])
	q.units = kept
}

// take removes the oldest unit, nil when there is none.
func (q *pushQueue) take() *media.AccessUnit {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.units) == 0 {
		return nil
	}
	au := q.units[0].au
	q.units[0] = queued{}
	q.units = q.units[1:]
	q.bytes -= au.Size()
	return au
}

// refuse counts a unit that was taken and cannot be sent; pictures wait for a key frame.
func (q *pushQueue) refuse(au *media.AccessUnit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped++
	q.skip = q.skip || au.Codec.Video()
}

func (q *pushQueue) wantsKey() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.skip
}

func (q *pushQueue) droppedUnits() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}
