package sfu

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"braid/media"
)

const (
	levelsEvery  = 300 * time.Millisecond
	qualityEvery = 2 * time.Second
	heard        = -55                    // dBov; quieter is breath and fans
	speakerHolds = 700 * time.Millisecond // of silence: between words one goes on speaking
)

// meter tells a channel's participants who is heard and how well media flow,
// until stop is closed.
func (d *directory) meter(c *channel, stop chan struct{}) {
	tick := time.NewTicker(levelsEvery)
	defer tick.Stop()
	m := meter{ears: map[*layer]*ear{}, spoke: map[string]time.Time{}}
	defer m.close()
	defer c.room.seen.Store(nil)
	for next := time.Now().Add(qualityEvery); ; {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			if now.Before(next) {
				d.measure(c, &m, now, false)
				continue
			}
			next = next.Add(qualityEvery)
			d.measure(c, &m, now, true)
		}
	}
}

// measure looks at everyone in the channel.
func (d *directory) measure(c *channel, m *meter, now time.Time, quality bool) {
	d.mu.Lock()
	var people []person
	for _, o := range c.members {
		d.showLocked(c, o) // sizes become known while media flow
		who := person{id: o.id}
		for _, sh := range o.shown {
			who.layers = append(who.layers, sh.track.layers...)
			if sh.state.Source == Microphone && !sh.state.Muted {
				who.voice = sh.track.layers[0]
			}
		}
		for _, s := range o.sessions {
			if s.participant != nil {
				who.participant = s.participant
			}
		}
		people = append(people, who)
	}
	listeners := c.room.members
	d.mu.Unlock()

	m.listen(people)
	var news []Notice
	if n, changed := m.levels(people, now); changed {
		news = append(news, n)
		if len(n.Speakers) > 0 {
			c.room.speaker.Store(&n.Speakers[0])
		}
	}
	if quality {
		if n, changed := m.qualities(people, now); changed {
			news = append(news, n)
		}
	}
	c.room.seen.Store(&seen{m.last, m.lastRate, m.lost})
	for _, p := range listeners {
		for _, n := range news {
			p.tell(n)
		}
	}
}

// person is a user as the meter sees it.
type person struct {
	id          string
	participant *Participant // nil for others
	layers      []*layer
	voice       *layer // nil while silent on purpose
}

// meter is owned by directory.meter's goroutine.
type meter struct {
	ears     map[*layer]*ear
	spoke    map[string]time.Time // when a user was last heard
	last     Levels
	lastRate map[string]Quality // swapped whole
	lost     map[*layer]float64 // share of what a layer brought; swapped whole
}

func (m *meter) close() {
	for _, e := range m.ears {
		e.detach()
	}
}

// listen has an ear on each layer.
func (m *meter) listen(people []person) {
	now := map[*layer]bool{}
	for _, p := range people {
		for _, l := range p.layers {
			now[l] = true
			if m.ears[l] == nil {
				e := &ear{clock: l.track.codec.name.ClockRate()}
				e.detach = l.attach(e)
				m.ears[l] = e
			}
		}
	}
	for l, e := range m.ears {
		if !now[l] {
			e.detach()
			delete(m.ears, l)
		}
	}
}

// levels says who is heard; changed is false when it is what was said before.
func (m *meter) levels(people []person, now time.Time) (l Levels, changed bool) {
	l.Users = map[string]int{}
	here := map[string]bool{}
	for _, p := range people {
		here[p.id] = true
		if p.voice == nil {
			continue
		}
		if level, ok := m.ears[p.voice].level(); ok && level >= heard {
			l.Users[p.id] = level
			m.spoke[p.id] = now
		}
	}
	l.Speakers = []string{}
	for id, at := range m.spoke {
		if !here[id] || now.Sub(at) > speakerHolds {
			delete(m.spoke, id)
			continue
		}
		l.Speakers = append(l.Speakers, id)
	}
	loudness := func(id string) int {
		if v, ok := l.Users[id]; ok {
			return v
		}
		return heard - 1
	}
	slices.SortFunc(l.Speakers, func(a, b string) int {
		return cmp.Or(cmp.Compare(loudness(b), loudness(a)), cmp.Compare(a, b))
	})
	changed = !maps.Equal(l.Users, m.last.Users) || !slices.Equal(l.Speakers, m.last.Speakers)
	m.last = l
	return l, changed
}

