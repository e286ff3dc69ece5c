package callback

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"braid/store"
)

const (
	// maxHeader bounds the head of an answer; net/http's default is 1 MiB.
	maxHeader = 16 << 10
	// maxBody is how much of an answer's body is read, so that the connection
	// can be used again. It is not looked at, nor kept: what an internal service
	// answers is nobody's to read (reliability.md section 1.5).
	maxBody = 64 << 10
)

// sender makes attempts. It follows no redirects, keeps no cookies and asks no
// proxy, whatever the environment says: a proxy would dial past the guard.
type sender struct {
	cfg       *Config
	transport *http.Transport
}

func newSender(c *Config) *sender {
	return &sender{cfg: c, transport: &http.Transport{
		Proxy: nil,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			// a dial may outlive the request it was made for
			ctx, cancel := context.WithTimeout(ctx, c.Timeout)
			defer cancel()
			return c.Dial(ctx, network, addr)
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots},
		TLSHandshakeTimeout:    c.Timeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: c.Timeout, PingTimeout: c.Timeout},
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    2 * maxLanes,
		IdleConnTimeout:        time.Minute,
	}}
}

// close ends the connections that nobody uses.
func (s *sender) close() { s.transport.CloseIdleConnections() }

// answer is how an attempt ended.
type answer struct {
	payload string
	code    int    // HTTP status; 0: there was none
	failure string // one of store.Record's; "": the receiver has the message
	detail  error  // behind a failure, for the log
	cost    time.Duration
	at      time.Time // when it ended
}

// send makes one attempt, signed with each of the keys. It returns within
// Config.Timeout, or when ctx ends.
func (s *sender) send(ctx context.Context, h *store.Head, keys [][]byte) answer {
	b, err := body(&h.Delivery)
	if err != nil { // cannot happen: the types that are sent marshal
		return answer{failure: "lost", detail: err, at: s.cfg.Now()}
	}
	started := time.Now()
	a := answer{payload: string(b)}
	a.code, err = s.post(ctx, h, b, keys)
	a.cost, a.at = time.Since(started), s.cfg.Now()
	switch {
	case err != nil:
		a.failure, a.detail = s.failure(err), err
	case a.code < 200 || a.code > 299:
		a.failure = "status"
	}
	return a
}

func (s *sender) post(ctx context.Context, h *store.Head, body []byte, keys [][]byte) (code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "braid")
	// Tells net/http that this POST may be repeated on a new connection when an
	// idle one turns out to be closed; an empty list is not sent.
	req.Header["X-Idempotency-Key"] = nil
	sign(req.Header, h.MsgID, body, keys, s.cfg.Now())
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	// The status is the answer; a body that does not come changes nothing.
	io.CopyN(io.Discard, resp.Body, maxBody)
	resp.Body.Close()
	return resp.StatusCode, nil
}

// failure puts an error in one of the words of store.Record.
func (s *sender) failure(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var unknown x509.UnknownAuthorityError
	switch {
	case s.cfg.Forbidden(err):
		return "forbidden"
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &cert), errors.As(err, &record), errors.As(err, &alert), errors.As(err, &unknown):
		return "tls"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return "lost"
}
