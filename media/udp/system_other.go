//go:build !linux

package udp

import (
	"errors"
	"net"
)

func newSystem(*net.UDPConn) (system, error) {
	return nil, errors.New("udp: no batches on this system")
}

type writer struct{}
