package signaling

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ICEServer is what browsers take in RTCConfiguration.iceServers.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// ICE is a STUN or TURN server that clients are told to use.
type ICE struct {
	URLs                 []string
	Username, Credential string
	// Secret is shared with the TURN server (coturn's use-auth-secret): each user
	// gets credentials of its own that end after TTL. Then Username and Credential
	// are empty.
	Secret string
	TTL    time.Duration
}

// ICEServersFor is what a user is told at a moment. It is never nil.
func ICEServersFor(all []ICE, user string, now time.Time) []ICEServer {
	out := make([]ICEServer, 0, len(all))
	for _, s := range all {
		one := ICEServer{s.URLs, s.Username, s.Credential}
		if s.Secret != "" {
			one.Username, one.Credential = timeLimited(s.Secret, user, now.Add(s.TTL))
		}
		out = append(out, one)
	}
	return out
}

// timeLimited makes credentials as the TURN REST API has them
// (draft-uberti-behave-turn-rest-00 section 2.2).
func timeLimited(secret, user string, expires time.Time) (username, credential string) {
	username = fmt.Sprintf("%d:%s", expires.Unix(), user)
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(username))
	return username, base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// LinkICE tells a client its ICE servers in Link fields (RFC 9725 section 4.6).
// Those with a credential are left out when secrets is false.
func LinkICE(h http.Header, servers []ICEServer, secrets bool) {
	for _, s := range servers {
		if s.Credential != "" && !secrets {
			continue
		}
		for _, u := range s.URLs {
			link := "<" + u + `>; rel="ice-server"`
			if s.Credential != "" {
				link += "; username=" + quoted(s.Username) + "; credential=" + quoted(s.Credential) + `; credential-type="password"`
			}
			h.Add("Link", link)
		}
	}
}

// quoted writes a quoted-string (RFC 9110 section 5.6.4).
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
