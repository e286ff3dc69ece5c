// Package srt sends one MPEG transport stream to an SRT listener
// (draft-sharabayko-srt-01), as a caller in live mode: Dial connects, Write
// sends what the listener has room for.
//
// The coding of handshakes and control packets and the encryption are gosrt's.
// The session is own code: gosrt's has no context, no guard of addresses, leaves
// a goroutine behind for each connection, answers some hostile packets with a
// panic, and never says that the network is slower than the stream. It does not
// receive streams, and it knows nothing of what it carries.
//
// Each session has one goroutine, which reads. No error and no log line of this
// package contains a stream id or a passphrase. See Redact.
package srt

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ErrProtocol wraps what the other side did against SRT.
var ErrProtocol = errors.New("srt protocol")

// RejectedError says that the listener refused.
type RejectedError struct {
	Code   int    // as on the wire: 1010 is a wrong passphrase, 2403 forbidden
	Reason string // in words, of this package
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("srt: rejected: %d %s", e.Code, e.Reason)
}

// What a URL may ask for.
const (
	maxURL         = 4096                   // bytes
	maxStreamID    = 512                    // bytes (section 3.2.1.3)
	minPassphrase  = 10                     // bytes (libsrt's SRTO_PASSPHRASE)
	maxPassphrase  = 79                     // the same
	minLatency     = 20 * time.Millisecond  // below, no packet is ever sent twice in time
	maxLatency     = 8 * time.Second        // longer than a push may be late
	defaultLatency = 500 * time.Millisecond // twenty times what a lost packet costs in a city, four times across an ocean
)

// target is a parsed srt URL.
type target struct {
	addr       string // host:port
	streamID   string
	passphrase string
	keyLength  int // bytes; 0: what the listener says, else 16
	latency    time.Duration
}

// CheckURL tells whether Dial takes the URL's form:
//
//	srt://host:port?streamid=…&passphrase=…&latency=…
//
// streamid: at most 512 bytes. passphrase: 10 to 79 bytes; pbkeylen: 16, 24 or 32
// bytes of key. latency: 20 to 8000 milliseconds, as libsrt's own programs take it
// (ffmpeg's is in microseconds); 500 by default, and the listener may ask for more.
// mode=caller, transtype=live and pkt_size=1316 are what happens anyway. The error
// names the parameter and its limit, or its place when it is not known, and never
// holds a part of the URL.
func CheckURL(rawURL string) error {
	_, err := parseURL(rawURL)
	return err
}

func parseURL(raw string) (*target, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("srt: the URL has more than %d bytes", maxURL)
	}
	// A stream id may begin with "#!::" as libsrt's access control has it; people
	// write that into URLs as it is, and it is no fragment.
	head, query, _ := strings.Cut(raw, "?")
	u, err := url.Parse(head)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, errors.New("srt: not a valid URL: it needs a host and a port, srt://host:port")
	case u.Scheme != "srt":
		return nil, errors.New("srt: the URL's scheme is not srt")
	case u.User != nil || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, errors.New("srt: the URL may have a host, a port and a query, and no path: the stream's name is the parameter streamid")
	}
	if n, err := strconv.Atoi(u.Port()); err != nil || n < 1 || n > 65535 {
		return nil, errors.New("srt: the URL needs a port from 1 to 65535")
	}
	t := &target{addr: net.JoinHostPort(u.Hostname(), u.Port()), latency: defaultLatency}
	for i, pair := range strings.Split(query, "&") { // no more than maxURL
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		value, err := url.PathUnescape(value) // a + is a +
		if err != nil {
			return nil, fmt.Errorf("srt: parameter %d is not percent-encoded as it should be", i+1)
		}
		if err := t.set(key, value); errors.Is(err, errUnknown) {
			return nil, fmt.Errorf("srt: parameter %d is not known: streamid, passphrase, pbkeylen and latency are, and an & in a value is %%26", i+1)
		} else if err != nil {
			return nil, err
		}
	}
	if t.keyLength != 0 && t.passphrase == "" {
		return nil, errors.New("srt: pbkeylen needs a passphrase")
	}
	return t, nil
}

// errUnknown is of a parameter whose name is not repeated: it may be the rest of a
// passphrase.
var errUnknown = errors.New("not known")

func (t *target) set(key, value string) error {
	n, err := strconv.Atoi(value)
	switch key {
	case "streamid":
		if len(value) > maxStreamID {
			return fmt.Errorf("srt: streamid has more than %d bytes", maxStreamID)
		}
		t.streamID = value
	case "passphrase":
		if len(value) < minPassphrase || len(value) > maxPassphrase {
			return fmt.Errorf("srt: passphrase must have %d to %d bytes", minPassphrase, maxPassphrase)
		}
		t.passphrase = value
	case "pbkeylen":
		if err != nil || n != 16 && n != 24 && n != 32 {
			return errors.New("srt: pbkeylen must be 16, 24 or 32")
		}
		t.keyLength = n
	case "latency":
		t.latency = time.Duration(n) * time.Millisecond
		if err != nil || n > int(maxLatency/time.Millisecond) || t.latency < minLatency {
			return fmt.Errorf("srt: latency must be %d to %d milliseconds", minLatency/time.Millisecond, maxLatency/time.Millisecond)
		}
	case "mode":
		if value != "caller" {
			return errors.New("srt: mode must be caller: a push connects to a listener")
		}
	case "transtype":
		if value != "live" {
			return errors.New("srt: transtype must be live")
		}
	case "pkt_size":
		if n != payloadSize {
			return fmt.Errorf("srt: pkt_size must be %d", payloadSize)
		}
	default:
		return errUnknown
	}
	return nil
}

// Redact makes a URL fit for logs and screens: srt://host:port, and "?***" if there
// is more. What is not an srt URL becomes "***".
func Redact(raw string) string {
	t, err := parseURL(raw)
	if err != nil {
		return "***"
	}
	if strings.Contains(raw, "?") {
		return "srt://" + t.addr + "?***"
	}
	return "srt://" + t.addr
}
