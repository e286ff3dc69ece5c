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
	// A rendition that was dropped is tried again after backFirst, doubled up to backMost
	// unless it has lasted for backGood.
	backFirst = time.Minute
	backMost  = 16 * time.Minute
	backGood  = 10 * time.Minute
)

// job is a running Run. Its methods but emit and failed are called by Run's goroutine.
type job struct {
	Config
	log    *slog.Logger
	demux  *flv.Demuxer
	epoch  uint32
	coder  Encoder
	form   form    // of the source, when coder was opened
	cores  float64 // reserved of the budget
	head   []*media.AccessUnit
	bySize []int     // indices of Renditions, the smallest first
	order  []int     // of them those that are on, the biggest first
	away   []absence // by index of Renditions
	opened time.Time // when coder was
	late   time.Time // since when they are; zero: they are not
	asked  time.Time // when keepUp last looked

	out []*rendition

	mu     sync.Mutex
	times  timeline       // of the pictures under way; guarded by mu
	left   map[int]string // renditions that are left out, and why; guarded by mu
	broken string         // why nothing can be made; guarded by mu
	wrong  time.Time      // when that was said; guarded by mu
}

// form is what a source's pictures are like.
type form struct{ w, h, fps int }

// absence is what is known of a rendition's time off the air.
type absence struct {
	since time.Time     // when it was left out last, or came back
	wait  time.Duration // until it is tried again; 0: it only needs room in the budget
	paid  bool          // its part of the budget is reserved
}

func newJob(c Config) *job {
	j := &job{Config: c, log: c.Log.With("domain", c.Domain, "app", c.App, "stream", c.Name), left: make(map[int]string), away: make([]absence, len(c.Renditions))}
	for i, r := range c.Renditions {
		j.out = append(j.out, &rendition{job: j, spec: r})
		j.bySize = append(j.bySize, i)
	}
	slices.SortFunc(j.bySize, func(a, b int) int {
		x, y := c.Renditions[a], c.Renditions[b]
		return cmp.Or(cmp.Compare(x.Height, y.Height), cmp.Compare(x.Kbps, y.Kbps), cmp.Compare(b, a))
	})
	j.order = slices.Clone(j.bySize)
	slices.Reverse(j.order)
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
	j.reserve(0)
	for i := range j.away {
		j.away[i].paid = false
	}
	j.head = nil
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
		if au.Key {
			j.comeBack(au.PTS, time.Now())
		}
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
	w, h := sizeOf(j.head[0])
	j.form = form{w, h, frameRate(j.head)}
	if len(j.order) == 0 {
		j.due(j.head[0].PTS, time.Now())
	}
	if !j.admit() {
		j.head = nil // and tried again with the next key frame
		return
	}
	spec := Spec{Codec: j.head[0].Codec, Failed: j.failed}
	for i, r := range j.Renditions {
		e := Encode{Height: r.Height, Kbps: r.Kbps, FPS: j.form.fps}
		if r.FPS > 0 && r.FPS*10 < e.FPS*9 {
			e.FPS, e.MostFPS = r.FPS, r.FPS
		}
		spec.Encodes = append(spec.Encodes, e)
		j.out[i].rate(e.FPS)
	}
	spec.Emit = func(i int, au *media.AccessUnit) { j.out[i].emit(au) }
	j.coder, j.opened, j.late = j.Open(spec), time.Now(), time.Time{}
	for _, i := range j.order {
		j.coder.Add(i)
	}
	j.log.Info("transcoding", "codec", spec.Codec, "width", w, "height", h, "fps", j.form.fps, "renditions", len(j.order))
	head := j.head
	j.head = nil
	for _, au := range head {
		j.write(au)
	}
}

func (j *job) write(au *media.AccessUnit) {
	j.mu.Lock()
	j.times.add(au, time.Now())
	j.mu.Unlock()
	j.coder.Write(au)
}

// cost is what the source and some of its renditions take, in cores.
func (j *job) cost(of []int) float64 {
	sum := decodeCost(j.form.w, j.form.h, j.form.fps)
	for _, i := range of {
		sum += encodeCost(j.form.w, j.form.h, j.form.fps, j.Renditions[i])
	}
	return sum
}

// reserve makes the job's part of the budget so many cores, if there is room.
func (j *job) reserve(cores float64) (free float64, ok bool) {
	if j.Budget == nil {
		return 0, true
	}
	if free, ok = j.Budget.resize(j.cores, cores); ok {
		j.cores = cores
	}
	return free, ok
}

