package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"braid/internal/testkit"
)

// pemFiles writes a certificate that signs itself, for a name.
func pemFiles(t *testing.T, dir, name string, serial int64) (cert, key string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	made := testkit.Signed(t, template, nil)
	secret, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: made.Leaf.Raw}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// A server with a certificate of its own, from its first start: the set-up link,
// a sign-in with a secure cookie, HSTS, live data over HTTP/2, a forgotten
// password; nothing secret in the log.
func TestConsoleByHTTPS(t *testing.T) {
	dir := t.TempDir()
	cfg := defaults()
	cfg.DataDir = filepath.Join(dir, "data")
	cfg.HTTP.Listen, cfg.RTMP.Listen, cfg.Media.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.HTTP.TLS.Cert, cfg.HTTP.TLS.Key = pemFiles(t, dir, "braid.example.com", 1)
	cfg.Mixer.Program = os.Args[0]
	cfg.AccessKeys = []accessKey{{ID: accessID, Secret: accessCode}}
	if _, err := loadCredentials(&cfg); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s, err := newServer(cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var said bytes.Buffer
	s.welcome(&said)
	go func() { ended <- s.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for _, secret := range []string{"setup=", "correct horse", "forgotten no more"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log has %q", secret)
			}
		}
	})
	cfg.HTTP.Listen = s.HTTPAddr
	client, err := cfg.ownClient()
	if err != nil {
		t.Fatal(err)
	}
	client.Jar, _ = cookiejar.New(nil) // never fails
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	t.Cleanup(client.CloseIdleConnections)
	do := func(method, path, body string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "https://braid.example.com"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(text)
	}

	link := regexp.MustCompile(`https://127\.0\.0\.1:\d+/console#setup=(\S+)`).FindStringSubmatch(said.String())
	if link == nil {
		t.Fatalf("no set-up link in %q", said.String())
	}
	var stdout, stderr bytes.Buffer
	file := filepath.Join(dir, "braid.yaml")
	config := "data_dir: " + cfg.DataDir + "\nhttp: {listen: \"" + s.HTTPAddr + "\", tls: {cert: " + cfg.HTTP.TLS.Cert + ", key: " + cfg.HTTP.TLS.Key + "}}\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := runAdmin(t.Context(), []string{"setup-link", "--config", file}, nil, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(stdout.String()[strings.Index(stdout.String(), "=")+1:])
	if res, text := do("POST", "/console/setup", `{"token":"`+link[1]+`","name":"anna","password":"correct horse"}`); res.StatusCode != 403 {
		t.Errorf("the link that another has ended: got %s %s", res.Status, text)
	}
	res, text := do("POST", "/console/setup", `{"token":"`+token+`","name":"anna","password":"correct horse"}`)
	if res.StatusCode != 201 || !strings.Contains(text, `"secure":true`) {
		t.Fatalf("set up: got %s %s", res.Status, text)
	}
	if c := res.Cookies()[0]; c.Name != "__Host-braid" || !c.Secure || !c.HttpOnly {
		t.Errorf("got the cookie %v", c)
	}
	if h := res.Header.Get("Strict-Transport-Security"); h != "max-age=15552000" || res.ProtoMajor != 2 {
		t.Errorf("got Strict-Transport-Security %q by %s", h, res.Proto)
	}
	if res, text := do("GET", "/v1/node", ""); res.StatusCode != 200 {
		t.Errorf("by cookie: got %s %s", res.Status, text)
	}
	live, err := client.Get("https://braid.example.com/v1/live")
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 21)
	if _, err := io.ReadFull(live.Body, head); err != nil || string(head) != "id: 1\nevent: snapshot" {
		t.Errorf("live: got %q, %v", head, err)
	}
	live.Body.Close()

	if err := runAdmin(t.Context(), []string{"setup-link", "--config", file}, nil, &stdout, &stderr); err == nil || !strings.Contains(err.Error(), "administrator already") {
		t.Errorf("a second set-up link: got %v", err)
	}
	if err := runAdmin(t.Context(), []string{"--config", file, "password", "anna"}, strings.NewReader("forgotten no more\n"), &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if res, _ := do("GET", "/v1/node", ""); res.StatusCode != 401 {
		t.Errorf("after a new password: got %s, want the sign-in to have ended", res.Status)
	}
	if res, text := do("POST", "/console/session", `{"name":"anna","password":"forgotten no more"}`); res.StatusCode != 200 {
		t.Errorf("the new password: got %s %s", res.Status, text)
	}
	if res, err := http.Get("http://" + s.HTTPAddr + "/healthz"); err == nil && res.StatusCode == 200 {
		t.Error("it speaks HTTP without TLS as well")
	}
	stdout.Reset()
	if err := run(t.Context(), []string{"health", "--config", file}, &stdout, &stderr); err != nil || stdout.String() != "ok\n" {
		t.Errorf("braid health: got %q, %v", &stdout, err)
	}
	if v := (&machine{doctor: &doctor{ctx: t.Context()}, cfg: cfg}).runningBraid(); !strings.HasPrefix(v, "braid") {
		t.Errorf("braid doctor takes what runs here for %q", v)
	}

	// The RPC API's changes are in the audit log too.
	audited := func() string { _, text := do("GET", "/v1/audit", ""); return text }
	b := &braidServer{t: t, http: "https://braid.example.com"}
	req := b.rpc("DeleteChannel", map[string]any{"AppId": cfg.Applications[0].ID, "ChannelId": "none"})
	if res, err := client.Do(req); err != nil || res.StatusCode == 200 {
		t.Fatalf("RPC: got %v, %v", res, err)
	}
	var page struct {
		Items []struct{ Action, Who string }
	}
	if err := json.Unmarshal([]byte(audited()), &page); err != nil || len(page.Items) == 0 || page.Items[0].Action != "DeleteChannel" || page.Items[0].Who != cfg.AccessKeys[0].ID {
		t.Errorf("the audit log: got %+v, %v", page, err)
	}
}

