package red

// Frame is a packet's own frame, as it came or rebuilt from a repeat.
type Frame struct {
	Seq       uint16
	Timestamp uint32
	Data      []byte
}

const (
	memory  = 64 // packets whose numbers are remembered
	maxBack = 32 // how far back a lost packet is looked for
)

// Repair rebuilds lost packets of one stream. The zero value is ready.
//
// RFC 2198 gives a repeat a timestamp, not a sequence number. Which of the
// missing numbers it had is told by the packets around the hole: the time between
// them is shared out evenly. A repeat that belongs to no hole is what already came.
type Repair struct {
	came [memory]arrived // by number
}

type arrived struct {
	known     bool
	seq       uint16
	timestamp uint32
}

// Push takes a packet: its number, its timestamp, its own frame, and the repeats in
// it, none for one that is not redundant. It appends to dst those that have not
// been given out before, lost ones in front of the packet's own.
func (r *Repair) Push(dst []Frame, seq uint16, timestamp uint32, own []byte, repeats []Block) []Frame {
	fresh := !r.has(seq)
	r.keep(seq, timestamp)
	for _, b := range repeats {
		if b.Offset == 0 {
			continue
		}
		if n, ok := r.place(seq, timestamp, timestamp-b.Offset); ok {
			r.keep(n, timestamp-b.Offset)
			dst = append(dst, Frame{n, timestamp - b.Offset, b.Data})
		}
	}
	if fresh {
		dst = append(dst, Frame{seq, timestamp, own})
	}
	return dst
}

func (r *Repair) has(seq uint16) bool {
	a := &r.came[seq%memory]
	return a.known && a.seq == seq
}

func (r *Repair) keep(seq uint16, timestamp uint32) {
	r.came[seq%memory] = arrived{true, seq, timestamp}
}

// place finds the missing number before seq, which has the timestamp now, that a
// frame of time at had.
func (r *Repair) place(seq uint16, now, at uint32) (n uint16, ok bool) {
	for back := uint16(1); back <= maxBack; back++ {
		lower := &r.came[(seq-back)%memory]
		if !r.has(seq - back) {
			continue
		}
		age := int64(int32(now - at)) // of the frame, seen from seq
		switch since := int64(int32(at - lower.timestamp)); {
		case age <= 0 || since == 0: // no hole is there
			return 0, false
		case since > 0:
			missing := int64(back) - 1
			if missing == 0 {
				return 0, false
			}
			step := max((age+since)/int64(back), 1)
			return seq - uint16(min(max((age+step/2)/step, 1), missing)), true
		}
		seq, now, back = lower.seq, lower.timestamp, 0 // the frame is older than this one, too
	}
	return 0, false
}
