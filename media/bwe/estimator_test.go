package bwe

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
)

// viewer answers what is sent, each packet after a delay, every 50 ms.
type viewer struct {
	e        *Estimator
	recorder *twcc.Recorder
	number   uint16
	at       time.Duration
	raw      [][]byte
}

func newViewer(c Config, first uint16) *viewer {
	return &viewer{e: New(c), recorder: twcc.NewRecorder(1), number: first}
}

// play sends packets of 1200 bytes at a rate for a time, over a path of 20 ms.
func (v *viewer) play(t testing.TB, rate float64, d time.Duration, offset time.Duration) {
	gap := time.Duration(1200 * 8 / rate * 1e9)
	for end := v.at + d; v.at < end; v.at += gap {
		v.e.Sent(v.number, 1200, v.at)
		v.recorder.Record(1, v.number, int64((v.at+20*time.Millisecond+offset)/time.Microsecond))
		v.number++
		if v.at/(50*time.Millisecond) != (v.at+gap)/(50*time.Millisecond) {
			v.answer(t)
		}
	}
}

func (v *viewer) answer(t testing.TB) {
	raw, err := rtcp.Marshal(v.recorder.BuildFeedbackPacket())
	if err != nil {
		t.Fatal(err)
	}
	v.raw = append(v.raw, raw)
	if err := v.e.Feedback(raw, v.at+40*time.Millisecond); err != nil {
		t.Fatal(err)
	}
}

func TestStart(t *testing.T) {
	if got := New(Config{}).Estimate(0); got.Rate != DefaultStart || got.Acked != 0 || got.RTT != 0 {
		t.Errorf("got %+v, want the start and nothing known", got)
	}
	for _, c := range []struct {
		config Config
		want   int
	}{{Config{Start: 1}, DefaultMin}, {Config{Max: 100_000}, 100_000}, {Config{Start: 2_000_000}, 2_000_000}, {Config{Min: 5, Max: 3}, 5}} {
		if got := New(c.config).Estimate(0).Rate; got != c.want {
			t.Errorf("%+v: got %d, want %d", c.config, got, c.want)
		}
	}
}

// Numbers wrap, and the first may be any.
func TestNumbersWrap(t *testing.T) {
	v := newViewer(Config{}, 65_400)
	v.play(t, 2e6, 10*time.Second, 0)
	got := v.e.Estimate(v.at)
	if got.Loss != 0 || got.Acked < 1_900_000 || got.Acked > 2_100_000 || got.Rate < 2_000_000 || got.RTT < 35*time.Millisecond || got.RTT > 65*time.Millisecond {
		t.Errorf("got %+v", got)
	}
}

// What is sent bounds what is estimated: little sent neither lowers it nor lets it grow.
func TestIdle(t *testing.T) {
	v := newViewer(Config{}, 0)
	v.play(t, 1e6, 10*time.Second, 0)
	high := v.e.Estimate(v.at).Rate
	if high < 1_000_000 || high > 1_700_000 {
		t.Fatalf("after 1 Mbit/s: got %d", high)
	}
	v.play(t, 100e3, 60*time.Second, 0)
	if got := v.e.Estimate(v.at); got.Rate != high || !got.Idle {
		t.Errorf("after a minute at 100 kbit/s: got %d, idle %v, want %d", got.Rate, got.Idle, high)
	}
	v.at += 10 * time.Second // nothing at all
	if got := v.e.Estimate(v.at); got.Rate != high || got.Deaf {
		t.Errorf("after silence of ours: got %+v, want %d", got, high)
	}
}

// The same feedback again, older feedback, and a clock that is set do no harm.
func TestOddFeedback(t *testing.T) {
	v := newViewer(Config{}, 0)
	v.play(t, 1e6, 5*time.Second, 0)
	before := v.e.Estimate(v.at)
	for _, raw := range v.raw {
		if err := v.e.Feedback(raw, v.at); err != nil {
			t.Fatal(err)
		}
	}
	if got := v.e.Estimate(v.at); got != before {
		t.Errorf("feedback again: got %+v, want %+v", got, before)
	}
	for _, offset := range []time.Duration{time.Hour, 0, 24 * time.Hour, -10 * time.Second, 5 * time.Second} {
		v.play(t, 1e6, 5*time.Second, 25*time.Hour+offset)
		if got := v.e.Estimate(v.at); got.Rate < 900_000 || got.Rate > 2_000_000 || got.Loss != 0 {
			t.Errorf("clock set by %v: got %+v", offset, got)
		}
	}
}

