package origin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/rtmp"
	"braid/store"
)

const (
	// writeTime is how long one write to a viewer may take before it is given up.
	writeTime = 10 * time.Second
	// firstSegmentTime is how long a first playlist request waits for a segment.
	firstSegmentTime = 5 * time.Second
)

// ServeHTTP plays streams; it answers GET and HEAD of
//
//	/{app}/{name}.flv       HTTP-FLV, endless
//	/{app}/{name}.m3u8      HLS media playlist; for others see servePlaylist
//	/{app}/{name}/{seq}.ts  its segments; for others see parseFile
//	/{app}/{name}.jpg       its newest snapshot
//	/{app}/{name}/master.m3u8  HLS master playlist: the stream and its renditions
//
// and OPTIONS, as pages of any origin may play. Everything else is 404.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Access-Control-Allow-Origin", "*")
	head.Set("Access-Control-Expose-Headers", "Content-Length, Date")
	head.Set("Cache-Control", "no-cache, no-store")
	head.Set("X-Content-Type-Options", "nosniff")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		head.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		head.Set("Access-Control-Allow-Headers", "Range, Content-Type")
		head.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		head.Set("Allow", "GET, HEAD, OPTIONS")
		http.Error(w, "only GET, HEAD and OPTIONS", http.StatusMethodNotAllowed)
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if name, list, master := streamOf(parts); name != "" && !o.admit(w, r, parts[0], name, list, master) {
		return
	}
	if len(parts) == 2 {
		if name, ok := strings.CutSuffix(parts[1], ".flv"); ok {
			o.serveFLV(w, r, parts[0], name)
			return
		}
		if name, ok := strings.CutSuffix(parts[1], ".jpg"); ok {
			o.servePicture(w, r, parts[0], name)
			return
		}
		if name, ok := strings.CutSuffix(parts[1], ".m3u8"); ok {
			o.servePlaylist(w, r, parts[0], name, false, false)
			return
		}
	}
	if len(parts) == 3 {
		switch {
		case parts[2] == "master.m3u8":
			o.serveMaster(w, r, parts[0], parts[1])
			return
		case parts[2] == "fmp4.m3u8", parts[2] == "ll.m3u8":
			o.servePlaylist(w, r, parts[0], parts[1], true, parts[2] == "ll.m3u8")
			return
		case o.serveFile(w, r, parts[0], parts[1], parts[2]):
			return
		}
	}
	http.Error(w, "no such page; streams are /{app}/{name}.flv and /{app}/{name}.m3u8", http.StatusNotFound)
}

// streamOf finds the name of a stream in a path, "" when there is none, and tells
// what kind of playlist the path is for, if any.
func streamOf(parts []string) (name string, list, master bool) {
	switch {
	case len(parts) == 3:
		return parts[1], strings.HasSuffix(parts[2], ".m3u8"), parts[2] == "master.m3u8"
	case len(parts) == 2:
		for _, ending := range []string{".flv", ".m3u8", ".jpg"} {
			if name, ok := strings.CutSuffix(parts[1], ending); ok {
				return name, ending == ".m3u8", false
			}
		}
	}
	return "", false, false
}

// refuse answers in words what a player cannot get.
func refuse(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, store.ErrAway):
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	case errors.Is(err, ErrDenied):
		code = http.StatusForbidden
	case errors.Is(err, media.ErrLimit):
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "60")
	case errors.Is(err, media.ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, media.ErrInvalid):
		code = http.StatusBadRequest
	case errors.Is(err, flv.ErrUnsupported), errors.Is(err, flv.ErrMalformed):
		code = http.StatusUnsupportedMediaType
	case errors.Is(err, context.DeadlineExceeded):
		w.Header().Set("Retry-After", "1")
		http.Error(w, "origin: the first segment, or what comes next, is not complete yet", http.StatusServiceUnavailable)
		return
	}
	words := err.Error()
	if r := (*rtmp.Refusal)(nil); errors.As(err, &r) {
		words = r.Words
	}
	http.Error(w, words, code)
}

func (o *Origin) serveFLV(w http.ResponseWriter, r *http.Request, app, name string) {
	only, err := readOnly(r.URL.RawQuery)
	if err == nil {
		err = o.playFLV(w, r, app, name, only)
	}
	if err != nil {
		refuse(w, err)
	}
}

// ServeFLV plays a stream as HTTP-FLV to whom the caller has let in: Config.Access is
// not asked. It returns when the stream or r's context has ended, or the reader is
// gone. An error comes before anything was written; it is of the kinds of Hub.Play.
func (o *Origin) ServeFLV(w http.ResponseWriter, r *http.Request, app, name string) error {
	return o.playFLV(w, r, app, name, 0)
}

func (o *Origin) playFLV(w http.ResponseWriter, r *http.Request, app, name string, only byte) error {
	v, err := o.PlayOnly(app, name, only)
	if err != nil {
		return err
	}
	defer v.Close()
	o.flv.Add(1)
	defer o.flv.Add(-1)
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "video/x-flv")
		return nil
	}
	first, err := v.firstTags(r.Context())
	if errors.Is(err, media.ErrNotFound) {
		return err
	}
	w.Header().Set("Content-Type", "video/x-flv")
	if err == nil { // else nobody is there, or the stream ended without a tag
		sendFLV(w, r, v, first)
	}
	if d := v.Dropped(); d > 0 {
		o.log.Info("origin: slow viewer", "stream", app+"/"+name, "remote", r.RemoteAddr, "dropped", d)
	}
	return nil
}

// sendFLV writes what a viewer gets, beginning with first, as long as there is somebody.
func sendFLV(w http.ResponseWriter, r *http.Request, v *Viewer, first []*Tag) {
	audio, video, _ := v.tracks()
	if !audio && !video {
		audio, video = true, true
	}
	rc := http.NewResponseController(w)
	send := func(b []byte) error {
		// A server without deadlines (a test recorder) is not a reason to stop.
		_ = rc.SetWriteDeadline(time.Now().Add(writeTime))
		_, err := w.Write(b)
		return err
	}
	if send(flv.Header(audio, video)) != nil {
		return
	}
	for tags, err := first, error(nil); err == nil; tags, err = v.Next(r.Context()) {
		for _, t := range tags {
			if send(t.FLV) != nil {
				return
			}
		}
		if rc.Flush() != nil {
			return
		}
	}
}

// firstTags is Next, but waits until the FLV header can be written: it says which
// tracks there are, and players wait for ever for a track that never comes. It fails
// as Hub.PlayOnly does when the one that is wanted does not come.
func (v *Viewer) firstTags(ctx context.Context) ([]*Tag, error) {
	var first []*Tag
	_, _, wait := v.tracks()
	settled, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		tags, err := v.Next(settled)
		first = append(first, tags...)
		_, _, wait := v.tracks()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded) && v.lacks() != nil:
			return nil, v.lacks()
		case err != nil && len(first) > 0, wait == 0 && len(first) > 0:
			return first, nil
		case errors.Is(err, context.DeadlineExceeded):
			return v.Next(ctx)
		case err != nil:
			return nil, err
		}
	}
}
