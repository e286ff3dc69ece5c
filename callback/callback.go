// Package callback tells business servers what happened: it keeps the rules of
// subscriptions (artc-api.md section 5.1) and sends each delivery of the
// store's outbox as a signed HTTP POST, in order for each subscription and
// channel, until the receiver has taken it. doc/callbacks.md is what a receiver
// has to know.
//
// It does not decide what an event is, nor which addresses may be reached:
// Config.Dial does. It starts goroutines only inside Run: one that decides
// (dispatch.go) and one for each request that is under way.
package callback

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"log/slog"
	"net"
	"time"

	"braid/store"
)

// Config says how a Service works. Zero durations become the defaults.
type Config struct {
	Store *store.DB

	// Dial connects to receivers; it refuses addresses that callbacks may not
	// reach. nil: net.Dialer, which reaches all.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Forbidden tells whether an error of Dial says that the address may not be
	// reached, so that records can; nil: none does.
	Forbidden func(error) bool
	// Roots verify the receivers' certificates; nil: the system's.
	Roots *x509.CertPool

	Timeout    time.Duration // for one attempt from dialling to the answer's end; 5 s
	FirstRetry time.Duration // wait after the first failed attempt; it doubles, 1 s
	MaxRetry   time.Duration // up to this, 60 s
	LateRetry  time.Duration // wait of a lane that has failed for a day, 10 min
	KeepTrying time.Duration // after which a message is set aside, 72 h

	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: silence
}

// Service sends callbacks and answers questions about them. Its methods may be
// called from any goroutine, whether or not Run runs.
type Service struct {
	cfg  Config
	log  *slog.Logger
	wake chan string // subscriptions to look at anew, sent by Update and Resend; full: wakeAll
	// wakeAll holds a token when more changed than wake could take.
	wakeAll chan struct{}
	count   counters
	sender  *sender
}

// New makes a Service; Run makes it send.
func New(c Config) *Service {
	for _, d := range []struct {
		value *time.Duration
		zero  time.Duration
	}{
		{&c.Timeout, 5 * time.Second}, {&c.FirstRetry, time.Second}, {&c.MaxRetry, time.Minute},
		{&c.LateRetry, 10 * time.Minute}, {&c.KeepTrying, 72 * time.Hour},
	} {
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Forbidden == nil {
		c.Forbidden = func(error) bool { return false }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: c, log: c.Log, wake: make(chan string, 64), wakeAll: make(chan struct{}, 1), sender: newSender(&c)}
}

// NewSecret makes a secret for signing: "whsec_" and 32 random bytes in base64,
// the form of Standard Webhooks. It goes into store.Application.Signing.
func NewSecret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(b[:])
}

// poke makes Run look at a subscription at once.
func (s *Service) poke(sub string) {
	select {
	case s.wake <- sub:
		return
	default:
	}
	select {
	case s.wakeAll <- struct{}{}:
	default: // it is told already
	}
}
