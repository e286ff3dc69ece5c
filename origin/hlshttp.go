package origin

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"braid/media"
)

// servePlaylist answers with the media playlist of one form of a stream.
//
//	/{app}/{name}.m3u8       MPEG-TS
//	/{app}/{name}/fmp4.m3u8  fragmented MP4
//	/{app}/{name}/ll.m3u8    the same, in parts, with blocking reload (RFC 8216bis)
func (o *Origin) servePlaylist(w http.ResponseWriter, r *http.Request, app, name string, mp4, low bool) {
	l, err := readListing(r.URL.RawQuery, low)
	if err != nil {
		refuse(w, err)
		return
	}
	if !mp4 {
		l.prefix = name + "/"
	}
	k, err := hlsKeyOf(r.URL, app, name, mp4)
	if err != nil {
		refuse(w, err)
		return
	}
	h, err := o.openHLS(k)
	if err != nil {
		refuse(w, err)
		return
	}
	list, err := h.playlist(r.Context(), l)
	if err != nil {
		refuse(w, err)
		return
	}
	o.readers.note(r, app, name, time.Now())
	reply(w, "application/vnd.apple.mpegurl", list)
}

// hlsKeyOf is the form of a stream that an address stands for; see readOnly.
func hlsKeyOf(u *url.URL, app, name string, mp4 bool) (hlsKey, error) {
	only, err := readOnly(u.RawQuery)
	return hlsKey{key{app, name}, mp4, only}, err
}

// serveFile answers with a file that a playlist names. It reports false for a name
// that no playlist has.
func (o *Origin) serveFile(w http.ResponseWriter, r *http.Request, app, name, file string) bool {
	f, ok := parseFile(file)
	if !ok {
		return false
	}
	k, err := hlsKeyOf(r.URL, app, name, f.mp4)
	if err != nil {
		refuse(w, err)
		return true
	}
	h := o.findHLS(k)
	if h == nil {
		refuse(w, media.ErrNotFound)
		return true
	}
	pieces, err := h.find(r.Context(), f)
	if err != nil {
		refuse(w, err)
		return true
	}
	if r.Method == http.MethodGet {
		for _, p := range pieces {
			h.viewer.s.bytesOut.Add(uint64(len(p)))
		}
	}
	w.Header().Set("Cache-Control", "max-age=60") // a number is never used again
	kind := "video/mp2t"
	if f.mp4 {
		kind = "video/mp4"
	}
	reply(w, kind, pieces...)
	return true
}

// reply writes a whole body, with a deadline for the viewer to take it.
func reply(w http.ResponseWriter, contentType string, body ...[]byte) {
	n := 0
	for _, b := range body {
		n += len(b)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(n))
	// A segment takes its own duration on a line that can just carry the stream.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(3 * writeTime))
	for _, b := range body {
		if _, err := w.Write(b); err != nil {
			return // a viewer that has gone
		}
	}
}
