package origin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"braid/media"
)

const (
	// A playlist lists the newest listedSegments. Two more are kept for players
	// that are still busy with an older playlist.
	listedSegments = 6
	keptSegments   = listedSegments + 2
	// keptBytes bounds what one form of a stream costs: of 40 Mbit/s it is 19 s.
	// The newest leastSegments are kept all the same, players need them.
	keptBytes     = 96 << 20
	leastSegments = 3
	// idleTime after the last request a stream is no longer segmented; players
	// ask for the playlist each target duration.
	idleTime = 60 * time.Second
	// endedTime is how long the playlist of an ended stream stays, so that
	// players see its end and the last segments.
	endedTime = 30 * time.Second
	// holdTime is how long a request waits at most for a segment or a part that is
	// about to be: as long as a publisher may be away, and less than the 10 s after
	// which hls.js gives up.
	holdTime = graceTime + 2*time.Second
)

// hlsKey names one form of a stream: its segments' container and which of its
// tracks they carry.
type hlsKey struct {
	key
	mp4  bool // fragmented MP4 in parts, not MPEG-TS
	only byte // flv.Audio or flv.Video: that one alone; 0: what there is
}

// hlsStream is one form of a stream as HLS: a viewer of the hub whose goroutine
// cuts segments. It starts with the first request, from the cached group of
// pictures, and ends idleTime after the last.
type hlsStream struct {
	viewer *Viewer
	idle   *time.Timer // cancels run; each request winds it up again

	mu         sync.Mutex
	segments   []segment     // the newest keptSegments
	growing    segment       // the next one with the parts so far; seq 0: none
	nextPart   uint64        // number of the part that comes next
	changed    chan struct{} // closed at each change of what mu guards
	target     time.Duration // longest segment so far
	partTarget time.Duration // longest part so far, partTarget at least
	breaks     uint64        // discontinuities that have left segments
	ended      bool
	problem    error // why there may be no segments
}

func newHLS(v *Viewer) *hlsStream {
	return &hlsStream{viewer: v, changed: make(chan struct{}), partTarget: partTarget}
}

// segmenter cuts for this stream. Segments are numbered from the wall clock in
// seconds, parts from that in milliseconds: no segment of a key frame border is
// shorter than a second, no part of several pictures than a millisecond, so a
// stream that is segmented anew uses no number again. Caches and players may hold
// the old ones.
func (h *hlsStream) segmenter(k hlsKey) *segmenter {
	now := time.Now()
	s := &segmenter{seq: uint64(now.Unix())}
	if k.mp4 {
		h.nextPart = uint64(now.UnixMilli())
		s.pack = &mp4Packer{emit: h.add, grow: h.grow, parts: h.nextPart}
	} else {
		s.pack = &tsPacker{emit: h.add}
	}
	return s
}

// run segments until the stream has ended and its end was shown, or ctx ends.
func (h *hlsStream) run(ctx context.Context, s *segmenter) {
	defer h.viewer.Close()
	for {
		tags, err := h.viewer.Next(ctx)
		if errors.Is(err, io.EOF) {
			s.flush()
			h.end(s.problem)
			select {
			case <-time.After(endedTime):
			case <-ctx.Done():
			}
			return
		}
		if err != nil {
			h.end(s.problem)
			return
		}
		for _, t := range tags {
			s.write(t)
		}
		h.note(s.problem)
	}
}

// add takes a finished segment.
func (h *hlsStream) add(s segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.segments = append(h.segments, s)
	if n := h.surplusLocked(); n > 0 {
		for _, old := range h.segments[:n] {
			if old.discontinuity {
				h.breaks++
			}
		}
		h.segments = append([]segment(nil), h.segments[n:]...)
	}
	h.target = max(h.target, s.duration)
	h.growing = segment{}
	h.partsLocked(s)
	h.changedLocked()
}

// surplusLocked counts the segments that are not kept.
func (h *hlsStream) surplusLocked() int {
	n := max(0, len(h.segments)-keptSegments)
	total := 0
	for _, s := range h.segments[n:] {
		total += s.size()
	}
	for ; total > keptBytes && len(h.segments)-n > leastSegments; n++ {
		total -= h.segments[n].size()
	}
	return n
}

// grow takes a segment that has one part more.
func (h *hlsStream) grow(s segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.growing = s
	h.partsLocked(s)
	h.changedLocked()
}

func (h *hlsStream) partsLocked(s segment) {
	last := s.parts[len(s.parts)-1]
	h.nextPart = last.number + 1
	h.partTarget = max(h.partTarget, last.duration)
}

func (h *hlsStream) end(problem error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended, h.problem = true, problem
	h.changedLocked()
}

func (h *hlsStream) note(problem error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.problem == nil && problem != nil {
		h.problem = problem
		h.changedLocked()
	}
}

func (h *hlsStream) changedLocked() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// hasEnded tells whether no more segments will come.
func (h *hlsStream) hasEnded() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended
}

