package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime/trace"
	"time"

	"braid/media"
	"braid/signaling"
)

// debugConfig is what is kept for whoever looks for trouble.
type debugConfig struct {
	// FlightRecorder keeps the last so much of what the process did, to be fetched
	// at /v1/debug/flight; it costs a few percent of the CPU. 0: nothing.
	FlightRecorder time.Duration `yaml:"flight_recorder"`
}

func (d *debugConfig) check() error {
	if d.FlightRecorder < 0 || d.FlightRecorder > time.Minute || d.FlightRecorder > 0 && d.FlightRecorder < time.Second {
		return fmt.Errorf("debug.flight_recorder: %v is neither 0 nor from 1s to 1m", d.FlightRecorder)
	}
	return nil
}

// profiles serves Go's profiles below /debug/pprof/.
func profiles() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

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
	mux := profiles()
	mux.Handle("GET /debug/vars", expvar.Handler())
	s := &http.Server{Handler: mux}
	go s.Serve(l) // ends with close
	return s.Close, nil
}

// debug is what administrators reach below /v1/debug/: profiles, the flight
// recorder and the levels of the log.
func (s *server) debug() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/debug/pprof/", http.StripPrefix("/v1", profiles()))
	mux.HandleFunc("GET /v1/debug/flight", s.flightDump)
	mux.HandleFunc("GET /v1/debug/log", s.logLevels)
	mux.HandleFunc("PUT /v1/debug/log", s.setLogLevels)
	mux.HandleFunc("/v1/debug/", func(w http.ResponseWriter, r *http.Request) {
		signaling.WriteError(w, fmt.Errorf("there is no resource %s; there are pprof/, flight and log: %w", r.URL.Path, media.ErrNotFound))
	})
	return mux
}

// startFlight begins to keep what the process does. There can be one recorder in a
// process; close ends it.
func startFlight(c debugConfig) (*trace.FlightRecorder, error) {
	if c.FlightRecorder == 0 {
		return nil, nil
	}
	f := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: c.FlightRecorder, MaxBytes: 64 << 20})
	if err := f.Start(); err != nil {
		return nil, fmt.Errorf("debug.flight_recorder: %w", err)
	}
	return f, nil
}

// flightDump gives what the flight recorder has, for go tool trace.
func (s *server) flightDump(w http.ResponseWriter, r *http.Request) {
	if s.flight == nil {
		signaling.WriteError(w, signaling.Conflict("nothing is recorded; `debug: {flight_recorder: 10s}` in the config turns it on"))
		return
	}
	var b bytes.Buffer // before the header, so that an error is one
	if _, err := s.flight.WriteTo(&b); err != nil {
		signaling.WriteError(w, signaling.Conflict("the flight recorder is being read by somebody else, or has ended: %v", err))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="braid.trace"`)
	_, _ = b.WriteTo(w) // a client that has gone needs no answer
}

// levelsBody is the levels of the log, of all parts and of single ones.
type levelsBody struct {
	Level  string            `json:"level"`
	Levels map[string]string `json:"levels"`
}

func (s *server) logLevels(w http.ResponseWriter, r *http.Request) {
	if s.levels == nil {
		signaling.WriteError(w, signaling.Conflict("this server's log has no levels of its own"))
		return
	}
	var b levelsBody
	b.Level, b.Levels = s.levels.get()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(b) // a client that has gone needs no answer
}

// setLogLevels holds until the process ends or it is set again.
func (s *server) setLogLevels(w http.ResponseWriter, r *http.Request) {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
	d.DisallowUnknownFields()
	var b levelsBody
	err := d.Decode(&b)
	if err == nil && d.Decode(new(any)) != io.EOF {
		err = errors.New("there is more than one JSON value")
	}
	if err == nil && s.levels != nil {
		err = s.levels.set(b.Level, b.Levels)
	}
	if err != nil {
		signaling.WriteError(w, fmt.Errorf("the levels are not changed: %w: %w", err, media.ErrInvalid))
		return
	}
	s.log.Warn("the levels of the log were changed", "level", b.Level, "levels", b.Levels)
	s.logLevels(w, r)
}
