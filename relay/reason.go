package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"braid/media"
	"braid/media/rtmp"
	"braid/media/srt"
)

// control is a net.Dialer's Control.
type control = func(network, address string, c syscall.RawConn) error

var errForbidden = errors.New("address not allowed")

// guarded makes what a guard of addresses refuses known to reasonOf.
func guarded(guard control) control {
	if guard == nil {
		return nil
	}
	return func(network, address string, c syscall.RawConn) error {
		if err := guard(network, address, c); err != nil {
			return fmt.Errorf("%w: %w", errForbidden, err)
		}
		return nil
	}
}

// reasonOf puts an error in a word that a person can act on, with the other
// side's own or the certificate's trouble in brackets.
func reasonOf(err error) string {
	var rejected *rtmp.RejectedError
	var refused *srt.RejectedError
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &rejected) && rejected.Code != "":
		return "rejected (" + rejected.Code + ")"
	case rejected != nil:
		return "rejected"
	case errors.As(err, &refused):
		return fmt.Sprintf("rejected (%d %s)", refused.Code, refused.Reason)
	case errors.Is(err, errForbidden):
		return "forbidden"
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, media.ErrStalled), errors.Is(err, syscall.ETIMEDOUT),
		errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "stalled"
	case errors.Is(err, rtmp.ErrTLS):
		return "tls" + trust(err)
	}
	return "lost"
}

// trust says why there is no TLS session, as far as that is known.
func trust(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	var alert *net.OpError
	switch {
	case errors.As(err, &unknown):
		return " (the certificate is of an unknown authority)"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return " (the certificate has expired, or is not valid yet)"
	case errors.As(err, &host):
		return " (the certificate is for another name)"
	case errors.As(err, &invalid):
		return " (the certificate is not valid)"
	case errors.As(err, &record):
		return " (the origin does not speak TLS there)"
	case errors.As(err, &alert) && alert.Op == "remote error": // in crypto/tls's own words
		return " (the origin says: " + strings.TrimPrefix(alert.Err.Error(), "tls: ") + ")"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return " (the origin ended the handshake: it may not speak TLS there)"
	}
	return ""
}
