package admin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"braid/media"
	"braid/signaling"
	"braid/store"
)

// maxBody is the most a request's body may have, in bytes; the longest
// meaningful one, a callback with 30 users, has under 8 KiB.
const maxBody = 1 << 20

// route is one method of one resource.
type route struct {
	method  string
	pattern string // segments after /v1/, those in braces are parameters
	body    bodyUse
	do      func(*call) (*reply, error)
}

// bodyUse says whether a request has a body.
type bodyUse int

const (
	noBody   bodyUse = iota
	needBody         // a JSON object
)

// call is one request on its way.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	who    principal
	read   bool
	body   []byte
	params map[string]string
}

// reply is a successful answer. Its zero status is 200; a nil body is 204.
type reply struct {
	status   int
	body     any
	version  int64 // for ETag; 0: none
	location string
	stream   func(w http.ResponseWriter) error // writes all of the answer instead; its errors come before anything was written
}

func ok(body any) (*reply, error) { return &reply{body: body}, nil }

func (o *reply) write(w http.ResponseWriter) error {
	if o.stream != nil {
		return o.stream(w)
	}
	h := w.Header()
	if o.version != 0 {
		h.Set("ETag", etag(o.version))
	}
	if o.location != "" {
		h.Set("Location", o.location)
	}
	if o.body == nil {
		w.WriteHeader(cmp.Or(o.status, http.StatusNoContent))
		return nil
	}
	text, isText := o.body.(json.RawMessage)
	if !isText {
		var err error
		if text, err = json.Marshal(o.body); err != nil {
			return fmt.Errorf("admin: write the answer: %w", err)
		}
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(cmp.Or(o.status, http.StatusOK))
	_, _ = w.Write(append(text, '\n')) // a client that has gone needs no answer
	return nil
}

// find is the route of a request. Paths are compared as they were sent, segment
// by segment: an escaped slash is part of its segment.
func (h *Handler) find(c *call) (*route, error) {
	path := c.r.URL.EscapedPath()
	segments := strings.Split(strings.TrimPrefix(path, "/v1/"), "/")
	var allowed []string
	for i := range h.routes {
		rt := &h.routes[i]
		params, ok := match(rt.pattern, segments)
		if !ok || !strings.HasPrefix(path, "/v1/") {
			continue
		}
		if c.r.Method == rt.method || c.r.Method == http.MethodHead && rt.method == http.MethodGet {
			c.params = params
			c.r.Pattern = "/v1/" + rt.pattern // as http.ServeMux would, for who counts requests
			return rt, nil
		}
		allowed = append(allowed, rt.method)
	}
	if allowed == nil {
		return nil, fmt.Errorf("there is no resource %s: %w", path, media.ErrNotFound)
	}
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	return nil, signaling.Method("%s has no method %s; it has %s", path, c.r.Method, strings.Join(allowed, ", "))
}

func match(pattern string, segments []string) (map[string]string, bool) {
	parts := strings.Split(pattern, "/")
	if len(parts) != len(segments) {
		return nil, false
	}
	params := map[string]string{}
	for i, part := range parts {
		name, isParam := strings.CutPrefix(part, "{")
		if !isParam {
			if part != segments[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(segments[i])
		if err != nil || value == "" {
			return nil, false
		}
		params[strings.TrimSuffix(name, "}")] = value
	}
	return params, true
}

// readBody reads the body once.
func (c *call) readBody() error {
	if c.read {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fmt.Errorf("the body has more than %d bytes: %w", maxBody, err)
	case err != nil:
		return fmt.Errorf("the body ended early: %w", media.ErrInvalid)
	}
	c.body, c.read = body, true
	return nil
}

// checkBody reads the body and refuses one that will not be looked at.
func (c *call) checkBody(use bodyUse) error {
	if err := c.readBody(); err != nil {
		return err
	}
	switch {
	case use == noBody && len(c.body) > 0:
		return fmt.Errorf("%s takes no body here: %w", c.r.Method, media.ErrInvalid)
	case use == noBody:
		return nil
	}
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return signaling.MediaType("Content-Type: application/json is needed, not %q", c.r.Header.Get("Content-Type"))
	}
	if c.r.Header.Get("Content-Encoding") != "" {
		return signaling.MediaType("Content-Encoding: none is read, so %q is not", c.r.Header.Get("Content-Encoding"))
	}
	return nil
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// precondition is what If-Match says.
type precondition struct {
	given bool
	any   bool
	tags  []string
}

// ifMatch reads the header If-Match (RFC 9110 section 13.1.1); required says
// that the request is refused without it.
func (c *call) ifMatch(required bool) (precondition, error) {
	lines := c.r.Header.Values("If-Match")
	if len(lines) == 0 {
		if required {
			return precondition{}, signaling.Unconditional("If-Match is needed: send the ETag that the last GET gave, so that nobody's change is written over unseen")
		}
		return precondition{}, nil
	}
	p := precondition{given: true}
	for part := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		part = strings.TrimSpace(part)
		p.any = p.any || part == "*"
		p.tags = append(p.tags, part)
	}
	return p, nil
}

// check compares with the current version.
func (p precondition) check(version int64) error {
	if !p.given || p.any || slices.Contains(p.tags, etag(version)) {
		return nil
	}
	return fmt.Errorf("If-Match: the version is %s now: %w", etag(version), store.ErrStale)
}
