package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The published vector (artc-api.md section 6).
const (
	vectorHash = "3c9ee8d9f8734f0b7560ed8022a0590659113955819724fc9345ab8eedf84f31"
	vectorTime = 1699423634
)

var vector = Token{App: "abc", Channel: "abcChannel", User: "abcUser", Timestamp: vectorTime, Hash: vectorHash}

var hourBefore = time.Unix(vectorTime, 0).Add(-time.Hour)

func TestPublishedVector(t *testing.T) {
	signed := Sign("abc", "abckey", "abcChannel", "abcUser", time.Unix(vectorTime, 0))
	if signed != vector {
		t.Fatalf("got %+v, want %+v", signed, vector)
	}
	want := Claims{App: "abc", Channel: "abcChannel", User: "abcUser", Expires: time.Unix(vectorTime, 0),
		Camera: true, ShareScreen: true, Subscribe: true, Mix: true}
	for name, tok := range map[string]Token{
		"as signed":                         vector,
		"nonce given but not hashed":        with(vector, func(t *Token) { t.Nonce = "AK-1" }),
		"nonce hashed, as the text says so": with(vector, func(t *Token) { t.Nonce = "AK-1"; t.Hash = t.hash("abckey", "AK-1") }),
	} {
		got, err := tok.Verify("abc", "abckey", hourBefore)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		back, err := Parse(tok.String())
		if err != nil || back != tok {
			t.Errorf("%s: parsed back as %+v, %v", name, back, err)
		}
	}
}

func with(t Token, change func(*Token)) Token {
	change(&t)
	return t
}

func TestVerifyRefuses(t *testing.T) {
	resigned := func(change func(*Token)) Token {
		return with(vector, func(t *Token) { change(t); t.Hash = t.hash("abckey", "") })
	}
	for name, c := range map[string]struct {
		tok  Token
		key  string
		now  time.Time
		want error
	}{
		"other application":   {resigned(func(t *Token) { t.App = "abd" }), "abckey", hourBefore, ErrApp},
		"other key":           {vector, "abckez", hourBefore, ErrHash},
		"no key":              {with(vector, func(t *Token) { t.Hash = t.hash("", "") }), "", hourBefore, ErrHash},
		"other channel":       {with(vector, func(t *Token) { t.Channel = "abcchannel" }), "abckey", hourBefore, ErrHash},
		"other user":          {with(vector, func(t *Token) { t.User = "abcUsers" }), "abckey", hourBefore, ErrHash},
		"later":               {with(vector, func(t *Token) { t.Timestamp++ }), "abckey", hourBefore, ErrHash},
		"other nonce":         {with(vector, func(t *Token) { t.Hash = t.hash("abckey", "a"); t.Nonce = "b" }), "abckey", hourBefore, ErrHash},
		"no hash":             {with(vector, func(t *Token) { t.Hash = "" }), "abckey", hourBefore, ErrHash},
		"half a hash":         {with(vector, func(t *Token) { t.Hash = t.Hash[:32] }), "abckey", hourBefore, ErrHash},
		"expired now":         {vector, "abckey", time.Unix(vectorTime, 0), ErrExpired},
		"expired long ago":    {vector, "abckey", time.Unix(2*vectorTime, 0), ErrExpired},
		"for more than a day": {vector, "abckey", hourBefore.Add(-24 * time.Hour), ErrTooLong},
		"before 1970":         {resigned(func(t *Token) { t.Timestamp = -1 }), "abckey", hourBefore, ErrExpired},
		"far future":          {resigned(func(t *Token) { t.Timestamp = 1 << 40 }), "abckey", hourBefore, ErrTooLong},
	} {
		if _, err := c.tok.Verify("abc", c.key, c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := vector.Verify("abc", "abckey", time.Unix(vectorTime, 0).Add(-24*time.Hour-skew)); err != nil {
		t.Errorf("24 hours ahead by a clock that is 5 minutes off: %v", err)
	}
	if c, err := vector.Verify("abc", "abckey", time.Unix(vectorTime, 0)); !errors.Is(err, ErrExpired) || c.User != "abcUser" {
		t.Errorf("expired: got claims %+v, want them with the error", c)
	}
}

func TestVerifyFindsTheKey(t *testing.T) {
	keys := func(app string) (App, bool) { return App{Keys: []string{"new", "abckey"}}, app == "abc" }
	if c, err := Verify(vector.String(), keys, hourBefore); err != nil || c.Channel != "abcChannel" {
		t.Errorf("got %+v, %v", c, err)
	}
	for name, c := range map[string]struct {
		app  App
		want error
	}{
		"no key":   {App{}, ErrHash},
		"JWT only": {App{Keys: []string{"abckey"}, JWTOnly: true}, ErrJWTOnly},
		"disabled": {App{Keys: []string{"abckey"}, Disabled: true}, ErrOff},
		"rotated":  {App{Keys: []string{"new"}}, ErrHash},
	} {
		if _, err := Verify(vector.String(), func(string) (App, bool) { return c.app, true }, hourBefore); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	other := Sign("abd", "abckey", "c", "u", time.Unix(vectorTime, 0))
	if _, err := Verify(other.String(), keys, hourBefore); !errors.Is(err, ErrApp) {
		t.Errorf("unknown application: got %v", err)
	}
	if _, err := Verify("?", keys, hourBefore); !errors.Is(err, ErrFormat) {
		t.Errorf("unreadable: got %v", err)
	}
}

// tokens are texts and a word of the error; "" means that the text is read.
var tokens = []struct{ text, word string }{
	{vector.String(), ""},
	{strings.TrimRight(vector.String(), "="), ""},
	{encode(`{"token":"aa","timestamp":1699423634,"userid":"u","channelid":"c","appid":"a","more":1}`), ""}, // any order
	{encode(`{"appid":"a","channelid":"c","userid":"u","timestamp":"1699423634","token":"aa"}`), "JSON"},
	{encode(`{"appid":"a","channelid":"c","userid":"u","timestamp":1.5,"token":"aa"}`), "JSON"},
	{encode(`{"appid":"a","channelid":"c","timestamp":1,"token":"aa"}`), "userid"},
	{encode(`{"appid":7}`), "JSON"},
	{encode(`[]`), "JSON"},
	{encode(`null`), "appid"},
	{encode(``), "JSON"},
	{"", "JSON"},
	{"not base64!", "base64"},
	{strings.Repeat("A", maxLength+1), "4097 characters"},
	{encode(strings.Repeat("[", 1000)), "JSON"},
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestParse(t *testing.T) {
	for _, c := range tokens {
		got, err := Parse(c.text)
		switch {
		case c.word == "" && (err != nil || got.Hash == ""):
			t.Errorf("%.60s: got %+v, %v", c.text, got, err)
		case c.word != "" && (!errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.word)):
			t.Errorf("%.60s: got %v, want ErrFormat with %q", c.text, err, c.word)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range tokens {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if back, err := Parse(got.String()); err != nil || fmt.Sprint(back) != fmt.Sprint(got) {
			t.Fatalf("%q: %+v came back as %+v, %v", text, got, back, err)
		}
		if _, err := got.Verify(got.App, "key nobody knows", hourBefore); err == nil {
			t.Fatalf("%q is accepted", text)
		}
	})
}
