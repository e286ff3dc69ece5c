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
