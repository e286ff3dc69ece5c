package metrics

import "golang.org/x/sys/unix"

// disk is what a user without privileges may still write to a folder's disk, and
// how large that is, in bytes.
func disk(dir string) (free, size uint64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, 0, false
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), true
}
