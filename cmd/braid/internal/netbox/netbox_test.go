package netbox

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// each gives a judge n packets of size bytes, gap apart, and returns the
// deliveries of each.
func each(j *judge, n, size int, gap time.Duration) (from time.Time, all [][]fate) {
	from = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		all = append(all, j.packet(from.Add(time.Duration(i)*gap), size, nil))
	}
	return from, all
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s: got %.4f, want %.4f within %.4f", what, got, want, tolerance)
	}
}

func TestSharesAreAsAsked(t *testing.T) {
	const n = 100_000
	for _, share := range []float64{0, 0.05, 0.3, 1} {
		for _, burst := range []float64{0, 4} {
			j := newJudge(7)
			j.profile = Profile{Loss: share, Burst: burst, Duplicate: share, Corrupt: share, Reorder: share}
			_, all := each(j, n, 100, time.Millisecond)
			runs, lost := 0, 0
			for i, f := range all {
				if len(f) == 0 {
					lost++
					if i == 0 || len(all[i-1]) > 0 {
						runs++
					}
				}
			}
			c := j.counts
			near(t, "loss", float64(lost)/n, share, 0.02*math.Sqrt(share)+1e-9)
			if c.Lost != lost || c.In != n {
				t.Errorf("loss %v: counts %+v, but %d were lost", share, c, lost)
			}
			if burst > 1 && share > 0 && share < 1 {
				near(t, "length of a burst", float64(lost)/float64(runs), burst, 0.2)
			}
			if passed := float64(n - lost); passed > 0 {
				near(t, "duplicates", float64(c.Repeated)/passed, share, 0.01)
				near(t, "corrupted", float64(c.Corrupted)/passed, share, 0.01)
			}
		}
	}
}

func TestSeedsRepeat(t *testing.T) {
	fates := func(seed uint64) (out []bool) {
		j := newJudge(seed)
		j.profile = Profile{Loss: 0.5}
		_, all := each(j, 64, 100, time.Millisecond)
		for _, f := range all {
			out = append(out, len(f) > 0)
		}
		return out
	}
	same := func(a, b []bool) bool {
		for i := range a {
			if a[i] != b[i] {
				return false
			}
		}
		return true
	}
	if !same(fates(1), fates(1)) {
		t.Error("one seed gives two fates")
	}
	if same(fates(1), fates(2)) {
		t.Error("two seeds give one fate")
	}
}

func TestJitterSpreadsAndMayKeepOrder(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		j := newJudge(3)
		j.profile = Profile{Delay: 100 * time.Millisecond, Jitter: 50 * time.Millisecond, Ordered: ordered}
		from, all := each(j, 10_000, 100, 10*time.Millisecond)
		late, sum := 0, 0.0
		var last time.Time
		for i, f := range all {
			took := f[0].at.Sub(from.Add(time.Duration(i) * 10 * time.Millisecond))
			if took < 50*time.Millisecond || took > 150*time.Millisecond {
				t.Fatalf("ordered %v: packet %d takes %v", ordered, i, took)
			}
			sum += took.Seconds()
			if f[0].at.Before(last) {
				late++
			} else {
				last = f[0].at
			}
		}
		if ordered != (late == 0) {
			t.Errorf("ordered %v: %d packets are overtaken", ordered, late)
		}
		if mean := sum / 10_000; !ordered {
			near(t, "mean delay", mean, 0.1, 0.002)
		}
	}
}

func TestReorderShare(t *testing.T) {
	j := newJudge(3)
	j.profile = Profile{Delay: 10 * time.Millisecond, Reorder: 0.2, Ordered: true}
	from, all := each(j, 10_000, 100, time.Millisecond)
	late := 0
	for i, f := range all {
		switch took := f[0].at.Sub(from.Add(time.Duration(i) * time.Millisecond)); took {
		case 30 * time.Millisecond:
			late++
		case 10 * time.Millisecond:
		default:
			t.Fatalf("packet %d takes %v", i, took)
		}
	}
	near(t, "late", float64(late)/10_000, 0.2, 0.02)
	if late != j.counts.Late {
		t.Errorf("counts %+v, but %d are late", j.counts, late)
	}
}

// TestRate: a line of 1 Mbit/s gets 2 Mbit/s for ten seconds.
func TestRate(t *testing.T) {
	j := newJudge(1)
	j.profile = Profile{Rate: 1e6, Delay: 20 * time.Millisecond, Queue: 200 * time.Millisecond}
	from, all := each(j, 2000, 1250, 5*time.Millisecond)
	passed := 0
	var longest time.Duration
	var last time.Time
	for i, f := range all {
		if len(f) == 0 {
			continue
		}
		passed++
		last = f[0].at
		longest = max(longest, last.Sub(from.Add(time.Duration(i)*5*time.Millisecond)))
	}
	near(t, "bits a second", float64(passed*1250*8)/last.Sub(from).Seconds(), 1e6, 1e4)
	if longest < 220*time.Millisecond || longest > 231*time.Millisecond { // the limit, the delay, the packet itself
		t.Errorf("the slowest packet took %v", longest)
	}
	if j.counts.Dropped != 2000-passed {
		t.Errorf("counts %+v, but %d of 2000 passed", j.counts, passed)
	}
	j.profile = Profile{Down: true}
	if _, all := each(j, 3, 100, time.Millisecond); len(all[0])+len(all[1])+len(all[2]) != 0 || j.counts.Cut != 3 {
		t.Errorf("a wire that is down delivers: %v, %+v", all, j.counts)
	}
}

func TestDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	packet := func() []byte {
		b := make([]byte, 20+8+4)
		b[0], b[9] = 0x45, 17
		b[26], b[27] = 0xab, 0xcd
		return b
	}
	for range 100 {
		b := packet()
		damage(b, r)
		changed := 0
		for i, v := range packet() {
			if b[i] == v {
				continue
			}
			switch {
			case i == 26 || i == 27:
			case i >= 28:
				changed++
			default:
				t.Fatalf("byte %d of the headers is changed", i)
			}
		}
		if changed != 1 || b[26] != 0 || b[27] != 0 {
			t.Fatalf("%d bytes of the payload are changed, checksum %x", changed, b[26:28])
		}
	}
	damage(nil, r)
	damage([]byte{0x45}, r)
}
