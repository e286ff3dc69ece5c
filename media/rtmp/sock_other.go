//go:build !linux

package rtmp

import (
	"net"
	"time"
)

// tuneSocket sets the send buffer; the write deadline alone finds a dead peer here.
func tuneSocket(nc net.Conn, sendBuffer int, _ time.Duration) {
	if tc, ok := nc.(*net.TCPConn); ok {
		_ = tc.SetWriteBuffer(sendBuffer)
	}
}

func tcpProgress(net.Conn) (queued int, acked uint64) { return 0, 0 }
