package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const adminUsage = `braid admin helps the operator of a running server with its console.

  braid admin setup-link       makes a new link for the first administrator
  braid admin password NAME    sets an administrator's password; it is read from standard input

`

// runAdmin asks the server that the config describes, on this machine, with its
// admin token.
func runAdmin(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("braid admin", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, adminUsage)
		flags.PrintDefaults()
	}
	name := flags.String("config", "", "the server's YAML `file`; without it the defaults hold, with the data in ./braid-data")
	var words []string
	for rest := args; ; { // flags may stand before, between and behind the words
		if err := flags.Parse(rest); err != nil {
			return err
		}
		if flags.NArg() == 0 {
			break
		}
		words, rest = append(words, flags.Arg(0)), flags.Args()[1:]
	}
	cfg := defaults()
	if *name != "" {
		var err error
		if cfg, err = readConfig(*name); err != nil {
			return err
		}
	}
	switch {
	case len(words) == 1 && words[0] == "setup-link":
		var link struct {
			Path    string
			Expires time.Time
		}
		if err := askServer(ctx, &cfg, "POST", "/v1/setup-link", nil, &link); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s%s\n", cfg.httpURL(cfg.HTTP.Listen), link.Path)
		fmt.Fprintf(stderr, "It works once, until %s.\n", link.Expires.Local().Format(time.Kitchen))
		return nil
	case len(words) == 2 && words[0] == "password":
		fmt.Fprint(stderr, "The new password, in one line: ")
		line, err := bufio.NewReader(io.LimitReader(stdin, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		in := map[string]string{"password": strings.TrimRight(line, "\r\n")}
		if err := askServer(ctx, &cfg, "PATCH", "/v1/administrators/"+words[1], in, nil); err != nil {
			return err
		}
		fmt.Fprintf(stderr, "%s has a new password; all sign-ins have ended.\n", words[1])
		return nil
	}
	flags.Usage()
	return fmt.Errorf("admin: setup-link or password NAME is needed, not %q", strings.Join(words, " "))
}

// askServer sends a request to the server on this machine as an operator.
func askServer(ctx context.Context, c *config, method, path string, in, out any) error {
	token, err := c.adminToken()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.httpURL(c.HTTP.Listen)+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("If-Match", "*")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client, err := c.ownClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("admin: is the server running? %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	if res.StatusCode >= 300 {
		var problem struct{ Detail string }
		if json.Unmarshal(text, &problem) != nil || problem.Detail == "" {
			problem.Detail = res.Status
		}
		return fmt.Errorf("admin: %s", problem.Detail)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// adminToken is one of the config's, or the one that a first start made.
func (c *config) adminToken() (string, error) {
	if len(c.AdminTokens) > 0 {
		return c.AdminTokens[0], nil
	}
	name := filepath.Join(c.DataDir, "credentials.json")
	var kept credentials
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err == nil && len(kept.AdminTokens) == 0 {
		err = errors.New("it has no admin token")
	}
	if err != nil {
		return "", fmt.Errorf("admin: the config has no admin_tokens, and %s: %w", name, err)
	}
	return kept.AdminTokens[0], nil
}

// ownClient connects to the server's own address whatever name a URL has, and
// takes the certificate that the config names.
func (c *config) ownClient() (*http.Client, error) {
	own := reachable(c.HTTP.Listen)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, own)
	}}
	if c.HTTP.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.HTTP.TLS.Cert, c.HTTP.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("http.tls: %w", err)
		}
		leaf := pair.Leaf
		roots := x509.NewCertPool()
		roots.AddCert(leaf)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		switch {
		case len(leaf.DNSNames) > 0:
			transport.TLSClientConfig.ServerName = strings.Replace(leaf.DNSNames[0], "*", "x", 1)
		case len(leaf.IPAddresses) > 0:
			transport.TLSClientConfig.ServerName = leaf.IPAddresses[0].String()
		}
	}
	return &http.Client{Transport: transport}, nil
}
