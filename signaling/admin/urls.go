package admin

import (
	"net/url"
	"strings"
	"time"

	"braid/media"
	"braid/relay"
	"braid/store"
)

// streamURLs are the addresses of one stream at a domain.
type streamURLs struct {
	Ingest  string     `json:"ingest"`
	Play    []string   `json:"play"`
	Expires *time.Time `json:"expires,omitempty"` // of their signatures
}

// maxStream is the most characters of a stream's name (braid's own).
const maxStream = 255

// getDomainURLs writes the addresses of a stream, signed when the domain has a key.
func (h *Handler) getDomainURLs(c *call) (*reply, error) {
	return h.streamURLs(c, func() (d store.Domain, err error) {
		err = h.store.View(c.r.Context(), func(tx *store.Tx) error {
			d, err = tx.Domain(c.params["domain"])
			return err
		})
		return d, err
	}, ".flv", ".m3u8")
}

// getOwnURLs does so for the origin's own domain.
func (h *Handler) getOwnURLs(c *call) (*reply, error) {
	return h.streamURLs(c, func() (store.Domain, error) {
		if h.own == nil {
			return store.Domain{}, media.ErrNotFound
		}
		return h.own(c.r), nil
	}, ".flv", ".m3u8", "/ll.m3u8")
}

func (h *Handler) streamURLs(c *call, find func() (store.Domain, error), forms ...string) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	app, stream := q.text("app_name", 255), q.text("stream", maxStream)
	if app == "" {
		app = defaultAppName
	}
	if !appNameForm.MatchString(app) {
		q.refuse("app_name", "%s is not 1 to 255 characters of A-Za-z0-9-_=", quote(app))
	}
	if strings.ContainsAny(stream, "/?#%&") {
		q.refuse("stream", "%s has one of / ? # %% &, which players would have to escape", quote(stream))
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	d, err := find()
	if err != nil {
		return nil, err
	}
	if stream == "" {
		q.refuse("stream", "is missing")
		return nil, q.done()
	}
	out := h.urls(d, url.PathEscape(app)+"/"+url.PathEscape(stream), forms)
	if d.Name == "" { // braid's own origin plays what it takes
		out.Play = append(out.Play, relay.SignPlayURL(d.Ingest+"/"+url.PathEscape(app)+"/"+url.PathEscape(stream), d.AuthKey, h.now()))
	}
	return ok(out)
}

func (h *Handler) urls(d store.Domain, path string, forms []string) streamURLs {
	now := h.now()
	sign := func(base, ending string) string { return relay.SignURL(base+"/"+path+ending, d.AuthKey, now) }
	out := streamURLs{Ingest: sign(d.Ingest, ""), Play: []string{}}
	switch {
	case strings.HasPrefix(d.Play, "rtmp"):
		out.Play = append(out.Play, relay.SignPlayURL(d.Play+"/"+path, d.AuthKey, now))
	case d.Play != "":
		for _, ending := range forms {
			out.Play = append(out.Play, sign(d.Play, ending))
		}
	}
	if d.AuthKey != "" {
		end := now.Add(d.Validity).UTC()
		out.Expires = &end
	}
	return out
}
