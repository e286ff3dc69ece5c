package sfu

// renumber gives a stream's packets sequence numbers without the holes that
// dropped padding would leave (a decoder takes a hole for loss), and drops
// duplicates, which retransmissions sent as probes are.
//
// Holes of packets that are really missing stay: their retransmissions fit in.
type renumber struct {
	begun  bool
	newest uint16 // highest number seen, as sent
	shift  uint16 // outgoing = as sent - shift, for what comes next
	stale  int    // packets in a row that were older than the window
	window [window]slot
}

// slot remembers one number of the last 512 (over a second of video).
type slot struct {
	seen  bool
	shift uint16
}

const (
	window   = 512
	maxStale = 50 // then the sender has begun to count anew
)

// next returns a packet's new number; ok is false when the packet is to be dropped.
func (r *renumber) next(seq uint16, padding bool) (out uint16, ok bool) {
	if !r.begun {
		if padding {
			return 0, false
		}
		r.begun, r.newest = true, seq-1
	}
	ahead := int(int16(seq - r.newest))
	if ahead <= -window {
		if r.stale++; r.stale < maxStale {
			return 0, false
		}
		r.restart(seq)
		ahead = 1
	}
	r.stale = 0
	for n := max(1, ahead-window+1); n <= ahead; n++ {
		r.window[(r.newest+uint16(n))%window] = slot{shift: r.shift}
	}
	s := &r.window[seq%window]
	if s.seen {
		return 0, false
	}
	s.seen = true
	if ahead > 0 {
		r.newest = seq
		if padding {
			r.shift++
		}
	}
	// Padding that newer packets have overtaken has left its hole already.
	return seq - s.shift, !padding
}

// restart lets seq follow the newest packet without a hole. What was counted before
// it is left out from now on: the numbers that it would get are others'.
func (r *renumber) restart(seq uint16) {
	r.shift += seq - 1 - r.newest
	r.newest = seq - 1
	for i := range r.window {
		r.window[i].seen = true
	}
}
