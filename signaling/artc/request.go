package artc

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"unicode/utf8"
)

const (
	maxBody   = 1 << 20 // bytes; every documented request has an empty body
	maxParams = 4096    // 16 panes and 50 users flattened are about 400
)

// request is what an HTTP request says, before anything of it is trusted.
type request struct {
	method string
	path   string // escaped, as sent
	host   string // with the port, as sent
	header http.Header
	query  map[string]string
	form   bool              // the body carried parameters
	params map[string]string // query and form together
	body   []byte
}

// readRequest reads at most 1 MiB of body and merges a form body into the
// query. A parameter that is given twice is refused: braid's own, because a
// signature over both says nothing about which one counts.
func readRequest(w http.ResponseWriter, r *http.Request) (*request, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, errBodySize
	}
	if err != nil {
		return nil, invalidParam("request body: %s", err)
	}
	req := &request{method: r.Method, path: "/", host: r.Host, header: r.Header, body: body,
		query: map[string]string{}, params: map[string]string{}}
	if err := addParams(req.query, "query", r.URL.RawQuery); err != nil {
		return nil, err
	}
	for k, v := range req.query {
		req.params[k] = v
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/x-www-form-urlencoded" && len(body) > 0 {
		req.form = true
		if err := addParams(req.params, "form body", string(body)); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// pathRequest is a request whose body carries no parameters and was read already.
func pathRequest(r *http.Request, body []byte) (*request, error) {
	req := &request{method: r.Method, path: r.URL.EscapedPath(), host: r.Host, header: r.Header, body: body,
		query: map[string]string{}}
	if err := addParams(req.query, "query", r.URL.RawQuery); err != nil {
		return nil, err
	}
	return req, nil
}

func addParams(to map[string]string, where, encoded string) error {
	values, err := url.ParseQuery(encoded)
	if err != nil {
		return invalidParam("%s: %s", where, err)
	}
	for k, v := range values {
		if _, twice := to[k]; twice || len(v) != 1 {
			return invalidParam("%s is given twice", quote(k))
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v[0]) {
			return invalidParam("%s is not UTF-8", quote(k))
		}
		to[k] = v[0]
	}
	if len(to) > maxParams {
		return invalidParam("more than %d parameters", maxParams)
	}
	return nil
}
