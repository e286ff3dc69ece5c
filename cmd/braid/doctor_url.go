package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

const (
	doctorDial   = 3 * time.Second // TCP to one address
	doctorHTTP   = 10 * time.Second
	certSoon     = 14 * 24 * time.Hour
	clockApart   = 30 * time.Second // worth a word
	clockBeyond  = 5 * time.Minute  // the skew that tokens may have (package token)
	maxDialed    = 4                // addresses of a name
	maxBodyShown = 300
)

// caller looks at a server from outside, as a client of it.
type caller struct {
	*doctor
	o     doctorOptions
	roots *x509.CertPool // nil: the system's
	at    *url.URL
	addrs []netip.Addr // of the name
	http  *http.Client
}

// client makes the checks of --url, up to the first that those after it need.
func (d *doctor) client(o doctorOptions, roots *x509.CertPool) {
	v := &caller{doctor: d, o: o, roots: roots}
	if !v.parse() || !v.resolve() || !v.dial() || !v.secure() {
		return
	}
	v.http = &http.Client{
		Timeout:   doctorHTTP,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Time: d.now}, DisableKeepAlives: true},
	}
	if !v.health() {
		return
	}
	v.socket()
	v.call()
}

func (v *caller) parse() bool {
	at, err := url.Parse(strings.TrimRight(v.o.url, "/"))
	if err != nil || at.Hostname() == "" || at.Scheme != "http" && at.Scheme != "https" || at.RawQuery != "" || at.User != nil {
		v.fail("address", "Give what stands before /whip/ in the address: https://host or https://host:port.", "%q is not an address of a server.", v.o.url)
		return false
	}
	v.at = at
	return true
}

// resolve finds the addresses behind the name.
func (v *caller) resolve() bool {
	host := v.at.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		v.addrs = []netip.Addr{ip}
		return true
	}
	ctx, cancel := context.WithTimeout(v.ctx, doctorHTTP)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		v.fail("DNS", "Make an A record (and AAAA for IPv6) for "+host+" that names the server's address, or correct the name.", "The name %s is not known: %v.", host, err)
		return false
	}
	for _, a := range addrs {
		v.addrs = append(v.addrs, a.Unmap())
	}
	v.ok("DNS", "%s is %s.", host, join(v.addrs))
	return true
}

func (v *caller) port() string {
	switch {
	case v.at.Port() != "":
		return v.at.Port()
	case v.at.Scheme == "https":
		return "443"
	}
	return "80"
}

// dial connects to each address: a browser takes any of them.
func (v *caller) dial() bool {
	works := 0
	var bad []string
	for _, a := range v.addrs[:min(len(v.addrs), maxDialed)] {
		target := net.JoinHostPort(a.String(), v.port())
		begun := time.Now()
		c, err := (&net.Dialer{Timeout: doctorDial}).DialContext(v.ctx, "tcp", target)
		if err != nil {
			bad = append(bad, fmt.Sprintf("%s (%s)", target, dialWords(err)))
			continue
		}
		c.Close()
		works++
		v.ok("TCP", "%s answers in %v.", target, round(time.Since(begun)))
	}
	switch {
	case works == 0:
		v.fail("TCP", "Start the server or the proxy before it, let it listen on this address (http.listen), and open TCP port "+v.port()+" in its firewall.",
			"Nobody answers at %s.", strings.Join(bad, ", "))
	case len(bad) > 0:
		v.warn("TCP", "Take addresses that do not answer out of the DNS, or let the server listen there; whoever tries them first waits. An IPv6 address fails here also when this network has no IPv6.",
			"Not every address answers: %s.", strings.Join(bad, ", "))
	}
	return works > 0
}

// dialWords says in short why a connection was not made.
func dialWords(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused: nothing listens there"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "this network has no way there"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer"
	}
	return err.Error()
}

// secure looks at the certificate.
func (v *caller) secure() bool {
	if v.at.Scheme == "http" {
		if !loopback(v.at.Hostname()) {
			v.warn("TLS", "Put a TLS proxy in front and use https://, or use the server through loopback.", "There is no TLS: browsers give a page the camera and the microphone only over https.")
		}
		return true
	}
	cert, version, err := v.handshake(false)
	if cert == nil && err != nil { // not even without looking at the certificate
		v.fail("TLS", "Make sure that TLS is spoken at port "+v.port()+": a certificate and its key in the proxy, and https there.", "There is no TLS at %s: %v.", v.at.Host, err)
		return false
	}
	if err != nil {
		says, do := v.certWords(cert, err)
		v.fail("TLS", do, "%s", says)
		return false
	}
	left := cert.NotAfter.Sub(v.now())
	if left < certSoon {
		v.warn("TLS", "Renew it now; if that should happen by itself (ACME), look at why it does not.", "The certificate ends in %d days, on %s.", int(left.Hours()/24), cert.NotAfter.Format(time.DateOnly))
		return true
	}
	v.ok("TLS", "The certificate is valid until %s (%s).", cert.NotAfter.Format(time.DateOnly), tls.VersionName(version))
	return true
}

