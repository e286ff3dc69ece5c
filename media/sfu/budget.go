package sfu

import (
	"math"
	"sync"
	"time"

	"braid/media/bwe"
)

// budget is what is known about the path to one viewer: the estimator of its
// wire, which it implements, behind a lock.
type budget struct {
	srv *Server

	mu        sync.Mutex
	estimator *bwe.Estimator // guarded by mu
	first     time.Duration  // when a packet went out that the viewer can tell about; 0: none; guarded by mu
	heard     bool           // feedback came; guarded by mu

	repairs bucket // what may be sent again now; guarded by mu
}

// How long the first feedback may take, and how long nobody wonders that what is
// known grows.
const (
	hearWithin  = time.Second
	startWithin = 3 * time.Second
)

// newBudget makes one that knows nothing.
func newBudget(s *Server) *budget {
	return &budget{srv: s, estimator: bwe.New(bwe.Config{})}
}

// Sent and Feedback implement estimator.
func (b *budget) Sent(number uint16, size int, at time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first == 0 {
		b.first = at
	}
	b.estimator.Sent(number, size, at)
}

func (b *budget) Feedback(raw []byte, at time.Duration) {
	b.mu.Lock()
	err := b.estimator.Feedback(raw, at)
	if err == nil {
		b.heard = true
	}
	over := b.heard && b.estimator.Estimate(at).Over
	b.mu.Unlock()
	if over {
		b.srv.hurry()
	}
}

// rate is what may be sent, in bits/s; infinite where the viewer does not tell
// what arrives. tells is whether it promised to, of some picture: what it tells of
// sound alone says nothing of what else would fit, and no probe can find it out.
func (b *budget) rate(tells bool, at time.Duration) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !tells || !b.heard && b.first > 0 && at-b.first > hearWithin {
		return math.Inf(1)
	}
	return float64(b.estimator.Estimate(at).Rate)
}

// known is the estimate, once the viewer has told what arrives.
func (b *budget) known(at time.Duration) (e bwe.Estimate, heard bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.heard {
		return bwe.Estimate{}, false
	}
	return b.estimator.Estimate(at), true
}

// starting tells that it is too early to call the path narrow.
func (b *budget) starting(at time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first == 0 || at-b.first < startWithin
}

// Bounds of a round trip, as far as what is sent again is concerned, and what is
// taken for it while nobody knows: a receiver asks again as soon.
const (
	leastRoundTrip = 20 * time.Millisecond
	mostRoundTrip  = 500 * time.Millisecond
	someRoundTrip  = 50 * time.Millisecond
)

// roundTrip is how long an answer takes to the viewer and back.
func (w *wire) roundTrip() time.Duration {
	if w.budget == nil {
		return someRoundTrip
	}
	e, heard := w.budget.known(w.srv.age())
	if !heard || e.RTT <= 0 {
		return someRoundTrip
	}
	return min(max(e.RTT, leastRoundTrip), mostRoundTrip)
}

// Of what a path carries, so much may go to what is sent again, and so many seconds
// of it at once: a full queue loses packets, each of which the viewer asks for again,
// and what is answered fills the queue. The least lets a few packets through anyway.
const (
	repairShare = 0.5
	repairSpan  = 1.0
	repairLeast = 6 * 1200.0 // bytes
	repairQueue = 60 * time.Millisecond
)

// repair takes up to so many bytes for what is sent again, as far as the path has
// room for them; where nothing is known of it, all.
func (b *budget) repair(bytes int, at time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.heard {
		return true
	}
	e := b.estimator.Estimate(at)
	rate := e.Rate
	if !e.Over && e.Queue < repairQueue { // what arrives fits; it may be more than the estimate, where it cannot be made less
		rate = max(rate, e.Acked)
	}
	each := repairShare * float64(rate) / 8 // bytes a second
	return b.repairs.take(bytes, each, max(repairSpan*each, repairLeast), at)
}

// bucket lets bytes through at a rate, and some at once.
type bucket struct {
	tokens float64 // bytes
	filled time.Duration
}

// take spends bytes, if there are so many; it gets rate bytes a second and holds most.
func (b *bucket) take(bytes int, rate, most float64, at time.Duration) bool {
	b.tokens = min(b.tokens+rate*(at-b.filled).Seconds(), most)
	b.filled = at
	if b.tokens < float64(bytes) {
		return false
	}
	b.tokens -= float64(bytes)
	return true
}

// repeated is what goes to the viewer again, in bits/s, over the last second or
// so. It is owned by Server.steer.
type repeated struct {
	at     time.Duration
	octets uint64
	rate   float64
}

func (r *repeated) measure(octets uint64, at time.Duration) float64 {
	if span := (at - r.at).Seconds(); span > 0 {
		r.rate += (float64(octets-r.octets)*8/span - r.rate) * min(1, span)
		r.at, r.octets = at, octets
	}
	return r.rate
}

