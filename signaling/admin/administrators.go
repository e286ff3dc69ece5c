package admin

import (
	"context"
	"net/http"
	"time"

	"braid/signaling"
	"braid/signaling/console"
	"braid/signaling/live"
	"braid/store"
)

// administrator is a store.Administrator without its password.
type administrator struct {
	Name     string     `json:"name"`
	Role     store.Role `json:"role"`
	Disabled bool       `json:"disabled"`
	Created  time.Time  `json:"created"`
	Updated  time.Time  `json:"updated"`
}

func showAdministrator(a store.Administrator) administrator {
	return administrator{a.Name, a.Role, a.Disabled, a.Created.UTC(), a.Updated.UTC()}
}

func (h *Handler) listAdministrators(c *call) (*reply, error) {
	at := func(a store.Administrator) string { return a.Name }
	return list(h, c, "administrators", (*store.Tx).Administrators, at, showAdministrator)
}

func (h *Handler) getAdministrator(c *call) (*reply, error) {
	return one(h, c, "administrator", (*store.Tx).Administrator, func(a store.Administrator) (any, int64) { return showAdministrator(a), a.Version })
}

// readAdministrator reads the fields that are there into a; password is "" when
// it is not there. Its length is looked at where it is hashed.
func readAdministrator(o *object, a *store.Administrator) (password string) {
	role := ""
	if o.oneOf("role", &role, string(store.Admin), string(store.Viewer)) {
		a.Role = store.Role(role)
	}
	o.bool("disabled", &a.Disabled)
	o.str("password", &password, console.MinPassword, console.MaxPassword)
	return password
}

// hash sets an administrator's password.
func (h *Handler) hash(ctx context.Context, o *object, a *store.Administrator, password string) error {
	hash, wrong, err := h.accounts.Hash(ctx, a.Name, password)
	if err != nil {
		return err
	}
	if wrong != "" {
		o.refuse("password", "%s", wrong)
		return o.done()
	}
	a.Password = hash
	return nil
}

// createAdministrator does not keep its answer for an Idempotency-Key: with it a
// fast hash of the password would be kept. A name is there once.
func (h *Handler) createAdministrator(c *call) (*reply, error) {
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	var a store.Administrator
	o.need("name")
	o.need("role")
	o.need("password")
	if o.str("name", &a.Name, 1, 64) && !console.ValidName(a.Name) {
		o.refuse("name", "%s is not 1 to 64 characters of A-Za-z0-9._@-", quote(a.Name))
	}
	password := readAdministrator(o, &a)
	if err := o.done(); err != nil {
		return nil, err
	}
	if err := h.hash(c.r.Context(), o, &a, password); err != nil {
		return nil, err
	}
	if err := h.store.Update(c.r.Context(), func(tx *store.Tx) error { return tx.CreateAdministrator(&a) }); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusCreated, body: showAdministrator(a), version: a.Version, location: "/v1/administrators/" + a.Name}, nil
}

// patchAdministrator changes an administrator. A new password, or being disabled,
// ends all its logins.
func (h *Handler) patchAdministrator(c *call) (*reply, error) {
	p, err := c.ifMatch(true)
	if err != nil {
		return nil, err
	}
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	next := store.Administrator{Name: c.params["administrator"]}
	_, switched := o.left["disabled"]
	password := readAdministrator(o, &next)
	if err := o.done(); err != nil {
		return nil, err
	}
	if password != "" {
		if err := h.hash(c.r.Context(), o, &next, password); err != nil {
			return nil, err
		}
	}
	var a store.Administrator
	err = h.store.Update(c.r.Context(), func(tx *store.Tx) (err error) {
		if a, err = tx.Administrator(next.Name); err != nil {
			return err
		}
		if err := p.check(a.Version); err != nil {
			return err
		}
		mattered := a.Role == store.Admin && !a.Disabled
		if next.Role != "" {
			a.Role = next.Role
		}
		if switched {
			a.Disabled = next.Disabled
		}
		if password != "" {
			a.Password = next.Password
		}
		if err := tx.UpdateAdministrator(&a); err != nil {
			return err
		}
		if password != "" || a.Disabled {
			if err := tx.EndLogins(a.Name, ""); err != nil {
				return err
			}
		}
		return someoneLeft(tx, a.Name, mattered)
	})
	if err != nil {
		return nil, err
	}
	return &reply{body: showAdministrator(a), version: a.Version}, nil
}

func (h *Handler) deleteAdministrator(c *call) (*reply, error) {
	p, err := c.ifMatch(false)
	if err != nil {
		return nil, err
	}
	err = h.store.Update(c.r.Context(), func(tx *store.Tx) error {
		a, err := tx.Administrator(c.params["administrator"])
		if err != nil {
			return err
		}
		if err := p.check(a.Version); err != nil {
			return err
		}
		if err := tx.DeleteAdministrator(a.Name); err != nil {
			return err
		}
		return someoneLeft(tx, a.Name, a.Role == store.Admin && !a.Disabled)
	})
	if err != nil {
		return nil, err
	}
	return &reply{}, nil
}

// someoneLeft refuses a change of an administrator who mattered, after which
// nobody could change anything.
func someoneLeft(tx *store.Tx, name string, mattered bool) error {
	if !mattered {
		return nil
	}
	n, err := tx.Admins()
	if err == nil && n == 0 {
		return signaling.Conflict("%s is the last administrator with the role admin: make another first", quote(name))
	}
	return err
}

// setupLink is what the first administrator is made with, on the page
// /console#setup=TOKEN.
type setupLink struct {
	Token   string    `json:"token"`
	Path    string    `json:"path"`
	Expires time.Time `json:"expires"`
}

// makeSetupLink gives a new one while there is no administrator; those before end.
func (h *Handler) makeSetupLink(c *call) (*reply, error) {
	token, expires, err := h.accounts.SetupToken(c.r.Context())
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusCreated, body: setupLink{token, "/console#setup=" + token, expires.UTC().Truncate(time.Millisecond)}}, nil
}

// showLive streams what happens.
func (h *Handler) showLive(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	f := live.Filter{App: q.text("app", 64), Channel: q.text("channel", 64)}
	if err := q.done(); err != nil {
		return nil, err
	}
	return &reply{stream: func(w http.ResponseWriter) error { return h.live.Serve(w, c.r, f, h.stillIn(c)) }}, nil
}
