package admin

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"braid/signaling"
	"braid/store"
)

// Limits of a domain: braid's own, but for the name (RFC 1035 section 2.3.4).
const (
	maxDomain       = 253
	defaultValidity = 30 * time.Minute
	maxValidity     = 366 * 24 * 3600 // seconds
)

var (
	domainForm  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	authKeyForm = regexp.MustCompile(`^([A-Za-z0-9]{6,128})?$`)
)

// domain is a store.Domain without its key.
type domain struct {
	Name     string    `json:"name"`
	Ingest   string    `json:"ingest"`
	Play     string    `json:"play"`
	Signed   bool      `json:"signed"` // there is an auth_key
	Validity int64     `json:"auth_validity_seconds"`
	RTS2     bool      `json:"rts2"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
}

func showDomain(d store.Domain) domain {
	return domain{Name: d.Name, Ingest: d.Ingest, Play: d.Play, Signed: d.AuthKey != "",
		Validity: int64(d.Validity / time.Second), RTS2: d.RTS2, Created: d.Created.UTC(), Updated: d.Updated.UTC()}
}

// readDomain reads the fields that are there into d.
func readDomain(o *object, d *store.Domain) {
	o.form("auth_key", &d.AuthKey, authKeyForm, "6 to 128 letters and digits, or empty for none")
	seconds := 0
	if o.int("auth_validity_seconds", &seconds, 1, maxValidity) {
		d.Validity = time.Duration(seconds) * time.Second
	}
	o.bool("rts2", &d.RTS2)
	if o.str("ingest", &d.Ingest, 1, 1024) {
		if wrong := baseURL(d.Ingest, false, "rtmp", "rtmps"); wrong != "" {
			o.refuse("ingest", "%s", wrong)
		}
	}
	if o.str("play", &d.Play, 0, 1024) && d.Play != "" {
		if wrong := baseURL(d.Play, true, "http", "https", "rtmp", "rtmps"); wrong != "" {
			o.refuse("play", "%s", wrong)
		}
	}
}

// baseURL says what is wrong with a URL that something is appended to, "" for nothing.
func baseURL(s string, path bool, schemes ...string) string {
	u, err := url.Parse(s)
	scheme, _, _ := strings.Cut(s, "://")
	known := false
	for _, want := range schemes {
		known = known || scheme == want
	}
	switch {
	case err != nil || !known || u.Hostname() == "":
		return quote(s) + " is not a URL such as " + schemes[0] + "://host or " + schemes[0] + "://host:port"
	case u.User != nil:
		return "has a user name, which would be shown to everyone"
	case strings.ContainsAny(s, "?#"):
		return "has a query or a fragment; only scheme, host and port are wanted"
	case u.Path != "" && !path:
		return "has a path; it is made of app_name and the stream's name"
	case strings.HasSuffix(u.Path, "/"):
		return "ends in a slash; leave it out"
	}
	return ""
}

func (h *Handler) createDomain(c *call) (*reply, error) {
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	d := store.Domain{Validity: defaultValidity}
	o.need("name")
	o.need("ingest")
	if o.str("name", &d.Name, 1, maxDomain) && !domainForm.MatchString(d.Name) {
		o.refuse("name", "%s is not a host name in lower case, such as live.example.com", quote(d.Name))
	}
	readDomain(o, &d)
	if err := o.done(); err != nil {
		return nil, err
	}
	defer h.newDomain()
	return h.create(c, func(tx *store.Tx) (*reply, error) {
		if err := tx.CreateDomain(&d); err != nil {
			return nil, err
		}
		return &reply{status: http.StatusCreated, body: showDomain(d), version: d.Version, location: "/v1/domains/" + d.Name}, nil
	})
}

func (h *Handler) listDomains(c *call) (*reply, error) {
	at := func(d store.Domain) string { return d.Name }
	return list(h, c, "domains", (*store.Tx).Domains, at, showDomain)
}

func (h *Handler) getDomain(c *call) (*reply, error) {
	return one(h, c, "domain", (*store.Tx).Domain, func(d store.Domain) (any, int64) { return showDomain(d), d.Version })
}

func (h *Handler) getDomainKey(c *call) (*reply, error) {
	return one(h, c, "domain", (*store.Tx).Domain, func(d store.Domain) (any, int64) { return map[string]string{"auth_key": d.AuthKey}, d.Version })
}

// patchDomain changes a domain; relays that use it follow.
func (h *Handler) patchDomain(c *call) (*reply, error) {
	p, err := c.ifMatch(true)
	if err != nil {
		return nil, err
	}
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	var d store.Domain
	var users []string
	defer h.newDomain()
	err = h.store.Update(c.r.Context(), func(tx *store.Tx) (err error) {
		if d, err = tx.Domain(c.params["domain"]); err != nil {
			return err
		}
		if err := p.check(d.Version); err != nil {
			return err
		}
		readDomain(o, &d)
		if err := o.done(); err != nil {
			return err
		}
		if users, err = relaysTo(tx, d.Name); err != nil {
			return err
		}
		if d.RTS2 && len(users) > 0 {
			return signaling.Conflict("rts2: the relay settings of application %s name domain %s, and a relay to a domain with RTS 2.0 on fails", quote(users[0]), quote(d.Name))
		}
		return tx.UpdateDomain(&d)
	})
	if err != nil {
		return nil, err
	}
	for _, app := range users {
		h.tasks.SettingsChanged(app)
	}
	return &reply{body: showDomain(d), version: d.Version}, nil
}

// relaysTo lists the applications whose relay settings name a domain, switched on or not.
func relaysTo(tx *store.Tx, name string) (apps []string, err error) {
	after := ""
	for {
		rows, err := tx.Applications(after, 500)
		if err != nil || len(rows) == 0 {
			return apps, err
		}
		for _, a := range rows {
			if a.Relay.Domain == name {
				apps = append(apps, a.ID)
			}
		}
		after = rows[len(rows)-1].Cursor()
	}
}

func (h *Handler) deleteDomain(c *call) (*reply, error) {
	p, err := c.ifMatch(false)
	if err != nil {
		return nil, err
	}
	defer h.newDomain()
	err = h.store.Update(c.r.Context(), func(tx *store.Tx) error {
		d, err := tx.Domain(c.params["domain"])
		if err != nil {
			return err
		}
		if err := p.check(d.Version); err != nil {
			return err
		}
		return tx.DeleteDomain(d.Name)
	})
	if err != nil {
		return nil, err
	}
	return &reply{}, nil
}
