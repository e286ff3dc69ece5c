package record

import "sync"

// Stats is what the recordings of an Index came to: of now, and since OpenIndex.
type Stats struct {
	Recording, Failing int               // recordings whose files grow; those that cannot write any
	Written            uint64            // bytes of media
	Failures           map[string]uint64 // by why; each of FailureKinds is there

	Waiting      int   // finished files that their storage does not have
	WaitingBytes int64 // what they take here
	NotUploaded  uint64
}

// FailureKinds are why nothing is recorded: the disk is full, the stream has what the
// files cannot hold, files cannot be written.
var FailureKinds = [...]string{"disk_full", "format", "write"}

// kindOf is that of a Failed event's reason.
func kindOf(words string) string {
	switch words {
	case fullWords:
		return FailureKinds[0]
	case formatWords:
		return FailureKinds[1]
	}
	return FailureKinds[2]
}

// Stats is that of this moment.
func (x *Index) Stats() Stats {
	s := x.tally.stats()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.order {
		if f.State == Done && f.Storage != "" {
			s.Waiting++
			if f.Format != HLS { // whose slices stand for themselves
				s.WaitingBytes += f.Size
			}
		}
	}
	return s
}

// tally counts what happens.
type tally struct {
	mu          sync.Mutex
	going       map[string]bool // by recording: whether it writes
	failures    map[string]uint64
	written     uint64
	notUploaded uint64
}

func (t *tally) see(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.going == nil {
		t.going, t.failures = make(map[string]bool), make(map[string]uint64)
	}
	switch e.Kind {
	case Started:
		t.going[e.Recording] = true
	case Failed:
		t.going[e.Recording] = false
		t.failures[kindOf(e.Reason)]++
	case Ended:
		delete(t.going, e.Recording)
	}
}

func (t *tally) wrote(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written += uint64(max(bytes, 0))
}

func (t *tally) uploadFailed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notUploaded++
}

func (t *tally) stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Stats{Written: t.written, NotUploaded: t.notUploaded, Failures: make(map[string]uint64)}
	for _, kind := range FailureKinds {
		s.Failures[kind] = t.failures[kind]
	}
	for _, writes := range t.going {
		if writes {
			s.Recording++
		} else {
			s.Failing++
		}
	}
	return s
}
