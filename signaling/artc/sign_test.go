package artc

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The official vector of artc-api.md section 11.1.
func TestACS3OfficialVector(t *testing.T) {
	req, err := http.NewRequest("POST", "https://ecs.cn-shanghai.aliyuncs.com/?RegionId=cn-shanghai&ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-acs-action", "RunInstances")
	req.Header.Set("x-acs-version", "2014-05-26")
	now := time.Date(2023, 10, 26, 10, 22, 32, 0, time.UTC)
	if err := Sign(req, "YourAccessKeyId", "YourAccessKeySecret", now, "3156853299f313e23d1673dc12e1703d"); err != nil {
		t.Fatal(err)
	}
	want := "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
	if got := req.Header.Get("Authorization"); got != want {
		t.Fatalf("Authorization:\ngot  %s\nwant %s", got, want)
	}
}

// The canonical request that artc-api.md section 12.3 shows, by its hash.
func TestACS3StringToSign(t *testing.T) {
	h := http.Header{}
	for k, v := range map[string]string{
		"x-acs-action": "CreateEventSub", "x-acs-version": Version, "x-acs-date": "2026-11-22T13:37:35Z",
		"x-acs-signature-nonce": "0eb6ad9ec15cdef75b4cb650c7101fdb", "x-acs-credentials-provider": "static_ak",
		"x-acs-content-sha256": hexHash(nil),
	} {
		h.Set(k, v)
	}
	query := map[string]string{"AppId": "app1", "CallbackUrl": "http://127.0.0.1:9/cb?a=1&b=x y", "ChannelId": "*",
		"Events.1": "ChannelEvent", "Events.2": "UserEvent", "Users.1": "u1", "Users.2": "u2"}
	got := acs3StringToSign("POST", "/", query, "127.0.0.1:41481", h, signedNames(h), nil)
	want := "ACS3-HMAC-SHA256\ncbc9a5020a5db149caacb1d6d82bc3f1fe9710cd6180c5284255f2f91b538c7a"
	if got != want {
		t.Fatalf("string to sign: got %q, want %q", got, want)
	}
}

// The official vector of artc-api.md section 11.2.
func TestRPCOfficialVector(t *testing.T) {
	params := map[string]string{
		"AccessKeyId": "testid", "Action": "DescribeRegions", "Format": "XML", "Version": "2014-05-26",
		"SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf", "Timestamp": "2016-02-23T12:46:24Z",
		"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "Signature": "is left out",
	}
	toSign := rpcStringToSign("GET", params)
	if want := "GET&%2F&AccessKeyId%3Dtestid%26Action%3DDescribeRegions"; !strings.HasPrefix(toSign, want) {
		t.Errorf("string to sign %q does not begin with %q", toSign, want)
	}
	got := base64.StdEncoding.EncodeToString(rpcSum("testsecret", toSign))
	if want := "OLeaidS1JvxuMvnyHOwuJ+uX5qY="; got != want {
		t.Fatalf("signature: got %s, want %s", got, want)
	}
}

func TestSignKeepsTheBody(t *testing.T) {
	req, _ := http.NewRequest("POST", "http://h/", strings.NewReader("A=1"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := Sign(req, "k", "s", time.Unix(0, 0), "n"); err != nil {
		t.Fatal(err)
	}
	var body strings.Builder
	if err := req.Write(&body); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(body.String(), "\r\n\r\nA=1") {
		t.Errorf("the body is gone: %q", body.String())
	}
	if got, want := req.Header.Get("x-acs-content-sha256"), hexHash([]byte("A=1")); got != want {
		t.Errorf("content hash: got %s, want %s", got, want)
	}
	if !strings.Contains(req.Header.Get("Authorization"), "SignedHeaders=content-type;host;") {
		t.Errorf("content-type is not signed: %s", req.Header.Get("Authorization"))
	}
}

func TestPercent(t *testing.T) {
	for in, want := range map[string]string{
		"aZ09-_.~": "aZ09-_.~", " ": "%20", "+": "%2B", "*": "%2A", "/:?&=": "%2F%3A%3F%26%3D", "中": "%E4%B8%AD",
	} {
		if got := percent(in); got != want {
			t.Errorf("percent(%q): got %s, want %s", in, got, want)
		}
	}
}

func TestNonces(t *testing.T) {
	key := func(b byte) (k [16]byte) { k[0] = b; return k }
	start := time.Date(2026, 11, 22, 13, 37, 35, 0, time.UTC)
	n := newNonces(3)
	use := func(b byte, after, stamped time.Duration) error {
		return n.use(key(b), start.Add(after), start.Add(stamped))
	}
	for _, c := range []struct {
		what           string
		nonce          byte
		after, stamped time.Duration
		want           error
	}{
		{"first use", 1, 0, 0, nil},
		{"replay at once", 1, 0, 0, errNonceUsed},
		{"replay with another time stamp", 1, time.Minute, time.Minute, errNonceUsed},
		{"stamped ahead", 2, 0, skew, nil},
		{"replay at the last moment", 1, skew, 0, errNonceUsed},
		{"third", 3, skew, skew, nil},
		{"full", 4, skew, skew, errThrottled},
		{"full, but a replay is still told", 3, skew, skew, errNonceUsed},
		{"a minute later the first is forgotten", 4, skew + time.Minute, skew + time.Minute, nil},
		{"the one stamped ahead is still known", 2, 2 * skew, skew, errNonceUsed},
	} {
		if got := use(c.nonce, c.after, c.stamped); got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
	use(9, 24*time.Hour, 24*time.Hour)
	if n.count != 1 || len(n.sets) != 1 {
		t.Errorf("a day later: %d nonces in %d sets, want 1 in 1", n.count, len(n.sets))
	}
}
