package admin

import (
	"errors"
	"regexp"
	"time"

	"braid/media"
	"braid/store"
)

const defaultAppName = "live"

// appNameForm is the seed page's rule for AppName.
var appNameForm = regexp.MustCompile(`^[A-Za-z0-9_=-]{1,255}$`)

// relaySettings are store.RelaySettings as the API writes them.
type relaySettings struct {
	Enabled bool     `json:"enabled"`
	Single  bool     `json:"single"`
	Mix     bool     `json:"mix"`
	Domain  string   `json:"domain"`
	AppName string   `json:"app_name"`
	SEI     relaySEI `json:"sei"`
}

type relaySEI struct {
	IntervalMS int64 `json:"interval_ms"`
	FollowIDR  bool  `json:"follow_idr"`
}

func showRelay(r store.RelaySettings) relaySettings {
	out := relaySettings{Enabled: r.Enabled, Single: r.Single, Mix: r.Mix, Domain: r.Domain, AppName: r.AppName,
		SEI: relaySEI{IntervalMS: r.SEIInterval.Milliseconds(), FollowIDR: r.SEIFollowIDR}}
	if out.AppName == "" { // never set
		out.AppName = defaultAppName
	}
	return out
}

func (h *Handler) getRelay(c *call) (*reply, error) {
	return one(h, c, "app", (*store.Tx).Application, func(a store.Application) (any, int64) { return showRelay(a.Relay), a.Version })
}

// readRelay reads the whole settings; what is left out is the default.
func readRelay(o *object) store.RelaySettings {
	r := store.RelaySettings{AppName: defaultAppName}
	o.need("enabled")
	o.bool("enabled", &r.Enabled)
	o.bool("single", &r.Single)
	o.bool("mix", &r.Mix)
	o.str("domain", &r.Domain, 0, maxDomain)
	o.form("app_name", &r.AppName, appNameForm, "1 to 255 characters of A-Za-z0-9-_=")
	if sei := o.object("sei"); sei != nil {
		ms := 0
		if sei.int("interval_ms", &ms, 0, 5000) && ms != 0 && ms < 1000 {
			sei.refuse("interval_ms", "%d is not from 1000 to 5000, nor 0 for none", ms)
		}
		r.SEIInterval = time.Duration(ms) * time.Millisecond
		sei.bool("follow_idr", &r.SEIFollowIDR)
	}
	if r.Enabled && !r.Single && !r.Mix {
		o.refuse("enabled", "is true, yet neither single nor mix is: there would be nothing to relay")
	}
	return r
}

// putRelay replaces the settings: the seed page's method 2.
func (h *Handler) putRelay(c *call) (*reply, error) {
	p, err := c.ifMatch(true)
	if err != nil {
		return nil, err
	}
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	settings := readRelay(o)
	if err := o.done(); err != nil {
		return nil, err
	}
	a, err := h.change(c, p, func(tx *store.Tx, a *store.Application) error {
		if err := usable(tx, o, settings.Domain); err != nil {
			return err
		}
		a.Relay = settings
		return nil
	})
	if err != nil {
		return nil, err
	}
	h.tasks.SettingsChanged(a.ID)
	h.streams.TemplatesChanged()
	return &reply{body: showRelay(a.Relay), version: a.Version}, nil
}

// usable refuses a domain that relays cannot push to.
func usable(tx *store.Tx, o *object, name string) error {
	if name == "" {
		return nil
	}
	d, err := tx.Domain(name)
	switch {
	case errors.Is(err, media.ErrNotFound):
		o.refuse("domain", "there is no streaming domain %s; add it with POST /v1/domains", quote(name))
	case err != nil:
		return err
	case d.RTS2:
		o.refuse("domain", "%s has RTS 2.0 on, and a relay to such a domain fails; switch it off or name another", quote(name))
	}
	return o.done()
}
