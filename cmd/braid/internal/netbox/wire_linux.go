package netbox

import (
	"container/heap"
	"os"
	"sync"
	"time"
)

// Wire is one direction of a Box. Its methods may be called from any goroutine.
type Wire struct {
	mu     sync.Mutex
	judge  *judge    // guarded by mu
	waits  deliverys // guarded by mu
	number uint64    // of the next packet; guarded by mu
	fates  []fate    // guarded by mu
	wake   chan struct{}
}

func newWire(seed uint64) *Wire {
	return &Wire{judge: newJudge(seed), wake: make(chan struct{}, 1)}
}

// Set changes what happens to packets from now on; those under way arrive as
// they would have.
func (w *Wire) Set(p Profile) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judge.profile = p
}

// Counts is what has happened so far.
func (w *Wire) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.judge.counts
}

// push takes a packet, which it does not keep.
func (w *Wire) push(b []byte) {
	now := time.Now()
	w.mu.Lock()
	w.fates = w.judge.packet(now, len(b), w.fates[:0])
	for _, f := range w.fates {
		kept := append([]byte(nil), b...)
		if f.corrupt {
			damage(kept, w.judge.random)
		}
		heap.Push(&w.waits, delivery{f.at, w.number, kept})
		w.number++
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// due takes the next packet whose time has come; else it tells how long to wait
// for it, an hour when there is none.
func (w *Wire) due(now time.Time) ([]byte, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waits) == 0 {
		return nil, time.Hour
	}
	if wait := w.waits[0].at.Sub(now); wait > 0 {
		return nil, wait
	}
	d := heap.Pop(&w.waits).(delivery)
	w.judge.counts.Out++
	w.judge.counts.Bytes += len(d.b)
	return d.b, 0
}

// read feeds the wire from a TUN device until that is closed.
func (w *Wire) read(from *os.File) {
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.push(buf[:n])
	}
}

// write delivers to a TUN device until done is closed.
func (w *Wire) write(to *os.File, done <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		b, wait := w.due(time.Now())
		if b != nil {
			_, _ = to.Write(b) // a full queue of the kernel's is a loss as everywhere
			continue
		}
		timer.Reset(wait)
		select {
		case <-w.wake:
		case <-timer.C:
		case <-done:
			return
		}
	}
}

type delivery struct {
	at     time.Time
	number uint64
	b      []byte
}

// deliverys is a heap: the earliest first, in the order of arrival among equals.
type deliverys []delivery

func (d deliverys) Len() int { return len(d) }
func (d deliverys) Less(i, j int) bool {
	return d[i].at.Before(d[j].at) || d[i].at.Equal(d[j].at) && d[i].number < d[j].number
}
func (d deliverys) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliverys) Push(v any)   { *d = append(*d, v.(delivery)) }
func (d *deliverys) Pop() any {
	old := *d
	v := old[len(old)-1]
	old[len(old)-1] = delivery{}
	*d = old[:len(old)-1]
	return v
}
