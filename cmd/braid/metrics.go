package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"braid/metrics"
	"braid/signaling"
)

// metricsConfig says who may read /metrics. It is served by the HTTP listener to
// this machine itself and to who shows Token or an admin token; with Listen, by a
// listener of its own instead, as Prometheus' own programs have it.
type metricsConfig struct {
	Listen    string `yaml:"listen"`
	Token     string `yaml:"token"`
	TokenFile string `yaml:"token_file"` // whose first line is Token

	fromFile bool // Token is TokenFile's
}

const leastToken = 16 // characters, as of admin_tokens

// check reads TokenFile, once: a config is checked again when a first start's
// credentials have come to it.
func (m *metricsConfig) check() error {
	switch {
	case m.fromFile:
	case m.Token != "" && m.TokenFile != "":
		return errors.New("metrics.token and metrics.token_file: one of them is needed, not both")
	case m.TokenFile != "":
		b, err := os.ReadFile(m.TokenFile)
		if err != nil {
			return fmt.Errorf("metrics.token_file: %w", err)
		}
		line, _, _ := strings.Cut(string(b), "\n")
		if m.Token = strings.TrimSpace(line); m.Token == "" {
			return fmt.Errorf("metrics.token_file: %s is empty", m.TokenFile)
		}
		m.fromFile = true
	}
	if m.Token != "" && len(m.Token) < leastToken {
		return fmt.Errorf("metrics.token: it has %d characters, at least %d are needed", len(m.Token), leastToken)
	}
	if m.Listen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(m.Listen); err != nil {
		return fmt.Errorf("metrics.listen: %q is not host:port", m.Listen)
	}
	if m.Token == "" && !loopback(m.Listen) {
		return fmt.Errorf("metrics.token: is needed, since metrics.listen (%s) is reached from elsewhere", m.Listen)
	}
	return nil
}

// openMetrics makes what /metrics shows and, where that is wanted, its listener.
func (s *server) openMetrics() (err error) {
	s.metrics = metrics.New(metrics.Parts{
		Version: version(), DataDir: s.cfg.DataDir, SFU: s.sfu, Mixer: s.pool, Relay: s.relay, Callbacks: s.callbacks,
		Store: s.store, Origin: s.origin, Recordings: s.recordings, Ready: s.isReady, Refused: s.refused, Denied: s.denied, Log: s.log.With("part", "metrics"),
	})
	if s.cfg.Metrics.Listen == "" {
		return nil
	}
	if s.metricsAt, err = net.Listen("tcp", s.cfg.Metrics.Listen); err != nil {
		return fmt.Errorf("metrics.listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.scrapable(loopback(s.cfg.Metrics.Listen)))
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /readyz", s.readyz)
	s.metricsWeb = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: bodyWithin, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	return nil
}

// refused is what was not let in or out, by reason.
func (s *server) refused() map[string]uint64 {
	return map[string]uint64{"sessions": s.sfu.Stats().Refused, "draining": s.turnedAway.Load(), "address": s.guard.refused.Load()}
}

// denied counts who lacked rights beside HTTP requests, by border.
func (s *server) denied() map[string]uint64 {
	of := s.origin.Denied()
	return map[string]uint64{"rtc": s.rtc.Denied(), "rtmp_publish": of.Publish, "rtmp_play": of.Play}
}

// serveMetrics serves metrics.listen until it is closed; it returns at once when
// there is none.
func (s *server) serveMetrics() {
	if s.metricsAt == nil {
		return
	}
	if err := s.metricsWeb.Serve(s.metricsAt); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("metrics.listen is served no more", "error", err)
	}
}

// scrapable serves the metrics to who may read them. local says that a request of
// this machine itself needs no token.
func (s *server) scrapable(local bool) http.Handler {
	tokens := [][sha256.Size]byte{}
	for _, t := range append([]string{s.cfg.Metrics.Token}, s.cfg.AdminTokens...) {
		if t != "" {
			tokens = append(tokens, sha256.Sum256([]byte(t)))
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local && ownRequest(r) || shows(r, tokens) {
			w.Header().Set("Cache-Control", "no-store")
			s.metrics.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="braid metrics"`)
		signaling.WriteError(w, signaling.Unauthorized("send Authorization: Bearer with metrics.token or an admin token; requests of this machine itself need none while no proxy stands in front"))
	})
}

// direct tells that nothing says a proxy stands before the HTTP listener, which
// would make requests from everywhere look like those of this machine.
func (c *config) direct() bool { return c.HTTP.PublicURL == "" && len(c.HTTP.TrustedProxies) == 0 }

// ownRequest tells whether a program of this machine sent the request, to a name
// of this machine: neither a proxy's nor, by a name that was made to point here,
// another page's (DNS rebinding).
func ownRequest(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() || !loopback(r.Host) {
		return false
	}
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	return true
}

// shows tells whether a request has one of some bearer tokens, by their sums. It
// takes the same time whichever is right, or nearly right.
func shows(r *http.Request, tokens [][sha256.Size]byte) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(given)))
	found := 0
	for _, t := range tokens {
		found |= subtle.ConstantTimeCompare(sum[:], t[:])
	}
	return found == 1
}
