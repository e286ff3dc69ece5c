package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A server gets its certificate from a real ACME authority, Let's Encrypt's own
// test server, which looks at it by TLS-ALPN-01. Its module is testdata/pebble.
func TestACME(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an ACME authority: not in -short")
	}
	pebble := filepath.Join(t.TempDir(), "pebble-server")
	build := exec.Command("go", "build", "-o", pebble, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	build.Dir = "../../testdata/pebble"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build pebble: %v\n%s", err, out)
	}
	const name = "live.example.com"
	dir := t.TempDir()
	free := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	at, manage := free(), free()
	_, port, _ := net.SplitHostPort(at)
	own := filepath.Join(dir, "pebble")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	cert, key := pemFiles(t, own, "localhost", 1)

	cfg := defaults()
	cfg.DataDir = filepath.Join(dir, "data")
	cfg.HTTP.Listen, cfg.RTMP.Listen, cfg.Media.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.HTTP.ACME.Domains, cfg.HTTP.ACME.Email = []string{name}, "operator@example.com"
	cfg.HTTP.ACME.Directory, cfg.HTTP.ACME.Root = "https://localhost:"+port+"/dir", cert
	cfg.Mixer.Program = os.Args[0]
	if _, err := loadCredentials(&cfg); err != nil {
		t.Fatal(err)
	}
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(cfg, slog.New(slog.NewTextHandler(newStory(t), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	_, tlsPort, _ := net.SplitHostPort(s.HTTPAddr)
	n, _ := strconv.Atoi(tlsPort)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{"listenAddress": at, "managementListenAddress": manage,
		"certificate": cert, "privateKey": key, "httpPort": 1, "tlsPort": n}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(own, "config.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), pebble, "-config", file, "-dnsserver", serveNames(t), "-strict")
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=5")
	out := newStory(t)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(t, 20*time.Second, "pebble listens", func() (bool, string) {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
		}
		return err == nil, fmt.Sprint(err)
	})

	if c, err := tls.Dial("tcp", s.HTTPAddr, &tls.Config{ServerName: "other.example.com", InsecureSkipVerify: true}); err == nil {
		c.Close()
		t.Error("a name that is not in the config gets a certificate")
	}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", s.HTTPAddr, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	if err := leaf.VerifyHostname(name); err != nil || !strings.HasPrefix(leaf.Issuer.CommonName, "Pebble Intermediate CA") {
		t.Errorf("got a certificate for %q by %q: %v", leaf.DNSNames, leaf.Issuer, err)
	}
	info, err := os.Stat(filepath.Join(cfg.DataDir, "acme"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("the cache: %v, %v; want a directory for the owner alone", info, err)
	}
	kept, _ := os.ReadDir(filepath.Join(cfg.DataDir, "acme"))
	if len(kept) < 2 {
		t.Errorf("the cache has %v, want the account's key and the certificate", kept)
	}
}

// serveNames answers that every name is this machine.
func serveNames(t *testing.T) (addr string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
			}
			if answer, err := m.Pack(); err == nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-ended })
	return conn.LocalAddr().String()
}
