package engine

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"braid/media/codec"
	"braid/mixer/wire"
)

func TestTicks(t *testing.T) {
	for _, fps := range []int{1, 7, 15, 24, 25, 30, 59, 60} {
		for _, n := range []int64{0, 1, 2, 29, 30, 31, 1e6 + 1, 123456789} {
			at := tickTime(n, fps)
			if got := tickAt(at, fps); got != n {
				t.Errorf("%d fps: tick at %v is %d, want %d", fps, at, got, n)
			}
			if got := tickAt(at-1, fps); n > 0 && got != n-1 {
				t.Errorf("%d fps: tick at %v is %d, want %d", fps, at-1, got, n-1)
			}
		}
	}
	if got := timeOf(samplesOf(100*time.Hour+time.Second/3), rate); got < 100*time.Hour+time.Second/3-11*time.Microsecond || got > 100*time.Hour+time.Second/3+11*time.Microsecond {
		t.Errorf("there and back: %v", got)
	}
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		w, h, pw, ph int
		fit          wire.Fit
		src, dst     rect
	}{
		{1280, 720, 640, 360, wire.FitInside, rect{0, 0, 1280, 720}, rect{0, 0, 640, 360}},
		{640, 360, 426, 240, wire.FitInside, rect{0, 0, 640, 360}, rect{0, 0, 426, 240}}, // 239.6 lines
		{640, 480, 640, 360, wire.FitInside, rect{0, 0, 640, 480}, rect{80, 0, 480, 360}},
		{640, 480, 640, 360, wire.FitCrop, rect{0, 60, 640, 360}, rect{0, 0, 640, 360}},
		{360, 640, 320, 180, wire.FitInside, rect{0, 0, 360, 640}, rect{108, 0, 102, 180}},
		{360, 640, 320, 180, wire.FitCrop, rect{0, 218, 360, 202}, rect{0, 0, 320, 180}},
		{1280, 720, 180, 180, wire.FitCrop, rect{280, 0, 720, 720}, rect{0, 0, 180, 180}},
		{321, 181, 320, 180, wire.FitInside, rect{0, 0, 320, 180}, rect{0, 0, 320, 180}},
		{4000, 2, 100, 100, wire.FitInside, rect{0, 0, 4000, 2}, rect{0, 48, 100, 2}},
	} {
		src, dst := place(c.w, c.h, c.pw, c.ph, c.fit)
		if src != c.src || dst != c.dst {
			t.Errorf("%dx%d in %dx%d %s: got %v to %v, want %v to %v", c.w, c.h, c.pw, c.ph, c.fit, src, dst, c.src, c.dst)
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		w, h, pw, ph := 1+rng.IntN(2000), 1+rng.IntN(2000), 2+rng.IntN(900)&^1, 2+rng.IntN(900)&^1
		for _, fit := range []wire.Fit{wire.FitInside, wire.FitCrop} {
			src, dst := place(w, h, pw, ph, fit)
			if w < 2 || h < 2 {
				continue
			}
			for _, in := range []struct{ r, whole rect }{{src, rect{0, 0, w, h}}, {dst, rect{0, 0, pw, ph}}} {
				r := in.r
				if r.X < 0 || r.Y < 0 || r.W < 2 || r.H < 2 || r.X+r.W > in.whole.W || r.Y+r.H > in.whole.H || (r.X|r.Y|r.W|r.H)&1 != 0 {
					t.Fatalf("%dx%d in %dx%d %s: %v to %v", w, h, pw, ph, fit, src, dst)
				}
			}
		}
	}
}

// TestCompose draws pictures of random sizes into random panes; nothing outside
// the pane changes, and the pane is filled, bars included.
func TestCompose(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	canvas := codec.NewPicture(320, 180)
	for range 300 {
		// libyuv's box filter is exact to 3 % only up to about 16:1.
		w, h := 32+rng.IntN(160)&^1, 32+rng.IntN(90)&^1
		r := rect{rng.IntN(320-w) &^ 1, rng.IntN(180-h) &^ 1, w, h}
		src := codec.NewPicture(32+rng.IntN(400), 32+rng.IntN(400))
		src.Fill(200, 90, 90)
		canvas.Fill(99, 99, 99)
		fit := []wire.Fit{wire.FitInside, wire.FitCrop}[rng.IntN(2)]
		compose(canvas, r, src, fit)
		for y := range canvas.H {
			for x := range canvas.W {
				got := canvas.Y[y*canvas.YStride+x]
				inside := x >= r.X && x < r.X+r.W && y >= r.Y && y < r.Y+r.H
				if !inside && got != 99 || inside && abs(int(got)-200) > 8 && (got != blackY || fit == wire.FitCrop) {
					t.Fatalf("%dx%d in %v %s: %d at %d,%d", src.W, src.H, r, fit, got, x, y)
				}
			}
		}
	}
}

