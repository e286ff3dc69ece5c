package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"braid/media"
	"braid/signaling"
	"braid/store"
)

// principal is who sends a request, and what it may do: everything, but for a
// viewer, who reads what is no secret.
type principal struct {
	kind   string // "token", "key" or "console"
	name   string // "token 1", by its place in the config; the key's id; the administrator's name
	viewer bool
	login  store.Login // of kind "console"
}

// authenticate finds out who shows an admin token, an access key's signature or
// a login's cookie, in this order. For the second it reads the body, which is
// signed; for the last it refuses what another site's page sends.
func (h *Handler) authenticate(c *call) error {
	given := c.r.Header.Values("Authorization")
	switch {
	case len(given) == 0 && h.accounts != nil && h.accounts.HasCookie(c.r):
		login, who, err := h.accounts.Who(c.w, c.r)
		c.who = principal{kind: "console", name: who.Name, viewer: who.Role != store.Admin, login: login}
		return err
	case len(given) == 0:
		return signaling.Unauthorized("the header Authorization is missing: send Bearer with an admin token, or ACS3-HMAC-SHA256 with an access key's signature")
	case len(given) > 1:
		return signaling.Unauthorized("the header Authorization is there twice")
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(given[0]), " ")
	if strings.EqualFold(scheme, "Bearer") {
		n := h.token(strings.TrimSpace(rest))
		if n == 0 {
			return signaling.Unauthorized("the bearer token is not an admin token of this server")
		}
		c.who = principal{kind: "token", name: "token " + strconv.Itoa(n)}
		return nil
	}
	if err := c.readBody(); err != nil {
		return err
	}
	key, err := h.verifier.VerifyPath(c.r, c.body)
	c.who = principal{kind: "key", name: key}
	switch {
	case errors.Is(err, media.ErrLimit):
		return fmt.Errorf("admin: %w", err)
	case err != nil:
		return signaling.Unauthorized("%s", err)
	}
	return nil
}

// token is which admin token was given, from 1; 0 for none. It takes the same
// time whichever token is right, or nearly right.
func (h *Handler) token(given string) (n int) {
	sum := sha256.Sum256([]byte(given))
	for i, token := range h.tokens {
		n = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], token[:]), i+1, n)
	}
	return n
}

// secret keeps viewers from a route that shows keys.
func secret(do func(*call) (*reply, error)) func(*call) (*reply, error) {
	return func(c *call) (*reply, error) {
		if c.who.viewer {
			return nil, signaling.Forbidden("%s is a viewer, who may not see keys", quote(c.who.name))
		}
		return do(c)
	}
}
