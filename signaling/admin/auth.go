package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"braid/media"
	"braid/signaling"
)

// authenticate lets in who shows an admin token or an access key's signature.
// For the latter it reads the body, which is signed.
func (h *Handler) authenticate(c *call) error {
	given := c.r.Header.Values("Authorization")
	switch {
	case len(given) == 0:
		return signaling.Unauthorized("the header Authorization is missing: send Bearer with an admin token, or ACS3-HMAC-SHA256 with an access key's signature")
	case len(given) > 1:
		return signaling.Unauthorized("the header Authorization is there twice")
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(given[0]), " ")
	if strings.EqualFold(scheme, "Bearer") {
		if !h.isToken(strings.TrimSpace(rest)) {
			return signaling.Unauthorized("the bearer token is not an admin token of this server")
		}
		return nil
	}
	if err := c.readBody(); err != nil {
		return err
	}
	_, err := h.verifier.VerifyPath(c.r, c.body)
	switch {
	case errors.Is(err, media.ErrLimit):
		return fmt.Errorf("admin: %w", err)
	case err != nil:
		return signaling.Unauthorized("%s", err)
	}
	return nil
}

// isToken takes the same time whichever token is right, or nearly right.
func (h *Handler) isToken(given string) bool {
	sum := sha256.Sum256([]byte(given))
	found := 0
	for _, token := range h.tokens {
		found |= subtle.ConstantTimeCompare(sum[:], token[:])
	}
	return found == 1
}
