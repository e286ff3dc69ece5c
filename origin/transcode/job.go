package transcode

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/origin"
)

const (
	// headPictures are looked at to find the frame rate before the encoders start.
	headPictures = 12
	// lateMost is how old a picture may be when it comes out of the encoders, and
	// lateFor for how long: a machine that stalls for a moment catches up.
	lateMost = 1500 * time.Millisecond
	lateFor  = 2 * time.Second
	// hungFor is how long the encoders may be silent with work to do: a loaded machine
	// starts their process in less.
	hungFor = 10 * time.Second
	// settle is what dropping a rendition has to help.
	settle = 4 * time.Second
)

// job is a running Run. Its methods but emit and failed are called by Run's goroutine.
type job struct {
	Config
	log     *slog.Logger
	demux   *flv.Demuxer
	epoch   uint32
	coder   Encoder
	release func() // of the budget
	head    []*media.AccessUnit
	order   []int     // indices of Renditions that are on, the biggest first
	opened  time.Time // when coder was
	late    time.Time // since when they are; zero: they are not
	asked   time.Time // when keepUp last looked

	out []*rendition

	mu     sync.Mutex
	times  timeline       // of the pictures under way; guarded by mu
	left   map[int]string // renditions that are left out, and why; guarded by mu
	broken string         // why nothing can be made; guarded by mu
	wrong  time.Time      // when that was said; guarded by mu
}

func newJob(c Config) *job {
	j := &job{Config: c, log: c.Log.With("domain", c.Domain, "app", c.App, "stream", c.Name), left: make(map[int]string), release: func() {}}
	for i, r := range c.Renditions {
		j.out = append(j.out, &rendition{job: j, spec: r})
		j.order = append(j.order, i)
	}
	slices.SortStableFunc(j.order, func(a, b int) int {
		x, y := c.Renditions[a], c.Renditions[b]
		return cmp.Or(cmp.Compare(y.Height, x.Height), cmp.Compare(y.Kbps, x.Kbps))
	})
	return j
}

func (j *job) close() {
	j.stop()
	for _, r := range j.out {
		r.close()
	}
}

// stop ends the encoders; the renditions stay on air.
func (j *job) stop() {
	if j.coder != nil {
		j.coder.Close()
		j.coder = nil
	}
	j.release()
	j.release, j.head = func() {}, nil
	j.mu.Lock()
	j.times = nil
	j.mu.Unlock()
}

// take handles one tag of the source.
func (j *job) take(t *origin.Tag) {
	if j.demux == nil || t.Publisher() != j.epoch { // another publisher, perhaps with another codec
		j.stop()
		for _, r := range j.out {
			r.restart()
		}
		j.demux, j.epoch = new(flv.Demuxer), t.Publisher()
	}
	switch t.Type {
	case flv.Video:
		j.video(t)
	case flv.Audio:
		if _, err := j.demux.Demux(&t.Tag); err != nil && !errors.Is(err, flv.ErrUnsupported) {
			return
		}
		for _, r := range j.out {
			r.sound(&t.Tag, j.demux.Audio())
		}
	}
}

func (j *job) video(t *origin.Tag) {
	au, err := j.demux.Demux(&t.Tag)
	if err != nil {
		j.refuse(err.Error())
		return
	}
	if au == nil {
		return
	}
	au = keyed(j.demux, au, flv.IsVideoKey(t.Payload))
	if j.coder != nil {
		j.write(au)
		return
	}
	if len(j.head) == 0 && !au.Key {
		return
	}
	j.head = append(j.head, au)
	if len(j.head) >= headPictures {
		j.start()
	}
}

// keyed makes an encoder's key frame that is none by H.264 (a recovery point) one that
// a decoder can begin with.
func keyed(d *flv.Demuxer, au *media.AccessUnit, key bool) *media.AccessUnit {
	if au.Key || !key || au.Codec != media.H264 {
		return au
	}
	sps, pps := d.ParameterSets()
	out := *au
	out.Key, out.Units = true, append([][]byte{sps, pps}, au.Units...)
	return &out
}

// start opens the encoders and gives them what has come.
func (j *job) start() {
	fps := frameRate(j.head)
	w, h := sizeOf(j.head[0])
	if !j.admit(w, h, fps) {
		j.head = nil // and tried again with the next key frame
		return
	}
	spec := Spec{Codec: j.head[0].Codec, Failed: j.failed}
	at := slices.Sorted(slices.Values(j.order)) // index of Spec.Encodes → of Renditions
	for _, i := range at {
		r := j.Renditions[i]
		e := Encode{Height: r.Height, Kbps: r.Kbps, FPS: fps}
		if r.FPS > 0 && r.FPS*10 < fps*9 {
			e.FPS, e.MostFPS = r.FPS, r.FPS
		}
		spec.Encodes = append(spec.Encodes, e)
		j.out[i].rate(e.FPS)
	}
	spec.Emit = func(i int, au *media.AccessUnit) { j.out[at[i]].emit(au) }
	spec.Failed = func(i int, reason string) {
		if i >= 0 {
			i = at[i]
		}
		j.failed(i, reason)
	}
	j.coder, j.opened, j.late = dropper{j.Open(spec), at}, time.Now(), time.Time{}
	j.log.Info("transcoding", "codec", spec.Codec, "width", w, "height", h, "fps", fps, "renditions", len(at))
	head := j.head
	j.head = nil
	for _, au := range head {
		j.write(au)
	}
}

