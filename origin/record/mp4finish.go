package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// reference is one fragment in a sidx.
type reference struct {
	size  uint32
	start time.Duration // since the file's begin
	key   bool          // it begins with a key frame, or is sound alone
}

// mp4Layout is where things are in a file, and what its times are measured in.
type mp4Layout struct {
	mehd    int64 // of the duration's 8 bytes
	free    int64 // of the box that sidx replaces
	room    int64 // the whole length of free
	body    int64 // of the first fragment
	main    uint32
	scales  map[uint32]int64 // of the tracks, by id
	oneKind bool             // there is one track
}

const (
	sidxHead = 40 // bytes before the references
	sidxRef  = 12
	boxHead  = 8
	// maxHead and maxMoof bound what is read at once of a file that is recovered;
	// what this package writes is far smaller.
	maxHead = 4 << 20
	maxMoof = 4 << 20
)

// sidxRoom is the body of the free box: for a fragment each second and then some.
func sidxRoom(segment time.Duration) int {
	return sidxHead + sidxRef*(int(segment/fragmentLeast)*5/4+64)
}

var errNotOurs = errors.New("this is not a file that a recording made")

// children calls f for each whole box in b, with its body and where that begins.
func children(b []byte, f func(kind string, body []byte, at int)) {
	for at := 0; at+boxHead <= len(b); {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n < boxHead || n > len(b)-at {
			return
		}
		f(string(b[at+4:at+8]), b[at+boxHead:at+n], at+boxHead)
		at += n
	}
}

// readHead finds the layout in a file's beginning.
func readHead(b []byte) (*mp4Layout, error) {
	l := &mp4Layout{mehd: -1, free: -1, scales: make(map[uint32]int64)}
	children(b, func(kind string, body []byte, at int) {
		switch kind {
		case "moov":
			if l.mehd < 0 {
				l.moov(body, at)
			}
		case "free", "sidx":
			switch begin := int64(at - boxHead); {
			case l.free < 0 && l.mehd >= 0:
				l.free, l.room = begin, int64(len(body)+boxHead)
			case l.free >= 0 && begin == l.free+l.room: // what finishMP4 left of it
				l.room += int64(len(body) + boxHead)
			}
		}
	})
	if l.free < 0 || len(l.scales) == 0 {
		return nil, errNotOurs
	}
	l.body = l.free + l.room
	return l, nil
}

func (l *mp4Layout) moov(b []byte, at int) {
	children(b, func(kind string, body []byte, in int) {
		switch kind {
		case "trak":
			l.trak(body)
		case "mvex":
			children(body, func(kind string, body []byte, further int) {
				if kind == "mehd" && len(body) == 12 && body[0] == 1 {
					l.mehd = int64(at + in + further + 4)
				}
			})
		}
	})
	for id := range l.scales {
		if l.main == 0 || id < l.main { // pictures have the lower one
			l.main = id
		}
	}
	l.oneKind = len(l.scales) == 1
}

func (l *mp4Layout) trak(b []byte) {
	var id uint32
	var scale int64
	children(b, func(kind string, body []byte, _ int) {
		switch kind {
		case "tkhd":
			if len(body) >= 16 {
				id = binary.BigEndian.Uint32(body[12:])
			}
		case "mdia":
			children(body, func(kind string, body []byte, _ int) {
				if kind == "mdhd" && len(body) >= 16 {
					scale = int64(binary.BigEndian.Uint32(body[12:]))
				}
			})
		}
	})
	if id != 0 && scale != 0 {
		l.scales[id] = scale
	}
}

// moof reads when a fragment begins and ends, and whether with a key frame.
func (l *mp4Layout) moof(b []byte) (ref reference, end time.Duration, ok bool) {
	children(b, func(kind string, body []byte, _ int) {
		if kind != "traf" {
			return
		}
		var id uint32
		var begin, long int64
		key := false
		children(body, func(kind string, body []byte, _ int) {
			switch {
			case kind == "tfhd" && len(body) >= 8:
				id = binary.BigEndian.Uint32(body[4:])
			case kind == "tfdt" && len(body) == 12 && body[0] == 1:
				begin = int64(binary.BigEndian.Uint64(body[4:]))
			case kind == "trun":
				long, key = trun(body)
			}
		})
		scale := l.scales[id]
		if scale == 0 || begin < 0 || begin > 1<<50 || long <= 0 {
			return
		}
		if from := span(begin, scale); !ok || id == l.main {
			ref.start, ref.key = from, key && (id == l.main || l.oneKind)
		}
		end, ok = max(end, span(begin+long, scale)), true
	})
	return ref, end, ok
}

