package origin

import (
	"context"
	"io"
	"sync"
	"time"

	"braid/media/flv"
)

const (
	// A viewer that lies further behind than this is moved forward. The span is
	// what a joiner may be given at once (gopSpan) and time to start reading it.
	viewerSpan  = gopSpan + 2*time.Second
	viewerBytes = gopBytes + 16<<20
	viewerTags  = 8192 // a flood of tiny tags must not cost more than this
)

// Viewer is one reader of a stream. It begins with metadata, sequence headers
// and the newest group of pictures, and goes on through a publisher's short
// absence. A viewer that does not read in time loses everything up to the next
// key frame, but never a metadata tag or sequence header that is still valid.
type Viewer struct {
	s        *stream
	internal bool          // a part of braid: not counted as somebody watching
	only     byte          // flv.Audio or flv.Video: that kind of media alone; 0: all
	wake     chan struct{} // holds one; put and end send without waiting, Next receives

	mu      sync.Mutex
	queue   []*Tag
	bytes   int
	waitKey bool // pictures are dropped up to the next key frame
	ended   bool
	dropped uint64

	out []*Tag // owned by Next's caller: what Next returned last
}

// newViewer begins with start; keyed tells whether a key frame is in it.
func newViewer(s *stream, internal bool, only byte, start []*Tag, keyed bool) *Viewer {
	v := &Viewer{s: s, internal: internal, only: only, wake: make(chan struct{}, 1), queue: start, waitKey: !keyed}
	if only != 0 {
		v.queue = startOnly(start, only)
	}
	for _, t := range v.queue {
		v.bytes += len(t.FLV)
	}
	return v
}

// startOnly is what a joiner who wants one kind of media gets of start. Sound has no
// key frames: its newest second is enough.
func startOnly(start []*Tag, only byte) (kept []*Tag) {
	for _, t := range start {
		old := only == flv.Audio && t.kind == kindMedia && start[len(start)-1].Arrived.Sub(t.Arrived) > soundSpan
		if t = t.only(only); t != nil && !old {
			kept = append(kept, t)
		}
	}
	return kept
}

// tracks tells what of the stream the viewer gets; see stream.tracks.
func (v *Viewer) tracks() (audio, video bool, again time.Duration) {
	audio, video, again = v.s.tracks()
	switch v.only {
	case flv.Audio:
		video = false
	case flv.Video:
		audio = false
	default:
		return audio, video, again
	}
	if audio || video {
		again = 0
	}
	return audio, video, again
}

// lacks is stream.lacksLocked for the viewer.
func (v *Viewer) lacks() error {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	return v.s.lacksLocked(v.only)
}

// Next returns the tags that wait, in order, at least one; it blocks until there
// is one. It returns io.EOF when the stream has ended and everything was handed
// out, ctx's error when ctx ends. The slice is valid until the following Next,
// the tags for ever. It is called from one goroutine.
func (v *Viewer) Next(ctx context.Context) ([]*Tag, error) {
	clear(v.out) // do not keep alive what was sent long ago
	for {
		v.mu.Lock()
		if len(v.queue) > 0 {
			v.queue, v.out = v.out[:0], v.queue
			n := v.bytes
			v.bytes = 0
			v.mu.Unlock()
			if !v.internal {
				v.s.bytesOut.Add(uint64(n))
			}
			return v.out, nil
		}
		ended := v.ended
		v.mu.Unlock()
		if ended {
			return nil, io.EOF
		}
		select {
		case <-v.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Dropped counts the tags this viewer lost because it did not read in time.
func (v *Viewer) Dropped() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.dropped
}

// Close makes the stream forget the viewer. It may be called more than once.
func (v *Viewer) Close() {
	v.s.remove(v)
	v.end()
}

// put offers the next tag of the stream; it never blocks.
func (v *Viewer) put(t *Tag) {
	if v.only != 0 {
		if t = t.only(v.only); t == nil {
			return
		}
	}
	v.mu.Lock()
	v.offerLocked(t)
	v.mu.Unlock()
	v.signal()
}

func (v *Viewer) offerLocked(t *Tag) {
	if v.fullLocked(t) {
		v.skipLocked(t)
	}
	if t.kind == kindKey {
		v.waitKey = false
	}
	if v.waitKey && t.kind == kindMedia && t.Type == flv.Video {
		v.dropped++
		return
	}
	v.queue = append(v.queue, t)
	v.bytes += len(t.FLV)
}

func (v *Viewer) fullLocked(t *Tag) bool {
	return len(v.queue) > 0 &&
		(t.Arrived.Sub(v.queue[0].Arrived) > viewerSpan ||
			v.bytes+len(t.FLV) > viewerBytes || len(v.queue) >= viewerTags)
}

// skipLocked drops what waits before t, except for the newest headers.
func (v *Viewer) skipLocked(t *Tag) {
	var h headers
	for _, q := range v.queue {
		if q.header() {
			*h.slot(q.kind) = q
		}
	}
	before := len(v.queue)
	v.queue = h.appendAt(nil, t.Timestamp, t.Arrived)
	v.dropped += uint64(before - len(v.queue))
	v.bytes, v.waitKey = 0, true
	for _, q := range v.queue {
		v.bytes += len(q.FLV)
	}
}

// restart makes the viewer wait for the first key frame of a new publisher.
func (v *Viewer) restart() {
	v.mu.Lock()
	v.waitKey = true
	v.mu.Unlock()
}

// end lets Next return io.EOF once the queue is empty.
func (v *Viewer) end() {
	v.mu.Lock()
	v.ended = true
	v.mu.Unlock()
	v.signal()
}

func (v *Viewer) signal() {
	select {
	case v.wake <- struct{}{}:
	default: // Next has not taken the last one yet
	}
}
