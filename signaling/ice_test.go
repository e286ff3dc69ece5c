package signaling

import (
	"testing"
	"time"
)

// The credentials are those that coturn's use-auth-secret computes: checked
// against `printf '1700003600:ann' | openssl dgst -sha1 -hmac s3cret -binary | base64`.
func TestICEServersFor(t *testing.T) {
	all := []ICE{{URLs: []string{"stun:a"}}, {URLs: []string{"turn:b"}, Username: "u", Credential: "c"}, {URLs: []string{"turn:d"}, Secret: "s3cret", TTL: time.Hour}}
	got := ICEServersFor(all, "ann", time.Unix(1700000000, 0))
	if len(got) != 3 || got[0].Username != "" || got[1].Credential != "c" {
		t.Fatalf("got %+v", got)
	}
	if got[2].Username != "1700003600:ann" || got[2].Credential != "xAZSDIBug/hLIeLLx1m9nxFIOII=" {
		t.Errorf("got %+v", got[2])
	}
	if got := ICEServersFor(nil, "ann", time.Now()); got == nil {
		t.Error("nothing is an empty list in JSON, not null")
	}
}
