package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/media"
)

// TestRoots: what is no authority's file is found at the start, and named.
func TestRoots(t *testing.T) {
	dir, a := t.TempDir(), newAuthority(t)
	write := func(name string, text []byte) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	two := write("two.pem", slices.Concat([]byte("# ours\n"), good, []byte("\n# and theirs\n"), good))
	for name, want := range map[string]string{
		filepath.Join(dir, "none.pem"): "outbound.roots[1]: open " + dir + "/none.pem: no such file",
		dir:                            "outbound.roots[1]: read " + dir,
		write("empty.pem", nil):        "outbound.roots[1]: " + dir + "/empty.pem has no certificate in PEM",
		write("der.pem", a.Leaf.Raw):   "der.pem has no certificate in PEM",
		write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})):                             "key.pem holds a PRIVATE KEY; only certificates are wanted",
		write("cut.pem", slices.Concat(good, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Leaf.Raw[:100]}))): "cut.pem: certificate 2: ",
	} {
		_, err := readConfig(writeConfig(t, fmt.Sprintf("outbound: {roots: [%q, %q]}\n", a.file, name)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %s", name, err, want)
		}
	}
	c, err := readConfig(writeConfig(t, fmt.Sprintf("outbound: {roots: [%q]}\n", two)))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := c.roots()
	if err != nil {
		t.Fatal(err)
	}
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Skip("a system without authorities: ", err)
	}
	system.AddCert(a.Leaf)
	if !roots.Equal(system) {
		t.Error("the roots are not the system's and ours")
	}
	none := defaults()
	if roots, err := none.roots(); roots != nil || err != nil {
		t.Errorf("without the key: got %v, %v", roots, err)
	}
}

// TestTrustedClients: images, S3 and ACME are had of servers whose certificate a private
// authority signed, and of none that the config does not name.
func TestTrustedClients(t *testing.T) {
	a := newAuthority(t)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/none") {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, "here")
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{a.sign(t, -time.Hour, time.Hour, "127.0.0.1")}}
	srv.StartTLS()
	defer srv.Close()
	g := newGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, netip.AddrPort{})
	for _, trusted := range []bool{true, false} {
		c := defaults()
		if trusted {
			c.Outbound.Roots = []string{a.file}
		}
		c.Storage.S3 = map[string]s3Config{"near": {Endpoint: srv.URL, Bucket: "bucket", Region: "here", AccessKey: "k", SecretKey: "s", PathStyle: true}}
		roots, err := c.roots()
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, err error) {
			t.Helper()
			unknown := errors.As(err, new(x509.UnknownAuthorityError))
			if trusted && err != nil || !trusted && !unknown {
				t.Errorf("%s, trusted %v: got %v", what, trusted, err)
			}
		}
		_, err = newFetch(g, roots)(t.Context(), srv.URL+"/logo.png")
		check("an image", err)

		all, err := c.openStorages()
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = all["near"].Open(t.Context(), "none")
		if errors.Is(err, media.ErrNotFound) {
			err = nil // it was asked
		}
		check("S3", err)

		client, err := acmeClient(&c)
		if err != nil {
			t.Fatal(err)
		}
		if client == nil {
			client = http.DefaultClient
		}
		res, err := client.Get(srv.URL)
		check("ACME", err)
		if err == nil {
			res.Body.Close()
		}
		client.CloseIdleConnections()
	}
}

