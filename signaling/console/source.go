package console

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwarded are the headers by which proxies say for whom they ask.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"}

// Address is where a request comes from: the connection's far end or, when that
// is one of the proxies that are believed, the last one in X-Forwarded-For that
// is not. The zero value: it cannot be told.
func (a *Accounts) Address(r *http.Request) netip.Addr {
	addr := peer(r)
	if !a.believed(addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return addr
		}
		if addr = next.Unmap(); !a.believed(addr) {
			return addr
		}
	}
	return addr
}

// peer is the far end of the connection.
func peer(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := netip.ParseAddr(host) // the zero value when it is none
	return addr.Unmap()
}

func (a *Accounts) believed(addr netip.Addr) bool {
	return slices.ContainsFunc(a.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// near tells whether a request comes from this machine itself. A proxy on this
// machine that says for whom it asks is not it.
func (a *Accounts) near(r *http.Request) bool {
	if !a.Address(r).IsLoopback() {
		return false
	}
	if a.believed(peer(r)) {
		return true // it was believed above
	}
	return !slices.ContainsFunc(forwarded, func(name string) bool { return len(r.Header.Values(name)) > 0 })
}

// secure tells whether the browser asked by HTTPS: this server, a proxy that is
// believed, or the one that Config.PublicURL is about.
func (a *Accounts) secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	if a.believed(peer(r)) {
		protos := strings.Split(strings.Join(r.Header.Values("X-Forwarded-Proto"), ","), ",")
		if strings.EqualFold(strings.TrimSpace(protos[len(protos)-1]), "https") {
			return true
		}
	}
	return a.public != nil && a.public.Scheme == "https" && strings.EqualFold(r.Host, a.public.Host)
}

// mayUseCamera tells whether the page is a secure context
// (https://www.w3.org/TR/secure-contexts/): HTTPS, or a loopback name.
func (a *Accounts) mayUseCamera(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	ip, err := netip.ParseAddr(host)
	return a.secure(r) || host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}