// Certificates that change are taken up; files in the middle of a change leave
// the last one in use.
func TestCertificateFilesChange(t *testing.T) {
	dir := t.TempDir()
	f := &certFiles{log: slog.New(slog.DiscardHandler)}
	f.cert, f.key = pemFiles(t, dir, "one.example.com", 1)
	if err := f.load(); err != nil {
		t.Fatal(err)
	}
	serve := func() string {
		t.Helper()
		f.looked = time.Time{} // the time to look again has come
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		ended := make(chan error, 1)
		go func() { ended <- tls.Server(server, &tls.Config{GetCertificate: f.get}).HandshakeContext(t.Context()) }()
		c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		if err := c.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		return c.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	if got := serve(); got != "one.example.com" {
		t.Errorf("got %s", got)
	}
	old, err := os.ReadFile(f.key)
	if err != nil {
		t.Fatal(err)
	}
	pemFiles(t, dir, "two.example.com", 2)
	whole, err := os.ReadFile(f.key)
	if err != nil {
		t.Fatal(err)
	}
	put := func(b []byte, at time.Time) {
		t.Helper()
		if err := os.WriteFile(f.key, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(f.key, at, at); err != nil {
			t.Fatal(err)
		}
	}
	put(old, time.Now().Add(time.Second)) // the certificate is new, its key not yet
	if got := serve(); got != "one.example.com" {
		t.Errorf("in the middle of a change: got %s, want one.example.com", got)
	}
	put(whole, time.Now().Add(2*time.Second))
	if got := serve(); got != "two.example.com" {
		t.Errorf("after it: got %s, want two.example.com", got)
	}
	if err := os.Remove(f.cert); err != nil {
		t.Fatal(err)
	}
	if got := serve(); got != "two.example.com" {
		t.Errorf("without files: got %s, want the last one", got)
	}
}

func TestHTTPConfig(t *testing.T) {
	dir := t.TempDir()
	cert, key := pemFiles(t, dir, "a.example.com", 1)
	for _, c := range []struct{ yaml, words string }{
		{"{tls: {cert: " + cert + "}}", "http.tls: cert and key are both needed"},
		{"{tls: {cert: " + cert + ", key: " + dir + "/none}}", "http.tls.key: stat"},
		{"{tls: {cert: " + cert + ", key: " + dir + "}}", "is not a file"},
		{"{tls: {cert: " + cert + ", key: " + key + "}, acme: {domains: [a.example.com]}}", "not both"},
		{"{acme: {email: me@example.com}}", "http.acme.domains: is needed"},
		{"{acme: {domains: ['*.example.com']}}", "http.acme.domains[0]"},
		{"{acme: {domains: [192.0.2.1]}}", "http.acme.domains[0]"},
		{"{acme: {domains: [a.example.com], directory: 'http://x/'}}", "http.acme.directory"},
		{"{trusted_proxies: [10.0.0.0/8, nginx]}", `http.trusted_proxies[1]: "nginx"`},
	} {
		if _, err := readConfig(writeConfig(t, "http: "+c.yaml+"\n")); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v, want an error with %q", c.yaml, err, c.words)
		}
	}
	got, err := readConfig(writeConfig(t, "http: {tls: {cert: "+cert+", key: "+key+"}, trusted_proxies: [127.0.0.1]}\nconsole: {remote_setup: true}\naudit: {keep: 720h}\n"))
	if err != nil || !got.tls() || !got.Console.RemoteSetup || got.Audit.Keep != 720*time.Hour || len(got.proxies()) != 1 {
		t.Errorf("got %+v, %v", got.HTTP, err)
	}
	if _, err := readConfig(writeConfig(t, "audit: {keep: 1h}\n")); err == nil || !strings.Contains(err.Error(), "audit.keep") {
		t.Errorf("audit.keep of an hour: got %v", err)
	}
}
