package bwe

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
)

// A simulator of links and of flows over them, in steps of a millisecond of a
// time of its own. The receiver's feedback is made by Pion's recorder, so that
// parser and writer are not by the same hand.

// link is a queue before a wire. Nil functions mean: none.
type link struct {
	capacity func(at time.Duration) float64 // bits/s
	delay    time.Duration                  // one way
	limit    time.Duration                  // of the queue
	loss     func(r *rand.Rand, at time.Duration) bool
	jitter   time.Duration // uniform, plus and minus (delay is at least jitter), packets may overtake
	random   *rand.Rand
	free     time.Duration // when the wire is free
	dropped  int
}

func constant(bits float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return bits }
}

// steps is a capacity that changes: pairs of seconds and bits/s.
func steps(pairs ...float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		v := pairs[1]
		for i := 0; i < len(pairs); i += 2 {
			if at.Seconds() >= pairs[i] {
				v = pairs[i+1]
			}
		}
		return v
	}
}

// push takes a packet and says when it comes out, and for how long it queued.
func (l *link) push(size int, at time.Duration) (out, queued time.Duration, ok bool) {
	l.free = max(l.free, at)
	queued = l.free - at
	c := l.capacity(at)
	if c <= 0 || queued > l.limit {
		l.dropped++
		return 0, queued, false
	}
	l.free += time.Duration(float64(size) * 8 / c * 1e9)
	queued = l.free - at
	if l.loss != nil && l.loss(l.random, at) {
		return 0, queued, false
	}
	out = l.free + l.delay
	if l.jitter > 0 {
		out += time.Duration((2*l.random.Float64() - 1) * float64(l.jitter))
	}
	return out, queued, true
}

func random(share float64) func(*rand.Rand, time.Duration) bool {
	return func(r *rand.Rand, _ time.Duration) bool { return r.Float64() < share }
}

// bursts loses packets in bursts (Gilbert): a share in all, with a mean length.
func bursts(share, length float64) func(*rand.Rand, time.Duration) bool {
	bad := false
	return func(r *rand.Rand, _ time.Duration) bool {
		if bad {
			bad = r.Float64() >= 1/length
		} else {
			bad = r.Float64() < share/(1-share)/length
		}
		return bad
	}
}

// subject is what is tried: ours, or Pion's beside it.
type subject interface {
	sent(number uint16, size int, at time.Duration)
	feedback(raw []byte, at time.Duration)
	estimate(at time.Duration) Estimate
	probe(want int, at time.Duration) Probe
}

type ours struct{ *Estimator }

func (o ours) sent(number uint16, size int, at time.Duration) { o.Sent(number, size, at) }
func (o ours) feedback(raw []byte, at time.Duration) {
	if err := o.Feedback(raw, at); err != nil {
		panic(err)
	}
}
func (o ours) estimate(at time.Duration) Estimate     { return o.Estimate(at) }
func (o ours) probe(want int, at time.Duration) Probe { return o.Probe(want, at) }

// event is a packet or a feedback under way.
type event struct {
	at     time.Duration
	order  int
	number uint16
	size   int
	raw    []byte // of feedback
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	o := *e
	x := o[len(o)-1]
	*e = o[:len(o)-1]
	return x
}

// flow sends to one viewer.
type flow struct {
	subject subject
	from    time.Duration // starts
	until   time.Duration // 0: the end
	pause   [2]time.Duration
	most    int   // bits/s: an encoder that follows the estimate up to this
	layers  []int // or: the layers of a publisher, the best that fits is sent
	every   time.Duration
	path    *link
	back    *link         // of feedback; nil: as long as path, empty
	delay   time.Duration // one way, beside that of the links
	keys    int           // frames from a key frame, of eight times the size, to the next; 0: none
	burst   bool          // probes leave at once, not spread

	pacer    Pacer
	queue    []int // sizes that wait
	queued   int
	number   uint16
	frames   int
	train    int // bytes of padding still to send
	trainEnd time.Duration
	onway    events
	backway  events
	order    int
	recorder *twcc.Recorder
	random   *rand.Rand

	samples []sample
	bytes   int // received since the last sample
	wait    time.Duration
	probes  int
	padding int
}

