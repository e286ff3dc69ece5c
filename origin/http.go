package origin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"braid/media"
	"braid/media/flv"
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
		case parts[2] == "fmp4.m3u8", parts[2] == "ll.m3u8":
			o.servePlaylist(w, r, parts[0], parts[1], true, parts[2] == "ll.m3u8")
			return
		case o.serveFile(w, r, parts[0], parts[1], parts[2]):
			return
		}
	}
	http.Error(w, "no such page; streams are /{app}/{name}.flv and /{app}/{name}.m3u8", http.StatusNotFound)
}

// refuse answers in words what a player cannot get.
func refuse(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
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
	http.Error(w, err.Error(), code)
}

func (o *Origin) serveFLV(w http.ResponseWriter, r *http.Request, app, name string) {
	v, err := o.Play(app, name)
	if err != nil {
		refuse(w, err)
		return
	}
	defer v.Close()
	w.Header().Set("Content-Type", "video/x-flv")
	if r.Method == http.MethodHead {
		return
	}
	first, err := v.firstTags(r.Context())
	if err != nil {
		return // nobody is there, or the stream ended without a tag
	}
	audio, video, _ := v.s.tracks()
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
	for tags := first; err == nil; tags, err = v.Next(r.Context()) {
		for _, t := range tags {
			if send(t.FLV) != nil {
				return
			}
		}
		if rc.Flush() != nil {
			return
		}
	}
	if d := v.Dropped(); d > 0 {
		o.log.Info("origin: slow viewer", "stream", app+"/"+name, "remote", r.RemoteAddr, "dropped", d)
	}
}

// firstTags is Next, but waits until the FLV header can be written: it says which
// tracks there are, and players wait for ever for a track that never comes.
func (v *Viewer) firstTags(ctx context.Context) ([]*Tag, error) {
	var first []*Tag
	_, _, wait := v.s.tracks()
	settled, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		tags, err := v.Next(settled)
		first = append(first, tags...)
		audio, video, _ := v.s.tracks()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && len(first) > 0, audio && video && len(first) > 0:
			return first, nil
		case errors.Is(err, context.DeadlineExceeded):
			return v.Next(ctx)
		case err != nil:
			return nil, err
		}
	}
}
