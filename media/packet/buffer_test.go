package packet

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"braid/media"
)

var epoch = time.Unix(1_700_000_000, 0)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

func numbered(seq uint16, ms int) *media.Packet {
	return &media.Packet{Seq: seq, Arrival: at(ms)}
}

// drain pops all that is due and writes it as "7 8 !10": ! marks a gap.
func drain(b *Buffer, ms int) string {
	s := ""
	for p, gap := b.Pop(at(ms)); p != nil; p, gap = b.Pop(at(ms)) {
		if s != "" {
			s += " "
		}
		if gap {
			s += "!"
		}
		s += fmt.Sprint(p.Seq)
	}
	return s
}

type arrival struct {
	seq  uint16
	ms   int
	want string // what comes out after it
}

func TestBuffer(t *testing.T) {
	for _, c := range []struct {
		name  string
		in    []arrival
		stats BufferStats
	}{
		{"in order over the wrap", []arrival{{65534, 0, "65534"}, {65535, 1, "65535"}, {0, 2, "0"}, {1, 3, "1"}},
			BufferStats{Received: 4}},
		{"exchanged over the wrap", []arrival{{65534, 0, "65534"}, {0, 1, ""}, {65535, 2, "65535 0"}},
			BufferStats{Received: 3}},
		{"lost", []arrival{{1, 0, "1"}, {3, 1, ""}, {4, 60, ""}, {5, 101, "!3 4 5"}},
			BufferStats{Received: 4, Lost: 1}},
		{"lost twice, waits once", []arrival{{1, 0, "1"}, {3, 1, ""}, {6, 2, ""}, {7, 101, "!3"}, {8, 102, "!6 7 8"}},
			BufferStats{Received: 5, Lost: 3}},
		{"the oldest is not the first", []arrival{{1, 0, "1"}, {5, 1, ""}, {3, 90, ""}, {4, 101, "!3 4 5"}},
			BufferStats{Received: 4, Lost: 1}},
		{"late", []arrival{{1, 0, "1"}, {3, 1, ""}, {4, 101, "!3 4"}, {2, 102, ""}, {5, 103, "5"}},
			BufferStats{Received: 5, Lost: 1, Late: 1}},
		{"twice", []arrival{{1, 0, "1"}, {1, 0, ""}, {3, 1, ""}, {3, 1, ""}, {2, 2, "2 3"}, {3, 3, ""}},
			BufferStats{Received: 6, Duplicates: 1, Late: 2}},
		{"full", []arrival{{1, 0, "1"}, {3, 1, ""}, {4, 1, ""}, {5, 1, ""}, {6, 1, "!3 4 5 6"}},
			BufferStats{Received: 5, Lost: 1}},
		{"restart", []arrival{{1, 0, "1"}, {3, 1, ""}, {30000, 2, ""}, {30001, 3, "!30000 30001"}, {30002, 4, "30002"}},
			BufferStats{Received: 5, Discarded: 1, Resets: 1}},
		{"restart backwards, exchanged", []arrival{{30000, 0, "30000"}, {8, 1, ""}, {7, 2, "!7 8"}, {9, 3, "9"}},
			BufferStats{Received: 4, Resets: 1}},
		{"stray", []arrival{{1, 0, "1"}, {30000, 1, ""}, {2, 2, "2"}, {30001, 3, ""}, {3, 4, "3"}},
			BufferStats{Received: 5, Discarded: 2}},
		{"strays far apart", []arrival{{1, 0, "1"}, {30000, 1, ""}, {20000, 1, ""}, {20000, 1, ""}, {2, 2, "2"}},
			BufferStats{Received: 5, Discarded: 3}},
		{"jump inside the window", []arrival{{1, 0, "1"}, {1002, 1, ""}, {1003, 101, "!1002 1003"}},
			BufferStats{Received: 3, Lost: 1000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBuffer(100*time.Millisecond, 4)
			for _, a := range c.in {
				b.Push(numbered(a.seq, a.ms))
				if got := drain(b, a.ms); got != a.want {
					t.Fatalf("after %d at %d ms: got %q, want %q", a.seq, a.ms, got, a.want)
				}
			}
			if got := b.Stats(); got != c.stats {
				t.Errorf("got %+v, want %+v", got, c.stats)
			}
		})
	}
}

