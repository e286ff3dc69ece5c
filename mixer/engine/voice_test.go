package engine

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"braid/media/codec"
	"braid/mixer/wire"
)

// arrival is a packet and when it comes.
type arrival struct {
	*wire.Media
	at time.Duration
}

// listen runs a voice in simulated time from 0 to end and returns what a mix
// hears, mono, sample 0 at time 0.
func listen(t *testing.T, packets []arrival, end time.Duration) (heard []float32, g *group) {
	t.Helper()
	v, err := newVoice()
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	g = newGroup()
	in := new(input)
	buf := make([]float32, quantum*soundChannels)
	for q := int64(0); time.Duration(q)*quantumTime < end; q++ {
		now := time.Duration(q+1) * quantumTime
		for len(packets) > 0 && packets[0].at <= now {
			p := packets[0]
			packets = packets[1:]
			delay := g.observe(in, p.PTS, p.at)
			v.push(p.Units[0], p.PTS, delay, p.at, p.Lost) // refusals are part of the scenes
		}
		v.quantum(q*quantum, buf)
		heard = append(heard, left(buf, soundChannels)...)
	}
	return heard, g
}

// arrive gives each packet its time, or loses it; order is kept, as the server keeps
// it.
func arrive(frames []*wire.Media, late func(i int) (by time.Duration, ok bool)) (as []arrival) {
	last, lost := time.Duration(0), false
	for i, m := range frames {
		by, ok := late(i)
		if ok {
			last = max(last, m.PTS+by)
			came := *m
			came.Lost = lost
			as = append(as, arrival{&came, last})
		}
		lost = !ok
	}
	return as
}

// loudness is the RMS of each 10 ms from one time to another.
func loudness(pcm []float32, from, to time.Duration) (all []float64) {
	for at := from; at < to; at += quantumTime {
		all = append(all, math.Sqrt(meanSquare(window(pcm, 0, at, at+quantumTime, rate))))
	}
	return all
}

func TestVoice(t *testing.T) {
	const length = 10 * time.Second
	frames := voiceOf(t, 0, length, vowel)
	rng := rand.New(rand.NewPCG(1, 2))
	steady := func(int) (time.Duration, bool) { return 5 * time.Millisecond, true }
	for _, c := range []struct {
		name     string
		packets  []arrival
		from, to time.Duration
		breaks   int // quanta that may be below half the vowel's softest
		delay    [2]time.Duration
	}{
		{"steady", arrive(frames, steady), 200 * time.Millisecond, 9 * time.Second, 0, [2]time.Duration{30 * time.Millisecond, 60 * time.Millisecond}},
		{"jitter of 120 ms", arrive(frames, func(int) (time.Duration, bool) {
			return time.Duration(rng.IntN(120)) * time.Millisecond, true
		}), 3 * time.Second, 9 * time.Second, 6, [2]time.Duration{100 * time.Millisecond, 130 * time.Millisecond}},
		{"5 % lost", arrive(frames, func(i int) (time.Duration, bool) { return 0, i%20 != 7 }),
			200 * time.Millisecond, 9 * time.Second, 0, [2]time.Duration{30 * time.Millisecond, 60 * time.Millisecond}},
		{"two in a row lost", arrive(frames, func(i int) (time.Duration, bool) { return 0, i%25 > 1 }),
			200 * time.Millisecond, 9 * time.Second, 10, [2]time.Duration{30 * time.Millisecond, 60 * time.Millisecond}},
		{"always 200 ms late", arrive(frames, func(int) (time.Duration, bool) { return 200 * time.Millisecond, true }),
			2 * time.Second, 9 * time.Second, 0, [2]time.Duration{200 * time.Millisecond, 220 * time.Millisecond}},
		{"PTS a minute ahead", arrive(shift(frames, time.Minute), func(int) (time.Duration, bool) { return -time.Minute, true }),
			1500 * time.Millisecond, 9 * time.Second, 0, [2]time.Duration{30 * time.Millisecond, 60 * time.Millisecond}},
		{"PTS a second behind", arrive(shift(frames, -time.Second), func(int) (time.Duration, bool) { return time.Second, true }),
			1500 * time.Millisecond, 9 * time.Second, 0, [2]time.Duration{30 * time.Millisecond, 60 * time.Millisecond}},
	} {
		heard, g := listen(t, c.packets, length)
		breaks := 0
		for _, l := range loudness(heard, c.from, c.to) {
			if l < 0.06 {
				breaks++
			}
		}
		if breaks > c.breaks {
			t.Errorf("%s: %d breaks of 10 ms, want at most %d", c.name, breaks, c.breaks)
		}
		if d := g.get(); d < c.delay[0] || d > c.delay[1] {
			t.Errorf("%s: delay %v, want %v", c.name, d, c.delay)
		}
		if click := step(heard[rate/2:]); click > 0.2 { // the vowel itself steps by 0.08
			t.Errorf("%s: a step of %.2f between two samples", c.name, click)
		}
	}
}

