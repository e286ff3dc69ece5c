package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"braid/signaling"
)

// iceServer is a STUN or TURN server that clients are told to use.
type iceServer struct {
	URLs       []string      `yaml:"urls"`
	Username   string        `yaml:"username"`
	Credential string        `yaml:"credential"`
	Secret     string        `yaml:"secret"`
	TTL        time.Duration `yaml:"ttl"`
}

// auto, in place of a public address, asks STUN servers for it.
const auto = "auto"

// publicSTUN are asked when the operator said auto and named none: two operators,
// so that one may be out of order.
var publicSTUN = []string{"stun.cloudflare.com:3478", "stun.l.google.com:19302"}

// publicIPs are the addresses that the config names.
func (c *config) publicIPs() []string {
	return slices.DeleteFunc(slices.Clone(c.Media.PublicIPs), func(ip string) bool { return ip == auto })
}

// stunServers are asked for the public address; none unless the config says auto.
func (c *config) stunServers() []string {
	if !slices.Contains(c.Media.PublicIPs, auto) {
		return nil
	}
	if len(c.Media.STUNServers) == 0 {
		return slices.Clone(publicSTUN)
	}
	var all []string
	for _, s := range c.Media.STUNServers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			s = net.JoinHostPort(strings.Trim(s, "[]"), "3478") // RFC 8489 section 5
		}
		all = append(all, s)
	}
	return all
}

// ice is what clients are told.
func (c *config) ice() []signaling.ICE {
	var all []signaling.ICE
	for _, s := range c.ICEServers {
		one := signaling.ICE{URLs: s.URLs, Username: s.Username, Credential: s.Credential, Secret: s.Secret, TTL: s.TTL}
		if one.TTL == 0 {
			one.TTL = 24 * time.Hour
		}
		all = append(all, one)
	}
	return all
}

// checkICE checks what clients are told to connect to.
func (c *config) checkICE() error {
	for i, ip := range c.Media.PublicIPs {
		if a, err := netip.ParseAddr(ip); ip != auto && (err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast()) {
			return fmt.Errorf("media.public_ips[%d]: %q is not an IP address that clients can connect to, nor %q", i, ip, auto)
		}
	}
	if len(c.Media.STUNServers) > 0 && !slices.Contains(c.Media.PublicIPs, auto) {
		return fmt.Errorf("media.stun_servers: they are asked only when media.public_ips has %q", auto)
	}
	for i, s := range c.stunServers() {
		host, port, err := net.SplitHostPort(s)
		n, portErr := strconv.Atoi(port)
		if err != nil || portErr != nil || n < 1 || n > 65535 || !hostForm.MatchString(host) {
			return fmt.Errorf("media.stun_servers[%d]: %q is not host or host:port", i, c.Media.STUNServers[i])
		}
	}
	for i, s := range c.ICEServers {
		if err := s.check(); err != nil {
			return fmt.Errorf("ice_servers[%d].%w", i, err)
		}
	}
	return nil
}

// hostForm is a name or an address: what a URL may not smuggle in.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,253}$`)

// check looks at one server; the error begins with the field.
func (s *iceServer) check() error {
	if len(s.URLs) == 0 {
		return fmt.Errorf("urls: at least one is needed, such as stun:stun.example.com:3478")
	}
	turn := false
	for j, u := range s.URLs {
		scheme, rest, _ := strings.Cut(u, ":")
		isTURN := scheme == "turn" || scheme == "turns"
		if !isTURN && scheme != "stun" && scheme != "stuns" || !iceTarget(rest, isTURN) {
			return fmt.Errorf("urls[%d]: %q is not stun:host[:port] or turn:host[:port][?transport=udp|tcp], nor one of stuns: and turns:", j, u)
		}
		if j > 0 && isTURN != turn {
			return fmt.Errorf("urls[%d]: STUN and TURN servers go into entries of their own, since only TURN has credentials", j)
		}
		turn = isTURN
	}
	switch given := s.Username != "" || s.Credential != ""; {
	case !turn && (given || s.Secret != "" || s.TTL != 0):
		return fmt.Errorf("urls: a STUN server has no username, credential, secret or ttl")
	case turn && given && s.Secret != "":
		return fmt.Errorf("secret: either username and credential, or secret, which makes them for each user")
	case turn && s.Secret == "" && (s.Username == "" || s.Credential == ""):
		return fmt.Errorf("username: a TURN server needs username and credential, or secret (coturn's static-auth-secret)")
	case s.TTL != 0 && s.Secret == "":
		return fmt.Errorf("ttl: it is for secret alone")
	case s.TTL != 0 && (s.TTL < time.Minute || s.TTL > 7*24*time.Hour):
		return fmt.Errorf("ttl: %v is not from 1m to 168h", s.TTL)
	case strings.ContainsFunc(s.Username+s.Credential, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("credential: control characters cannot be sent in a header")
	}
	return nil
}

// iceTarget checks what follows the scheme (RFC 7064, RFC 7065).
func iceTarget(s string, turn bool) bool {
	target, query, hasQuery := strings.Cut(s, "?")
	if hasQuery && (!turn || query != "transport=udp" && query != "transport=tcp") {
		return false
	}
	at, err := url.Parse("x://" + target)
	if err != nil || at.User != nil || at.Path != "" || at.Fragment != "" || at.Hostname() == "" {
		return false
	}
	if port := at.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return false
		}
	}
	return hostForm.MatchString(at.Hostname())
}
