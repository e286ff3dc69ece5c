package main

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/pion/rtp"
	"golang.org/x/sys/unix"
)

// botLoop reads all sockets of the bots and sends what is due, in one thread:
// two hundred watchers have to fit on one core beside the server's.
type botLoop struct {
	poll, timer int
	started     time.Time

	mu      sync.Mutex // for clients and jobs
	clients map[int32]*botClient
	jobs    botJobs

	stop atomic.Bool
	done chan struct{}

	// The rest is owned by run.
	msgs     [botBatch]unix.Mmsghdr
	iovs     [botBatch]unix.Iovec
	data     [botBatch][2048]byte
	controls [botBatch][64]byte
	plain    []byte
	header   rtp.Header

	sum struct { // guarded by sumMu, which run takes once for each batch
		packets, bytes int64
		feedback       int64 // packets sent
		delays         delays
	}
	sumMu sync.Mutex
}

const (
	botBatch  = 64
	botSample = 16 // of so many packets of a stream one is decrypted for its time stamp
)

// botJob is work at a time; again is how long until the next, 0 for never.
type botJob struct {
	due time.Time
	do  func(due time.Time) (again time.Duration)
}

type botJobs []*botJob

func (j botJobs) Len() int           { return len(j) }
func (j botJobs) Less(a, b int) bool { return j[a].due.Before(j[b].due) }
func (j botJobs) Swap(a, b int)      { j[a], j[b] = j[b], j[a] }
func (j *botJobs) Push(x any)        { *j = append(*j, x.(*botJob)) }
func (j *botJobs) Pop() any {
	last := (*j)[len(*j)-1]
	*j = (*j)[:len(*j)-1]
	return last
}

// botStream counts one received stream.
type botStream struct {
	ssrc     uint32
	first    int64 // sequence number
	newest   int64 // the same, counted on past 65535
	received int64
}

// delays is a histogram of 50 µs steps up to one second.
type delays [20000]int64

func (d *delays) add(v time.Duration) {
	d[min(max(int(v/(50*time.Microsecond)), 0), len(d)-1)]++
}

// at is the delay that a share of all are below.
func (d *delays) at(share float64) time.Duration {
	var all, sum int64
	for _, n := range d {
		all += n
	}
	for i, n := range d {
		if sum += n; float64(sum) >= share*float64(all) && all > 0 {
			return time.Duration(i+1) * 50 * time.Microsecond
		}
	}
	return 0
}

func newBotLoop() (*botLoop, error) {
	l := &botLoop{clients: map[int32]*botClient{}, done: make(chan struct{}), started: time.Now()}
	var err error
	if l.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	if err := unix.EpollCtl(l.poll, unix.EPOLL_CTL_ADD, l.timer, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l.timer)}); err != nil {
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	for i := range l.msgs {
		l.iovs[i].Base = &l.data[i][0]
		l.iovs[i].SetLen(len(l.data[i]))
		l.msgs[i].Hdr.Iov = &l.iovs[i]
		l.msgs[i].Hdr.SetIovlen(1)
	}
	return l, nil
}

func (l *botLoop) add(c *botClient) error {
	l.mu.Lock()
	l.clients[int32(c.fd)] = c
	l.mu.Unlock()
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.poll, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd)}))
}

// at does a job at a time, from the loop's thread.
func (l *botLoop) at(due time.Time, do func(due time.Time) time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	heap.Push(&l.jobs, &botJob{due, do})
	l.armLocked()
}

// do does something in the loop's thread and waits for it.
func (l *botLoop) do(f func()) {
	did := make(chan struct{})
	l.at(time.Now(), func(time.Time) time.Duration { f(); close(did); return 0 })
	<-did
}

// armLocked sets the timer to the next job.
func (l *botLoop) armLocked() {
	if len(l.jobs) == 0 {
		return
	}
	wait := max(time.Until(l.jobs[0].due), 1)
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}
	_ = unix.TimerfdSettime(l.timer, 0, &spec, nil) // of valid arguments
}