// vowel is a voice that Opus takes for one: a steady tone becomes background to
// it after some seconds, and gets no redundancy.
func vowel(n int) float64 {
	at := float64(n) / rate
	phase := 2 * math.Pi * (180*at + 2*math.Sin(2*math.Pi*2*at))
	return (0.7 + 0.3*math.Sin(2*math.Pi*3*at)) * (0.25*math.Sin(phase) + 0.15*math.Sin(2*phase) + 0.1*math.Sin(5*phase))
}

// step is the largest difference of two samples in a row.
func step(pcm []float32) (most float64) {
	for i := range pcm[1:] {
		most = max(most, math.Abs(float64(pcm[i+1]-pcm[i])))
	}
	return most
}

// TestVoicePause: packets stop; 100 ms later there is silence, and what comes
// after the pause is heard at its time.
func TestVoicePause(t *testing.T) {
	frames := voiceOf(t, 0, 4*time.Second, sine(440, 0.4))
	packets := arrive(frames, func(i int) (time.Duration, bool) { return 0, i < 50 || i >= 100 })
	heard, _ := listen(t, packets, 4*time.Second)
	for _, w := range []struct {
		from, to time.Duration
		loud     bool
	}{
		{200 * time.Millisecond, 1050 * time.Millisecond, true},
		{1200 * time.Millisecond, 2050 * time.Millisecond, false},
		{2100 * time.Millisecond, 3900 * time.Millisecond, true},
	} {
		for i, l := range loudness(heard, w.from, w.to) {
			if (l > 0.2) != w.loud || !w.loud && l > 1e-4 {
				t.Fatalf("%v: loudness %.4f, want loud %v", w.from+time.Duration(i)*quantumTime, l, w.loud)
			}
		}
	}
}

// TestVoiceDrift: a publisher's clock that is 2000 ppm fast or slow, which is
// 80 ms in these 40 s; its words stay within 40 ms of their time.
func TestVoiceDrift(t *testing.T) {
	beep := sine(1000, 0.5)
	words := voiceOf(t, 0, 42*time.Second, func(n int) float64 {
		if n%rate < rate/10 {
			return beep(n)
		}
		return 0
	})
	for _, ppm := range []float64{2000, -2000} {
		frames := shift(words, 0)
		for _, m := range frames {
			m.PTS = time.Duration(float64(m.PTS) * (1 + ppm*1e-6))
		}
		heard, g := listen(t, arrive(frames, func(int) (time.Duration, bool) { return 0, true }), 40*time.Second)
		beeps := onsets(heard, 0)
		if len(beeps) < 39 || len(beeps) > 41 {
			t.Fatalf("%v ppm: %d beeps, want 40", ppm, len(beeps))
		}
		for i, at := range beeps[20:] { // the delay has settled
			want := time.Duration(float64(i+20)*(1+ppm*1e-6)*1e9) + g.get()
			if d := at - want; d < -30*time.Millisecond || d > 40*time.Millisecond {
				t.Fatalf("%v ppm: beep %d is %v off", ppm, i+20, d)
			}
		}
	}
}