// wait waits until ready, which is called with mu held, or the stream's end. The
// error is ctx's.
func (h *hlsStream) wait(ctx context.Context, ready func() bool) error {
	for {
		h.mu.Lock()
		done, changed := h.ended || ready(), h.changed
		h.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var (
	errNoSegments = fmt.Errorf("origin: the stream ended before its first segment: %w", media.ErrNotFound)
	errNotKept    = fmt.Errorf("origin: this file is not kept any more, or is not there yet: %w", media.ErrNotFound)
	errAhead      = fmt.Errorf("origin: _HLS_msn: more than one segment ahead of the playlist: %w", media.ErrInvalid)
)

// playlist waits for the first segment as long as firstSegmentTime, and then for
// what l asks for; when that does not come in time the playlist is as it was. (That is
// braid's own: RFC 8216bis section 6.2.5.2 would have an error after three target
// durations, which players take worse than a publisher's absence is.) The error is
// ctx's, or what keeps the stream from being segmented.
func (h *hlsStream) playlist(ctx context.Context, l listing) ([]byte, error) {
	first, cancel := context.WithTimeout(ctx, firstSegmentTime)
	defer cancel()
	err := h.wait(first, func() bool { return len(h.segments) > 0 })
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.segments) == 0 {
		return nil, cmp.Or(h.problem, err, errNoSegments)
	}
	if !l.reload {
		return h.renderLocked(l), nil
	}
	if l.msn > h.segments[len(h.segments)-1].seq+2 {
		return nil, errAhead
	}
	held, cancel := context.WithTimeout(ctx, h.holdLocked(l))
	defer cancel()
	h.mu.Unlock()
	_ = h.wait(held, func() bool { return h.hasLocked(l.msn, l.part) })
	h.mu.Lock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return h.renderLocked(l), nil
}

// holdLocked is how long a request is held. A whole answer to one for a part must
// come within max(3 part targets, 0.8 target durations): hls.js 1.7 waits no longer,
// and ends playback the third time. A fifth of that is for the way.
func (h *hlsStream) holdLocked(l listing) time.Duration {
	if l.part < 0 {
		return holdTime
	}
	return min(holdTime, max(3*h.partTarget, h.target*8/10)*8/10)
}

// hasLocked tells whether a segment is there, or a part of it when part is not
// negative (RFC 8216bis section 6.2.5.2).
func (h *hlsStream) hasLocked(msn uint64, part int) bool {
	last := &h.segments[len(h.segments)-1]
	if part >= 0 && msn == last.seq && part >= len(last.parts) {
		msn, part = msn+1, 0 // beyond the segment's last one: the first of the next
	}
	if msn <= last.seq {
		return true
	}
	return part >= 0 && msn == h.growing.seq && part < len(h.growing.parts)
}

// find gives the file that a playlist names, in pieces. It waits for the part that
// is next.
func (h *hlsStream) find(ctx context.Context, f hlsFile) ([][]byte, error) {
	if f.kind == partFile {
		held, cancel := context.WithTimeout(ctx, holdTime)
		defer cancel()
		if err := h.wait(held, func() bool { return h.nextPart != f.number }); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range append(h.segments[:len(h.segments):len(h.segments)], h.growing) {
		switch {
		case f.kind == initFileKind && s.init != nil && s.init.seq == f.number:
			return [][]byte{s.init.data}, nil
		case f.kind == segmentFile && s.seq == f.number && s.duration > 0:
			var pieces [][]byte
			for _, p := range s.parts {
				pieces = append(pieces, p.data)
			}
			return pieces, nil
		case f.kind == partFile && len(s.parts) > 0 && s.parts[0].number <= f.number && f.number-s.parts[0].number < uint64(len(s.parts)):
			return [][]byte{s.parts[f.number-s.parts[0].number].data}, nil
		}
	}
	return nil, errNotKept
}

// openHLS finds a form of the stream, or begins to make it. It fails as Hub.PlayOnly does.
func (o *Origin) openHLS(k hlsKey) (*hlsStream, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.hls[k]
	if h != nil && !h.hasEnded() {
		h.idle.Reset(idleTime)
		return h, nil
	}
	viewer, err := o.TapOnly(k.app, k.name, k.only)
	if err != nil {
		if h != nil {
			return h, nil // ended: its last segments
		}
		return nil, err
	}
	ctx, cancel := context.WithCancel(o.ctx)
	h = newHLS(viewer)
	h.idle = time.AfterFunc(idleTime, cancel)
	s := h.segmenter(k)
	o.hls[k] = h
	o.wg.Go(func() {
		defer cancel()
		h.run(ctx, s)
		h.idle.Stop()
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.hls[k] == h {
			delete(o.hls, k)
		}
	})
	return h, nil
}

// findHLS finds what openHLS opened, nil if nothing.
func (o *Origin) findHLS(k hlsKey) *hlsStream {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.hls[k]
	if h == nil {
		return nil
	}
	if of, onAir := o.Hub.ownerOf(k.key); onAir && of != h.viewer.s.owner() { // of one that had the name before
		return nil
	}
	if !h.hasEnded() {
		h.idle.Reset(idleTime)
	}
	return h
}
