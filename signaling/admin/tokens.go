package admin

import (
	"net/http"
	"time"

	"braid/signaling"
	"braid/signaling/token"
	"braid/store"
)

const (
	maxTTL     = 86400 // seconds (artc-api.md section 6)
	defaultTTL = 3600
)

type madeToken struct {
	Token   string    `json:"token"`
	Form    string    `json:"form"`
	Expires time.Time `json:"expires"`
}

// tokenRequest is who may enter where, and what for.
type tokenRequest struct {
	claims token.Claims
	form   string
	ttl    int
}

func readToken(o *object) tokenRequest {
	t := tokenRequest{form: "jwt", ttl: defaultTTL}
	o.need("channel")
	o.need("user")
	o.form("channel", &t.claims.Channel, idForm, "1 to 64 characters of A-Za-z0-9_-")
	o.form("user", &t.claims.User, idForm, "1 to 64 characters of A-Za-z0-9_-")
	o.int("ttl_seconds", &t.ttl, 1, maxTTL)
	o.oneOf("form", &t.form, "jwt", "artc")
	granted := readPublish(o, &t.claims)
	granted = o.bool("subscribe", &t.claims.Subscribe) || granted
	granted = o.bool("mix", &t.claims.Mix) || granted
	role := ""
	granted = o.oneOf("role", &role, string(token.Streamer), string(token.Viewer)) || granted
	t.claims.Role = token.Role(role)
	switch {
	case t.form == "artc" && granted:
		o.refuse("form", "an artc token lets its user do everything: publish, subscribe, mix and role are for jwt only")
	case t.form == "jwt" && !t.claims.Camera && !t.claims.ShareScreen && !t.claims.Subscribe && !t.claims.Mix:
		o.refuse("publish", "the token would allow nothing: name publish, subscribe or mix")
	}
	return t
}

// readPublish reads true, false, or a list of sources.
func readPublish(o *object, c *token.Claims) (there bool) {
	if raw := o.left["publish"]; len(raw) > 0 && raw[0] != '[' {
		var all bool
		there = o.bool("publish", &all)
		c.Camera, c.ShareScreen = all, all
		return there
	}
	var sources []string
	if !o.strs("publish", &sources, 2, 16) {
		return false
	}
	for _, s := range sources {
		switch s {
		case "camera":
			c.Camera = true
		case "shareScreen":
			c.ShareScreen = true
		default:
			o.refuse("publish", "%s is neither camera nor shareScreen", quote(s))
		}
	}
	return true
}

// makeToken signs a join token with the current AppKey. Nothing is kept of it.
func (h *Handler) makeToken(c *call) (*reply, error) {
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	t := readToken(o)
	if err := o.done(); err != nil {
		return nil, err
	}
	a, err := h.application(c)
	switch {
	case err != nil:
		return nil, err
	case a.Disabled:
		return nil, signaling.Conflict("application %s is disabled: no token lets anyone in", quote(a.ID))
	case t.form == "artc" && a.Tokens == store.TokensJWT:
		return nil, signaling.Conflict("application %s takes JWT alone: ask for form jwt", quote(a.ID))
	}
	now := h.now()
	t.claims.App = a.ID
	t.claims.Expires = now.Add(time.Duration(t.ttl) * time.Second).Truncate(time.Second).UTC()
	out := madeToken{Form: t.form, Expires: t.claims.Expires}
	if t.form == "artc" {
		out.Token = token.Sign(a.ID, a.Key.Current, t.claims.Channel, t.claims.User, t.claims.Expires).String()
	} else if out.Token, err = token.SignJWT(t.claims, a.Key.Current, now); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusCreated, body: out}, nil
}