// TestPrivateAuthority: callbacks go to, and relays push to, servers whose certificates
// an authority of outbound.roots has signed.
func TestPrivateAuthority(t *testing.T) {
	a := newAuthority(t)
	serves := &tls.Config{Certificates: []tls.Certificate{a.sign(t, -time.Hour, time.Hour, "127.0.0.1")}}
	s := startBraid(t, func(c *config) { c.Outbound.Roots = []string{a.file} })
	r := &receiver{}
	h := httptest.NewUnstartedServer(r)
	h.TLS = serves
	h.StartTLS()
	t.Cleanup(h.Close)
	s.rest("POST", "/v1/applications/"+testApp+"/callbacks", map[string]any{"kind": "room", "url": h.URL, "events": []string{"UserEvent"}}, nil)

	c := clip{ID: 3, W: 320, H: 180, FPS: 15, Seconds: 4, Tone: 500}
	s.publish("room", "eve", c.make(t), c.FPS, "h264")
	host := strings.TrimSuffix(strings.TrimPrefix(s.rtmp, "rtmp://"), "/live")
	s.call("StartLiveMPUTask", singleParams("single", "room", "eve", "rtmps://"+overTLS(t, serves, host)+"/live/sealed"))
	eventually(t, 20*time.Second, "the relayed stream is at the origin", func() (bool, string) {
		var list struct{ Items []struct{ Name string } }
		s.rest("GET", "/v1/streams", nil, &list)
		return len(list.Items) == 1 && list.Items[0].Name == "sealed", fmt.Sprint(list)
	})
	eventually(t, 20*time.Second, "a callback by HTTPS", func() (bool, string) {
		once, _ := r.got()
		return len(once) > 0, fmt.Sprint(once)
	})
}

// overTLS listens with TLS in front of a TCP server.
func overTLS(t *testing.T, serves *tls.Config, to string) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", serves)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			outside, err := l.Accept()
			if err != nil {
				return
			}
			inside, err := net.Dial("tcp", to)
			if err != nil {
				outside.Close()
				continue
			}
			pipe := func(from, to net.Conn) {
				_, _ = io.Copy(to, from)
				from.Close()
				to.Close()
			}
			go pipe(outside, inside)
			go pipe(inside, outside)
		}
	}()
	return l.Addr().String()
}

// TestExposedSecrets: files with secrets that everyone on the machine can read are named
// in the log; what only some can, or nobody gets to, is not.
func TestExposedSecrets(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, mode os.FileMode, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(name, []byte(text), 0o600), os.Chmod(name, mode)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	warned := func(c config) (names []string) {
		t.Helper()
		var out bytes.Buffer
		c.warnExposed(slog.New(slog.NewTextHandler(&out, nil)))
		for line := range strings.Lines(out.String()) {
			_, rest, _ := strings.Cut(line, "file="+dir+"/")
			name, mode, _ := strings.Cut(strings.TrimSpace(rest), " mode=")
			names = append(names, name+" "+mode)
		}
		return names
	}
	expect := func(what string, c config, want ...string) {
		t.Helper()
		if got := warned(c); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	c := defaults()
	c.DataDir = filepath.Join(dir, "data")
	expect("nothing is there", c)
	write("data/credentials.json", 0o644, "{}")
	write("data/braid.db", 0o666, "")
	c.HTTP.TLS.Key = write("key.pem", 0o640, "")
	c.Metrics.TokenFile = write("token", 0o604, "")
	expect("all but what a group reads", c, "token 0604", "data/credentials.json 0644", "data/braid.db 0666")
	if err := os.Chmod(c.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	c.HTTP.TLS.Key = write("key.pem", 0o644, "")
	expect("nobody gets into the directory", c, "key.pem 0644", "token 0604")

	for text, secret := range map[string]bool{
		"http: {listen: \"127.0.0.1:80\"}":                                       false,
		"store: {dsn: \"postgres://braid@db/braid\"}":                            false,
		"store: {dsn: \"postgres://braid:pw@db/braid\"}":                         true,
		"store: {dsn: \"host=db user=braid password=pw\"}":                       true,
		"admin_tokens: [0123456789abcdef]":                                       true,
		"origin: {auth_key: abcdef}":                                             true,
		"metrics: {token_file: " + write("m", 0o600, "0123456789abcdef\n") + "}": false,
	} {
		c, err := readConfig(write("braid.yaml", 0o644, text))
		if err != nil {
			t.Fatal(err)
		}
		c.DataDir = filepath.Join(dir, "none")
		if secret {
			expect(text, c, "braid.yaml 0644")
		} else {
			expect(text, c)
		}
	}
}
