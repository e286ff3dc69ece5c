package bwe

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// simCase is a line of the table: flows over links for some seconds, and what
// came of it. go test -v prints it, with Pion's figures beside ours.
type simCase struct {
	name    string
	seconds float64
	build   func() ([]*flow, func(at time.Duration))
	judge   func(f []*flow, v *findings)
	plain   bool // not for Pion: it has no probes, or not enough
}

// findings are figures with their goals.
type findings struct {
	text  []string
	fails []string
}

// least and most note a figure and hold it against its goal.
func (v *findings) least(name string, got, goal float64) { v.note(name, got, goal, got >= goal, ">=") }
func (v *findings) most(name string, got, goal float64)  { v.note(name, got, goal, got <= goal, "<=") }

func (v *findings) note(name string, got, goal float64, ok bool, sign string) {
	v.text = append(v.text, fmt.Sprintf("%s %.3g", name, got))
	if !ok {
		v.fails = append(v.fails, fmt.Sprintf("%s: got %.3g, want %s %.3g", name, got, sign, goal))
	}
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// wired is the path of RFC 8867 section 4.2: 50 ms one way, 300 ms of queue.
func wired(capacity func(time.Duration) float64) *link {
	return &link{capacity: capacity, delay: 50 * time.Millisecond, limit: 300 * time.Millisecond}
}

func one(f *flow) func() ([]*flow, func(time.Duration)) {
	return func() ([]*flow, func(time.Duration)) {
		g := *f
		l := *f.path
		g.path = &l
		return []*flow{&g}, nil
	}
}

// use is the share of a capacity that arrived in a span.
func use(f *flow, from, to, bits float64) float64 { return mean(f.between(from, to), got) / bits }

const mbit = 1 << 20 // as RFC 8867's authors simulate it

var simCases = []simCase{
	{name: "RFC 8867 5.1 one flow, 1 / 2.5 / 0.6 / 1 Mbit/s", seconds: 100,
		build: one(&flow{most: 4_000_000, path: wired(steps(0, mbit, 40, 2.5*mbit, 60, .6*mbit, 80, mbit))}),
		judge: func(f []*flow, v *findings) {
			v.least("use", use(f[0], 10, 40, mbit), .8)
			v.least("use", use(f[0], 50, 60, 2.5*mbit), .8)
			v.least("use", use(f[0], 65, 80, .6*mbit), .8)
			v.least("use", use(f[0], 90, 100, mbit), .8)
			v.most("queue p95 ms", ms(worst95(f[0].samples)), 200)
		}},
	{name: "RFC 8867 5.1 with jitter of 30 ms", seconds: 100,
		build: func() ([]*flow, func(time.Duration)) {
			l := wired(steps(0, mbit, 40, 2.5*mbit, 60, .6*mbit, 80, mbit))
			l.jitter = 30 * time.Millisecond
			return []*flow{{most: 4_000_000, path: l}}, nil
		},
		judge: func(f []*flow, v *findings) {
			v.least("use", use(f[0], 10, 40, mbit), .7)
			v.least("use", use(f[0], 50, 60, 2.5*mbit), .6)
			v.least("use", use(f[0], 65, 80, .6*mbit), .7)
			v.least("use", use(f[0], 90, 100, mbit), .6)
			v.most("queue p95 ms", ms(worst95(f[0].samples)), 250)
		}},
	{name: "RFC 8867 5.2 two flows, 4 / 2 / 3.5 / 1 / 2 Mbit/s", seconds: 125,
		build: func() ([]*flow, func(time.Duration)) {
			l := wired(steps(0, 4*mbit, 25, 2*mbit, 50, 3.5*mbit, 75, mbit, 100, 2*mbit))
			return []*flow{{most: 4_000_000, path: l}, {most: 4_000_000, path: l}}, nil
		},
		judge: func(f []*flow, v *findings) {
			for _, s := range [][3]float64{{10, 25, 4}, {35, 50, 2}, {60, 75, 3.5}, {85, 100, 1}, {110, 125, 2}} {
				v.least("use", use(f[0], s[0], s[1], s[2]*mbit)+use(f[1], s[0], s[1], s[2]*mbit), .75)
			}
			v.least("fairness", fairness(f, 30, 125), .85)
			v.most("queue p95 ms", ms(worst95(f[0].samples)), 250)
		}},
	{name: "RFC 8867 5.3 feedback path full", seconds: 100,
		build: func() ([]*flow, func(time.Duration)) {
			there := wired(steps(0, 2*mbit, 20, mbit, 40, .5*mbit, 60, 2*mbit))
			back := wired(steps(0, 2*mbit, 35, .8*mbit, 70, 2*mbit))
			return []*flow{{most: 4_000_000, path: there, back: back}, {most: 4_000_000, path: back, back: there}}, nil
		},
		judge: func(f []*flow, v *findings) {
			v.least("use", use(f[0], 10, 20, 2*mbit), .75)
			v.least("use", use(f[0], 30, 40, mbit), .75)
			v.least("use", use(f[0], 45, 60, .5*mbit), .75)
			v.least("use", use(f[0], 80, 100, 2*mbit), .75)
			v.least("back", use(f[1], 45, 70, .8*mbit), .75)
			v.most("queue p95 ms", ms(worst95(f[0].samples)), 250)
		}},
	{name: "RFC 8867 5.4 three flows start 20 s apart, 3.5 Mbit/s", seconds: 120,
		build: func() ([]*flow, func(time.Duration)) {
			l := wired(constant(3.5 * mbit))
			return []*flow{{most: 4_000_000, path: l}, {most: 4_000_000, path: l, from: 20 * time.Second},
				{most: 4_000_000, path: l, from: 40 * time.Second}}, nil
		},
		judge: func(f []*flow, v *findings) {
			v.least("use", total(f, 60, 120)/(3.5*mbit), .8)
			v.least("fairness", fairness(f, 70, 120), .7)
			v.most("queue p95 ms", ms(worst95(f[0].samples)), 250)
		}},
	{name: "RFC 8867 5.5 round trips of 20 to 300 ms, 4 Mbit/s", seconds: 300,
		build: func() (fs []*flow, _ func(time.Duration)) {
			l := wired(constant(4 * mbit))
			l.delay = 0
			for i, d := range []time.Duration{10, 25, 50, 100, 150} {
				fs = append(fs, &flow{most: 4_000_000, path: l, delay: d * time.Millisecond, from: time.Duration(10*i) * time.Second})
			}
			return fs, nil
		},
		judge: func(f []*flow, v *findings) {
			v.least("use", total(f, 100, 300)/(4*mbit), .8)
			v.least("fairness", fairness(f, 100, 300), .6)
			v.most("queue p95 ms", ms(worst95(f[0].samples)), 250)
		}},
	{name: "RFC 8867 5.6 beside a long TCP flow, 2 Mbit/s", seconds: 120,
		build: func() ([]*flow, func(time.Duration)) {
			l := wired(constant(2 * mbit))
			t := &tcp{path: l, from: 5 * time.Second}
			return []*flow{{most: 4_000_000, path: l}}, t.tick
		},
		judge: func(f []*flow, v *findings) {
			v.least("kbit/s", mean(f[0].between(30, 120), got)/1000, 100) // RFC 8867: must not starve
		}},
	{name: "RFC 8867 5.7 beside short TCP flows, 2 Mbit/s", seconds: 120,
		build: func() ([]*flow, func(time.Duration)) {
			l := wired(constant(2 * mbit))
			t := &tcp{path: l, from: 5 * time.Second, on: func(at time.Duration) bool { return at%(6*time.Second) < 2*time.Second }}
			return []*flow{{most: 4_000_000, path: l}}, t.tick
		},
		judge: func(f []*flow, v *findings) {
			v.least("kbit/s", mean(f[0].between(30, 120), got)/1000, 250) // of about 1,300 that are left
		}},
	{name: "RFC 8867 5.8 one of three pauses from 40 to 60 s", seconds: 120,
		build: func() ([]*flow, func(time.Duration)) {
			l := wired(constant(3.5 * mbit))
			fs := []*flow{{most: 4_000_000, path: l}, {most: 4_000_000, path: l}, {most: 4_000_000, path: l}}
			fs[0].pause = [2]time.Duration{40 * time.Second, 60 * time.Second}
			return fs, nil
		},
		judge: func(f []*flow, v *findings) {
			v.least("use", total(f, 48, 60)/(3.5*mbit), .75)
			v.least("use", total(f, 70, 120)/(3.5*mbit), .8)
			v.least("fairness", fairness(f, 75, 120), .7)
			v.most("queue p95 ms", ms(worst95(f[1].samples)), 250)
		}},
	{name: "2.5 -> 0.5 -> 2.5 Mbit/s", seconds: 90,
		build: one(&flow{most: 4_000_000, path: wired(steps(0, 2.5e6, 30, .5e6, 60, 2.5e6))}),
		judge: func(f []*flow, v *findings) {
			v.most("queue p95 ms in 5 s", ms(worst95(f[0].between(30, 35))), 400)
			v.most("then", ms(worst95(f[0].between(35, 60))), 150)
			v.least("use", use(f[0], 35, 60, .5e6), .8)
			v.most("s to 80 %", f[0].first(60, .8*2.5e6), 20)
		}},
	{name: "2.5 -> 0.5 -> 2.5 Mbit/s, queue of 2 s", seconds: 90,
		build: one(&flow{most: 4_000_000, path: &link{capacity: steps(0, 2.5e6, 30, .5e6, 60, 2.5e6),
			delay: 50 * time.Millisecond, limit: 2 * time.Second}}),
		judge: func(f []*flow, v *findings) {
			v.most("s until the queue is under 100 ms", f[0].drained(30.5), 5)
			v.most("queue p95 ms after 5 s", ms(worst95(f[0].between(35, 60))), 150)
			v.most("s to 80 %", f[0].first(60, .8*2.5e6), 20)
		}},
	lossCase("2 % random loss", random(.02), .8),
	lossCase("5 % random loss", random(.05), .8),
	lossCase("10 % random loss", random(.10), .8),
	lossCase("20 % random loss", random(.20), .8),
	lossCase("30 % random loss", random(.30), .8),
	lossCase("50 % random loss", random(.50), .5),
	lossCase("10 % loss in bursts of 8", bursts(.10, 8), .6),
	{name: "10 % random loss on 1 Mbit/s", seconds: 60,
		build: func() ([]*flow, func(time.Duration)) {
			l := wired(constant(1e6))
			l.loss = random(.1)
			return []*flow{{most: 4_000_000, path: l}}, nil
		},
		judge: func(f []*flow, v *findings) {
			v.least("use", use(f[0], 10, 60, .9e6), .7)
			v.most("queue p95 ms", ms(worst95(f[0].samples)), 200)
		}},
	{name: "1 Mbit/s with a queue of 40 ms (loss more than delay)", seconds: 60,
		build: one(&flow{most: 4_000_000, path: &link{capacity: constant(1e6), delay: 50 * time.Millisecond, limit: 40 * time.Millisecond}}),
		judge: func(f []*flow, v *findings) {
			s := f[0].between(10, 60)
			v.least("use", mean(s, got)/1e6, .7)
			v.most("sent", mean(s, estimate)/1e6, 1.15)
		}},
	{name: "jitter +-100 ms, overtaking", seconds: 60,
		build: func() ([]*flow, func(time.Duration)) {
			l := &link{capacity: constant(10e6), delay: 120 * time.Millisecond, limit: 300 * time.Millisecond, jitter: 100 * time.Millisecond}
			return []*flow{{most: 2_500_000, path: l}}, nil
		},
		judge: func(f []*flow, v *findings) { v.least("use of 2.5 Mbit/s", use(f[0], 20, 60, 2.5e6), .6) }},
	{name: "jitter +-100 ms on 1 Mbit/s", seconds: 60,
		build: func() ([]*flow, func(time.Duration)) {
			l := &link{capacity: constant(1e6), delay: 120 * time.Millisecond, limit: 300 * time.Millisecond, jitter: 100 * time.Millisecond}
			return []*flow{{most: 2_500_000, path: l}}, nil
		},
		judge: func(f []*flow, v *findings) {
			v.least("use", use(f[0], 20, 60, 1e6), .6)
			v.most("queue p95 ms", ms(worst95(f[0].between(10, 60))), 310)
		}},
	{name: "3 s blackout", seconds: 40,
		build: one(&flow{most: 2_500_000, path: wired(steps(0, 3e6, 20, 0, 23, 3e6))}),
		judge: func(f []*flow, v *findings) {
			v.most("estimate at its end, kbit/s", mean(f[0].between(22.8, 23), estimate)/1000, 1500)
			v.most("s to 60 %", f[0].first(23, .6*2.5e6), 1)
			v.most("s to 80 %", f[0].first(23, .8*2.5e6), 4)
		}},
	{name: "layers 150k/500k/1.5M, ample link", seconds: 30, plain: true,
		build: one(&flow{layers: []int{150_000, 500_000, 1_500_000}, path: wired(constant(10e6))}),
		judge: func(f []*flow, v *findings) {
			v.most("s to 1.5 Mbit/s", f[0].first(0, 1.5e6), 5)
			v.most("probes", float64(f[0].probes), 6)
			v.most("padding KB", float64(f[0].padding)/1000, 50)
		}},
	{name: "layers, link of 300k grows to 2 Mbit/s", seconds: 60, plain: true,
		build: one(&flow{layers: []int{150_000, 500_000, 1_500_000}, path: wired(steps(0, 300e3, 20, 2e6))}),
		judge: func(f []*flow, v *findings) {
			v.most("s to 1.5 Mbit/s", f[0].first(20, 1.5e6), 20)
			v.most("queue p95 ms", ms(worst95(f[0].samples)), 300)
		}},
	{name: "layers, no room: 600 kbit/s", seconds: 120, plain: true,
		build: one(&flow{layers: []int{150_000, 500_000, 1_500_000}, path: wired(constant(600e3))}),
		judge: func(f []*flow, v *findings) {
			v.least("use of 500k", use(f[0], 10, 120, 500e3), .9)
			v.most("probes", float64(f[0].probes), 15)
			v.most("queue p95 ms", ms(worst95(f[0].between(5, 120))), 60)
			v.most("most ms", ms(most(f[0].between(5, 120))), 150)
		}},
	{name: "layers, no room, probes all at once", seconds: 120, plain: true,
		build: one(&flow{layers: []int{150_000, 500_000, 1_500_000}, burst: true, path: wired(constant(600e3))}),
		judge: func(f []*flow, v *findings) {
			v.least("use of 500k", use(f[0], 10, 120, 500e3), .9)
			v.most("probes", float64(f[0].probes), 15)
			v.most("most ms", ms(most(f[0].between(5, 120))), 150)
		}},
	{name: "layers with key frames each 2 s, 2.5 Mbit/s", seconds: 120, plain: true,
		build: one(&flow{layers: []int{150_000, 500_000, 1_500_000}, keys: 60, path: wired(constant(2.5e6))}),
		judge: func(f []*flow, v *findings) {
			v.most("switches", float64(f[0].switches(5)), 0)
			v.least("layer kbit/s", mean(f[0].between(5, 120), sending)/1000, 1500)
			v.most("queue p95 ms", ms(worst95(f[0].between(5, 120))), 200)
		}},
	{name: "layers with key frames each 10 s, 600 kbit/s (too tight)", seconds: 120, plain: true,
		build: one(&flow{layers: []int{150_000, 500_000, 1_500_000}, keys: 300, path: wired(constant(600e3))}),
		judge: func(f []*flow, v *findings) {
			v.most("switches", float64(f[0].switches(5)), 15)
			v.least("layer kbit/s", mean(f[0].between(5, 120), sending)/1000, 300)
			v.most("queue p95 ms", ms(worst95(f[0].between(5, 120))), 200)
		}},
	{name: "layers, receiver stalls for 0.3 s each 15 s", seconds: 60, plain: true,
		build: func() ([]*flow, func(time.Duration)) {
			l := wired(func(at time.Duration) float64 {
				if at > 10*time.Second && at%(15*time.Second) < 300*time.Millisecond {
					return 20e3
				}
				return 5e6
			})
			l.limit = time.Second
			return []*flow{{layers: []int{600_000, 1_500_000}, path: l}}, nil
		},
		judge: func(f []*flow, v *findings) {
			v.least("least estimate 3 s after, kbit/s", min(mean(f[0].between(18.5, 19.5), estimate), mean(f[0].between(33.5, 34.5), estimate), mean(f[0].between(48.5, 49.5), estimate))/1000, 550)
			v.least("estimate, kbit/s", mean(f[0].between(10, 60), estimate)/1000, 800)
		}},
	layersLoss("layers, 5 % random loss", random(.05), 500_000),
	layersLoss("layers, 10 % random loss", random(.10), 500_000),
	layersLoss("layers, 5 % random loss, large", random(.05), 1_500_000),
	layersLoss("layers, 20 % random loss, small", random(.20), 500_000),
	{name: "layers, 20 % random loss", seconds: 60, plain: true,
		build: func() ([]*flow, func(time.Duration)) {
			l := wired(constant(10e6))
			l.loss = random(.2)
			return []*flow{{layers: []int{150_000, 500_000, 1_500_000}, path: l}}, nil
		},
		judge: func(f []*flow, v *findings) {
			v.most("s to 1.5 Mbit/s", f[0].first(0, 1.5e6), 15)
			v.least("use of 1.5M", use(f[0], 15, 60, 1.5e6*.8), .8)
		}},
}

// layersLoss: loss that nobody can do anything about is no reason to change layers.
func layersLoss(name string, loss func(*rand.Rand, time.Duration) bool, top int) simCase {
	return simCase{name: name, seconds: 60, plain: true,
		build: func() ([]*flow, func(time.Duration)) {
			l := wired(constant(10e6))
			l.loss = loss
			return []*flow{{layers: []int{top / 9, top / 3, top}, path: l}}, nil
		},
		judge: func(f []*flow, v *findings) {
			v.most("switches", float64(f[0].switches(8)), 0)
			v.least("share of the largest", mean(f[0].between(8, 60), sending)/float64(top), .99)
			v.most("padding KB", float64(f[0].padding)/1000, 300)
		}}
}

func lossCase(name string, loss func(*rand.Rand, time.Duration) bool, goal float64) simCase {
	return simCase{name: name + ", ample link", seconds: 60,
		build: func() ([]*flow, func(time.Duration)) {
			l := wired(constant(10e6))
			l.loss = loss
			return []*flow{{most: 2_500_000, path: l}}, nil
		},
		judge: func(f []*flow, v *findings) {
			s := f[0].between(10, 60)
			v.least("sent of 2.5 Mbit/s", mean(s, sending)/2.5e6, goal)
		}}
}

// drained is the first second after from at which less than 100 ms queues.
func (f *flow) drained(from float64) float64 {
	for _, s := range f.samples {
		if s.at.Seconds() >= from && s.queued < 100*time.Millisecond {
			return s.at.Seconds() - from
		}
	}
	return math.Inf(1)
}

// switches counts changes of layer from a second on.
func (f *flow) switches(from float64) (n int) {
	s := f.between(from, math.Inf(1))
	for i := range s[1:] {
		if s[i].sending != s[i+1].sending {
			n++
		}
	}
	return n
}

func most(s []sample) (d time.Duration) {
	for _, x := range s {
		d = max(d, x.queued)
	}
	return d
}

func total(f []*flow, from, to float64) (sum float64) {
	for _, x := range f {
		sum += mean(x.between(from, to), got)
	}
	return sum
}

// fairness is Jain's index: 1 when all get the same.
func fairness(f []*flow, from, to float64) float64 {
	var sum, squares float64
	for _, x := range f {
		v := mean(x.between(from, to), got)
		sum += v
		squares += v * v
	}
	return sum * sum / (float64(len(f)) * max(squares, 1))
}

func TestSimulated(t *testing.T) {
	for _, c := range simCases {
		t.Run(c.name, func(t *testing.T) {
			d := time.Duration(c.seconds * float64(time.Second))
			var mine, other findings
			flows, each := c.build()
			run(d, each, flows...)
			c.judge(flows, &mine)
			t.Logf("ours  %s", strings.Join(mine.text, ", "))
			for _, f := range mine.fails {
				t.Error(f)
			}
			if c.plain || !testing.Verbose() { // a table is for who reads it
				return
			}
			synctest.Test(t, func(t *testing.T) {
				flows, each := c.build()
				for _, f := range flows {
					f.subject = newPions(t, DefaultMax)
				}
				run(d, each, flows...)
				c.judge(flows, &other)
			})
			t.Logf("Pion  %s", strings.Join(other.text, ", "))
		})
	}
}

// What random loss does is no luck of one seed, of one round trip or one pace of feedback.
func TestLossSeeds(t *testing.T) {
	for _, share := range []float64{.05, .1, .2, .3} {
		sum, worst, n := 0.0, 1.0, 0
		for seed := range uint64(4) {
			for _, delay := range []time.Duration{5, 50, 100} {
				for _, every := range []time.Duration{50, 100} {
					l := &link{capacity: constant(10e6), delay: delay * time.Millisecond, limit: 300 * time.Millisecond,
						loss: random(share), random: rand.New(rand.NewPCG(seed, 9))}
					f := &flow{most: 2_500_000, path: l, every: every * time.Millisecond}
					run(40*time.Second, nil, f)
					v := mean(f.between(10, 40), sending) / 2.5e6
					sum, worst, n = sum+v, min(worst, v), n+1
				}
			}
		}
		t.Logf("%2.0f %% random loss: %.2f of 2.5 Mbit/s, at worst %.2f of %d runs", share*100, sum/float64(n), worst, n)
		if sum/float64(n) < .9 || worst < .7 {
			t.Errorf("%.0f %%: got %.2f, at worst %.2f, want 0.9 and 0.7", share*100, sum/float64(n), worst)
		}
	}
}