// handshake returns the server's certificate, with the error of its
// verification.
func (v *caller) handshake(blind bool) (*x509.Certificate, uint16, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: doctorDial}, Config: &tls.Config{
		ServerName: v.at.Hostname(), RootCAs: v.roots, Time: v.now, InsecureSkipVerify: blind,
	}}
	ctx, cancel := context.WithTimeout(v.ctx, doctorHTTP)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(v.at.Hostname(), v.port()))
	var unverified *tls.CertificateVerificationError
	if errors.As(err, &unverified) && len(unverified.UnverifiedCertificates) > 0 {
		return unverified.UnverifiedCertificates[0], 0, err
	}
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	state := c.(*tls.Conn).ConnectionState()
	return state.PeerCertificates[0], state.Version, nil
}

// certWords says what is wrong with a certificate.
func (v *caller) certWords(cert *x509.Certificate, err error) (says, do string) {
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	switch now := v.now(); {
	case now.After(cert.NotAfter):
		return fmt.Sprintf("The certificate ended on %s.", cert.NotAfter.Format(time.DateOnly)),
			"Renew it and let the proxy read it again. If the date is not past, this machine's clock is wrong."
	case now.Before(cert.NotBefore):
		return fmt.Sprintf("The certificate begins only on %s.", cert.NotBefore.Format(time.DateOnly)),
			"Set this machine's clock (here it is " + now.Format(time.DateTime) + "), or wait."
	case errors.As(err, &name):
		return fmt.Sprintf("The certificate is for %s, not for %s.", strings.Join(append(cert.DNSNames, ipTexts(cert.IPAddresses)...), ", "), v.at.Hostname()),
			"Get a certificate that names " + v.at.Hostname() + ", or use a name that it has."
	case errors.As(err, &unknown):
		return fmt.Sprintf("Nobody whom this machine trusts has signed the certificate (its issuer is %q).", cert.Issuer.String()),
			"Take a certificate of a public authority (ACME), give the proxy the whole chain, or make your own authority known: here with --ca, in browsers by installing it."
	}
	return fmt.Sprintf("The certificate is not accepted: %v.", err), "Replace the certificate."
}

func ipTexts(ips []net.IP) (all []string) {
	for _, ip := range ips {
		all = append(all, ip.String())
	}
	return all
}

// health asks the server itself, and compares the clocks.
func (v *caller) health() bool {
	resp, body, err := v.get("/healthz")
	if err != nil {
		v.fail("server", "Look at the log of the server, or of the proxy before it.", "%s/healthz gives no answer: %v.", v.at, err)
		return false
	}
	switch is := serverVersion(resp); {
	case strings.HasPrefix(body, "draining"):
		v.fail("server", "Wait until it has been started again.", "The server is about to end.")
		return false
	case resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusGatewayTimeout:
		v.fail("server", "Start braid, and compare the proxy's target with http.listen.", "A proxy answers with %s: it does not reach braid.", resp.Status)
		return false
	case resp.StatusCode != http.StatusOK || strings.TrimSpace(body) != "ok":
		v.fail("server", "Let the proxy pass all paths to braid (/healthz, /whip/, /whep/, /v1/), or correct the address.", "What answers at %s is not braid: /healthz gives %s.", v.at, resp.Status)
		return false
	case is != "":
		v.ok("server", "It is %s and says that it is well.", is)
	default:
		v.ok("server", "It says that it is well.")
	}
	v.clock(resp.Header.Get("Date"))
	return true
}

// clock compares this machine's clock with the server's.
func (v *caller) clock(date string) {
	there, err := http.ParseTime(date)
	if err != nil {
		v.skip("clock", "The server does not tell the time.")
		return
	}
	apart := v.now().Sub(there).Round(time.Second)
	const do = "Let both machines keep time by NTP (timedatectl set-ntp true)."
	switch {
	case apart.Abs() > clockBeyond:
		v.fail("clock", do, "The clocks are %v apart: tokens made here would be refused there.", apart.Abs())
	case apart.Abs() > clockApart:
		v.warn("clock", do, "The clocks are %v apart.", apart.Abs())
	default:
		v.ok("clock", "It agrees with the server's.")
	}
}

// get reads a page of the server.
func (v *caller) get(path string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(v.ctx, "GET", v.at.String()+path, nil)
	if err != nil {
		return nil, "", err
	}
	resp, err := v.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return resp, string(body), err
}

// socket tries the WebSocket of /v1/rtc, which some proxies do not pass on.
func (v *caller) socket() {
	ctx, cancel := context.WithTimeout(v.ctx, doctorHTTP)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, v.at.String()+"/v1/rtc", &websocket.DialOptions{HTTPClient: v.http, Subprotocols: []string{"braid.v1"}})
	if err == nil {
		conn.CloseNow()
		v.ok("WebSocket", "It opens (/v1/rtc).")
		return
	}
	why := err.Error()
	if resp != nil {
		why = resp.Status
	}
	v.fail("WebSocket", "Let the proxy pass upgrades on: in nginx proxy_http_version 1.1 and the headers Upgrade and Connection; WHIP and WHEP do not need it.",
		"It does not open (/v1/rtc): %s.", why)
}

// round is a time as people read it.
func round(d time.Duration) time.Duration {
	switch {
	case d > 100*time.Millisecond:
		return d.Round(time.Millisecond)
	case d > time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(10 * time.Microsecond)
}

func join[T fmt.Stringer](all []T) string {
	var words []string
	for _, a := range all {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}
