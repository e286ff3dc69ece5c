package origin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"sync"
	"time"
)

const (
	// A playlist lists the newest listedSegments. Two more are kept for players
	// that are still busy with an older playlist.
	listedSegments = 6
	keptSegments   = listedSegments + 2
	// idleTime after the last request a stream is no longer segmented; players
	// ask for the playlist each target duration.
	idleTime = 60 * time.Second
	// endedTime is how long the playlist of an ended stream stays, so that
	// players see its end and the last segments.
	endedTime = 30 * time.Second
)

// hlsStream is one stream as HLS: a viewer of the hub whose goroutine cuts
// segments. It starts with the first request, from the cached group of pictures,
// and ends idleTime after the last.
type hlsStream struct {
	viewer *Viewer
	idle   *time.Timer // cancels run; each request winds it up again

	mu       sync.Mutex
	segments []segment     // the newest keptSegments
	changed  chan struct{} // closed at each change of what mu guards
	target   time.Duration // longest segment so far
	breaks   uint64        // discontinuities that have left segments
	ended    bool
	problem  error // why there may be no segments
}

// firstSeq numbers segments from the wall clock in seconds. No segment of a key
// frame border is shorter than a second, so a stream that is segmented anew uses
// no number again: caches and players may hold the old ones.
func firstSeq() uint64 { return uint64(time.Now().Unix()) }

// run segments until the stream has ended and its end was shown, or ctx ends.
func (h *hlsStream) run(ctx context.Context) {
	defer h.viewer.Close()
	s := &segmenter{emit: h.add, seq: firstSeq()}
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

func (h *hlsStream) add(s segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.segments = append(h.segments, s)
	if n := len(h.segments) - keptSegments; n > 0 {
		for _, old := range h.segments[:n] {
			if old.discontinuity {
				h.breaks++
			}
		}
		h.segments = append([]segment(nil), h.segments[n:]...)
	}
	h.target = max(h.target, s.duration)
	h.changedLocked()
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

// playlist waits for the first segment as long as ctx allows. prefix leads from
// the playlist to its segments. The error is ctx's, or what keeps the stream
// from being segmented.
func (h *hlsStream) playlist(ctx context.Context, prefix string) ([]byte, error) {
	for {
		h.mu.Lock()
		if len(h.segments) > 0 {
			defer h.mu.Unlock()
			return h.renderLocked(prefix), nil
		}
		ended, problem, changed := h.ended, h.problem, h.changed
		h.mu.Unlock()
		if ended {
			return nil, cmp.Or(problem, errNoSegments)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, cmp.Or(problem, ctx.Err())
		}
	}
}

var errNoSegments = errors.New("origin: the stream ended before its first segment")

// renderLocked writes the media playlist (RFC 8216 section 4.3).
func (h *hlsStream) renderLocked(prefix string) []byte {
	listed, breaks := h.segments, h.breaks
	for len(listed) > listedSegments {
		if listed[0].discontinuity {
			breaks++
		}
		listed = listed[1:]
	}
	b := make([]byte, 0, 1024)
	b = fmt.Appendf(b, "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n",
		int(math.Round(max(1, h.target.Seconds()))), listed[0].seq, breaks)
	for _, s := range listed {
		if s.discontinuity {
			b = append(b, "#EXT-X-DISCONTINUITY\n"...)
		}
		b = fmt.Appendf(b, "#EXT-X-PROGRAM-DATE-TIME:%s\n#EXTINF:%.3f,\n%s%d.ts\n",
			s.began.UTC().Format("2006-01-02T15:04:05.000Z"), s.duration.Seconds(), prefix, s.seq)
	}
	if h.ended {
		b = append(b, "#EXT-X-ENDLIST\n"...)
	}
	return b
}

// segment finds a kept segment by the number in its file name.
func (h *hlsStream) segment(number string) (data []byte, ok bool) {
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return nil, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.segments {
		if s.seq == seq {
			return s.data, true
		}
	}
	return nil, false
}

// openHLS finds the stream's segments, or begins to make them. It fails as Hub.Play does.
func (o *Origin) openHLS(app, name string) (*hlsStream, error) {
	k := key{app, name}
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.hls[k]
	if h != nil && !h.hasEnded() {
		h.idle.Reset(idleTime)
		return h, nil
	}
	viewer, err := o.play(app, name, true)
	if err != nil {
		if h != nil {
			return h, nil // ended: its last segments
		}
		return nil, err
	}
	ctx, cancel := context.WithCancel(o.ctx)
	h = &hlsStream{viewer: viewer, changed: make(chan struct{}), idle: time.AfterFunc(idleTime, cancel)}
	o.hls[k] = h
	o.wg.Go(func() {
		defer cancel()
		h.run(ctx)
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
func (o *Origin) findHLS(app, name string) *hlsStream {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.hls[key{app, name}]
	if h != nil && !h.hasEnded() {
		h.idle.Reset(idleTime)
	}
	return h
}
