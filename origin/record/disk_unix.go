//go:build unix

package record

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// isFull tells whether an error means that the disk, or the share of it that
// braid may use, has no room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// room fails like a full disk when n more bytes would leave less free than was
// asked for: the store and its callbacks need some, too.
func (x *Index) room(n int) error {
	least := x.cfg.MinFree
	if least < 0 {
		return nil
	}
	var s unix.Statfs_t
	if err := unix.Statfs(x.cfg.Dir, &s); err != nil {
		return nil // writing says what is wrong
	}
	if least == 0 {
		least = min(defaultFree, int64(s.Blocks)/20*int64(s.Bsize))
	}
	if free := int64(s.Bavail) * int64(s.Bsize); free < least+int64(n) {
		return fmt.Errorf("%d MB are free, and %d are left so: %w", free>>20, least>>20, syscall.ENOSPC)
	}
	return nil
}
