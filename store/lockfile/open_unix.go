//go:build unix

// Package lockfile keeps a second process out of a directory.
package lockfile

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Open makes the file if need be and holds a lock on it until it is closed or the
// process ends. An error says when another process, or this one, holds it already.
func Open(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another braid is using this directory: %s is locked", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
