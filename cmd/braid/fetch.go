package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	imageMax    = 16 << 20
	imageWithin = 10 * time.Second
)

// fetch gets a background image; the worker decides whether it is one.
func fetch(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, imageWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", req.URL.Redacted(), resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, imageMax+1))
	if err == nil && len(b) > imageMax {
		err = fmt.Errorf("%s is over %d MiB", req.URL.Redacted(), imageMax>>20)
	}
	return b, err
}
