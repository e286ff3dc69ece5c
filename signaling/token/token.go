// Package token makes and checks join tokens: the proof, signed with an
// application's key, that a user may enter a channel. The form is ARTC's
// (artc-api.md section 6). It starts no goroutine and keeps no state.
//
//	hash = hex(SHA-256(AppID + AppKey + ChannelID + UserID + [Nonce] + Timestamp))
//
// The fields are joined without separators, so a token for channel "ab" and
// user "c" has the hash of one for channel "a" and user "bc". That is the
// format's, not ours to change; an application whose users choose their own
// ids gives all of them the same length.
package token

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// What is wrong with a token.
var (
	ErrFormat  = errors.New("the token cannot be read")
	ErrApp     = errors.New("the token is for another application")
	ErrHash    = errors.New("the token's hash is wrong: application key, channel, user or timestamp differ from what was signed")
	ErrExpired = errors.New("the token has expired")
	ErrTooLong = errors.New("the token is valid for more than 24 hours")
)

const (
	maxLife   = 24 * time.Hour  // artc-api.md section 6
	skew      = 5 * time.Minute // between the signer's clock and ours
	maxLength = 4096            // bytes in base64; the longest legal one has about 500
)

// Token is a join token before it is checked: the parameters of the
// multi-parameter form (appId, channelId, userId, nonce, timestamp, token).
type Token struct {
	App       string `json:"appid"`
	Channel   string `json:"channelid"`
	User      string `json:"userid"`
	Nonce     string `json:"nonce"`
	Timestamp int64  `json:"timestamp"` // Unix seconds of expiry
	Hash      string `json:"token"`     // lower-case hex
}

// Claims are what a valid token says.
type Claims struct {
	App, Channel, User string
	Expires            time.Time
}

// Sign makes a token for a user, valid until expires (whole seconds).
func Sign(app, key, channel, user string, expires time.Time) Token {
	t := Token{App: app, Channel: channel, User: user, Timestamp: expires.Unix()}
	t.Hash = t.hash(key, "")
	return t
}

func (t Token) hash(key, nonce string) string {
	sum := sha256.Sum256([]byte(t.App + key + t.Channel + t.User + nonce + strconv.FormatInt(t.Timestamp, 10)))
	return hex.EncodeToString(sum[:])
}

// String is the single-parameter form: base64 of JSON.
func (t Token) String() string {
	body, err := json.Marshal(t)
	if err != nil {
		panic("token: strings and a number always fit JSON, yet: " + err.Error())
	}
	return base64.StdEncoding.EncodeToString(body)
}

// Parse reads the single-parameter form: base64 (standard alphabet, padding
// optional) of a JSON object. It checks nothing but the form; unknown keys are
// ignored. Errors wrap ErrFormat.
func Parse(s string) (Token, error) {
	if len(s) > maxLength {
		return Token{}, fmt.Errorf("token: %w: it has %d characters, at most %d are read", ErrFormat, len(s), maxLength)
	}
	body, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return Token{}, fmt.Errorf("token: %w: it is not base64: %w", ErrFormat, err)
	}
	var t Token
	if err := json.Unmarshal(body, &t); err != nil {
		return Token{}, fmt.Errorf("token: %w: it is not base64 of a JSON object: %w", ErrFormat, err)
	}
	for _, f := range []struct{ name, value string }{
		{"appid", t.App}, {"channelid", t.Channel}, {"userid", t.User}, {"token", t.Hash},
	} {
		if f.value == "" {
			return Token{}, fmt.Errorf("token: %w: %q is missing", ErrFormat, f.name)
		}
	}
	return t, nil
}

// Verify checks a token with the key of application app. The hash is accepted
// without the nonce, as the official samples make it, and with it, as the
// official text says; both need the key. It takes the same time whatever part
// of the hash differs.
//
// Errors wrap ErrApp, ErrHash, ErrExpired or ErrTooLong. With ErrExpired the
// hash was right and the claims are returned.
func (t Token) Verify(app, key string, now time.Time) (Claims, error) {
	if t.App != app {
		return Claims{}, fmt.Errorf("token: %w", ErrApp)
	}
	plain := subtle.ConstantTimeCompare([]byte(t.hash(key, "")), []byte(t.Hash))
	nonced := subtle.ConstantTimeCompare([]byte(t.hash(key, t.Nonce)), []byte(t.Hash))
	if key == "" || plain|nonced != 1 {
		return Claims{}, fmt.Errorf("token: %w", ErrHash)
	}
	c := Claims{App: t.App, Channel: t.Channel, User: t.User, Expires: time.Unix(t.Timestamp, 0)}
	switch {
	case !now.Before(c.Expires):
		return c, fmt.Errorf("token: %w at %s", ErrExpired, c.Expires.UTC().Format(time.RFC3339))
	case c.Expires.After(now.Add(maxLife + skew)):
		return Claims{}, fmt.Errorf("token: %w: until %s", ErrTooLong, c.Expires.UTC().Format(time.RFC3339))
	}
	return c, nil
}

// Verify parses the single-parameter form and checks it with the key that keys
// finds for its application; an unknown application is ErrApp.
func Verify(s string, keys func(app string) (key string, ok bool), now time.Time) (Claims, error) {
	t, err := Parse(s)
	if err != nil {
		return Claims{}, err
	}
	key, ok := keys(t.App)
	if !ok {
		return Claims{}, fmt.Errorf("token: %w", ErrApp)
	}
	return t.Verify(t.App, key, now)
}
