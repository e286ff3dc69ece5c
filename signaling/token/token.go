// Package token makes and checks join tokens: the proof, signed with an
// application's key, that a user may enter a channel. There are two forms,
// ARTC's (artc-api.md section 6) and a JWT (jwt.go). It starts no goroutine and
// keeps no state.
//
//	hash = hex(SHA-256(AppID + AppKey + ChannelID + UserID + [Nonce] + Timestamp))
//
// The fields of ARTC's form are joined without separators, so a token for
// channel "ab" and user "c" has the hash of one for channel "a" and user "bc".
// That is the format's, not ours to change; an application whose users choose
// their own ids gives all of them the same length, or takes JWTs alone.
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

	"braid/media"
)

// What is wrong with a token.
var (
	ErrFormat  = errors.New("the token cannot be read")
	ErrApp     = errors.New("the token is for another application")
	ErrHash    = errors.New("the token's hash is wrong: application key, channel, user or timestamp differ from what was signed")
	ErrExpired = errors.New("the token has expired")
	ErrTooLong = errors.New("the token is valid for more than 24 hours")
	ErrEarly   = errors.New("the token does not hold yet")
	ErrJWTOnly = errors.New("the application takes JWTs alone")
	ErrOff     = errors.New("the application is disabled")
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

// Claims are what a valid token says. ARTC's form grants everything.
type Claims struct {
	App, Channel, User string
	Expires            time.Time
	Camera             bool // may publish camera and microphone
	ShareScreen        bool // may publish a screen
	Subscribe          bool // may receive what others publish
	Mix                bool // may change the layout of the channel's mixed stream
	Role               Role // to begin with; "" when the token does not say
}

// Role is a user's part in the channel.
type Role string

const (
	Streamer Role = "streamer"
	Viewer   Role = "viewer"
)

// MayPublish tells whether the token grants a source.
func (c Claims) MayPublish(s media.Source) bool {
	return s == media.Camera && c.Camera || s == media.ShareScreen && c.ShareScreen
}

// App is what tokens of an application are checked with.
type App struct {
	Keys     []string // those that hold now
	JWTOnly  bool     // ARTC's form is refused
	Disabled bool     // every token is
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
	return inTime(Claims{
		App: t.App, Channel: t.Channel, User: t.User, Expires: time.Unix(t.Timestamp, 0),
		Camera: true, ShareScreen: true, Subscribe: true, Mix: true,
	}, now)
}

// inTime refuses claims that have expired or hold for too long.
func inTime(c Claims, now time.Time) (Claims, error) {
	switch {
	case !now.Before(c.Expires):
		return c, fmt.Errorf("token: %w at %s", ErrExpired, c.Expires.UTC().Format(time.RFC3339))
	case c.Expires.After(now.Add(maxLife + skew)):
		return Claims{}, fmt.Errorf("token: %w: until %s", ErrTooLong, c.Expires.UTC().Format(time.RFC3339))
	}
	return c, nil
}

// Verify reads a token of either form and checks it with the keys that apps
// finds for its application; an unknown application is ErrApp. Errors are those
// of Parse and Token.Verify, ErrJWTOnly and ErrOff.
func Verify(s string, apps func(app string) (App, bool), now time.Time) (Claims, error) {
	verify, id, err := read(s)
	if err != nil {
		return Claims{}, err
	}
	app, ok := apps(id)
	if !ok {
		return Claims{}, fmt.Errorf("token: %w", ErrApp)
	}
	err = fmt.Errorf("token: %w", ErrHash) // no key at all
	var c Claims
	for _, key := range app.Keys {
		if c, err = verify(key, now); !errors.Is(err, ErrHash) {
			break
		}
	}
	switch {
	case err != nil:
		return c, err
	case app.Disabled:
		return Claims{}, fmt.Errorf("token: %w", ErrOff)
	case app.JWTOnly && !isJWT(s):
		return Claims{}, fmt.Errorf("token: %w", ErrJWTOnly)
	}
	return c, nil
}

// read tells a token's application and how to check it.
func read(s string) (verify func(key string, now time.Time) (Claims, error), app string, err error) {
	if isJWT(s) {
		app, err := appOfJWT(s)
		return func(key string, now time.Time) (Claims, error) { return VerifyJWT(s, app, key, now) }, app, err
	}
	t, err := Parse(s)
	return func(key string, now time.Time) (Claims, error) { return t.Verify(t.App, key, now) }, t.App, err
}
