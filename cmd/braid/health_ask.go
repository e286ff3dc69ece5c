package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthWithin is how long a server has to answer braid health.
const healthWithin = 3 * time.Second

// runHealth asks the server that the config describes, on this machine, for
// /healthz: the health check of containers, whatever ports and TLS they have.
func runHealth(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("braid health", flag.ContinueOnError)
	flags.SetOutput(stderr)
	name := flags.String("config", "", "the server's YAML `file`; without it the defaults hold")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("health: %q is not a flag", flags.Arg(0))
	}
	cfg := defaults()
	if *name != "" {
		var err error
		if cfg, err = readConfig(*name); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, healthWithin)
	defer cancel()
	said, err := cfg.askHealth(ctx)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	fmt.Fprintln(stdout, said)
	return nil
}

// askHealth is what the server says at /healthz. It asks at metrics.listen where
// there is one, since that has no TLS.
func (c *config) askHealth(ctx context.Context) (string, error) {
	at, listen := "http://"+reachable(c.Metrics.Listen), c.Metrics.Listen
	if listen == "" {
		at, listen = c.httpURL(c.HTTP.Listen), c.HTTP.Listen
	}
	res, err := getHealth(ctx, at, listen)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s", at, res.Status)
	}
	return strings.TrimSpace(string(text)), nil
}

// getHealth asks at's /healthz of whoever listens on this machine at the address
// listen. Whose certificate that is does not matter: an expired one is no reason
// for starting a server anew, and nothing secret is sent.
func getHealth(ctx context.Context, at, listen string) (*http.Response, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, reachable(listen))
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	req, err := http.NewRequestWithContext(ctx, "GET", at+"/healthz", nil)
	if err != nil {
		return nil, err
	}
	return transport.RoundTrip(req)
}
