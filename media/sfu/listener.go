package sfu

import (
	"net"
	"sync"
)

// boundedListener limits open TCP connections and can close them all: Pion's
// mux forgets those that have not spoken yet.
type boundedListener struct {
	net.Listener
	most   int
	traces *traces

	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b := l.admit(c); b != nil {
			return b, nil
		}
		c.Close()
	}
}

func (l *boundedListener) admit(c net.Conn) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil || len(l.open) >= l.most {
		return nil
	}
	l.open[c] = struct{}{}
	return &boundedConn{Conn: c, listener: l}
}

// closeAll closes the listener and every connection.
func (l *boundedListener) closeAll() {
	l.Listener.Close()
	l.mu.Lock()
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for c := range open {
		c.Close()
	}
}

type boundedConn struct {
	net.Conn
	listener *boundedListener
	first    firstFrame // owned by the one who reads
}

func (c *boundedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.first.take(b[:n], c.RemoteAddr(), c.listener.traces)
	return n, err
}

func (c *boundedConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.open, c.Conn)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