// probe says how many bytes to send now beside media, to see whether want bits/s
// (0: no more is wanted) would arrive, or what loss comes of.
func (b *budget) probe(want float64, at time.Duration) (bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.heard {
		return 0
	}
	return b.estimator.Probe(int(want), at).Bytes
}

// show is a picture on a viewer's connection.
type show struct {
	forward *forward
	how     Wanted
	rank    int
}

// share gives each show the layer that fits its element and, all together, the
// path. sound is what else is sent, in bits/s; limited tells that somebody gets
// less than it wants.
func (w *wire) share(now time.Time, shows []show, sound float64) (limited bool) {
	if len(shows) == 0 || w.budget == nil {
		return false
	}
	at := w.srv.clock(now)
	for len(w.claims) < len(shows) {
		w.claims = append(w.claims, claim{})
	}
	claims := w.claims[:len(shows)]
	tells := false
	for i := range shows {
		shows[i].claim(&claims[i], now)
		if out := shows[i].forward.out.Load(); out == nil || out.transport != 0 {
			tells = true
		}
	}
	rate := w.budget.rate(tells, at)
	other := sound + w.repeated.measure(w.again.Load(), at)
	w.given = allocate(w.given, rate-other, claims)
	given := w.given
	media := other
	for i := range shows {
		if given[i] >= 0 {
			media += claims[i].rates[given[i]]
		}
		shows[i].take(given[i], claims[i].current, now)
		limited = limited || given[i] < len(claims[i].rates)-1
	}
	limited = limited && !w.budget.starting(at)
	w.limited.Store(limited)
	if !math.IsInf(rate, 1) {
		w.carries.Store(math.Float64bits(rate))
		w.spread(int(max(rate, media)), at) // what cannot be made smaller is not held up either
	}
	e, heard := w.budget.known(at)
	w.doubles.steer(e, heard, rate-media, at)
	want := next(claims, given)
	if want > 0 {
		want += other
	}
	w.pad(shows, w.budget.probe(want, at), now)
	return limited
}

// sound is what a forward of sound sends, in bits/s, its repeats and headers
// included.
func (f *forward) sound() float64 {
	rate := f.track.layers[0].bitrate()
	if rate == 0 || f.staged && f.track.backstage.Load() {
		return 0
	}
	return rate*float64(1+f.red.repeats.Load()) + soundHeaders
}

// soundHeaders is what the headers of 50 packets a second take, in bits/s: as
// much as speech itself.
const soundHeaders = 50 * overhead * 8

// headers is what a packet has around its payload, on average as a share of it.
const headers = 1.05

// claim lists what the show may get, in c's memory.
func (s *show) claim(c *claim, now time.Time) {
	f := s.forward
	*c = claim{rank: s.rank, area: s.how.Width * s.how.Height, rates: c.rates[:0], current: -1, held: now.Before(f.held)}
	if c.area == 0 {
		c.area = math.MaxInt
	}
	f.options = f.track.options(f.options[:0], s.how.Width, s.how.Height)
	on := f.aimed()
	rate := 0.0
	for i, l := range f.options {
		switch measured := l.bitrate() * headers; {
		case measured > 0:
			rate = measured
		default: // as browsers divide it
			rate *= 3
		}
		c.rates = append(c.rates, rate)
		if l == on {
			c.current = i
		}
	}
	if on != nil && c.current < 0 { // it went away, or the element became smaller
		c.current = len(c.rates) - 1
	}
}

// How long a picture stays small after the path could not carry it: longer each
// time that a try in between failed.
const (
	holdLeast = 2 * time.Second
	holdMost  = 30 * time.Second
	holdTry   = 10 * time.Second // what lasts so long was no failure
)

// take moves the forward to what it was given.
func (s *show) take(given, current int, now time.Time) {
	f := s.forward
	switch {
	case given < current:
		if now.Sub(f.raised) < holdTry {
			f.hold = min(2*f.hold, holdMost)
		} else {
			f.hold = holdLeast
		}
		f.hold = max(f.hold, holdLeast)
		f.held = now.Add(f.hold)
	case given > current && current >= 0:
		f.raised = now
	}
	if given < 0 {
		f.aim(nil)
		return
	}
	f.aimAt(f.options[:given+1])
}

// pad sends what a probe needs: the newest pictures once more, by retransmission
// packets, which receivers throw away. Where these were not negotiated there are
// no probes.
func (w *wire) pad(shows []show, bytes int, now time.Time) {
	if bytes == 0 {
		return
	}
	socket := w.srv.net.socket
	socket.Cork()
	defer socket.Uncork()
	for i := range shows {
		if bytes -= shows[i].forward.pad(bytes, now); bytes <= 0 {
			return
		}
	}
}
