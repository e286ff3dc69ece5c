//go:build cgo

package codec

import (
	"fmt"
	"slices"
	"strings"

	"braid/media"
)

// Every number that goes to a C library passes here first.

func inRange(field string, value, lo, hi int) error {
	if value < lo || value > hi {
		return fmt.Errorf("%w: %s %d, want %d..%d", media.ErrInvalid, field, value, lo, hi)
	}
	return nil
}

func oneOf[T comparable](field string, value T, allowed ...T) error {
	if !slices.Contains(allowed, value) {
		return fmt.Errorf("%w: %s %v, want one of %s", media.ErrInvalid, field, value, strings.Trim(fmt.Sprint(allowed), "[]"))
	}
	return nil
}