// run returns after stop.
func (l *botLoop) run() {
	defer close(l.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]unix.EpollEvent, 256)
	for !l.stop.Load() {
		n, err := unix.EpollWait(l.poll, events, 100)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == l.timer {
				l.work()
				continue
			}
			l.mu.Lock()
			c := l.clients[e.Fd]
			l.mu.Unlock()
			if c != nil {
				l.drain(c)
			}
		}
	}
}

// work does the jobs that are due.
func (l *botLoop) work() {
	var expirations [8]byte
	_, _ = unix.Read(l.timer, expirations[:])
	for {
		l.mu.Lock()
		if len(l.jobs) == 0 || time.Until(l.jobs[0].due) > 0 {
			l.armLocked()
			l.mu.Unlock()
			return
		}
		j := heap.Pop(&l.jobs).(*botJob)
		l.mu.Unlock()
		if again := j.do(j.due); again > 0 {
			j.due = j.due.Add(again)
			l.mu.Lock()
			heap.Push(&l.jobs, j)
			l.mu.Unlock()
		}
	}
}

// drain reads what a socket has.
func (l *botLoop) drain(c *botClient) {
	for {
		for i := range l.msgs {
			l.msgs[i].Hdr.Control = &l.controls[i][0]
			l.msgs[i].Hdr.SetControllen(len(l.controls[i]))
		}
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&l.msgs[0])), botBatch, unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			return
		}
		l.sumMu.Lock()
		for i := range l.msgs[:n] {
			l.take(c, l.data[i][:l.msgs[i].Len], &l.msgs[i].Hdr, l.controls[i][:])
		}
		l.sumMu.Unlock()
		if n < botBatch {
			return
		}
	}
}

// take looks at one packet (RFC 7983 section 7).
func (l *botLoop) take(c *botClient, b []byte, hdr *unix.Msghdr, control []byte) {
	switch {
	case len(b) < 12:
	case b[0] < 4: // STUN
		if binary.BigEndian.Uint16(b) == 0x0101 && !c.hasChecked {
			c.hasChecked = true
			close(c.checked)
		}
	case b[0] >= 20 && b[0] < 64:
		select {
		case c.secure <- append([]byte(nil), b...):
		default:
		}
	case b[0]&0xc0 == 0x80 && (b[1] < 192 || b[1] > 223):
		l.count(c, b, hdr, control)
	case b[0]&0xc0 == 0x80 && c.control != nil && c.in != nil:
		if plain, err := c.in.DecryptRTCP(nil, b, nil); err == nil {
			c.control(plain)
		}
	}
}

// count takes an RTP packet that a watcher got.
func (l *botLoop) count(c *botClient, b []byte, hdr *unix.Msghdr, control []byte) {
	ssrc, seq := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(b[2:])
	var s *botStream
	for _, o := range c.streams {
		if o.ssrc == ssrc {
			s = o
		}
	}
	if s == nil {
		s = &botStream{ssrc: ssrc, first: int64(seq), newest: int64(seq) - 1}
		c.streams = append(c.streams, s)
	}
	if ahead := int16(seq - uint16(s.newest)); ahead > 0 {
		s.newest += int64(ahead)
	}
	s.received++
	l.sum.packets++
	l.sum.bytes += int64(len(b))
	came, stamped := arrival(hdr, control)
	if number, ok := transportNumber(b, uint8(c.transport.Load())); ok && stamped {
		c.arrived.add(number, time.Duration(came))
	}
	if seq%botSample != 0 || c.in == nil {
		return
	}
	plain, err := c.in.DecryptRTP(l.plain[:0], b, &l.header)
	if err != nil {
		return
	}
	l.plain = plain
	sent, ok := sentAt(plain[l.header.MarshalSize():])
	if ok && stamped {
		l.sum.delays.add(time.Duration(came - sent))
	}
}

// arrival is when the kernel got a packet, in Unix nanoseconds.
func arrival(hdr *unix.Msghdr, control []byte) (ns int64, ok bool) {
	if int(hdr.Controllen) < unix.CmsgLen(16) || control[8] != unix.SOL_SOCKET || control[12] != unix.SCM_TIMESTAMPNS {
		return 0, false
	}
	b := control[unix.CmsgLen(0):]
	return int64(binary.NativeEndian.Uint64(b))*1e9 + int64(binary.NativeEndian.Uint64(b[8:])), true
}