// ear hears what a track brings.
type ear struct {
	detach func()
	clock  int64

	mu      sync.Mutex
	energy  float64 // sum over packets that tell their level
	voiced  int     // how many these are
	begun   bool
	newest  uint16
	ahead   int // numbers passed since the last look
	got     int
	transit int64 // of the newest packet, in clock units
	jitter  float64
}

// Receive implements media.Receiver.
func (e *ear) Receive(p *media.Packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.Level >= 0 {
		e.energy += math.Pow(10, -float64(p.Level)/10)
		e.voiced++
	}
	e.got++
	transit := p.Arrival.UnixMicro()*e.clock/1e6 - int64(p.Timestamp)
	if !e.begun {
		e.begun, e.newest, e.ahead, e.transit = true, p.Seq, 1, transit
		return
	}
	if step := int16(p.Seq - e.newest); step > 0 {
		e.ahead += int(step)
		e.newest = p.Seq
	}
	// RFC 3550 section 6.4.1. Timestamps wrap: a difference is taken in 32 bits.
	change := float64(int32(transit - e.transit))
	e.transit = transit
	e.jitter += (math.Abs(change) - e.jitter) / 16
}

// level is the mean since the last look, in dBov; ok is false when no packet
// told one.
func (e *ear) level() (dBov int, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.voiced == 0 {
		return 0, false
	}
	mean := e.energy / float64(e.voiced)
	e.energy, e.voiced = 0, 0
	return max(-127, int(math.Round(10*math.Log10(mean)))), true
}

// arrived tells what came since the last look, after retransmissions.
func (e *ear) arrived() (got, lost int, jitter time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	got, lost = e.got, max(0, e.ahead-e.got)
	e.got, e.ahead = 0, 0
	return got, lost, time.Duration(e.jitter / float64(e.clock) * float64(time.Second))
}

// health is what a receiver's reports say about one track that is sent to it.
type health struct {
	mu     sync.Mutex
	at     time.Time // of the newest report; zero: there is none
	lost   float64   // share, 0 to 1
	jitter time.Duration
	rtt    time.Duration // 0 unknown
}

// forget is for a track that is not sent any more.
func (h *health) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at, h.lost, h.jitter, h.rtt = time.Time{}, 0, 0, 0
}

// report takes reception reports (RFC 3550 section 6.4.1) about a forward.
func (h *health) report(reports []rtcp.ReceptionReport, f *forward, now time.Time) {
	out := f.out.Load()
	for _, r := range reports {
		if out == nil || r.SSRC != out.ssrc {
			continue
		}
		h.mu.Lock()
		h.at = now
		h.lost = float64(r.FractionLost) / 256
		h.jitter = time.Duration(r.Jitter) * time.Second / time.Duration(f.track.codec.name.ClockRate())
		if told := f.told.Load(); told != nil && r.LastSenderReport == told.name {
			h.rtt = max(0, now.Sub(told.at)-time.Duration(r.Delay)*time.Second/65536)
		}
		h.mu.Unlock()
	}
}

// reportHolds is how long a report counts; receivers send one each 1 to 5 s.
const reportHolds = 8 * time.Second

// Quality says how well media flow to and from a user: 5 excellent, 4 good, 3
// fair, 2 poor, 1 bad, 0 lost. A direction that carries nothing has 5.
//
//	      5      4      3      2     1
//	loss  <1 %   <3 %   <8 %   <15 % more   after retransmissions
//	jitter <30   <60    <100   <200  more   ms
//	rtt   <150   <250   <400   <800  more   ms
//
// Pictures smaller than wanted, for want of bandwidth, make it 3 at most.
// The worst counts; Reasons names those that make it less than 4, or
// "disconnected".
type Quality struct {
	Up, Down int
	Reasons  []string // immutable, sorted
}

func (q Quality) equal(o Quality) bool {
	return q.Up == o.Up && q.Down == o.Down && slices.Equal(q.Reasons, o.Reasons)
}

