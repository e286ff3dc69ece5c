package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batches passes packets by recvmmsg and sendmmsg (Linux). Reads are one at a
// time; sends are not.
type batches struct {
	plain
	raw  syscall.RawConn
	six  bool        // an IPv6 socket, which wants IPv4 addresses mapped
	each atomic.Bool // packets go out one by one: the way out cannot cut messages

	reader reader
}

// reader is what recvmmsg writes to.
type reader struct {
	headers [len(inbox{}.packets)]unix.Mmsghdr
	vectors [len(inbox{}.packets)]unix.Iovec
	names   [len(inbox{}.packets)]unix.RawSockaddrInet6
	got     int
	errno   syscall.Errno
	read    func(fd uintptr) (done bool) // made once: a closure for each read is an allocation
}

func newSystem(c *net.UDPConn) (system, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &batches{plain: plain{c}, raw: raw}
	if at, ok := c.LocalAddr().(*net.UDPAddr); ok {
		s.six = at.IP.To4() == nil
	}
	s.reader.read = s.reader.take
	return s, nil
}

func (s *batches) receive(in *inbox) error {
	r := &s.reader
	for i := range r.headers {
		r.vectors[i].Base = &in.packets[i].data[0]
		r.vectors[i].SetLen(MaxPacket)
		h := &r.headers[i].Hdr
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&r.names[i])), unix.SizeofSockaddrInet6
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
	}
	if err := s.raw.Read(r.read); err != nil {
		return err
	}
	if r.errno != 0 {
		return os.NewSyscallError("recvmmsg", r.errno)
	}
	in.count = 0
	for i := range r.headers[:r.got] {
		if r.headers[i].Hdr.Flags&unix.MSG_TRUNC != 0 {
			continue
		}
		if i != in.count {
			copy(in.packets[in.count].data[:], in.packets[i].data[:r.headers[i].Len])
		}
		in.packets[in.count].size, in.packets[in.count].from = int(r.headers[i].Len), address(&r.names[i])
		in.count++
	}
	return nil
}

// take is called by the runtime's poller; false waits until there is something.
func (r *reader) take(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.headers[0])), uintptr(len(r.headers)), unix.MSG_DONTWAIT, 0, 0)
	r.got, r.errno = int(n), errno
	if errno != 0 {
		r.got = 0
	}
	return errno != unix.EAGAIN && errno != unix.EINTR
}

// address reads what the kernel wrote. Ports are in network order.
func address(a *unix.RawSockaddrInet6) netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&a.Port))
	number := uint16(port[0])<<8 | uint16(port[1])
	if a.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(a)).Addr), number)
	}
	ip := netip.AddrFrom16(a.Addr)
	if a.Scope_id != 0 && ip.IsLinkLocalUnicast() {
		if ifi, err := net.InterfaceByIndex(int(a.Scope_id)); err == nil {
			ip = ip.WithZone(ifi.Name)
		}
	}
	return netip.AddrPortFrom(ip, number)
}

// writer is what sendmmsg reads from: one header a message.
type writer struct {
	headers  [batchMessages]unix.Mmsghdr
	vectors  [batchMessages]unix.Iovec
	names    [batchMessages]unix.RawSockaddrInet6
	controls [batchMessages][controlSize]byte

	from, to int // those to send
	errno    syscall.Errno
	write    func(fd uintptr) (done bool) // give, made once
}

const controlSize = 24 // CMSG_SPACE of two bytes; a multiple of 8 on every architecture

func (s *batches) send(b *batch) {
	w := &b.writer
	if w.write == nil {
		w.write = w.give
	}
	for i := range b.messages {
		w.fill(i, b, s.six)
	}
	for w.from, w.to = 0, len(b.messages); w.from < w.to; {
		if s.each.Load() {
			s.sendOne(b, &b.messages[w.from])
			w.from++
			continue
		}
		if s.raw.Write(w.write) != nil { // closed, or a deadline
			return
		}
		if w.errno == 0 {
			continue
		}
		// The first of those left was refused. A device that cannot compute
		// checksums says EIO, a path narrower than the packets EINVAL.
		m := &b.messages[w.from]
		if m.end-m.start > m.segment && (w.errno == unix.EIO || w.errno == unix.EINVAL) {
			s.each.Store(s.each.Load() || w.errno == unix.EIO)
			s.sendOne(b, m)
		}
		w.from++
	}
}

// give is called by the runtime's poller; false waits until there is room.
func (w *writer) give(fd uintptr) bool {
	for w.from < w.to {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&w.headers[w.from])), uintptr(w.to-w.from), unix.MSG_DONTWAIT, 0, 0)
		if w.errno = errno; errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return errno != unix.EAGAIN
		}
		w.from += int(n)
	}
	return true
}

// fill writes the header of a message.
func (w *writer) fill(i int, b *batch, six bool) {
	m, h := &b.messages[i], &w.headers[i].Hdr
	w.vectors[i].Base = &b.data[m.start]
	w.vectors[i].SetLen(m.end - m.start)
	h.Iov = &w.vectors[i]
	h.SetIovlen(1)
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(&w.names[i])), name(&w.names[i], m.to, six)
	h.Control = nil
	h.SetControllen(0)
	if m.end-m.start > m.segment {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&w.controls[i]))
		c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(w.controls[i][unix.CmsgLen(0):], uint16(m.segment))
		h.Control = &w.controls[i][0]
		h.SetControllen(unix.CmsgSpace(2))
	}
}

// name writes an address for the kernel and gives its length.
func name(a *unix.RawSockaddrInet6, to netip.AddrPort, six bool) uint32 {
	port := (*[2]byte)(unsafe.Pointer(&a.Port)) // at the same place in both forms
	port[0], port[1] = byte(to.Port()>>8), byte(to.Port())
	if six {
		a.Family, a.Flowinfo, a.Addr, a.Scope_id = unix.AF_INET6, 0, to.Addr().As16(), 0
		return unix.SizeofSockaddrInet6
	}
	four := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
	four.Family, four.Addr = unix.AF_INET, to.Addr().Unmap().As4()
	return unix.SizeofSockaddrInet4
}
