package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"braid/internal/testkit"
	"braid/media/sfu"
	"braid/signaling/token"
)

// examine runs braid doctor --url and returns what it found.
func examine(t *testing.T, at string, change ...func(*doctorOptions, *doctor)) []finding {
	t.Helper()
	d := &doctor{ctx: t.Context(), now: time.Now, show: func(f finding) { t.Logf("%s %s: %s %s", f.Result, f.Check, f.Says, f.Do) }}
	o := doctorOptions{url: at, app: testApp, key: testKey, within: time.Second}
	for _, f := range change {
		f(&o, d)
	}
	roots, err := o.check()
	if err != nil {
		t.Fatal(err)
	}
	d.client(o, roots)
	return d.findings
}

// found expects one finding with a result that says, or advises, some words.
func found(t *testing.T, all []finding, check string, want verdict, words ...string) {
	t.Helper()
	for _, f := range all {
		if f.Check != check || f.Result != want {
			continue
		}
		missing := ""
		for _, w := range words {
			if !strings.Contains(f.Says+" "+f.Do, w) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
	}
	t.Errorf("no %s of %s that says %q in:\n%+v", want, check, words, all)
}

// no expects that nothing has a result.
func no(t *testing.T, all []finding, r verdict) {
	t.Helper()
	for _, f := range all {
		if f.Result == r {
			t.Errorf("got %s of %s: %s %s", r, f.Check, f.Says, f.Do)
		}
	}
}

func TestDoctorAllIsWell(t *testing.T) {
	b := startBraid(t, func(c *config) {
		c.ICEServers = []iceServer{{URLs: []string{"turn:turn.example"}, Secret: "s"}}
	})
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"doctor", "--url", b.http, "--app", testApp, "--key", testKey, "--media", "1s"}, &out, &errs); err != nil {
		t.Errorf("%v\n%s%s", err, out.String(), errs.String())
	}
	for _, want := range []string{"UDP        127.0.0.1:", "TCP        127.0.0.1:", "AEAD_AES_128_GCM", "turn:turn.example", "The sound comes back after", "All is well."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := run(t.Context(), []string{"doctor", "--url", b.http, "--json"}, &out, &errs); err != nil {
		t.Error(err)
	}
	var told struct {
		OK     bool
		Checks []finding
	}
	if err := json.Unmarshal(out.Bytes(), &told); err != nil || !told.OK {
		t.Errorf("%v: %s", err, out.String())
	}
	found(t, told.Checks, "media", skipped, "--token")
	out.Reset()
	if err := run(t.Context(), []string{"doctor", "--url", b.http, "--app", testApp, "--key", "wrong", "--json"}, &out, &errs); err == nil {
		t.Error("a check failed, and the program ends with 0")
	} else if err := json.Unmarshal(out.Bytes(), &told); err != nil || told.OK {
		t.Errorf("%v: %s", err, out.String())
	}
	if left := rest(t, b.http, "/v1/sessions?state=open"); strings.Contains(left, `"id"`) {
		t.Errorf("sessions stay: %s", left)
	}
}

// rest reads the REST API.
func rest(t *testing.T, at, path string) string {
	t.Helper()
	req, err := http.NewRequest("GET", at+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %s: %v: %s", path, resp.Status, err, b)
	}
	return string(b)
}

func TestDoctorIPv6(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6: ", err)
	} else {
		l.Close()
	}
	t.Run("loopback", func(t *testing.T) {
		b := startBraid(t, func(c *config) { c.HTTP.Listen, c.Media.Listen = "[::1]:0", "[::1]:0" })
		all := examine(t, b.http)
		no(t, all, failed)
		found(t, all, "UDP", fine, "[::1]:")
		found(t, all, "receiving", fine)
	})
	t.Run("every address", func(t *testing.T) { // all of them are this machine's
		own, err := sfu.Addresses(":1", nil)
		if err != nil {
			t.Fatal(err)
		}
		b := startBraid(t, func(c *config) { c.HTTP.Listen, c.Media.Listen = "[::1]:0", ":0" })
		all := examine(t, b.http)
		no(t, all, failed)
		for _, a := range own {
			found(t, all, "UDP", fine, a.String())
			if !a.IsLoopback() {
				found(t, all, "TCP", fine, a.String())
			}
		}
	})
}