// Feedback that lies cannot make the estimate absurd, whatever it says of times.
func TestHostile(t *testing.T) {
	const sent = 1200 * 8 * 200
	r := rand.New(rand.NewPCG(3, 4))
	e := New(Config{Max: 20_000_000})
	number := uint16(0)
	for at := time.Duration(0); at < 60*time.Second; at += 5 * time.Millisecond {
		e.Sent(number, 1200, at)
		number++
		if at%(20*time.Millisecond) != 0 {
			continue
		}
		raw := head(5, number-uint16(r.IntN(40)), uint16(1+r.IntN(8)), r.Uint32())
		raw = append(raw, 0x20, 8)
		for range 12 {
			raw = append(raw, byte(r.IntN(3)))
		}
		raw = append(raw, 0, 0)
		raw[3] = byte(len(raw)/4 - 1)
		if err := e.Feedback(raw[:len(raw)/4*4], at); err != nil {
			t.Fatal(err)
		}
		got := e.Estimate(at)
		if got.Rate < DefaultMin || got.Rate > sent*growMost*sentMost+growBeside || got.Acked < 0 {
			t.Fatalf("at %v: %+v", at, got)
		}
	}
}

// A million packets cost no more memory than the ring's bound.
func TestMemory(t *testing.T) {
	v := newViewer(Config{}, 0)
	v.play(t, 2.5e6, 5*time.Second, 0)
	fixed, ring := unsafe.Sizeof(*v.e), uintptr(cap(v.e.ring.slots))*unsafe.Sizeof(packet{})
	t.Logf("%d bytes and a ring of %d at 2.5 Mbit/s", fixed, ring)
	if fixed+ring > 10<<10 {
		t.Errorf("got %d bytes, want at most 10 KiB", fixed+ring)
	}
	for i := range 1_000_000 {
		v.e.Sent(uint16(i), 100, v.at)
	}
	if got := len(v.e.ring.slots); got != ringMost {
		t.Errorf("without feedback: ring of %d, want %d", got, ringMost)
	}
}

// Feedback about packets that were lost on the way back leaves no hole in what arrived.
func TestLostFeedback(t *testing.T) {
	v := newViewer(Config{}, 0)
	v.play(t, 1e6, 3*time.Second, 0)
	for range 20 {
		v.play(t, 1e6, 200*time.Millisecond, 0)
		v.recorder.BuildFeedbackPacket() // what is pending is lost
		for range 10 {
			v.e.Sent(v.number, 1200, v.at)
			v.recorder.Record(1, v.number, int64((v.at+20*time.Millisecond)/time.Microsecond))
			v.number++
			v.at += 9600 * time.Microsecond
		}
		v.recorder.BuildFeedbackPacket()
	}
	if got := v.e.Estimate(v.at); got.Acked < 850_000 || got.Acked > 1_150_000 || got.Loss > 0.001 || got.Rate < 1_000_000 {
		t.Errorf("got %+v", got)
	}
}

func BenchmarkSent(b *testing.B) {
	e := New(Config{})
	b.ReportAllocs()
	for i := range b.N {
		e.Sent(uint16(i), 1200, time.Duration(i)*10*time.Millisecond)
	}
}

// One operation is a feedback packet about 13 packets: 50 ms at 2.5 Mbit/s.
func BenchmarkFeedback(b *testing.B) {
	e := New(Config{})
	raw := append(head(9, 0, 13, 0), 0x20, 13)
	for range 18 {
		raw = append(raw, 15)
	}
	at := time.Duration(0)
	b.ReportAllocs()
	for i := range b.N {
		for k := range 13 {
			e.Sent(uint16(i*13+k), 1200, at+time.Duration(k)*3750*time.Microsecond)
		}
		at += 50 * time.Millisecond
		n, ref := uint16(i*13), uint32(at/refUnit)
		raw[12], raw[13], raw[16], raw[17], raw[18] = byte(n>>8), byte(n), byte(ref>>16), byte(ref>>8), byte(ref)
		if err := e.Feedback(raw, at+20*time.Millisecond); err != nil {
			b.Fatal(err)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	v := newViewer(Config{}, 0)
	v.play(t, 2.5e6, 10*time.Second, 0)
	raw := v.raw[len(v.raw)-1]
	if got := testing.AllocsPerRun(1000, func() {
		v.at += 5 * time.Millisecond
		v.e.Sent(v.number, 1200, v.at)
		v.number++
		_ = v.e.Feedback(raw, v.at)
		v.e.Probe(5_000_000, v.at)
		v.e.Estimate(v.at)
	}); got != 0 {
		t.Errorf("got %v allocations a packet, want 0", got)
	}
}
