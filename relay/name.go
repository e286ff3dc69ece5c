package relay

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"strings"

	"braid/media"
)

// errTaken says that another task pushes to a stream of this name. It is a
// media.ErrInvalid.
var errTaken = fmt.Errorf("the stream's name is taken: %w", media.ErrInvalid)

// streamAt names the stream that a URL stands for, so that two ways to write one are
// found out: capital letters in the host, the default port, the machine's own names of
// the origin inside braid, whose address is origin, and any query there. Elsewhere the
// query is part of the name. What is no URL stands for itself.
func streamAt(rawURL, origin string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return rawURL
	}
	scheme, path := strings.ToLower(u.Scheme), strings.TrimRight(u.EscapedPath(), "/")
	host, port := strings.ToLower(u.Hostname()), cmp.Or(u.Port(), map[string]string{"rtmp": "1935", "rtmps": "443"}[scheme])
	if own, err := url.Parse(origin); err == nil && scheme == own.Scheme && port == cmp.Or(own.Port(), "1935") && sameMachine(host, own.Hostname()) {
		return "origin" + path
	}
	name := scheme + "://" + net.JoinHostPort(host, port) + path
	if u.RawQuery != "" {
		name += "?" + u.RawQuery
	}
	return name
}

// sameMachine tells whether two hosts are one, or both are names of this machine itself.
func sameMachine(a, b string) bool {
	self := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "localhost" || ip != nil && ip.IsLoopback()
	}
	return a == b || self(a) && self(b)
}
