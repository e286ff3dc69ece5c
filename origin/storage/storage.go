// Package storage keeps finished files, such as recordings and pictures, under
// names with slashes: in a directory, or in a bucket of an S3 service.
//
// It does not index, expire or retry: who puts something there knows what it is
// and when to try again. It starts no goroutine of its own.
package storage

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"braid/media"
)

// Object is one file that is kept.
type Object struct {
	Name     string
	Size     int64 // bytes
	Modified time.Time
}

// Reader reads one object from anywhere in it; net/http.ServeContent takes it.
type Reader interface {
	io.ReadSeeker
	io.Closer
}

// Storage keeps objects. Names are what CheckName lets through, anything else is
// media.ErrInvalid. The methods may be called from any goroutine; they block for
// as long as the disk or the network takes, or until ctx ends.
type Storage interface {
	// Put keeps size bytes of r under a name, in place of what was there. Nobody
	// sees a part of them: after an error, or a crash, the object is as before.
	Put(ctx context.Context, name string, r io.Reader, size int64, contentType string) error
	// Open fails with media.ErrNotFound when there is no such object. ctx ends the reading.
	Open(ctx context.Context, name string) (Reader, Object, error)
	// Delete takes an object away; one that is not there is no error.
	Delete(ctx context.Context, name string) error
	// List gives the objects whose names begin with prefix, in no promised order.
	// An error is the last thing that it gives.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
}

// Creator is a Storage that others may write to.
type Creator interface {
	// Create is Put for a name that nothing has: media.ErrExists when there is an
	// object that was not created with the same id.
	Create(ctx context.Context, name, id string, r io.ReadSeeker, size int64, contentType string) error
}

// maxName is S3's limit in bytes; a file system's, 255, holds for each part.
const maxName = 1024

// CheckName tells whether something can be kept under this name: 1 to 1024
// bytes, parts of 1 to 255 characters of A-Z a-z 0-9 - _ = . between single
// slashes, of which none begins with a dot: those are the storage's own, and
// the ways out of it.
func CheckName(name string) error {
	bad := func(why string) error {
		return fmt.Errorf("storage: name %.80q %s: %w", name, why, media.ErrInvalid)
	}
	if name == "" || len(name) > maxName {
		return bad("is not 1 to 1024 characters long")
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || len(part) > 255:
			return bad("has a part that is not 1 to 255 characters long")
		case part[0] == '.':
			return bad("has a part that begins with a dot")
		}
	}
	for _, c := range []byte(name) {
		if c != '/' && !Plain(c) {
			return bad("has characters other than A-Z a-z 0-9 - _ = . /")
		}
	}
	return nil
}

// Plain tells whether a part of a name may hold the character.
func Plain(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '_' || c == '=' || c == '.'
}