// trun adds up a run's durations; key tells whether its first sample is one.
func trun(b []byte) (long int64, key bool) {
	if len(b) < 12 {
		return 0, false
	}
	flags := binary.BigEndian.Uint32(b) & 0xffffff
	n := int64(binary.BigEndian.Uint32(b[4:]))
	each := 0
	for _, f := range []uint32{0x100, 0x200, 0x400, 0x800} {
		if flags&f != 0 {
			each += 4
		}
	}
	if flags&0x105 != 0x101 || n*int64(each) != int64(len(b)-12) {
		return 0, false
	}
	b = b[12:]
	key = flags&0x400 == 0 || len(b) >= 12 && binary.BigEndian.Uint32(b[8:])&0x10000 == 0
	for ; len(b) > 0; b = b[each:] {
		long += int64(binary.BigEndian.Uint32(b))
	}
	return long, key
}

// readMP4 reads a file up to its last whole fragment, which ends at byte whole;
// errNotOurs, and nothing else wrong, when it does not even have its head.
func readMP4(r io.ReaderAt, size int64) (l *mp4Layout, refs []reference, whole int64, end time.Duration, err error) {
	head := make([]byte, min(size, maxHead))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, nil, 0, 0, err
	}
	if l, err = readHead(head); err != nil {
		return nil, nil, 0, 0, err
	}
	var b [boxHead]byte
	buf := head[:0:0]
	for whole = l.body; whole+boxHead <= size; {
		if _, err := r.ReadAt(b[:], whole); err != nil {
			return nil, nil, 0, 0, err
		}
		n := int64(binary.BigEndian.Uint32(b[:]))
		if string(b[4:]) != "moof" || n < boxHead || n > maxMoof || whole+n+boxHead > size {
			break
		}
		if int64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := r.ReadAt(buf, whole); err != nil {
			return nil, nil, 0, 0, err
		}
		ref, until, ok := l.moof(buf[boxHead:])
		if _, err := r.ReadAt(b[:], whole+n); err != nil {
			return nil, nil, 0, 0, err
		}
		data := int64(binary.BigEndian.Uint32(b[:]))
		if !ok || string(b[4:]) != "mdat" || data < boxHead || whole+n+data > size || n+data > 1<<31-1 {
			break
		}
		ref.size = uint32(n + data)
		refs, end, whole = append(refs, ref), max(end, until), whole+n+data
	}
	return l, refs, whole, end, nil
}

// finishMP4 writes what is known at the end: the duration, and the sidx if it has
// room. A file that this is cut short in plays as one that is not finished.
func finishMP4(w io.WriterAt, l *mp4Layout, refs []reference, end time.Duration) error {
	if _, err := w.WriteAt(u64(nil, uint64(units(end, movieScale))), l.mehd); err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	size := int64(boxHead + sidxHead - boxHead + sidxRef*len(refs))
	rest := l.room - size
	if len(refs) == 0 || len(refs) > 1<<16-1 || rest != 0 && rest < boxHead {
		return nil
	}
	scale := l.scales[l.main]
	b := u32(u32(nil, uint32(size)), 0x73696478) // "sidx", clause 8.16.3
	b = u32(b, 1<<24, l.main, uint32(scale))
	b = u64(u64(b, uint64(units(refs[0].start, scale))), uint64(rest))
	b = u16(b, 0, uint16(len(refs)))
	for i, r := range refs {
		until := end
		if i+1 < len(refs) {
			until = refs[i+1].start
		}
		sap := uint32(0)
		if r.key {
			sap = 0x90000000 // it begins with a sync sample
		}
		b = u32(b, r.size, uint32(units(until, scale)-units(r.start, scale)), sap)
	}
	if rest > 0 {
		b = append(u32(b, uint32(rest)), "free"...)
	}
	// The box is still free while its inside is written; its first 8 bytes make it a sidx.
	if _, err := w.WriteAt(b[boxHead:], l.free+boxHead); err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	if _, err := w.WriteAt(b[:boxHead], l.free); err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	return nil
}