func TestDoctorTokens(t *testing.T) {
	b := startBraid(t)
	with := func(text string) func(*doctorOptions, *doctor) {
		return func(o *doctorOptions, _ *doctor) { o.app, o.key, o.token = "", "", text }
	}
	jwt := func(key string, change func(*token.Claims)) string {
		c := token.Claims{App: testApp, Channel: "room", User: "ann", Camera: true, Subscribe: true, Expires: time.Now().Add(time.Hour)}
		change(&c)
		text, err := token.SignJWT(c, key, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	all := examine(t, b.http, with(token.Sign(testApp, testKey, "room", "ann", time.Now().Add(time.Hour)).String()))
	no(t, all, failed)
	found(t, all, "token", fine, "ann's for channel room")
	found(t, all, "receiving", fine)

	all = examine(t, b.http, with(jwt(testKey, func(c *token.Claims) { c.Subscribe = false })))
	no(t, all, failed)
	found(t, all, "sending", fine, "0 lost")

	all = examine(t, b.http, with(jwt(testKey, func(c *token.Claims) { c.Camera = false })))
	found(t, all, "media", skipped, "nothing to publish")
	all = examine(t, b.http, with(jwt("another", func(*token.Claims) {})))
	found(t, all, "publish", failed, "401", "signed with this server's AppKey")
	all = examine(t, b.http, with(jwt(testKey, func(c *token.Claims) { c.Expires = time.Now().Add(-time.Hour) })))
	found(t, all, "token", failed, "ended 1h0m")
	all = examine(t, b.http, with("hello"))
	found(t, all, "token", failed, "not a join token", "/tokens")
}

// portOfBoth is a port number that is free for UDP and TCP on 127.0.0.1 and 127.0.0.2.
func portOfBoth(t *testing.T) int {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		at := strconv.Itoa(port)
		if bindable("udp", "127.0.0.1:"+at) == nil && bindable("udp", "127.0.0.2:"+at) == nil && bindable("tcp", "127.0.0.2:"+at) == nil {
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// firewall stands on 127.0.0.2 before a media port on 127.0.0.1 and lets
// through what it is told to.
type firewall struct {
	udp func(b []byte) bool // nil: no datagram
	tcp bool
}

func (f firewall) start(t *testing.T, port int) {
	t.Helper()
	outside, inside := fmt.Sprintf("127.0.0.2:%d", port), fmt.Sprintf("127.0.0.1:%d", port)
	var work sync.WaitGroup
	pc, err := net.ListenPacket("udp4", outside)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	closing := []io.Closer{pc}
	closed := false
	keep := func(c io.Closer) {
		mu.Lock()
		defer mu.Unlock()
		if closed {
			c.Close()
		}
		closing = append(closing, c)
	}
	work.Go(func() {
		to := map[string]net.Conn{}
		for buf := make([]byte, 2048); ; {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if f.udp == nil || !f.udp(buf[:n]) {
				continue
			}
			c := to[from.String()]
			if c == nil {
				if c, err = net.Dial("udp4", inside); err != nil {
					t.Error(err)
					return
				}
				keep(c)
				to[from.String()] = c
				work.Go(func() {
					for buf := make([]byte, 2048); ; {
						n, err := c.Read(buf)
						if err != nil {
							return
						}
						if f.udp(buf[:n]) {
							pc.WriteTo(buf[:n], from)
						}
					}
				})
			}
			c.Write(buf[:n])
		}
	})
	if f.tcp {
		l, err := net.Listen("tcp4", outside)
		if err != nil {
			t.Fatal(err)
		}
		keep(l)
		work.Go(func() {
			for {
				a, err := l.Accept()
				if err != nil {
					return
				}
				b, err := net.Dial("tcp4", inside)
				if err != nil {
					a.Close()
					continue
				}
				keep(a)
				keep(b)
				work.Go(func() { io.Copy(a, b); a.Close() })
				work.Go(func() { io.Copy(b, a); b.Close() })
			}
		})
	}
	t.Cleanup(func() {
		mu.Lock()
		closed = true
		for _, c := range closing {
			c.Close()
		}
		mu.Unlock()
		work.Wait()
	})
}

// What a firewall does to the media port is found, and told with what to open.
func TestDoctorMediaPort(t *testing.T) {
	port := portOfBoth(t)
	b := startBraid(t, func(c *config) {
		c.Media.Listen, c.Media.PublicIPs = fmt.Sprintf("127.0.0.1:%d", port), []string{"127.0.0.2"}
	})
	at := fmt.Sprintf("127.0.0.2:%d", port)
	open := func([]byte) bool { return true }
	t.Run("open", func(t *testing.T) {
		firewall{udp: open, tcp: true}.start(t, port)
		no(t, examine(t, b.http), failed)
	})
	t.Run("UDP blocked", func(t *testing.T) {
		firewall{tcp: true}.start(t, port)
		all := examine(t, b.http)
		found(t, all, "UDP", failed, "UDP "+at+" does not answer, TCP does", fmt.Sprintf("Open UDP port %d", port), "fall back to TCP meanwhile")
		found(t, all, "DTLS", fine, "over TCP")
		found(t, all, "receiving", fine)
		if n := strings.Count(fmt.Sprint(all), "failed"); n != 1 {
			t.Errorf("%d failures, want the one", n)
		}
	})
	t.Run("TCP blocked", func(t *testing.T) {
		firewall{udp: open}.start(t, port)
		all := examine(t, b.http)
		found(t, all, "TCP", failed, "TCP "+at+" does not answer", fmt.Sprintf("Open TCP port %d", port))
		found(t, all, "receiving", fine)
	})
	t.Run("both blocked", func(t *testing.T) {
		firewall{}.start(t, port)
		all := examine(t, b.http)
		found(t, all, "UDP", failed, "UDP "+at, "media.public_ips", fmt.Sprintf("open UDP and TCP port %d", port))
		found(t, all, "TCP", failed, "nothing listens there")
	})
	t.Run("wrong address", func(t *testing.T) {
		all := examine(t, b.http)
		found(t, all, "UDP", failed, "nothing listens there", "The server tells this address; the HTTP address is 127.0.0.1", "Correct media.public_ips")
	})
	t.Run("DTLS filtered", func(t *testing.T) {
		firewall{udp: func(b []byte) bool { return len(b) > 0 && b[0] < 20 }}.start(t, port)
		all := examine(t, b.http)
		found(t, all, "DTLS", failed, "UDP "+at+" answers STUN, but the DTLS handshake fails", "MTU")
		seen := rest(t, b.http, "/v1/sessions?state=failed&limit=1")
		for _, want := range []string{`"dtls_unfinished"`, `"agent":"braid-doctor"`, "1200 bytes"} {
			if !strings.Contains(seen, want) {
				t.Errorf("the server's view does not say %s: %s", want, seen)
			}
		}
	})
	t.Run("small MTU", func(t *testing.T) {
		firewall{udp: func(b []byte) bool { return len(b) <= 1000 }}.start(t, port)
		all := examine(t, b.http)
		found(t, all, "receiving", failed, "1150 bytes do not", "MTU")
	})
}

// authority makes certificates for tests.
type authority struct {
	tls.Certificate
	file string // PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: time.Now().Add(10000 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	a := &authority{testkit.Signed(t, template, nil), filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Leaf.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) sign(t *testing.T, from, to time.Duration, ip string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
		IPAddresses: []net.IP{net.ParseIP(ip)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	return testkit.Signed(t, template, &a.Certificate)
}

// proxy stands before a server as an operator's does; https when it has a certificate.
func proxy(t *testing.T, to string, cert *tls.Certificate, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	onward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	var h http.Handler = onward
	if wrap != nil {
		h = wrap(onward)
	}
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = onward.ErrorLog
	if cert != nil {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.URL
}

func TestDoctorCertificates(t *testing.T) {
	b := startBraid(t)
	ca := newAuthority(t)
	const day = 24 * time.Hour
	trusting := func(o *doctorOptions, _ *doctor) { o.ca = ca.file }
	for _, tt := range []struct {
		name     string
		from, to time.Duration
		ip       string
		want     verdict
		words    []string
	}{
		{"good", -day, 90 * day, "127.0.0.1", fine, []string{"valid until", "TLS 1.3"}},
		{"soon", -day, 3*day + time.Hour, "127.0.0.1", warning, []string{"ends in 3 days", "Renew"}},
		{"expired", -10 * day, -2 * day, "127.0.0.1", failed, []string{"ended on " + time.Now().Add(-2*day).Format(time.DateOnly), "Renew"}},
		{"not yet", day, 90 * day, "127.0.0.1", failed, []string{"begins only on", "clock"}},
		{"another name", -day, 90 * day, "127.0.0.9", failed, []string{"is for 127.0.0.9, not for 127.0.0.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert := ca.sign(t, tt.from, tt.to, tt.ip)
			all := examine(t, proxy(t, b.http, &cert, nil), trusting)
			found(t, all, "TLS", tt.want, tt.words...)
			if tt.want == failed {
				return
			}
			no(t, all, failed)
			found(t, all, "receiving", fine)
		})
	}
	cert := ca.sign(t, -day, 90*day, "127.0.0.1")
	found(t, examine(t, proxy(t, b.http, &cert, nil)), "TLS", failed, "Test CA", "--ca")
	found(t, examine(t, "https://"+strings.TrimPrefix(b.http, "http://")), "TLS", failed, "There is no TLS")
}

func TestDoctorClock(t *testing.T) {
	b := startBraid(t)
	at := func(off time.Duration) func(*doctorOptions, *doctor) {
		return func(o *doctorOptions, d *doctor) {
			o.app, o.key = "", ""
			d.now = func() time.Time { return time.Now().Add(off) }
		}
	}
	found(t, examine(t, b.http, at(-70*time.Second)), "clock", warning, "1m", "NTP")
	found(t, examine(t, b.http, at(10*time.Minute)), "clock", failed, "10m", "tokens", "NTP")
}

// What stands between is found out.
func TestDoctorProxies(t *testing.T) {
	b := startBraid(t)
	t.Run("not braid", func(t *testing.T) {
		s := httptest.NewServer(http.NotFoundHandler())
		defer s.Close()
		found(t, examine(t, s.URL), "server", failed, "not braid", "404")
	})
	t.Run("nobody behind", func(t *testing.T) {
		found(t, examine(t, proxy(t, "http://127.0.0.1:1", nil, nil)), "server", failed, "502", "http.listen")
	})
	t.Run("nobody", func(t *testing.T) {
		found(t, examine(t, "http://127.0.0.1:1"), "TCP", failed, "nothing listens there", "TCP port 1")
	})
	t.Run("draining", func(t *testing.T) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "draining", 503) }))
		defer s.Close()
		found(t, examine(t, s.URL), "server", failed, "about to end")
	})
	t.Run("no WebSocket", func(t *testing.T) {
		all := examine(t, proxy(t, b.http, nil, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("Upgrade")
				r.Header.Del("Connection")
				h.ServeHTTP(w, r)
			})
		}))
		found(t, all, "WebSocket", failed, "does not open", "Upgrade")
		found(t, all, "receiving", fine)
	})
	t.Run("changed SDP", func(t *testing.T) {
		all := examine(t, proxy(t, b.http, nil, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				if r.Method != "POST" {
					h.ServeHTTP(w, r)
					return
				}
				h.ServeHTTP(rec, r)
				body := rec.Body.String()
				if i := strings.Index(body, "a=fingerprint:sha-256 "); i >= 0 {
					at := i + len("a=fingerprint:sha-256 ")
					body = body[:at] + "00" + body[at+2:]
				}
				rec.Header().Del("Content-Length")
				for k, v := range rec.Header() {
					w.Header()[k] = v
				}
				w.WriteHeader(rec.Code)
				io.WriteString(w, body)
			})
		}))
		found(t, all, "DTLS", failed, "fingerprint", "changes the SDP")
	})
	found(t, examine(t, "ftp://x"), "address", failed, "not an address of a server")
	found(t, examine(t, "http://no-such-host.invalid"), "DNS", failed, "no-such-host.invalid", "A record")
}

