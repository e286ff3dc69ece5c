package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"braid/media"
)

// The JWT (RFC 7519) is signed with HS256 and the AppKey. Its claims are named
// apart, so nothing of one can be taken for another, and it grants nothing that
// it does not name:
//
//	iss        AppID
//	sub        user
//	channel    channel
//	exp        expiry, at most 24 h ahead; needed
//	publish    true, or a list of "camera", "shareScreen"; absent: nothing
//	subscribe  true; absent: no
//	mix        true: may change the layout of the mixed stream; absent: no
//	role       "streamer" or "viewer"; may be absent
//	iat, nbf   as in RFC 7519; may be absent
type jwtClaims struct {
	jwt.RegisteredClaims
	Channel   string  `json:"channel"`
	Publish   publish `json:"publish,omitzero"`
	Subscribe bool    `json:"subscribe,omitempty"`
	Mix       bool    `json:"mix,omitempty"`
	Role      Role    `json:"role,omitempty"`
}

// publish is true, false or a list of sources.
type publish struct{ camera, shareScreen bool }

func (p publish) MarshalJSON() ([]byte, error) {
	switch {
	case p.camera && p.shareScreen:
		return []byte(`true`), nil
	case p.camera:
		return []byte(`["camera"]`), nil
	case p.shareScreen:
		return []byte(`["shareScreen"]`), nil
	}
	return []byte(`false`), nil
}

func (p *publish) UnmarshalJSON(b []byte) error {
	text := string(b)
	if text == "true" || text == "false" {
		*p = publish{text == "true", text == "true"}
		return nil
	}
	var sources []media.Source
	if err := json.Unmarshal(b, &sources); err != nil {
		return errors.New("publish is neither true, false nor a list")
	}
	for _, s := range sources {
		if s != media.Camera && s != media.ShareScreen {
			return fmt.Errorf("publish names %q, which is neither camera nor shareScreen", s)
		}
	}
	*p = publish{slices.Contains(sources, media.Camera), slices.Contains(sources, media.ShareScreen)}
	return nil
}

// isJWT tells the form: base64 has no dots.
func isJWT(s string) bool { return strings.Count(s, ".") == 2 }

// SignJWT makes a token of the claims, valid until Claims.Expires (whole seconds).
func SignJWT(c Claims, key string, now time.Time) (string, error) {
	claims := jwtClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: c.App, Subject: c.User, ExpiresAt: jwt.NewNumericDate(c.Expires), IssuedAt: jwt.NewNumericDate(now),
		},
		Channel: c.Channel, Publish: publish{c.Camera, c.ShareScreen}, Subscribe: c.Subscribe, Mix: c.Mix, Role: c.Role,
	}
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(key))
	if err != nil {
		return "", fmt.Errorf("token: sign a JWT: %w", err)
	}
	return s, nil
}

// appOfJWT reads the issuer of a JWT that has not been checked.
func appOfJWT(s string) (string, error) {
	if len(s) > maxLength {
		return "", fmt.Errorf("token: %w: it has %d characters, at most %d are read", ErrFormat, len(s), maxLength)
	}
	var c jwtClaims
	if _, _, err := jwt.NewParser().ParseUnverified(s, &c); err != nil {
		return "", fmt.Errorf("token: %w: it is not a JWT: %w", ErrFormat, err)
	}
	for _, f := range []struct{ name, value string }{{"iss", c.Issuer}, {"sub", c.Subject}, {"channel", c.Channel}} {
		if f.value == "" {
			return "", fmt.Errorf("token: %w: %q is missing", ErrFormat, f.name)
		}
	}
	if c.ExpiresAt == nil {
		return "", fmt.Errorf("token: %w: \"exp\" is missing", ErrFormat)
	}
	if c.Role != "" && c.Role != Streamer && c.Role != Viewer {
		return "", fmt.Errorf("token: %w: role is neither streamer nor viewer", ErrFormat)
	}
	return c.Issuer, nil
}

// VerifyJWT checks a JWT of application app with its key. Errors are those of
// Token.Verify, and ErrFormat for one that cannot be read or is not of HS256.
func VerifyJWT(s, app, key string, now time.Time) (Claims, error) {
	if _, err := appOfJWT(s); err != nil {
		return Claims{}, err
	}
	var c jwtClaims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithoutClaimsValidation())
	_, err := parser.ParseWithClaims(s, &c, func(*jwt.Token) (any, error) { return []byte(key), nil })
	switch {
	case key == "", errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return Claims{}, fmt.Errorf("token: %w", ErrHash)
	case err != nil:
		return Claims{}, fmt.Errorf("token: %w: %w", ErrFormat, err)
	case c.Issuer != app:
		return Claims{}, fmt.Errorf("token: %w", ErrApp)
	case c.NotBefore != nil && now.Add(skew).Before(c.NotBefore.Time):
		return Claims{}, fmt.Errorf("token: %w: it holds from %s", ErrEarly, c.NotBefore.UTC().Format(time.RFC3339))
	}
	return inTime(Claims{
		App: c.Issuer, Channel: c.Channel, User: c.Subject, Expires: c.ExpiresAt.Time,
		Camera: c.Publish.camera, ShareScreen: c.Publish.shareScreen, Subscribe: c.Subscribe, Mix: c.Mix, Role: c.Role,
	}, now)
}