func TestBufferDeadline(t *testing.T) {
	b := NewBuffer(100*time.Millisecond, 10)
	if _, ok := b.Deadline(); ok {
		t.Fatal("an empty buffer has a deadline")
	}
	b.Push(numbered(1, 0))
	drain(b, 0)
	b.Push(numbered(4, 7))
	b.Push(numbered(3, 9))
	due, ok := b.Deadline()
	if !ok || !due.Equal(at(107)) {
		t.Fatalf("got %v, %t, want 107 ms: the oldest plus 100", due.Sub(epoch), ok)
	}
	if got := drain(b, 106); got != "" {
		t.Fatalf("before the deadline: got %q", got)
	}
	if got := drain(b, 107); got != "!3 4" {
		t.Fatalf("at the deadline: got %q, want !3 4", got)
	}
	if _, ok := b.Deadline(); ok {
		t.Fatal("a deadline stays behind")
	}
}

// TestBufferShuffled sends a sequence with jitter shorter than the wait and wants
// it back whole.
func TestBufferShuffled(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const n = 200_000
	byTime := make(map[int][]uint16)
	for i := range n {
		ms := i/10 + rnd.IntN(20)
		byTime[ms] = append(byTime[ms], uint16(60_000+i))
	}
	// The first must come first: nothing says that there is one before it.
	byTime[0] = append([]uint16{60_000}, byTime[0]...)
	b := NewBuffer(50*time.Millisecond, 900)
	want := uint16(60_000)
	for ms := range n/10 + 20 {
		for _, seq := range byTime[ms] {
			b.Push(numbered(seq, ms))
		}
		for p, gap := b.Pop(at(ms)); p != nil; p, gap = b.Pop(at(ms)) {
			if gap || p.Seq != want {
				t.Fatalf("at %d ms: got %d, gap %t, want %d", ms, p.Seq, gap, want)
			}
			want++
		}
	}
	if last := uint16((60_000 + n) & 0xffff); want != last {
		t.Fatalf("ended at %d, want %d", want, last)
	}
}

// FuzzBuffer reads its input as arrivals: three bytes each, a time step, and a
// sequence number relative to the last.
func FuzzBuffer(f *testing.F) {
	f.Add([]byte{0, 0, 1, 1, 0, 2, 60, 0, 255, 200, 0, 1})
	f.Add([]byte{0, 128, 0, 0, 0, 1, 0, 0, 1, 0, 64, 0, 0, 64, 0, 0, 0, 1})
	f.Add([]byte{1, 0, 2, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1, 255, 250, 100, 0, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		b := NewBuffer(100*time.Millisecond, 8)
		seq, ms := uint16(0), 0
		pushed := make(map[*media.Packet]bool)
		var last *media.Packet
		resets, out := uint64(0), uint64(0)
		for ; len(in) >= 3; in = in[3:] {
			ms += int(in[0])
			seq += uint16(in[1])<<8 | uint16(in[2])
			p := numbered(seq, ms)
			pushed[p] = true
			b.Push(p)
			for p, gap := b.Pop(at(ms)); p != nil; p, gap = b.Pop(at(ms)) {
				if !pushed[p] {
					t.Fatalf("packet %d was not pushed, or came out twice", p.Seq)
				}
				delete(pushed, p)
				reset := b.Stats().Resets > resets
				resets = b.Stats().Resets
				if last != nil && !reset {
					d := distance(last.Seq, p.Seq)
					if d <= 0 || gap != (d > 1) {
						t.Fatalf("packet %d after %d, gap %t", p.Seq, last.Seq, gap)
					}
				}
				if reset && !gap {
					t.Fatalf("packet %d after a restart without gap", p.Seq)
				}
				last = p
				out++
			}
			if due, ok := b.Deadline(); ok && !due.After(at(ms)) {
				t.Fatalf("due %v ago, but Pop gives nothing", at(ms).Sub(due))
			}
			kept := uint64(len(b.queue))
			if b.stray != nil {
				kept++
			}
			if s := b.Stats(); len(b.queue) > 8 || s.Received != out+kept+s.Duplicates+s.Late+s.Discarded {
				t.Fatalf("%d out, %d kept, %+v", out, kept, s)
			}
		}
	})
}

func BenchmarkBuffer(b *testing.B) {
	buf := NewBuffer(100*time.Millisecond, 512)
	packets := make([]media.Packet, 1<<16)
	for i := range packets {
		packets[i] = media.Packet{Seq: uint16(i), Arrival: epoch}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		buf.Push(&packets[i&0xffff^1]) // pairs exchanged
		for p, _ := buf.Pop(epoch); p != nil; p, _ = buf.Pop(epoch) {
		}
	}
}
