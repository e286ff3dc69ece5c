package media

import (
	"math/rand/v2"
	"testing"
	"time"
)

// sender plays a publisher: audio and video captured by one clock, sent with
// different encoding delays over a network with jitter.
type sender struct {
	rng     *rand.Rand
	start   time.Time
	reports bool
}

type sent struct {
	capture time.Duration
	ts      uint32
	arrival time.Time
}

func (s *sender) stream(rate int64, every, delay time.Duration, n int, ts0 uint32, ppm float64) ([]sent, func(i int) (SenderReport, bool)) {
	var out []sent
	for i := range n {
		c := time.Duration(i) * every
		jitter := time.Duration(5+s.rng.IntN(95)) * time.Millisecond
		if i%7 == 0 {
			jitter = 5 * time.Millisecond
		}
		media := time.Duration(float64(c) * (1 + ppm/1e6))
		out = append(out, sent{c, ts0 + uint32(int64(media)*rate/int64(time.Second)), s.start.Add(c + delay + jitter)})
	}
	ntp := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // the publisher's clock is far off ours
	return out, func(i int) (SenderReport, bool) {
		i -= i % 30
		return SenderReport{NTP: ntp.Add(out[i].capture), Timestamp: out[i].ts}, s.reports && i > 0
	}
}

// play runs 60 s of 50 Hz audio and 25 ms later video through one Clock and
// gives the A/V error at the end.
func (s *sender) play() (avError time.Duration, backwards int) {
	var c Clock
	i, j := 0, 0
	audio, ar := s.stream(48000, 20*time.Millisecond, 0, 3000, 1<<32-48000, 0)
	video, vr := s.stream(90000, 33*time.Millisecond, 25*time.Millisecond, 1800, 1<<32-90000*3, 0)
	at := c.Track(48000, func() (SenderReport, bool) { return ar(i) })
	vt := c.Track(90000, func() (SenderReport, bool) { return vr(j) })
	var a, v, lastA time.Time
	for ; i < len(audio); i++ {
		a = at.Time(audio[i].ts, audio[i].arrival)
		if a.Before(lastA) {
			backwards++
		}
		lastA = a
		for j < len(video)-1 && video[j].capture <= audio[i].capture {
			v = vt.Time(video[j].ts, video[j].arrival)
			j++
		}
	}
	i--
	return v.Sub(a) - (video[j-1].capture - audio[i].capture), backwards
}

func TestClock(t *testing.T) {
	for _, reports := range []bool{false, true} {
		s := &sender{rng: rand.New(rand.NewPCG(1, 2)), start: time.Now(), reports: reports}
		got, backwards := s.play()
		if backwards > 0 {
			t.Errorf("reports %v: time went back %d times", reports, backwards)
		}
		// Without reports the different encoding delays cannot be seen.
		want := time.Duration(0)
		if !reports {
			want = 25 * time.Millisecond
		}
		if (got - want).Abs() > 3*time.Millisecond {
			t.Errorf("reports %v: A/V error %v, want %v", reports, got, want)
		}
	}
}

// A report with a wrong clock must not throw the track off its arrival.
func TestClockIgnoresWildReport(t *testing.T) {
	var c Clock
	n := 0
	a := c.Track(48000, func() (SenderReport, bool) {
		n++
		return SenderReport{NTP: time.Unix(int64(n)*1000, 0), Timestamp: uint32(n) << 20}, true
	})
	start := time.Now()
	for i := range 500 {
		arrival := start.Add(time.Duration(i) * 20 * time.Millisecond)
		got := a.Time(uint32(i*960), arrival)
		if d := got.Sub(arrival).Abs(); d > reportTrust {
			t.Fatalf("packet %d: %v away from its arrival", i, d)
		}
	}
}

// A restarted source (timestamp jump, either way) is followed at once.
func TestClockJump(t *testing.T) {
	for _, jump := range []int32{90000 * 3600, -90000 * 3600} {
		var c Clock
		v := c.Track(90000, nil)
		now, ts := time.Now(), uint32(1000)
		v.Time(ts, now)
		now, ts = now.Add(33*time.Millisecond), ts+uint32(jump)
		if d := v.Time(ts, now).Sub(now).Abs(); d > 50*time.Millisecond {
			t.Errorf("jump of %d: first packet is %v away from its arrival", jump, d)
		}
	}
}
