package transcode

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/origin"
	"braid/sei"
)

const (
	// soundMost is how long sound waits for the picture that it belongs to.
	soundMost = 2 * time.Second
	// soundMax bounds it in frames: a second of AAC has 47.
	soundMax = 1024
)

// rendition is one of the streams that are made. It goes on air with its first
// picture.
type rendition struct {
	job  *job
	spec Rendition

	mu     sync.Mutex
	in     Ingest // nil: not on air
	closed bool
	mux    *flv.Muxer // nil: the first key frame is waited for
	fps    int
	base   uint32        // ms; the muxer's time 0 on the source's timeline
	last   time.Duration // PTS of the newest picture that came out
	some   bool          // last is set
	out    time.Time     // when it came out
	audio  flv.AudioConfig
	header *flv.Tag // of the sound
	queue  []waiting
}

// waiting is sound that its picture has not come to.
type waiting struct {
	tag *flv.Tag
	at  time.Time
}

// rate says how many pictures a second there will be.
func (r *rendition) rate(fps int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fps = fps
}

// sound takes a tag of the source's sound, which passes as it is.
func (r *rendition) sound(t *flv.Tag, form flv.AudioConfig) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.audio = form
	if flv.IsSequenceHeader(t) {
		r.header = t
		if r.in == nil {
			return
		}
	}
	if r.closed {
		return
	}
	now := time.Now()
	r.queue = append(r.queue, waiting{t, now})
	if r.in != nil {
		r.flush(func(w waiting) bool { return now.Sub(w.at) > soundMost })
	}
	if n := len(r.queue) - soundMax; n > 0 {
		r.queue = slices.Delete(r.queue, 0, n)
	}
}

// flush sends sound from the front for as long as due holds.
func (r *rendition) flush(due func(waiting) bool) {
	n := 0
	for n < len(r.queue) && due(r.queue[n]) {
		r.in.WriteTag(r.queue[n].tag)
		n++
	}
	r.queue = slices.Delete(r.queue, 0, n)
}

// emit takes a picture from the encoder.
func (r *rendition) emit(au *media.AccessUnit) {
	if err := r.put(au); err != nil {
		r.job.lost(r, err.Error())
	}
}

func (r *rendition) put(au *media.AccessUnit) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.some && au.PTS <= r.last || r.mux == nil && !au.Key {
		return nil
	}
	after := r.last
	if !r.some {
		after = au.PTS - 1
	}
	units := r.job.passed(after, au.PTS)
	dressed := *au
	for _, u := range units {
		dressed.Units = sei.Insert(dressed.Units, u)
	}
	r.last, r.some, r.out = au.PTS, true, time.Now()
	if r.mux == nil {
		if err := r.begin(au.PTS); err != nil {
			r.closed = true
			return err
		}
	}
	tags, err := r.mux.Append(nil, &dressed)
	if err != nil {
		return nil // the next key frame has its parameter sets again
	}
	for _, t := range tags {
		if t.Type != flv.Script {
			t.Timestamp += r.base
			r.flush(func(w waiting) bool { return int32(w.tag.Timestamp-t.Timestamp) <= 0 })
		}
		r.in.WriteTag(t)
	}
	return nil
}

// begin goes on air with a first key frame, or goes on with one of another publisher.
func (r *rendition) begin(pts time.Duration) error {
	if r.in == nil {
		c := &r.job.Config
		in, err := c.Publish(origin.Publisher{Domain: c.Domain, App: c.App, Name: c.Name + "_" + r.spec.Name, Source: c.Name,
			Remote: "transcoder", Peak: r.peak()})
		if err != nil {
			return fmt.Errorf("it cannot go on air: %w", err)
		}
		r.in = in
	}
	r.mux = flv.NewMuxer(flv.Config{Video: true, Audio: r.audio, FPS: float64(r.fps)})
	r.base = uint32(pts / time.Millisecond)
	early := 0
	for early < len(r.queue) && int32(r.queue[early].tag.Timestamp-r.base) < 0 {
		early++
	}
	r.queue = slices.Delete(r.queue, 0, early)
	if r.header != nil {
		header := *r.header
		header.Timestamp = r.base
		r.queue = slices.Insert(r.queue, 0, waiting{&header, time.Now()})
	}
	return nil
}

// restart waits for the first key frame of the source's next publisher.
func (r *rendition) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mux, r.last, r.some, r.queue, r.header, r.audio = nil, 0, false, nil, nil, flv.AudioConfig{}
}

// peak is the most that a second takes, in bit/s: the encoder's bound, sound, and what
// HLS adds.
func (r *rendition) peak() int {
	const soundKbps, container = 160, 1.08
	return int(float64(r.spec.Kbps+soundKbps) * 1000 * container)
}

// progress is the newest picture that came out, and when; on is false for one that
// gives none any more.
func (r *rendition) progress() (pts time.Duration, at time.Time, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.out, !r.closed
}

// behind is how long ago the oldest picture that has not come out went in.
func (r *rendition) behind(now time.Time) time.Duration {
	r.mu.Lock()
	last, some, closed := r.last, r.some, r.closed
	r.mu.Unlock()
	if closed {
		return 0
	}
	if !some {
		last = -1 << 62
	}
	return r.job.oldest(last, now)
}

// open takes pictures again that were left out, from the source's key frame of a time on.
func (r *rendition) open(from time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.mux, r.last, r.some, r.out = false, nil, from-1, true, time.Time{}
}

func (r *rendition) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.queue = true, nil
	if r.in != nil {
		r.in.Close()
		r.in = nil
	}
}
