package relay

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/url"
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
func SignURL(rawURL, key string, now time.Time) string {
	u, err := url.Parse(rawURL)
	if err != nil || key == "" {
		return rawURL
	}
	sign := "auth_key=" + authKey(u.EscapedPath(), now.Unix(), "0", "0", key)
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
