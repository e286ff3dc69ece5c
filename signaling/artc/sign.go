package artc

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	acs3       = "ACS3-HMAC-SHA256"
	timeLayout = "2006-01-02T15:04:05Z" // UTC
)

// Sign signs a request to this API, or to the REST API beside it, with scheme
// ACS3-HMAC-SHA256 (artc-api.md section 11.1). The caller has set x-acs-action
// (the REST API needs none), the path and the query; x-acs-version is set to
// Version when absent. A body is read whole and put back. The nonce
// must not have been used with this key in the last 30 minutes. The only error
// is one of reading the body.
func Sign(req *http.Request, keyID, secret string, now time.Time, nonce string) error {
	var body []byte
	if req.Body != nil && req.Body != http.NoBody {
		var err error
		body, err = io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return fmt.Errorf("artc: sign: read body: %w", err)
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	h := req.Header
	if h.Get("x-acs-version") == "" {
		h.Set("x-acs-version", Version)
	}
	h.Set("x-acs-date", now.UTC().Format(timeLayout))
	h.Set("x-acs-signature-nonce", nonce)
	h.Set("x-acs-content-sha256", hexHash(body))

	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	query := map[string]string{}
	for k, v := range req.URL.Query() {
		query[k] = v[0]
	}
	signed := signedNames(h)
	path := req.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	toSign := acs3StringToSign(req.Method, path, query, host, h, signed, body)
	h.Set("Authorization", fmt.Sprintf("%s Credential=%s,SignedHeaders=%s,Signature=%x",
		acs3, keyID, strings.Join(signed, ";"), acs3Sum(secret, toSign)))
	return nil
}

// signedNames are the headers a client signs: host, content-type and every x-acs one, sorted.
func signedNames(h http.Header) []string {
	names := []string{"host"}
	for k := range h {
		k = strings.ToLower(k)
		if k == "content-type" || strings.HasPrefix(k, "x-acs-") {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	return names
}

// acs3StringToSign builds the canonical request and hashes it. The path is
// escaped, "/" for the RPC API; the payload's hash is computed here and not
// taken from a header.
func acs3StringToSign(method, path string, query map[string]string, host string, h http.Header, signed []string, body []byte) string {
	var c strings.Builder
	c.WriteString(method + "\n" + path + "\n" + canonicalQuery(query) + "\n")
	for _, name := range signed {
		value := h.Get(name)
		if name == "host" {
			value = host
		}
		c.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	c.WriteString("\n" + strings.Join(signed, ";") + "\n" + hexHash(body))
	return acs3 + "\n" + hexHash([]byte(c.String()))
}

func acs3Sum(secret, stringToSign string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(stringToSign))
	return m.Sum(nil)
}

// rpcStringToSign is what scheme HMAC-SHA1 signs (section 11.2): every
// parameter but Signature, empty ones too.
func rpcStringToSign(method string, params map[string]string) string {
	rest := make(map[string]string, len(params))
	for k, v := range params {
		if k != "Signature" {
			rest[k] = v
		}
	}
	return method + "&%2F&" + percent(canonicalQuery(rest))
}

func rpcSum(secret, stringToSign string) []byte {
	m := hmac.New(sha1.New, []byte(secret+"&"))
	m.Write([]byte(stringToSign))
	return m.Sum(nil)
}

// canonicalQuery joins the encoded parameters with &, sorted by the bytes of their names.
func canonicalQuery(params map[string]string) string {
	names := make([]string, 0, len(params))
	for k := range params {
		names = append(names, k)
	}
	slices.Sort(names)
	var b strings.Builder
	for i, k := range names {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(percent(k) + "=" + percent(params[k]))
	}
	return b.String()
}

// percent encodes by RFC 3986: only letters, digits and - _ . ~ stay.
func percent(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
