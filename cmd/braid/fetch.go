package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	imageMax    = 16 << 20
	imageWithin = 10 * time.Second
)

// newFetch makes a fetch whose connections go through the guard and trust roots.
func newFetch(g *guard, roots *x509.CertPool) func(ctx context.Context, address string) ([]byte, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: g.dial, TLSClientConfig: trusting(roots), DisableKeepAlives: true}} // no proxy: it would do the dialling
	return func(ctx context.Context, address string) ([]byte, error) { return fetch(ctx, client, address) }
}

// fetch gets a background image; the worker decides whether it is one. Errors
// are logged, so they name the image without its query, which may hold a signature.
func fetch(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, imageWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("image: %w", withoutURL(err))
	}
	name := req.URL.Host + req.URL.Path
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, withoutURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("image %s: answer %s", name, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, imageMax+1))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	if len(b) > imageMax {
		return nil, fmt.Errorf("image %s: over %d MiB", name, imageMax>>20)
	}
	return b, nil
}

func withoutURL(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
