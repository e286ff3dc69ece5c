package token

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"braid/media"
)

var jwtNow = time.Unix(1_790_000_000, 0)

func abc(string) (App, bool) { return App{Keys: []string{"abckey"}, JWTOnly: true}, true }

func TestJWT(t *testing.T) {
	all := Claims{App: "abc", Channel: "room", User: "ann", Expires: jwtNow.Add(time.Hour), Camera: true, ShareScreen: true, Subscribe: true, Role: Streamer}
	for name, want := range map[string]Claims{
		"everything":    all,
		"nothing":       {App: "abc", Channel: "room", User: "ann", Expires: jwtNow.Add(time.Hour)},
		"camera alone":  {App: "abc", Channel: "room", User: "ann", Expires: jwtNow.Add(time.Hour), Camera: true},
		"screen alone":  {App: "abc", Channel: "room", User: "ann", Expires: jwtNow.Add(time.Hour), ShareScreen: true},
		"a mere viewer": {App: "abc", Channel: "room", User: "ann", Expires: jwtNow.Add(24 * time.Hour), Subscribe: true, Role: Viewer},
	} {
		text, err := SignJWT(want, "abckey", jwtNow)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Verify(text, abc, jwtNow)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		if got.MayPublish(media.Camera) != want.Camera || got.MayPublish(media.ShareScreen) != want.ShareScreen || got.MayPublish("") {
			t.Errorf("%s: MayPublish says otherwise", name)
		}
	}
}

// raw signs claims as they are.
func raw(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	text, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		panic(err)
	}
	return text
}

func TestJWTRefuses(t *testing.T) {
	good := func(change func(jwt.MapClaims)) jwt.MapClaims {
		c := jwt.MapClaims{"iss": "abc", "sub": "ann", "channel": "room", "exp": jwtNow.Add(time.Hour).Unix(), "publish": true}
		if change != nil {
			change(c)
		}
		return c
	}
	signed := func(change func(jwt.MapClaims)) string {
		return raw(jwt.SigningMethodHS256, []byte("abckey"), good(change))
	}
	parts := strings.Split(signed(nil), ".")
	altered := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"abc","sub":"bob","channel":"room","exp":1790003600,"publish":true}`))
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"alg none":              {raw(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good(nil)), ErrHash},
		"HS512":                 {raw(jwt.SigningMethodHS512, []byte("abckey"), good(nil)), ErrHash},
		"other key":             {raw(jwt.SigningMethodHS256, []byte("abckez"), good(nil)), ErrHash},
		"claims altered":        {parts[0] + "." + altered + "." + parts[2], ErrHash},
		"signature cut":         {parts[0] + "." + parts[1] + ".", ErrHash},
		"no exp":                {signed(func(c jwt.MapClaims) { delete(c, "exp") }), ErrFormat},
		"no sub":                {signed(func(c jwt.MapClaims) { delete(c, "sub") }), ErrFormat},
		"no channel":            {signed(func(c jwt.MapClaims) { delete(c, "channel") }), ErrFormat},
		"no iss":                {signed(func(c jwt.MapClaims) { delete(c, "iss") }), ErrFormat},
		"publish of a stranger": {signed(func(c jwt.MapClaims) { c["publish"] = []string{"hat"} }), ErrFormat},
		"publish as text":       {signed(func(c jwt.MapClaims) { c["publish"] = "true" }), ErrFormat},
		"subscribe as text":     {signed(func(c jwt.MapClaims) { c["subscribe"] = "true" }), ErrFormat},
		"unknown role":          {signed(func(c jwt.MapClaims) { c["role"] = "king" }), ErrFormat},
		"expired":               {signed(func(c jwt.MapClaims) { c["exp"] = jwtNow.Unix() }), ErrExpired},
		"too long":              {signed(func(c jwt.MapClaims) { c["exp"] = jwtNow.Add(25 * time.Hour).Unix() }), ErrTooLong},
		"not yet":               {signed(func(c jwt.MapClaims) { c["nbf"] = jwtNow.Add(time.Hour).Unix() }), ErrEarly},
		"not a JWT":             {"a.b.c", ErrFormat},
		"endless":               {signed(nil) + strings.Repeat("A", maxLength), ErrFormat},
	} {
		if _, err := Verify(c.text, abc, jwtNow); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := VerifyJWT(signed(nil), "abd", "abckey", jwtNow); !errors.Is(err, ErrApp) {
		t.Errorf("for another application: got %v", err)
	}
}

func FuzzVerifyJWT(f *testing.F) {
	f.Add(raw(jwt.SigningMethodHS256, []byte("other"), jwt.MapClaims{"iss": "abc", "sub": "ann", "channel": "room", "exp": 1_790_000_001, "publish": []string{"camera"}}))
	f.Add("e30.e30.")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := Verify(text+".", abc, jwtNow); err == nil {
			t.Fatalf("%q is accepted: %+v", text, c)
		}
		if c, err := Verify(text, abc, jwtNow); err == nil {
			t.Fatalf("%q is accepted: %+v", text, c)
		}
	})
}
