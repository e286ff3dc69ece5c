//go:build tools

// Package toxiproxy pins the proxy for TCP faults that relay's TestFaults runs
// pushes through.
package toxiproxy

import _ "github.com/Shopify/toxiproxy/v2/cmd/server"