// dropper is an Encoder whose outputs are called as Config.Renditions has them.
type dropper struct {
	Encoder
	at []int
}

func (d dropper) Drop(i int) { d.Encoder.Drop(slices.Index(d.at, i)) }

func (j *job) write(au *media.AccessUnit) {
	j.mu.Lock()
	j.times.add(au, time.Now())
	j.mu.Unlock()
	j.coder.Write(au)
}

// admit leaves out the biggest renditions until the rest is within the budget; false
// when nothing is left, or others have it all.
func (j *job) admit(w, h, fps int) bool {
	if j.Budget == nil {
		return len(j.order) > 0
	}
	for len(j.order) > 0 {
		cost := decodeCost(w, h, fps)
		for _, i := range j.order {
			cost += encodeCost(w, h, fps, j.Renditions[i])
		}
		release, free, ok := j.Budget.take(cost)
		if ok {
			j.release = release
			return true
		}
		if len(j.order) == 1 && cost <= j.Budget.Cores { // some day the others end
			j.refuse(fmt.Sprintf("no room: the smallest rendition takes %.2f cores, and %.2f of %.1f are free for transcoding", cost, free, j.Budget.Cores))
			return false
		}
		j.leave(j.order[0], fmt.Sprintf("with it the stream takes %.2f cores, and %.2f of %.1f are free for transcoding", cost, free, j.Budget.Cores))
	}
	return false
}

// keepUp drops the biggest rendition when all are late, and begins anew when nothing
// comes at all.
func (j *job) keepUp(now time.Time) {
	if j.coder == nil || now.Sub(j.asked) < 250*time.Millisecond {
		return
	}
	j.asked = now
	worst, done, fresh := time.Duration(0), time.Duration(math.MaxInt64), j.opened
	for _, i := range j.order {
		pts, at, on := j.out[i].progress()
		if !on {
			continue
		}
		worst = max(worst, j.out[i].behind(now))
		done = min(done, pts)
		if at.After(fresh) {
			fresh = at
		}
	}
	if j.settled(done, fresh) {
		j.refuse("")
	}
	silent := now.Sub(fresh)
	switch {
	case worst < lateMost:
		j.late = time.Time{}
	case silent > hungFor && worst > hungFor: // with another process, from the next key frame on
		j.log.Warn("the encoders hang, others are started", "silent", silent)
		j.stop()
	case silent > lateFor: // they are starting, or hang: fewer pictures would not help
		j.late = time.Time{}
	case j.late.IsZero():
		j.late = now
	case now.Sub(j.late) >= lateFor && len(j.order) > 1:
		i := j.order[0]
		j.coder.Drop(i)
		j.leave(i, fmt.Sprintf("this machine cannot keep up, it was %.1f s behind", worst.Seconds()))
		j.late = now.Add(settle)
	}
}

// settled forgets the pictures that all have behind them, and tells whether what was
// wrong is over: pictures come again, a while after it was said.
func (j *job) settled(done time.Duration, fresh time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.times.forget(done)
	return j.broken != "" && fresh.Sub(j.wrong) > time.Second
}

// leave takes a rendition off the air for as long as the job lasts.
func (j *job) leave(i int, why string) {
	j.order = slices.DeleteFunc(j.order, func(o int) bool { return o == i })
	j.out[i].close()
	j.mu.Lock()
	j.left[i] = why
	j.mu.Unlock()
	j.log.Warn("a rendition is left out", "rendition", j.Renditions[i].Name, "reason", why)
	j.tell()
}

// refuse says why the source cannot be transcoded; "" that it can.
func (j *job) refuse(why string) {
	j.mu.Lock()
	same := j.broken == why
	j.broken, j.wrong = why, time.Now()
	j.mu.Unlock()
	if !same {
		j.tell()
	}
}

// failed is told by the encoders; with -1 that nothing can be decoded.
func (j *job) failed(i int, reason string) {
	if i < 0 {
		j.refuse(reason)
		return
	}
	j.refuse("rendition " + j.Renditions[i].Name + ": " + reason)
}

// tell says all that is wrong.
func (j *job) tell() {
	j.mu.Lock()
	words := j.broken
	for i, r := range j.Renditions {
		if why := j.left[i]; why != "" {
			if words != "" {
				words += "; "
			}
			words += r.Name + " is left out: " + why
		}
	}
	j.mu.Unlock()
	j.Trouble(words)
}

// passed is the SEI of the source's pictures after one time, up to another.
func (j *job) passed(after, upto time.Duration) [][]byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.times.between(after, upto)
}

// oldest is how long ago the first picture after a time went in.
func (j *job) oldest(after time.Duration, now time.Time) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	if at, ok := j.times.oldest(after); ok {
		return now.Sub(at)
	}
	return 0
}

// lost is told by a rendition that it gives nothing any more.
func (j *job) lost(r *rendition, why string) {
	j.mu.Lock()
	j.left[slices.Index(j.out, r)] = why
	j.mu.Unlock()
	j.log.Warn("a rendition is left out", "rendition", r.spec.Name, "reason", why)
	j.tell()
}
