package admin

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"braid/callback"
	"braid/signaling"
	"braid/store"
)

const (
	maxName = 128 // characters of an instance name; braid's own
	maxKeep = 86400
)

var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// application is a store.Application without its keys.
type application struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Disabled bool      `json:"disabled"`
	Tokens   string    `json:"tokens"`
	Config   bool      `json:"config"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	Keys     *keys     `json:"keys,omitempty"` // only in the answer that made them
}

// keys are an application's secrets.
type keys struct {
	AppKey     key `json:"app_key"`
	SigningKey key `json:"signing_key"`
}

type key struct {
	Current  string     `json:"current"`
	Previous string     `json:"previous,omitempty"`
	Until    *time.Time `json:"previous_until,omitempty"`
}

func showApplication(a store.Application) application {
	out := application{ID: a.ID, Name: a.Name, Disabled: a.Disabled, Tokens: "any", Config: a.Config,
		Created: a.Created.UTC(), Updated: a.Updated.UTC()}
	if a.Tokens == store.TokensJWT {
		out.Tokens = "jwt"
	}
	return out
}

func showKeys(a store.Application, now time.Time) *keys {
	show := func(s store.Secret) key {
		valid := s.Valid(now)
		k := key{Current: valid[0]}
		if len(valid) > 1 {
			until := s.Until.UTC()
			k.Previous, k.Until = valid[1], &until
		}
		return k
	}
	return &keys{AppKey: show(a.Key), SigningKey: show(a.Signing)}
}

// random is n random bytes in hexadecimal.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// newAppKey has 40 characters: HS256 wants at least 32 (RFC 7518 section 3.2).
func newAppKey() string { return random(20) }

func (h *Handler) createApplication(c *call) (*reply, error) {
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	a := store.Application{ID: random(8)}
	o.form("id", &a.ID, idForm, "1 to 64 characters of A-Za-z0-9_-")
	o.need("name")
	o.str("name", &a.Name, 1, maxName)
	if err := o.done(); err != nil {
		return nil, err
	}
	a.Key, a.Signing = store.Secret{Current: newAppKey()}, store.Secret{Current: callback.NewSecret()}
	a.Relay.AppName = defaultAppName
	return h.create(c, func(tx *store.Tx) (*reply, error) {
		if err := tx.CreateApplication(&a); err != nil {
			return nil, err
		}
		out := showApplication(a)
		out.Keys = showKeys(a, h.now())
		return &reply{status: http.StatusCreated, body: out, version: a.Version, location: "/v1/applications/" + a.ID}, nil
	})
}

func (h *Handler) listApplications(c *call) (*reply, error) {
	at := func(a store.Application) string { return a.Cursor() }
	return list(h, c, "applications", (*store.Tx).Applications, at, showApplication)
}

// application reads the application that the path names.
func (h *Handler) application(c *call) (a store.Application, err error) {
	err = h.store.View(c.r.Context(), func(tx *store.Tx) error {
		a, err = tx.Application(c.params["app"])
		return err
	})
	return a, err
}

func (h *Handler) getApplication(c *call) (*reply, error) {
	return one(h, c, "app", (*store.Tx).Application, func(a store.Application) (any, int64) { return showApplication(a), a.Version })
}

func (h *Handler) getKeys(c *call) (*reply, error) {
	return one(h, c, "app", (*store.Tx).Application, func(a store.Application) (any, int64) { return showKeys(a, h.now()), a.Version })
}

// change writes the application that the path names, when If-Match allows it.
func (h *Handler) change(c *call, p precondition, f func(*store.Tx, *store.Application) error) (a store.Application, err error) {
	err = h.store.Update(c.r.Context(), func(tx *store.Tx) error {
		if a, err = tx.Application(c.params["app"]); err != nil {
			return err
		}
		if err := p.check(a.Version); err != nil {
			return err
		}
		if err := f(tx, &a); err != nil {
			return err
		}
		return tx.UpdateApplication(&a)
	})
	return a, err
}

func (h *Handler) patchApplication(c *call) (*reply, error) {
	p, err := c.ifMatch(true)
	if err != nil {
		return nil, err
	}
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	var name, tokens string
	var disabled bool
	renamed := o.str("name", &name, 1, maxName)
	switched := o.bool("disabled", &disabled)
	retold := o.oneOf("tokens", &tokens, "any", "jwt")
	if err := o.done(); err != nil {
		return nil, err
	}
	a, err := h.change(c, p, func(_ *store.Tx, a *store.Application) error {
		if renamed && name != a.Name {
			if a.Config {
				return fromConfig(a, "its name is changed there")
			}
			a.Name = name
		}
		if switched {
			a.Disabled = disabled
		}
		if retold {
			a.Tokens = store.TokensAny
			if tokens == "jwt" {
				a.Tokens = store.TokensJWT
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if switched {
		if err := h.settle(a); err != nil {
			return nil, err
		}
	}
	return &reply{body: showApplication(a), version: a.Version}, nil
}

// fromConfig refuses what would be undone by the next start.
func fromConfig(a *store.Application, then string) error {
	return signaling.Conflict("application %s is from the config file: %s", quote(a.ID), then)
}

// settle makes what runs follow a change of an application. It may be done again.
func (h *Handler) settle(a store.Application) error {
	h.tasks.SettingsChanged(a.ID)
	h.streams.TemplatesChanged()
	if !a.Disabled {
		return nil
	}
	h.tasks.StopApp(a.ID)
	for _, ch := range h.rooms.Snapshot() {
		if ch.App != a.ID {
			continue
		}
		if err := h.rooms.Dismiss(a.ID, ch.Channel); err != nil && !isNotFound(err) {
			return fmt.Errorf("admin: dismiss channel %s of application %s: %w", ch.Channel, a.ID, err)
		}
	}
	return nil
}

// deleteApplication disables first, so that nothing begins anew while what runs
// is being ended. When the process is killed between, the application is there,
// disabled, and can be deleted again.
func (h *Handler) deleteApplication(c *call) (*reply, error) {
	p, err := c.ifMatch(false)
	if err != nil {
		return nil, err
	}
	a, err := h.change(c, p, func(_ *store.Tx, a *store.Application) error {
		if a.Config {
			return fromConfig(a, "take it out there")
		}
		a.Disabled = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := h.settle(a); err != nil {
		return nil, err
	}
	err = h.store.Update(c.r.Context(), func(tx *store.Tx) error { return tx.DeleteApplication(a.ID) })
	if err != nil {
		return nil, err
	}
	h.tasks.SettingsChanged(a.ID)
	return &reply{}, nil
}

// rotateKey replaces the AppKey.
func (h *Handler) rotateKey(c *call) (*reply, error) {
	return h.rotate(c, func(a *store.Application, keep time.Duration) error {
		if a.Config {
			return fromConfig(a, "its key is changed there")
		}
		a.Key = a.Key.Rotate(newAppKey(), keep, h.now())
		return nil
	})
}

// rotateSigningKey replaces the key that signs callbacks, which is never in the config file.
func (h *Handler) rotateSigningKey(c *call) (*reply, error) {
	return h.rotate(c, func(a *store.Application, keep time.Duration) error {
		a.Signing = a.Signing.Rotate(callback.NewSecret(), keep, h.now())
		return nil
	})
}

func (h *Handler) rotate(c *call, f func(*store.Application, time.Duration) error) (*reply, error) {
	p, err := c.ifMatch(false)
	if err != nil {
		return nil, err
	}
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	var seconds int
	o.need("keep_previous_seconds")
	o.int("keep_previous_seconds", &seconds, 0, maxKeep)
	if err := o.done(); err != nil {
		return nil, err
	}
	return h.create(c, func(tx *store.Tx) (*reply, error) {
		a, err := tx.Application(c.params["app"])
		if err != nil {
			return nil, err
		}
		if err := p.check(a.Version); err != nil {
			return nil, err
		}
		if err := f(&a, time.Duration(seconds)*time.Second); err != nil {
			return nil, err
		}
		if err := tx.UpdateApplication(&a); err != nil {
			return nil, err
		}
		return &reply{body: showKeys(a, h.now()), version: a.Version}, nil
	})
}
