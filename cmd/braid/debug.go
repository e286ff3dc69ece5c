package main

import (
	"expvar"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
)

// serveDebug serves memory counters (/debug/vars) and profiles (/debug/pprof/)
// to this machine alone; close ends it.
func serveDebug(address string) (close func() error, err error) {
	if !loopback(address) {
		return nil, fmt.Errorf("--debug: %q is not a loopback address", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--debug: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /debug/vars", expvar.Handler())
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	s := &http.Server{Handler: mux}
	go s.Serve(l) // ends with close
	return s.Close, nil
}
