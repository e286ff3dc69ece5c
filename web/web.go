// Package web holds what browsers load, embedded in the binary: the demo page
// and the player it uses (vendor/, with licences). demo.go is the page's
// backend: it plays the part of a customer's business server and steers braid
// through its public API alone.
//
// It starts no goroutine; an open event stream lives in its own request.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed demo vendor
var files embed.FS

// policy lets the page load nothing from elsewhere. Media and live streams may
// come from the origin's own address, which need not be the page's, and a
// playing MediaSource is a blob.
const policy = "default-src 'self'; connect-src 'self' http: https:; media-src 'self' blob:; " +
	"img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// asset is one embedded file, ready to be served.
type asset struct {
	name string
	body []byte
	etag string
}

// Handler serves the embedded files under /demo/ and /vendor/ for GET and HEAD.
// Browsers ask each time whether a file has changed (ETag), so that a new build
// is seen at once.
func Handler() http.Handler {
	assets := map[string]asset{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		sum := sha256.Sum256(body)
		assets["/"+name] = asset{name, body, `"` + hex.EncodeToString(sum[:8]) + `"`}
		return err
	})
	if err != nil {
		panic("web: the embedded files cannot be read: " + err.Error()) // they are part of the binary
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		if strings.HasSuffix(p, "/") {
			p += "index.html"
		}
		a, ok := assets[p]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this is a file: GET or HEAD", http.StatusMethodNotAllowed)
			return
		}
		serve(w, r, a)
	})
}

func serve(w http.ResponseWriter, r *http.Request, a asset) {
	h := w.Header()
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Type", contentType(a.name))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}

// contentType does not leave scripts to the machine's mime.types: a module with
// another type is refused by browsers.
func contentType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".html", ".css", ".svg":
		return mime.TypeByExtension(ext)
	}
	return "text/plain; charset=utf-8"
}