// rate turns measures into a grade.
func rate(lost float64, jitter, rtt time.Duration) (grade int, reasons []string) {
	grade = 5
	for _, m := range []struct {
		name   string
		value  float64
		limits [4]float64
	}{
		{"loss", lost * 100, [4]float64{1, 3, 8, 15}},
		{"jitter", float64(jitter) / 1e6, [4]float64{30, 60, 100, 200}},
		{"rtt", float64(rtt) / 1e6, [4]float64{150, 250, 400, 800}},
	} {
		g := 5
		for _, l := range m.limits {
			if m.value >= l {
				g--
			}
		}
		if g < 4 {
			reasons = append(reasons, m.name)
		}
		grade = min(grade, g)
	}
	return grade, reasons
}

// qualities rates all participants.
func (m *meter) qualities(people []person, now time.Time) (q Qualities, changed bool) {
	q.Users, m.lost = map[string]Quality{}, map[*layer]float64{}
	for _, p := range people {
		got, lost, jitter := 0, 0, time.Duration(0)
		for _, layer := range p.layers {
			g, l, j := m.ears[layer].arrived()
			got, lost, jitter = got+g, lost+l, max(jitter, j)
			if l > 0 {
				m.lost[layer] = float64(l) / float64(g+l)
			}
		}
		if p.participant == nil {
			continue
		}
		share := 0.0
		if lost > 0 {
			share = float64(lost) / float64(got+lost)
		}
		q.Users[p.id] = p.participant.quality(share, jitter, now)
	}
	changed = !maps.EqualFunc(q.Users, m.lastRate, Quality.equal)
	m.lastRate = q.Users
	return q, changed
}

// quality rates a participant, of whose own media the loss and jitter are known.
func (p *Participant) quality(lost float64, jitter time.Duration, now time.Time) Quality {
	p.mu.Lock()
	rtt := p.rtt
	p.mu.Unlock()
	var q Quality
	var reasons []string
	add := func(grade int, why []string) int { reasons = append(reasons, why...); return grade }
	switch sends, state := p.up.look(); {
	case !sends:
		q.Up = add(5, nil)
	case state == webrtc.PeerConnectionStateDisconnected || state == webrtc.PeerConnectionStateFailed:
		q.Up = add(0, []string{"disconnected"})
	default:
		q.Up = add(rate(lost, jitter, rtt))
	}
	switch receives, state, worst := p.down.look(now); {
	case !receives:
		q.Down = add(5, nil)
	case state == webrtc.PeerConnectionStateDisconnected || state == webrtc.PeerConnectionStateFailed:
		q.Down = add(0, []string{"disconnected"})
	default:
		if worst.rtt == 0 {
			worst.rtt = rtt
		}
		q.Down = add(rate(worst.lost, worst.jitter, worst.rtt))
		if worst.limited {
			q.Down = min(q.Down, add(3, []string{"bandwidth"}))
		}
	}
	slices.Sort(reasons)
	q.Reasons = slices.Compact(reasons)
	return q
}

// look tells whether the participant publishes, and how its connection is.
func (u *up) look() (sends bool, state webrtc.PeerConnectionState) {
	u.live.Lock()
	defer u.live.Unlock()
	return len(u.tracks) > 0, u.state
}

// measures are the worst of several tracks.
type measures struct {
	lost        float64
	jitter, rtt time.Duration
	limited     bool // pictures are smaller than they are wanted, or left out
}

// look tells whether anything is sent to the participant, how its connection is
// and what its reports say.
func (d *down) look(now time.Time) (receives bool, state webrtc.PeerConnectionState, worst measures) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pc == nil {
		return false, 0, worst
	}
	worst.limited = d.limited
	for _, s := range d.lanes {
		if !s.flows {
			continue
		}
		receives = true
		s.health.mu.Lock()
		if now.Sub(s.health.at) < reportHolds {
			worst.lost = max(worst.lost, s.health.lost)
			worst.jitter = max(worst.jitter, s.health.jitter)
			worst.rtt = max(worst.rtt, s.health.rtt)
		}
		s.health.mu.Unlock()
	}
	return receives, d.pc.ConnectionState(), worst
}
