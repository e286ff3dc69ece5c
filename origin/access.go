package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"braid/media"
	"braid/media/flv"
	"braid/media/rtmp"
)

// Request is a client that wants to publish or play a stream.
type Request struct {
	Publish   bool
	Host      string // as the client wrote it, in lower case, without port; "" when it wrote none
	App, Name string // valid names
	Path      string // as it stands in the URL, escaped, with the play form's ending: /live/cam.flv
	Query     string // as it stands in the URL, without "?"
	Remote    string // host:port

	// OnAir says that a stream of this name is on air, or was until lately and can
	// still be had as HLS, in the streaming domain Domain.
	// A Request to play is asked with them, so that a stream of one domain is not had
	// through another.
	OnAir  bool
	Domain string
}

// Grant is the answer of Config.Access to somebody who is let in.
type Grant struct {
	Domain string // the streaming domain that the request belongs to; "": the origin's own
	Keyed  bool   // by a signature that expires
}

// ErrDenied is in the error of Config.Access when the request is understood and
// not allowed: HTTP answers 403, RTMP Publish.Denied or Play.Failed. A
// *rtmp.Refusal carries the words.
var ErrDenied = errors.New("not allowed")

func (o *Origin) access(ctx context.Context, r Request) (Grant, error) {
	if err := validKey(r.App, r.Name); err != nil {
		return Grant{}, err
	}
	if o.cfg.Access == nil {
		return Grant{}, nil
	}
	if !r.Publish {
		of, onAir := o.ownerOf(key{r.App, r.Name})
		r.Domain, r.OnAir = of.domain, onAir
	}
	return o.cfg.Access(ctx, r)
}

// owner says whose stream something is.
type owner struct{ domain, source string } // of its Publisher

// ownerOf is that of a stream on air, or that has ended and whose last segments
// can still be had.
func (o *Origin) ownerOf(k key) (of owner, ok bool) {
	if of, ok = o.Hub.ownerOf(k); ok {
		return of, true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, mp4 := range []bool{false, true} {
		for _, only := range []byte{0, flv.Audio, flv.Video} {
			if h := o.hls[hlsKey{k, mp4, only}]; h != nil {
				return h.viewer.s.owner(), true
			}
		}
	}
	return owner{}, false
}

func (h *Hub) ownerOf(k key) (of owner, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[k]
	if s == nil {
		return owner{}, false
	}
	return s.owner(), true
}

func (s *stream) owner() owner { return owner{s.domain, s.source} }

// readOnly is the kind of media that a query asks for alone (onlyaudio=1 or
// onlyvideo=1; artc-api.md section 8); 0: all there is.
func readOnly(query string) (only byte, err error) {
	q, _ := url.ParseQuery(query) // of a bad one, the good parts
	audio, video := q.Get("onlyaudio") == "1", q.Get("onlyvideo") == "1"
	switch {
	case audio && video:
		const words = "onlyaudio and onlyvideo exclude each other"
		return 0, &rtmp.Refusal{Words: words, Err: fmt.Errorf("origin: %w", media.ErrInvalid)}
	case audio:
		return flv.Audio, nil
	case video:
		return flv.Video, nil
	}
	return 0, nil
}

// admit decides whether an HTTP client may have a file of a stream, and answers it
// when not. A player of HLS who comes with a signature is given a session, which
// goes on when the signature has expired; list tells that the file is a playlist,
// master that it names other playlists.
func (o *Origin) admit(w http.ResponseWriter, r *http.Request, app, name string, list, master bool) bool {
	if _, err := readOnly(r.URL.RawQuery); err != nil {
		refuse(w, err)
		return false
	}
	if o.cfg.Access == nil {
		return true
	}
	if id := sessionOf(r.URL.RawQuery); id != "" {
		of, onAir := o.ownerOf(key{app, name})
		if !o.sessions.resume(id, app, name, of, onAir) {
			refuse(w, &rtmp.Refusal{Words: "the session has ended; open the stream's own address again", Err: ErrDenied})
			return false
		}
		return true
	}
	g, err := o.access(r.Context(), Request{
		Host: hostOf(r), App: app, Name: name, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Remote: r.RemoteAddr,
	})
	if err != nil {
		refuse(w, err)
		return false
	}
	if list && g.Keyed {
		return o.openSession(w, r, app, name, master)
	}
	return true
}

// hostOf is the host that an HTTP client wrote.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	return strings.ToLower(host)
}