// TestVoiceLostOrLeftOut: a hole of 60 ms is filled from the next packet's
// redundancy when packets were lost, and by the decoder alone when none were sent
// (DTX): what the packet repeats was heard before.
func TestVoiceLostOrLeftOut(t *testing.T) {
	frames := voiceOf(t, 0, 600*time.Millisecond, vowel)
	const before = 20 // packets
	var holes [][]float32
	for _, lost := range []bool{true, false} {
		v, err := newVoice()
		if err != nil {
			t.Fatal(err)
		}
		defer v.close()
		ref, err := codec.NewOpusDecoder(soundChannels)
		if err != nil {
			t.Fatal(err)
		}
		defer ref.Close()
		pcm := make([]float32, pcmMax)
		push := func(m *wire.Media, pts time.Duration, lost bool) {
			if err := v.push(m.Units[0], pts, startDelay, pts, lost); err != nil {
				t.Fatal(err)
			}
		}
		for i, m := range frames[:before] {
			push(m, time.Duration(i)*20*time.Millisecond, false)
			if _, err := ref.Decode(pcm, m.Units[0]); err != nil {
				t.Fatal(err)
			}
		}
		hole := v.end
		next := frames[before+3]
		push(next, (before+3)*20*time.Millisecond, lost)

		var want []float32
		concealed := 60
		if lost {
			concealed = 40
		}
		if _, err := ref.Conceal(pcm, concealed*millisecondLen); err != nil {
			t.Fatal(err)
		}
		want = append(want, pcm[:concealed*millisecondLen*soundChannels]...)
		if lost {
			if _, err := ref.Recover(pcm, next.Units[0], 20*millisecondLen); err != nil {
				t.Fatal(err)
			}
			want = append(want, pcm[:20*millisecondLen*soundChannels]...)
		}
		for i := range want {
			if got := v.at(hole + int64(i/soundChannels))[i%soundChannels]; got != want[i] {
				t.Fatalf("lost %v: %d samples into the hole: got %v, want %v", lost, i/soundChannels, got, want[i])
			}
		}
		holes = append(holes, want)
	}
	if slices.Equal(holes[0], holes[1]) {
		t.Error("the next packet has no redundancy: nothing was tried")
	}
}

// TestVoiceTwoReaders: two mixes hear the same.
func TestVoiceTwoReaders(t *testing.T) {
	v, err := newVoice()
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	for i, m := range voiceOf(t, 0, 200*time.Millisecond, sine(440, 0.4)) {
		if err := v.push(m.Units[0], m.PTS, startDelay, time.Duration(i)*20*time.Millisecond, false); err != nil {
			t.Fatal(err)
		}
	}
	a, b := make([]float32, quantum*soundChannels), make([]float32, quantum*soundChannels)
	for q := range int64(40) { // through the concealment and the silence after it
		v.quantum(q*quantum, a)
		v.quantum(q*quantum, b)
		if !slices.Equal(a, b) {
			t.Fatalf("quantum %d differs", q)
		}
	}
}

// FuzzVoice drives a voice with any times, losses and packets.
func FuzzVoice(f *testing.F) {
	var packets [][]byte
	for _, m := range voiceOf(f, 0, 400*time.Millisecond, vowel) {
		packets = append(packets, m.Units[0])
	}
	f.Add([]byte{0, 0, 1, 1, 0, 0, 1, 1})             // in time
	f.Add([]byte{0, 0, 2, 1, 1, 1, 0, 1, 1, 1, 1})    // lost, then late
	f.Add([]byte{0, 1, 3, 200, 0, 4, 200, 0, 1, 1})   // ahead, back
	f.Add([]byte{0, 5, 17, 0, 5, 255, 0, 1, 1, 6, 0}) // foreign bytes, another delay
	f.Fuzz(func(t *testing.T, ops []byte) {
		v, err := newVoice()
		if err != nil {
			t.Fatal(err)
		}
		defer v.close()
		pts, now, delay, at := time.Duration(0), time.Duration(0), startDelay, int64(0)
		buf := make([]float32, quantum*soundChannels)
		ops = ops[:min(len(ops), 1000)] // concealing takes its time
		for len(ops) > 0 {
			op := ops[0]
			ops = ops[1:]
			n := time.Duration(0)
			if op > 2 && len(ops) > 0 {
				n = time.Duration(ops[0])
				ops = ops[1:]
			}
			switch op % 7 {
			case 0:
				v.push(packets[int(pts/(20*time.Millisecond)&15)], pts, delay, now, pts%(40*time.Millisecond) == 0)
				pts += 20 * time.Millisecond
			case 1:
				now += quantumTime
				v.quantum(at, buf)
				at += quantum
				if peak := step(append(buf, 0)); math.IsNaN(peak) || peak > 8 {
					t.Fatalf("sound of %v", peak)
				}
			case 2:
				pts += 20 * time.Millisecond
			case 3:
				pts += n * n * time.Millisecond
			case 4:
				pts = max(pts-n*n*time.Millisecond, 0)
			case 5:
				v.push([]byte{byte(n), 1, byte(len(ops))}, pts, delay, now, n&1 == 0)
			case 6:
				delay = minDelay + n*time.Millisecond
			}
			if v.end > samplesOf(now)+2*ringLen {
				t.Fatalf("wrote up to %d at %v", v.end, now)
			}
		}
	})
}
