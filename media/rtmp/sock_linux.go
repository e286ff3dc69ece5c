package rtmp

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// tuneSocket makes a peer that takes no data visible soon: a small kernel
// buffer (with the default one the kernel hides more than ten seconds of
// stream), and an end after userTimeout without an acknowledgement.
func tuneSocket(nc net.Conn, sendBuffer int, userTimeout time.Duration) {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tc.SetWriteBuffer(sendBuffer)
	rc, err := tc.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, sendBuffer/2)
	})
}

// tcpProgress is how many bytes wait for the other side's TCP, and how many it
// has acknowledged; 0, 0 when that cannot be known.
func tcpProgress(nc net.Conn) (queued int, acked uint64) {
	tc, ok := bare(nc).(*net.TCPConn)
	if !ok {
		return 0, 0
	}
	rc, err := tc.SyscallConn()
	if err != nil {
		return 0, 0
	}
	_ = rc.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		n, err2 := unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) // SIOCOUTQ
		if err == nil && err2 == nil {
			queued, acked = n, info.Bytes_acked
		}
	})
	return queued, acked
}
