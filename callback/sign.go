package callback

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"braid/store"
)

const secretPrefix = "whsec_"

// sign sets the headers by which a receiver knows that a body comes from here:
// those of Standard Webhooks 1.0, symmetric scheme v1, and Ali-Rtc-Timestamp and
// Ali-Rtc-Signature, whose algorithm is not published and is braid's own here:
// HMAC-SHA256 in hex of timestamp, ".", body. With several keys (of a secret that
// rotates) there is one signature for each, separated by a space, the current
// one's first. Without a key there are only the ids and times.
func sign(h http.Header, msgID string, body []byte, keys [][]byte, now time.Time) {
	stamp := strconv.FormatInt(now.Unix(), 10)
	h.Set("Webhook-Id", msgID)
	h.Set("Webhook-Timestamp", stamp)
	h.Set("Ali-Rtc-Timestamp", stamp)
	var standard, ali []string
	for _, key := range keys {
		standard = append(standard, "v1,"+base64.StdEncoding.EncodeToString(mac(key, msgID, ".", stamp, ".", string(body))))
		ali = append(ali, hex.EncodeToString(mac(key, stamp, ".", string(body))))
	}
	if len(standard) > 0 {
		h.Set("Webhook-Signature", strings.Join(standard, " "))
		h.Set("Ali-Rtc-Signature", strings.Join(ali, " "))
	}
}

func mac(key []byte, parts ...string) []byte {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		m.Write([]byte(p))
	}
	return m.Sum(nil)
}

// headKeys are what a message is signed with: its application's secrets, or of a
// cloud recording the bytes of its NotifyAuthKey, which is no base64.
func headKeys(h *store.Head, secrets []string) [][]byte {
	if h.Kind != store.Recordings {
		return secretKeys(secrets)
	}
	if h.Secret == "" {
		return nil
	}
	return [][]byte{[]byte(h.Secret)}
}

func secretKeys(secrets []string) (keys [][]byte) {
	for _, s := range secrets {
		if s != "" {
			keys = append(keys, secretKey(s))
		}
	}
	return keys
}

// secretKey gives the bytes of a secret: base64, with or without "whsec_". A
// secret that is not base64 is taken as it is.
func secretKey(s string) []byte {
	text := strings.TrimPrefix(s, secretPrefix)
	if key, err := base64.StdEncoding.DecodeString(text); err == nil {
		return key
	}
	return []byte(text)
}
