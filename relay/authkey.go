package relay

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// SignURL adds the auth_key parameter of a streaming domain to a URL (type A,
// artc-api.md section 8):
//
//	auth_key={timestamp}-{rand}-{uid}-{md5("{URI}-{timestamp}-{rand}-{uid}-{key}")}
//
// URI is the path as it is sent, without the query. The signature holds from now
// for as long as the domain says. rand and uid are 0, as they usually are. A URL
// that cannot be read, and any URL when the key is "", comes back as it is.
func SignURL(rawURL, key string, now time.Time) string { return signURL(rawURL, key, "0", now) }

// SignPlayURL is SignURL for players alone (braid's own): over RTMP, publishing and
// playing have the same path, so that a signature for the one is one for the other.
// Its uid says what it is for (PlayOnly), which the origin inside braid heeds.
func SignPlayURL(rawURL, key string, now time.Time) string { return signURL(rawURL, key, playUID, now) }

const playUID = "play"

// PlayOnly tells whether an auth_key was made by SignPlayURL.
func PlayOnly(value string) bool {
	parts := strings.Split(value, "-")
	return len(parts) == 4 && parts[2] == playUID
}

func signURL(rawURL, key, uid string, now time.Time) string {
	u, err := url.Parse(rawURL)
	if err != nil || key == "" {
		return rawURL
	}
	sign := "auth_key=" + authKey(u.EscapedPath(), now.Unix(), "0", uid, key)
	switch {
	case u.RawQuery != "":
		return rawURL + "&" + sign
	case strings.HasSuffix(rawURL, "?"):
		return rawURL + sign
	}
	return rawURL + "?" + sign
}

func authKey(uri string, timestamp int64, rand, uid, key string) string {
	sum := md5.Sum(fmt.Appendf(nil, "%s-%d-%s-%s-%s", uri, timestamp, rand, uid, key))
	return fmt.Sprintf("%d-%s-%s-%s", timestamp, rand, uid, hex.EncodeToString(sum[:]))
}

// What CheckAuthKey finds wrong; the texts are fit for clients.
var (
	ErrNoAuthKey      = errors.New("the address needs an auth_key")
	ErrAuthKeyForm    = errors.New("the auth_key is not timestamp-rand-uid-md5")
	ErrAuthKeyWrong   = errors.New("the auth_key is not right for this address")
	ErrAuthKeyExpired = errors.New("the auth_key has expired")
)

// maxAuthKey bounds an auth_key in characters; rand and uid are short.
const maxAuthKey = 256

// CheckAuthKey tells whether value is an auth_key for the URI, made with key less
// than validity ago; see SignURL. A timestamp that is yet to come is right: whoever
// signs may want a longer life. How long the comparison takes does not tell how much
// of the signature is right. The error is one of the four above, ErrAuthKeyExpired
// only when the signature is right.
func CheckAuthKey(uri, value, key string, now time.Time, validity time.Duration) error {
	if value == "" {
		return ErrNoAuthKey
	}
	parts := strings.Split(value, "-")
	if len(value) > maxAuthKey || len(parts) != 4 || strings.Trim(parts[0], "0123456789") != "" {
		return ErrAuthKeyForm
	}
	timestamp, err := strconv.ParseInt(parts[0], 10, 64)
	sum, hexErr := hex.DecodeString(parts[3])
	if err != nil || timestamp > maxTimestamp || hexErr != nil || len(sum) != md5.Size {
		return ErrAuthKeyForm
	}
	want := md5.Sum(fmt.Appendf(nil, "%s-%s-%s-%s-%s", uri, parts[0], parts[1], parts[2], key))
	if subtle.ConstantTimeCompare(sum, want[:]) != 1 {
		return ErrAuthKeyWrong
	}
	if !now.Before(time.Unix(timestamp, 0).Add(validity)) {
		return ErrAuthKeyExpired
	}
	return nil
}

// maxTimestamp is in the year 5138: what is larger is not in seconds.
const maxTimestamp = 99_999_999_999