// admit leaves out the biggest renditions until the rest is within the budget; false
// when nothing is left, or others have it all.
func (j *job) admit() bool {
	for len(j.order) > 0 {
		cost := j.cost(j.order)
		free, ok := j.reserve(cost)
		if ok {
			for _, i := range j.order {
				j.away[i].paid = true
			}
			return true
		}
		if len(j.order) == 1 && cost <= j.Budget.Cores { // some day the others end
			j.refuse(fmt.Sprintf("no room: the smallest rendition takes %.2f cores, and %.2f of %.1f are free for transcoding", cost, free, j.Budget.Cores))
			return false
		}
		i := j.order[0]
		j.away[i].wait = 0
		j.leave(i, fmt.Sprintf("with it the stream takes %.2f cores, and %.2f of %.1f are free for transcoding", cost, free, j.Budget.Cores))
	}
	return false
}

// due puts those into the order that were dropped long enough ago.
func (j *job) due(from time.Duration, now time.Time) {
	for i, a := range j.away {
		if a.wait > 0 && now.Sub(a.since) >= a.wait {
			j.back(i, from, now)
		}
	}
}

// comeBack tries the smallest rendition that was left out, from a key frame of the
// source on, when its time has come and there is room for it.
func (j *job) comeBack(from time.Duration, now time.Time) {
	if !j.late.IsZero() {
		return
	}
	for _, i := range j.bySize {
		a := &j.away[i]
		if slices.Contains(j.order, i) || now.Sub(a.since) < a.wait {
			continue
		}
		if !a.paid {
			if _, a.paid = j.reserve(j.cores + j.cost([]int{i}) - j.cost(nil)); !a.paid {
				continue
			}
		}
		j.back(i, from, now)
		j.coder.Add(i)
		j.log.Info("a rendition is back", "rendition", j.Renditions[i].Name)
		j.tell()
		return
	}
}

// back takes a rendition into the order again.
func (j *job) back(i int, from time.Duration, now time.Time) {
	on := append(j.order, i)
	j.order = nil
	for _, o := range slices.Backward(j.bySize) {
		if slices.Contains(on, o) {
			j.order = append(j.order, o)
		}
	}
	j.away[i].since = now
	j.out[i].open(from)
	j.mu.Lock()
	delete(j.left, i)
	j.mu.Unlock()
}

// keepUp drops the biggest rendition when all are late, and begins anew when nothing
// comes at all.
func (j *job) keepUp(now time.Time) {
	if j.coder == nil || now.Sub(j.asked) < 250*time.Millisecond {
		return
	}
	j.asked = now
	worst, slow := time.Duration(0), -1 // the biggest that is late
	done, fresh := time.Duration(math.MaxInt64), j.opened
	for _, i := range slices.Clone(j.order) {
		pts, at, on := j.out[i].progress()
		if !on { // its name is somebody else's
			j.drop(i, now)
			continue
		}
		behind := j.out[i].behind(now)
		if worst = max(worst, behind); behind >= lateMost && slow < 0 {
			slow = i
		}
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
	case slow < 0:
		j.late = time.Time{}
	case silent > hungFor && worst > hungFor: // with another process, from the next key frame on
		j.log.Warn("the encoders hang, others are started", "silent", silent)
		j.stop()
	case silent > lateFor: // they are starting, or hang: fewer pictures would not help
		j.late = time.Time{}
	case j.late.IsZero():
		j.late = now
	case now.Sub(j.late) >= lateFor && len(j.order) > 1:
		why := fmt.Sprintf("this machine cannot keep up, it was %.1f s behind", j.out[slow].behind(now).Seconds())
		if _, at, _ := j.out[slow].progress(); now.Sub(at) > lateFor {
			why = fmt.Sprintf("nothing has come from its encoder for %.1f s", j.out[slow].behind(now).Seconds())
		}
		j.drop(slow, now)
		j.leave(slow, why)
		j.late = now.Add(settle)
	}
}

// drop ends a rendition's output, for longer each time that it did not last.
func (j *job) drop(i int, now time.Time) {
	j.coder.Drop(i)
	j.order = slices.DeleteFunc(j.order, func(o int) bool { return o == i })
	a := &j.away[i]
	if now.Sub(a.since) >= backGood {
		a.wait = 0
	}
	a.since, a.wait = now, min(max(2*a.wait, backFirst), backMost)
}

// settled forgets the pictures that all have behind them, and tells whether what was
// wrong is over: pictures come again, a while after it was said.
func (j *job) settled(done time.Duration, fresh time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.times.forget(done)
	return j.broken != "" && fresh.Sub(j.wrong) > time.Second
}

// leave takes a rendition off the air until comeBack.
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
