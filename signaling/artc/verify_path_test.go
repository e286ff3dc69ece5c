package artc

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"braid/media"
)

// signedPath is a request in ROA style as it arrives at a server.
func signedPath(t *testing.T, method, url, body string, at time.Time, nonce string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if err := Sign(r, "testid", "testsecret", at, nonce); err != nil {
		t.Fatal(err)
	}
	return r
}

func verifyPath(v *Verifier, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	id, err := v.VerifyPath(r, body)
	if err == nil && id != "testid" {
		return errors.New("verified as " + id)
	}
	return err
}

func TestVerifyPath(t *testing.T) {
	now := captureTime
	const url = "http://h:8080/v1/applications/a%2Fb?cursor=x%2By&limit=2"
	for _, c := range []struct {
		name   string
		at     time.Time
		tamper func(r *http.Request)
		want   string // in the error; "" for none
	}{
		{name: "as signed", at: now},
		{name: "a host that the signer did not call", at: now, want: "SignatureDoesNotMatch", tamper: func(r *http.Request) { r.Host = "other:8080" }},
		{name: "another path", at: now, want: "SignatureDoesNotMatch", tamper: func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/v1/applications/c", "" }},
		{name: "the same path, escaped otherwise", at: now, want: "SignatureDoesNotMatch", tamper: func(r *http.Request) { r.URL.RawPath = "" }},
		{name: "another method", at: now, want: "SignatureDoesNotMatch", tamper: func(r *http.Request) { r.Method = "DELETE" }},
		{name: "another query", at: now, want: "SignatureDoesNotMatch", tamper: func(r *http.Request) { r.URL.RawQuery = "limit=3" }},
		{name: "a query twice", at: now, want: "given twice", tamper: func(r *http.Request) { r.URL.RawQuery = "limit=2&limit=3" }},
		{name: "another body", at: now, want: "SignatureDoesNotMatch", tamper: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"name":"c"}`)) }},
		{name: "another body and its hash", at: now, want: "SignatureDoesNotMatch", tamper: func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(`{}`))
			r.Header.Set("x-acs-content-sha256", hexHash([]byte(`{}`)))
		}},
		{name: "another content type", at: now, want: "SignatureDoesNotMatch", tamper: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
		{name: "content type not signed", at: now, want: "content-type", tamper: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "content-type;", "", 1))
		}},
		{name: "date not signed", at: now, want: "x-acs-date", tamper: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), ";x-acs-date", "", 1))
		}},
		{name: "no date", at: now, want: "x-acs-date", tamper: func(r *http.Request) { r.Header.Del("x-acs-date") }},
		{name: "another scheme", at: now, want: "Basic", tamper: func(r *http.Request) { r.SetBasicAuth("testid", "testsecret") }},
		{name: "another key", at: now, want: "InvalidAccessKeyId.NotFound", tamper: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "testid", "nobody", 1))
		}},
		{name: "too old", at: now.Add(-skew - time.Second), want: "InvalidTimeStamp.Expired"},
		{name: "too young", at: now.Add(skew + time.Second), want: "InvalidTimeStamp.Expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := NewVerifier(keyring{"testid": "testsecret"}, func() time.Time { return now })
			r := signedPath(t, "POST", url, `{"name":"b"}`, c.at, "n1")
			if c.tamper != nil {
				c.tamper(r)
			}
			err := verifyPath(v, r)
			switch {
			case c.want == "" && err != nil:
				t.Fatalf("got %v, want it verified", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// One memory of nonces: a request is good for one use, in one of the two APIs.
func TestVerifyPathNonces(t *testing.T) {
	h := New(Config{Keys: keyring{"testid": "testsecret"}, Now: func() time.Time { return captureTime }})
	get := func() *http.Request { return signedPath(t, "GET", "http://h/", "", captureTime, "once") }
	if err := verifyPath(h.Verifier(), get()); err != nil {
		t.Fatal(err)
	}
	if err := verifyPath(h.Verifier(), get()); !errors.Is(err, errNonceUsed) {
		t.Errorf("again: got %v, want %v", err, errNonceUsed)
	}
	v := NewVerifier(keyring{"testid": "testsecret"}, func() time.Time { return captureTime })
	v.nonces.max = 0
	if err := verifyPath(v, get()); !errors.Is(err, media.ErrLimit) {
		t.Errorf("with a full memory: got %v, want media.ErrLimit", err)
	}
}

// FuzzVerifyPath: who does not know a secret is never let in.
func FuzzVerifyPath(f *testing.F) {
	f.Add("ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=host;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce,Signature=00", "/v1/a", "limit=1", []byte(""))
	f.Add("ACS3-HMAC-SHA256 =,,=;", "/", "a&a", []byte("{}"))
	v := NewVerifier(keyring{"testid": "only the server knows", "empty": ""}, func() time.Time { return captureTime })
	f.Fuzz(func(t *testing.T, authorization, path, query string, body []byte) {
		r := httptest.NewRequest("POST", "http://127.0.0.1/", bytes.NewReader(body))
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header.Set("x-acs-signature-nonce", "x")
		r.Header.Set("x-acs-content-sha256", hexHash(body))
		r.Header.Set("x-acs-date", captureTime.Format(timeLayout))
		r.Header.Set("Authorization", authorization)
		if id, err := v.VerifyPath(r, body); err == nil {
			t.Fatalf("let in as %q: %q", id, authorization)
		}
	})
}
