package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What goes wrong with an image is logged, so its error does not tell the
// signature in the address.
func TestFetchErrorsHideSignatures(t *testing.T) {
	up, down := httptest.NewServer(http.NotFoundHandler()), httptest.NewServer(http.NotFoundHandler())
	defer up.Close()
	down.Close()
	for _, at := range []string{up.URL, down.URL} {
		_, err := fetch(context.Background(), http.DefaultClient, at+"/logo.png?Signature=c2VjcmV0")
		if err == nil || strings.Contains(err.Error(), "c2VjcmV0") || !strings.Contains(err.Error(), "/logo.png") {
			t.Errorf("got %v, want it to name the image without its signature", err)
		}
	}
	if _, err := fetch(context.Background(), http.DefaultClient, "http://h:port/logo.png?Signature=c2VjcmV0"); err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("an address that cannot be read: got %v", err)
	}
}