// botTally is what has been received up to now.
type botTally struct {
	packets, bytes, expected, received, feedback int64
	delays                                       delays
}

// tally gives the sums and begins new delays.
func (l *botLoop) tally() *botTally {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sumMu.Lock()
	defer l.sumMu.Unlock()
	t := &botTally{packets: l.sum.packets, bytes: l.sum.bytes, feedback: l.sum.feedback, delays: l.sum.delays}
	l.sum.delays = delays{}
	for _, c := range l.clients {
		for _, s := range c.streams {
			t.expected += s.newest - s.first + 1
			t.received += s.received
		}
	}
	return t
}

func (l *botLoop) close() {
	l.stop.Store(true)
	<-l.done
	for _, c := range l.clients {
		unix.Close(c.fd)
	}
	unix.Close(l.timer)
	unix.Close(l.poll)
}

// botSender sends what a browser's camera and microphone would: at each frame a
// burst of packets, a sound packet each 20 ms, a sender report each second.
type botSender struct {
	client     *botClient
	fps, burst int
	frames     int
	video      botSent
	audio      botSent
	transport  uint16 // number of the next packet over both (transport-wide congestion control)
	lag        time.Duration
}

type botSent struct {
	ssrc      uint32
	kind      uint8
	seq       uint16
	timestamp uint32
	packets   uint32
	octets    uint32
	plain     [1500]byte
	sealed    [1600]byte
}

const (
	botPayload = 1130 // with header and extension 1150 bytes a packet: 1.38 Mbit/s at 30 fps, 5 packets
	botOpus    = 80
)

// sendFrame sends one picture. The first packet of a second's first picture is a
// slice that begins an IDR picture, the others go on with it.
func (s *botSender) sendFrame(due time.Time) time.Duration {
	s.lag = max(s.lag, time.Since(due))
	for i := range s.burst {
		kind, first := byte(0x61), byte(0x00) // nal_ref_idc 3, a slice of a picture that refers to others
		if s.frames%max(s.fps, 1) == 0 {
			kind = 0x65
		}
		if i == 0 {
			first = 0x80 // first_mb_in_slice 0
		}
		s.send(&s.video, i == s.burst-1, botPayload, kind, first)
	}
	s.frames++
	s.video.timestamp += uint32(90000 / s.fps)
	return time.Second / time.Duration(s.fps)
}

func (s *botSender) sendSound(time.Time) time.Duration {
	s.send(&s.audio, false, botOpus, 0x78, 0)
	s.audio.timestamp += 960
	return 20 * time.Millisecond
}

// send makes and sends a packet; its payload carries the moment.
func (s *botSender) send(o *botSent, marker bool, size int, b0, b1 byte) {
	h := rtp.Header{Version: 2, Marker: marker, PayloadType: o.kind, SequenceNumber: o.seq, Timestamp: o.timestamp, SSRC: o.ssrc,
		Extension: true, ExtensionProfile: 0xbede}
	if err := h.SetExtension(botTWCC, binary.BigEndian.AppendUint16(nil, s.transport)); err != nil {
		panic(fmt.Sprint("cannot happen: an extension of two bytes: ", err))
	}
	s.transport++
	o.seq++
	n, err := h.MarshalTo(o.plain[:])
	if err != nil {
		panic(fmt.Sprint("cannot happen: a header fits into 1500 bytes: ", err))
	}
	body := o.plain[n : n+size]
	body[0], body[1] = b0, b1
	binary.BigEndian.PutUint64(body[2:], uint64(time.Now().UnixNano()))
	o.packets++
	o.octets += uint32(size)
	if sealed, err := s.client.out.EncryptRTP(o.sealed[:0], o.plain[:n+size], &h); err == nil {
		s.client.send(sealed)
	}
}

// sentAt reads what send wrote.
func sentAt(payload []byte) (ns int64, ok bool) {
	if len(payload) < 10 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(payload[2:])), true
}
