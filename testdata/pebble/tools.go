//go:build tools

// Package pebble pins the ACME server that cmd/braid's TestACME runs against.
package pebble

import _ "github.com/letsencrypt/pebble/v2/cmd/pebble"
