// Package web holds what browsers load, embedded in the binary: the SDK (sdk/,
// doc/sdk.md), the console's pages (console/), the demo pages, and what both use
// of others (vendor/, with licences). The console knows braid through the REST
// API alone; signaling/console has its sessions.
// demo.go is the pages' backend: it plays the part of a customer's business
// server and steers braid through its public API alone.
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
	"net/url"
	"path"
	"strings"
	"time"
)

//go:embed console demo vendor sdk
var files embed.FS

// policy lets the page load nothing from elsewhere. Media and live streams may
// come from the origin's own address, which need not be the page's, and a
// playing MediaSource is a blob.
const policy = "default-src 'self'; connect-src 'self' http: https: ws: wss:; media-src 'self' blob:; " +
	"img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// asset is one embedded file, ready to be served.
type asset struct {
	name string
	body []byte
	etag string
}

// SDK serves the browser SDK under /sdk/, to pages of every origin.
func SDK() http.Handler {
	files := Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*") // a module of another origin is fetched with CORS, without cookies
		w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
		files.ServeHTTP(w, r)
	})
}

// Handler serves the embedded files under /console/, /demo/, /sdk/ and /vendor/ for GET
// and HEAD. Browsers ask each time whether a file has changed (ETag), so that a
// new build is seen at once.
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
		if _, folder := assets[p+"/index.html"]; !ok && folder {
			to := url.URL{Path: p + "/", RawQuery: r.URL.RawQuery}
			http.Redirect(w, r, to.String(), http.StatusMovedPermanently) // the page's own links are relative to it
			return
		}
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
	if h.Get("Content-Security-Policy") == "" { // the console's own is tighter
		h.Set("Content-Security-Policy", policy)
	}
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
	case ".json":
		return "application/json"
	case ".html", ".css", ".svg":
		return mime.TypeByExtension(ext)
	}
	return "text/plain; charset=utf-8"
}
