package token

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Peek reads what a token of either form claims, without its key: it proves
// nothing, and is for those who hold a token and want to know what for. Errors
// wrap ErrFormat.
func Peek(s string) (Claims, error) {
	if !isJWT(s) {
		t, err := Parse(s)
		if err != nil {
			return Claims{}, err
		}
		return Claims{
			App: t.App, Channel: t.Channel, User: t.User, Expires: time.Unix(t.Timestamp, 0),
			Camera: true, ShareScreen: true, Subscribe: true, Mix: true,
		}, nil
	}
	if _, err := appOfJWT(s); err != nil {
		return Claims{}, err
	}
	var c jwtClaims
	if _, _, err := jwt.NewParser().ParseUnverified(s, &c); err != nil {
		return Claims{}, fmt.Errorf("token: %w: %w", ErrFormat, err)
	}
	return Claims{
		App: c.Issuer, Channel: c.Channel, User: c.Subject, Expires: c.ExpiresAt.Time,
		Camera: c.Publish.camera, ShareScreen: c.Publish.shareScreen, Subscribe: c.Subscribe, Mix: c.Mix, Role: c.Role,
	}, nil
}