type sample struct {
	at       time.Duration
	estimate float64
	got      float64       // bits/s received in the last 100 ms
	queued   time.Duration // longest
	sending  int           // layer or bits/s wanted
}

const simPacket = 1200

func (f *flow) active(at time.Duration) bool {
	return at >= f.from && (f.until == 0 || at < f.until) && !(at >= f.pause[0] && at < f.pause[1])
}

// tick is a millisecond.
func (f *flow) tick(at time.Duration) {
	f.arrive(at)
	e := f.subject.estimate(at)
	f.pacer.SetRate(e.Rate, at)
	if f.active(at) {
		f.produce(e.Rate, at)
		f.ask(e.Rate, at)
	}
	f.leave(at)
	if at%(100*time.Millisecond) == 0 {
		f.samples = append(f.samples, sample{at, float64(e.Rate), float64(f.bytes) * 80, f.wait, f.target(e.Rate)})
		f.bytes, f.wait = 0, 0
	}
}

// target is what the media wants to be now.
func (f *flow) target(rate int) int {
	if f.layers == nil {
		return min(rate, f.most)
	}
	best := f.layers[0]
	for _, l := range f.layers {
		if l <= rate {
			best = l
		}
	}
	return best
}

// produce makes 30 frames a second, of unequal size.
func (f *flow) produce(rate int, at time.Duration) {
	if at-f.from < time.Duration(f.frames)*time.Second/30 {
		return
	}
	if late := int((at - f.from) * 30 / time.Second); late > f.frames+1 { // after a pause
		f.frames = late
	}
	f.frames++
	size := int(float64(f.target(rate)) / 8 / 30 * (0.8 + 0.4*f.random.Float64()))
	if f.keys > 0 && f.frames%f.keys == 1 {
		size *= 8
	}
	for size > 0 {
		f.queue = append(f.queue, min(size, simPacket))
		f.queued += min(size, simPacket)
		size -= simPacket
	}
}

// ask asks each 25 ms whether to probe, for the next layer or for the most.
func (f *flow) ask(rate int, at time.Duration) {
	if at%(25*time.Millisecond) != 0 || f.train > 0 {
		return
	}
	want := f.most
	for _, l := range f.layers {
		if l > rate {
			want = l
			break
		}
	}
	if p := f.subject.probe(want, at); p.Bytes > 0 {
		f.probes++
		f.train, f.trainEnd = p.Bytes, at+p.Span
	}
}

// leave sends what may go: media as paced, padding evenly over its span.
func (f *flow) leave(at time.Duration) {
	for len(f.queue) > 0 && f.pacer.May(Video, f.queued, at) > 0 {
		size := f.queue[0]
		f.queue = f.queue[1:]
		f.queued -= size
		f.train -= min(size, f.train)
		f.send(size, at)
	}
	for f.train > 0 {
		left := max((f.trainEnd - at).Seconds(), 0)
		due := float64(f.train) - left/0.025*float64(max(f.train, simPacket))
		if !f.burst && due < 200 && left > 0 && at%(5*time.Millisecond) != 0 {
			return
		}
		size := max(min(f.train, simPacket, 1+f.train/5), 200)
		f.train -= size
		f.padding += size
		f.send(size, at)
		if !f.burst {
			return
		}
	}
	f.train = 0
}

func (f *flow) send(size int, at time.Duration) {
	f.pacer.Sent(size, at)
	f.subject.sent(f.number, size, at)
	out, queued, ok := f.path.push(size, at)
	f.wait = max(f.wait, queued)
	if ok {
		f.order++
		heap.Push(&f.onway, event{at: out + f.delay, order: f.order, number: f.number, size: size})
	}
	f.number++
}

// arrive lets packets arrive at the receiver and feedback at the sender.
func (f *flow) arrive(at time.Duration) {
	const offset = 7 * time.Hour // of the receiver's clock
	for len(f.onway) > 0 && f.onway[0].at <= at {
		p := heap.Pop(&f.onway).(event)
		f.bytes += p.size
		f.recorder.Record(1, p.number, int64((p.at+offset)/time.Microsecond))
	}
	if f.every == 0 {
		f.every = 50 * time.Millisecond
	}
	if at%f.every == 0 {
		f.report(at)
	}
	for len(f.backway) > 0 && f.backway[0].at <= at {
		f.subject.feedback(heap.Pop(&f.backway).(event).raw, at)
	}
}

