package admin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"braid/media"
	"braid/relay"
	"braid/store"
)

// Own is the origin's own streaming domain, that of all hosts that no other names,
// as whoever sent a request reaches it.
type Own struct {
	store.Domain        // without a Name
	Open         bool   // it stays open when another domain gets a key
	Closed       bool   // it lets nobody in, as another domain has a key
	HostOf       string // the domain that the host in its addresses is one of after all; "": none
}

// ownOrigin is what GET /v1/origin says.
type ownOrigin struct {
	Ingest   string `json:"ingest"`
	Play     string `json:"play"`
	Signed   bool   `json:"signed"`
	Validity int64  `json:"auth_validity_seconds"`
	Open     bool   `json:"open"`
	Closed   bool   `json:"closed"`
	HostOf   string `json:"host_of"`
}

// getOrigin says who is let in at hosts of no streaming domain.
func (h *Handler) getOrigin(c *call) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	own, err := h.ownOf(c.r)
	if err != nil {
		return nil, err
	}
	return ok(ownOrigin{own.Ingest, own.Play, own.AuthKey != "", int64(own.Validity / time.Second), own.Open, own.Closed, own.HostOf})
}

func (h *Handler) ownOf(r *http.Request) (Own, error) {
	if h.own == nil {
		return Own{}, media.ErrNotFound
	}
	return h.own(r)
}

// streamURLs are the addresses of one stream at a domain.
type streamURLs struct {
	Ingest  string     `json:"ingest"`
	Play    []string   `json:"play"`
	Expires *time.Time `json:"expires,omitempty"` // of their signatures
}

// maxStream is the most characters of a stream's name (braid's own).
const maxStream = 255

// Endings of play addresses.
var (
	commonForms = []string{".flv", ".m3u8"} // every live origin has them
	braidForms  = []string{".flv", ".m3u8", "/fmp4.m3u8", "/ll.m3u8", "/master.m3u8"}
)

// getDomainURLs writes the addresses of a stream, signed when the domain has a key.
func (h *Handler) getDomainURLs(c *call) (*reply, error) {
	return h.streamURLs(c, func() (d store.Domain, err error) {
		err = h.store.View(c.r.Context(), func(tx *store.Tx) error {
			d, err = tx.Domain(c.params["domain"])
			return err
		})
		return d, err
	})
}

// getOwnURLs does so for the origin's own domain.
func (h *Handler) getOwnURLs(c *call) (*reply, error) {
	return h.streamURLs(c, func() (store.Domain, error) {
		own, err := h.ownOf(c.r)
		return own.Domain, err
	})
}

func (h *Handler) streamURLs(c *call, find func() (store.Domain, error)) (*reply, error) {
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
	expiresIn := q.int("expires_in", 0, 1, maxValidity)
	forms := q.oneOf("forms", "common", "all")
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
	holds := d.Validity
	if expiresIn > 0 {
		holds = time.Duration(expiresIn) * time.Second
	}
	all := forms == "all" || forms == "" && (d.Name == "" || h.isHere(d.Name, app, stream))
	return ok(writeURLs(d, url.PathEscape(app)+"/"+url.PathEscape(stream), all, h.now(), holds))
}

// isHere tells whether a stream of a domain is on air at the origin inside braid,
// which then has every form of it.
func (h *Handler) isHere(domain, app, name string) bool {
	return slices.ContainsFunc(h.streams.OnAir(), func(s Stream) bool { return s.Domain == domain && s.App == app && s.Name == name })
}

// writeURLs makes addresses whose signatures hold for so long from now; all: those
// that only braid's own origin has, too. How long a signature holds after its time is
// the domain's to say: for another end its time lies in the past or in the future.
func writeURLs(d store.Domain, path string, all bool, now time.Time, holds time.Duration) streamURLs {
	at := time.Unix(now.Add(holds-d.Validity).Unix(), 0) // signatures have whole seconds
	out := streamURLs{Ingest: relay.SignURL(d.Ingest+"/"+path, d.AuthKey, at), Play: []string{}}
	playRTMP := func(base string) { out.Play = append(out.Play, relay.SignPlayURL(base+"/"+path, d.AuthKey, at)) }
	if strings.HasPrefix(d.Play, "http") {
		forms := commonForms
		if all {
			forms = braidForms
		}
		for _, ending := range forms {
			out.Play = append(out.Play, relay.SignURL(d.Play+"/"+path+ending, d.AuthKey, at))
		}
	} else if d.Play != "" {
		playRTMP(d.Play)
	}
	if all && !strings.HasPrefix(d.Play, "rtmp") {
		playRTMP(d.Ingest) // braid plays what it takes
	}
	if d.AuthKey != "" {
		end := at.Add(d.Validity).UTC()
		out.Expires = &end
	}
	return out
}