func TestDelay(t *testing.T) {
	g := newGroup()
	audio, video := new(input), new(input)
	now := time.Duration(0)
	// run feeds both for a while.
	run := func(d time.Duration, audioLate, videoLate func() time.Duration) {
		for end := now + d; now < end; now += 20 * time.Millisecond {
			g.observe(audio, now-audioLate(), now)
			g.observe(video, now-videoLate(), now)
		}
	}
	always := func(d time.Duration) func() time.Duration { return func() time.Duration { return d } }
	expect := func(what string, lo, hi time.Duration) {
		t.Helper()
		if d := g.get(); d < lo || d > hi {
			t.Errorf("%s: delay %v, want %v..%v", what, d, lo, hi)
		}
	}
	ms := time.Millisecond
	expect("at first", startDelay, startDelay)
	run(time.Second, always(5*ms), always(5*ms))
	g.observe(audio, now-250*ms, now)
	expect("one packet of 250 ms", 80*ms, 80*ms)
	run(time.Second, always(5*ms), always(100*ms))
	expect("video 100 ms late", 100*ms, 110*ms)
	run(30*time.Second, always(5*ms), always(100*ms))
	expect("it stays", 100*ms, 110*ms)
	run(25*time.Second, always(5*ms), always(20*ms))
	expect("slowly down", 60*ms, 90*ms)
	run(60*time.Second, always(5*ms), always(20*ms))
	expect("to the minimum", minDelay, minDelay)
	run(time.Second, always(5*ms), always(2*time.Second))
	expect("a stall is not jitter", minDelay, minDelay)
	run(2*time.Second, always(5*ms), always(450*ms))
	expect("bounded", maxDelay, maxDelay)
	g.forget(video)
	run(3*time.Minute, always(5*ms), always(5*ms))
	expect("video gone", minDelay, minDelay)

	g = newGroup()
	for i := range 60 { // a cached start, all at once
		g.observe(video, now-2*time.Second+time.Duration(i)*33*ms, now+time.Duration(i)*ms)
	}
	expect("a burst for a late joiner", startDelay, startDelay)
}

// TestPhase plays 30 pictures a second at 30 ticks a second, due just at the
// ticks and with jitter: after a second each is shown once.
func TestPhase(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	frame := tickTime(1, 30)
	var p phase
	last, steps := int64(0), map[int64]int{}
	for n := int64(0); n < 600; n++ {
		now := tickTime(n, 30)
		look := now + p.ahead(frame)
		var shown int64
		for k := n - 2; k <= n+2; k++ {
			due := tickTime(k, 30) + time.Duration(rng.IntN(6)-3)*time.Millisecond
			if due <= look {
				shown = k
			}
		}
		if shown != last {
			p.chose(look-tickTime(shown, 30), frame, now)
		}
		if n > 30 {
			steps[shown-last]++
		}
		last = shown
	}
	if steps[1] < 560 {
		t.Errorf("steps %v, want nearly all 1", steps)
	}
}

func TestPicturesStayFewAndEven(t *testing.T) {
	var ps pictures
	defer ps.clear()
	for i := range 100 {
		at := time.Duration(i) * 10 * time.Millisecond
		ps.push(newPicture(new(codec.Decoded), at), at-400*time.Millisecond)
		if n := len(ps.list); n > maxPictures {
			t.Fatalf("%d pictures, want at most %d", n, maxPictures)
		}
	}
	for i, p := range ps.list[1:] {
		if gap := p.pts - ps.list[i].pts; gap > 100*time.Millisecond {
			t.Errorf("gap of %v between pictures", gap)
		}
	}
	for _, c := range []struct{ at, lo, hi time.Duration }{{0, 500, 610}, {700, 600, 700}, {5000, 990, 990}} {
		p := ps.pick(c.at * time.Millisecond)
		if p.pts < c.lo*time.Millisecond || p.pts > c.hi*time.Millisecond {
			t.Errorf("at %d ms: picture of %v, want %d..%d ms", c.at, p.pts, c.lo, c.hi)
		}
		p.release()
	}
	ps.push(newPicture(new(codec.Decoded), 0), 0)
	if p := ps.pick(0); p.pts != 0 || len(ps.list) != 1 {
		t.Errorf("after the timeline went back: picture of %v of %d", p.pts, len(ps.list))
	} else {
		p.release()
	}
}

func TestLimiter(t *testing.T) {
	l := limiter{gain: 1}
	quiet := []float32{0.1, -0.2, 0.69}
	l.apply(quiet)
	if quiet[0] != 0.1 || quiet[1] != -0.2 || quiet[2] != 0.69 {
		t.Errorf("quiet sound is changed: %v", quiet)
	}
	pcm := make([]float32, quantum)
	for q := range 200 {
		amplitude := 8.0
		if q >= 100 {
			amplitude = 0.5
		}
		for i := range pcm {
			pcm[i] = float32(amplitude * math.Sin(2*math.Pi*300*float64(q*quantum+i)/rate))
		}
		l.apply(pcm)
		peak := 0.0
		for _, s := range pcm {
			peak = max(peak, math.Abs(float64(s)))
		}
		if peak > ceiling+1e-6 {
			t.Fatalf("quantum %d: peak %.3f over the ceiling", q, peak)
		}
		if q == 50 && peak < 0.8 || q == 199 && (peak < 0.49 || peak > 0.5001) {
			t.Errorf("quantum %d: peak %.3f", q, peak)
		}
	}
}

func TestMeter(t *testing.T) {
	var m meter
	// hear for a while, then read.
	hear := func(db float64, d time.Duration) wire.Level {
		for range d / quantumTime {
			m.hear(math.Pow(10, db/10))
		}
		return m.level(3)
	}
	for _, c := range []struct {
		db       float64
		d        time.Duration
		vol, vad uint8
	}{
		{-100, time.Second, 0, 0},
		{-20, time.Second, 170, 150},
		{-100, 500 * time.Millisecond, 0, 100},
		{-100, time.Second, 0, 0},
		{0, time.Second, 255, 150},
		{-70, 3 * time.Second, 0, 0},
		{-50, 300 * time.Millisecond, 43, 150},
		{-50, 30 * time.Second, 43, 0}, // a fan, not a voice
	} {
		got := hear(c.db, c.d)
		if want := (wire.Level{Input: 3, Vol: c.vol, Vad: c.vad}); abs(int(got.Vol)-int(c.vol)) > 1 || got.Vad != c.vad {
			t.Errorf("%v dB for %v: %+v, want %+v", c.db, c.d, got, want)
		}
	}
}
