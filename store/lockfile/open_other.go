//go:build !unix

package lockfile

import "os"

// Open only opens the file: keeping a second process out is left to the operator
// where there is no flock.
func Open(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
}