func (f *flow) report(at time.Duration) {
	packets := f.recorder.BuildFeedbackPacket()
	if len(packets) == 0 {
		return
	}
	raw, err := rtcp.Marshal(packets)
	if err != nil {
		panic(err)
	}
	out := at + f.path.delay
	if f.back != nil {
		var ok bool
		if out, _, ok = f.back.push(len(raw)+28, at); !ok {
			return
		}
	}
	f.order++
	heap.Push(&f.backway, event{at: out + f.delay, order: f.order, raw: raw})
}

// tcp is a long or an on-off Reno flow, acknowledged packet by packet.
type tcp struct {
	from   time.Duration
	on     func(at time.Duration) bool // nil: always
	path   *link
	window float64
	slow   float64 // slow start threshold
	flying int
	acks   []event // size 0: lost
	cut    time.Duration
}

func (t *tcp) tick(at time.Duration) {
	if at < t.from || t.on != nil && !t.on(at) {
		t.window, t.slow, t.flying, t.acks = 0, 0, 0, nil
		return
	}
	if t.window == 0 {
		t.window, t.slow = 10, 1e9
	}
	t.acks = slices.DeleteFunc(t.acks, func(a event) bool {
		if a.at > at {
			return false
		}
		t.flying--
		switch {
		case a.size == 0 && at > t.cut:
			t.window = max(t.window/2, 2)
			t.slow, t.cut = t.window, at+2*t.path.delay+t.path.limit
		case a.size == 0:
		case t.window < t.slow:
			t.window++
		default:
			t.window += 1 / t.window
		}
		return true
	})
	for t.flying < int(t.window) {
		t.flying++
		out, _, ok := t.path.push(1500, at)
		if !ok {
			t.acks = append(t.acks, event{at: at + 2*t.path.delay + t.path.limit})
			continue
		}
		t.acks = append(t.acks, event{at: out + t.path.delay, size: 1500})
	}
}

// run runs flows for a time; each is called before a millisecond.
func run(d time.Duration, each func(at time.Duration), flows ...*flow) {
	for i, f := range flows {
		f.random = rand.New(rand.NewPCG(uint64(i), 7))
		f.recorder = twcc.NewRecorder(1)
		if f.subject == nil {
			f.subject = ours{New(Config{})}
		}
		if f.path.random == nil {
			f.path.random = rand.New(rand.NewPCG(1, 2))
		}
	}
	for at := time.Duration(0); at < d; at += time.Millisecond {
		if each != nil {
			each(at)
		}
		for _, f := range flows {
			f.tick(at)
		}
	}
}

// between returns the samples of a span in seconds.
func (f *flow) between(from, to float64) []sample {
	return slices.DeleteFunc(slices.Clone(f.samples), func(s sample) bool {
		return s.at.Seconds() < from || s.at.Seconds() >= to
	})
}

func mean(s []sample, v func(sample) float64) float64 {
	sum := 0.0
	for _, x := range s {
		sum += v(x)
	}
	return sum / math.Max(float64(len(s)), 1)
}

func got(s sample) float64      { return s.got }
func estimate(s sample) float64 { return s.estimate }
func sending(s sample) float64  { return float64(s.sending) }

// worst95 is the 95th percentile of the longest wait of each 100 ms.
func worst95(s []sample) time.Duration {
	if len(s) == 0 {
		return 0
	}
	q := make([]time.Duration, len(s))
	for i := range s {
		q[i] = s[i].queued
	}
	slices.Sort(q)
	return q[len(q)*95/100]
}

// first is the first second after from at which the estimate is at least bits/s.
func (f *flow) first(from, bits float64) float64 {
	for _, s := range f.samples {
		if s.at.Seconds() >= from && s.estimate >= bits {
			return s.at.Seconds() - from
		}
	}
	return math.Inf(1)
}