// inspect runs braid doctor --config.
func inspect(t *testing.T, text string) []finding {
	t.Helper()
	d := &doctor{ctx: t.Context(), now: time.Now, show: func(f finding) { t.Logf("%s %s: %s %s", f.Result, f.Check, f.Says, f.Do) }}
	d.server(writeConfig(t, text))
	return d.findings
}

func TestDoctorMachine(t *testing.T) {
	program := mixerProgram(t)
	data := t.TempDir()
	http, rtmp, media := portOfBoth(t), portOfBoth(t), portOfBoth(t)
	settings := fmt.Sprintf("data_dir: %s\nmixer: {program: %s}\nhttp: {listen: \"127.0.0.1:%d\"}\nrtmp: {listen: \"127.0.0.1:%d\"}\n", data, program, http, rtmp)
	here := fmt.Sprintf("media: {listen: \"127.0.0.1:%d\"}\napplications: [{id: %s, key: %s}]\n", media, testApp, testKey)
	t.Run("free", func(t *testing.T) {
		all := inspect(t, settings+here)
		no(t, all, failed)
		found(t, all, "ports", fine, fmt.Sprintf("media.listen UDP 127.0.0.1:%d is free", media))
		found(t, all, "addresses", warning, "Only this machine can connect", ":8189")
		found(t, all, "UDP", fine, "arrive")
		found(t, all, "mixer", fine, "wire")
		found(t, all, "space", fine, "GiB left")
		if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
			t.Errorf("it left %v in the data directory (%v)", left, err)
		}
	})
	t.Run("public", func(t *testing.T) {
		all := inspect(t, settings+fmt.Sprintf("media: {listen: \"127.0.0.1:%d\", public_ips: [203.0.113.5, 10.1.1.1]}\n", media))
		found(t, all, "addresses", fine, "203.0.113.5")
		all = inspect(t, settings+fmt.Sprintf("media: {listen: \"127.0.0.1:%d\", public_ips: [10.1.1.1]}\n", media))
		found(t, all, "addresses", warning, "all private", "auto")
	})
	t.Run("auto", func(t *testing.T) {
		server := mapper(t, netip.MustParseAddrPort("203.0.113.9:8189"))
		all := inspect(t, settings+fmt.Sprintf("media: {listen: \"127.0.0.1:%d\", public_ips: [auto], stun_servers: [%q]}\n", media, server))
		found(t, all, "addresses", fine, "sees this machine as 203.0.113.9")
		silent := mapper(t, netip.AddrPort{})
		all = inspect(t, settings+fmt.Sprintf("media: {listen: \"127.0.0.1:%d\", public_ips: [auto], stun_servers: [%q]}\n", media, silent))
		found(t, all, "addresses", failed, "no answer", "media.public_ips instead of auto")
	})
	t.Run("held", func(t *testing.T) {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", http))
		if err != nil {
			t.Fatal(err)
		}
		go func() { // no HTTP is spoken here
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		defer l.Close()
		found(t, inspect(t, settings+here), "ports", failed, "http.listen TCP", fmt.Sprintf("(process %d)", os.Getpid()), "End that program")
	})
	t.Run("wrong", func(t *testing.T) {
		found(t, inspect(t, "media: {lisen: x}\n"), "settings", failed, "lisen")
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		all := inspect(t, fmt.Sprintf("data_dir: %s/data\nmixer: {program: /nowhere/braid-mixer}\nhttp: {listen: \"192.0.2.77:1\"}\n", file))
		found(t, all, "data", failed, "cannot be used", "data_dir")
		found(t, all, "mixer", failed, "mixer.program")
		found(t, all, "ports", failed, "does not have the address")
		script := filepath.Join(t.TempDir(), "braid-mixer")
		if err := os.WriteFile(script, []byte("#!/bin/sh\necho braid-mixer old, wire 0\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		found(t, inspect(t, strings.Replace(settings, program, script, 1)+here), "mixer", failed, "another version")
	})
	t.Run("running", func(t *testing.T) {
		cfg, err := readConfig(writeConfig(t, settings+here))
		if err != nil {
			t.Fatal(err)
		}
		startBraid(t, func(c *config) { c.DataDir, c.HTTP, c.RTMP, c.Media = cfg.DataDir, cfg.HTTP, cfg.RTMP, cfg.Media })
		all := inspect(t, settings+here)
		no(t, all, failed)
		found(t, all, "ports", fine, "runs here already")
		found(t, all, "receiving", fine)
		other := strings.Replace(settings, fmt.Sprint(rtmp), fmt.Sprint(portOfBoth(t)), 1)
		found(t, inspect(t, other+here), "ports", failed, "listens elsewhere")
	})
}

// mapper is a STUN server on loopback that sees everyone at one address; at none
// it is silent.
func mapper(t *testing.T, at netip.AddrPort) string {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var asked atomic.Int64
	go func() {
		defer close(ended)
		for buf := make([]byte, 1500); ; {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			asked.Add(1)
			m := &stun.Message{Raw: bytes.Clone(buf[:n])}
			if !at.IsValid() || m.Decode() != nil {
				continue
			}
			answer := stun.MustBuild(m, stun.BindingSuccess, &stun.XORMappedAddress{IP: at.Addr().AsSlice(), Port: int(at.Port())})
			pc.WriteTo(answer.Raw, from)
		}
	}()
	t.Cleanup(func() {
		pc.Close()
		<-ended
		if asked.Load() == 0 {
			t.Error("nobody asked the STUN server")
		}
	})
	return pc.LocalAddr().String()
}

func TestDoctorFlags(t *testing.T) {
	for _, args := range [][]string{
		{"--token", "x"}, {"--url", "http://x", "--app", "a"}, {"--url", "http://x", "--app", "a", "--key", "k", "--token", "t"},
		{"--url", "http://x", "--media", "2m"}, {"--url", "http://x", "--ca", "/nowhere"}, {"more"}, {"--no"},
	} {
		if err := run(context.Background(), append([]string{"doctor"}, args...), io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
