// Package rtmp is an RTMP session, client and server in one (Adobe's RTMP 1.0):
// Dial publishes to an origin, Play pulls from one, Serve answers one client.
// Media stays opaque: it travels as flv.Tag.
//
// The handshake and the coding of messages are go-rtmp's. The chunk layer and
// the reading of AMF0 are own code: go-rtmp's panic, block or allocate without
// bound on hostile bytes. Each connection has at most two goroutines; the
// comments of Dial and Serve name them.
//
// No error and no log line of this package contains a stream name or a query:
// both may be secret. See Redact.
package rtmp

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ErrTLS wraps what went wrong while the TLS session of rtmps was set up.
var ErrTLS = errors.New("tls")

// ErrProtocol wraps what the other side did against RTMP or over a limit.
var ErrProtocol = errors.New("rtmp protocol")

// RejectedError says that the origin refused, with its words. Stream name and
// query are cut out of the description.
type RejectedError struct {
	Code        string // as "NetStream.Publish.BadName"; may be empty
	Description string
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("rtmp: rejected: %q %q", e.Code, e.Description)
}

// CheckURL tells whether Dial and Play take the URL's form. The error never holds the URL.
func CheckURL(rawURL string) error {
	_, err := parseURL(rawURL)
	return err
}

// target is a parsed rtmp or rtmps URL.
type target struct {
	tls    bool
	host   string // without port
	addr   string // host:port
	app    string
	stream string // with the query, as it goes into publish and play
	tcURL  string
}

// maxURL bounds a URL in bytes; CDN tokens stay far below it.
const maxURL = 4096

// parseURL splits a URL as ffmpeg, OBS and the CDNs do: the app is the path up to
// its last slash, the stream name what follows, with the query. A query before
// the last segment (rtmp://host/app?vhost=x/stream) belongs to the app.
// The error never holds the URL.
func parseURL(raw string) (*target, error) {
	u, err := url.Parse(raw)
	if len(raw) > maxURL || err != nil || u.Host == "" || u.Hostname() == "" {
		return nil, errors.New("rtmp: not a valid URL")
	}
	t := &target{host: u.Hostname()}
	port := u.Port()
	switch u.Scheme {
	case "rtmp":
		if port == "" {
			port = "1935"
		}
	case "rtmps":
		t.tls = true
		if port == "" {
			port = "443"
		}
	default:
		return nil, errors.New("rtmp: the URL's scheme is neither rtmp nor rtmps")
	}
	t.app, t.stream = splitPath(u)
	if t.app == "" || t.stream == "" || t.stream[0] == '?' {
		return nil, errors.New("rtmp: the URL needs an app and a stream: rtmp://host/app/stream")
	}
	t.addr = u.Hostname() + ":" + port
	if strings.Contains(t.host, ":") {
		t.addr = "[" + t.host + "]:" + port
	}
	t.tcURL = u.Scheme + "://" + u.Host + "/" + t.app
	return t, nil
}

func splitPath(u *url.URL) (app, stream string) {
	path := strings.Trim(u.EscapedPath(), "/")
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		app, stream = path[:i], path[i+1:]
		if u.RawQuery != "" {
			stream += "?" + u.RawQuery
		}
		return app, stream
	}
	query, stream, ok := strings.Cut(u.RawQuery, "/")
	if !ok {
		return path, ""
	}
	return path + "?" + query, stream
}

// Redact makes a URL fit for logs and screens: scheme://host/app/nam***, at most
// three characters and never more than half of the stream's name, no query, no
// user. What is not an rtmp or rtmps URL becomes "***".
func Redact(raw string) string {
	t, err := parseURL(raw)
	if err != nil {
		return "***"
	}
	scheme := "rtmp"
	if t.tls {
		scheme = "rtmps"
	}
	app, _, _ := strings.Cut(t.app, "?")
	name, _, _ := strings.Cut(t.stream, "?")
	r := []rune(name)
	return scheme + "://" + t.addr + "/" + app + "/" + string(r[:min(3, len(r)/2)]) + "***"
}

// scrub cuts the secret parts of the stream out of foreign text, and limits its length.
func (t *target) scrub(text string) string {
	name, query, _ := strings.Cut(t.stream, "?")
	for _, secret := range []string{t.stream, query, name} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	for _, v := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == '=' }) {
		if len(v) >= 6 { // parameter values; shorter ones are words
			text = strings.ReplaceAll(text, v, "***")
		}
	}
	if len(text) > 200 {
		text = text[:200]
	}
	return text
}
