package relay

import (
	"errors"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The first vector is the one that Alibaba Cloud publishes for type A (CDN help,
// doc-detail/57388); the others are md5sum's.
func TestAuthKey(t *testing.T) {
	for _, c := range []struct {
		uri            string
		timestamp      int64
		rand, uid, key string
		want           string
	}{
		{"/video/standard/1K.html", 1444435200, "0", "0", "aliyuncdnexp1234", "1444435200-0-0-80cd3862d699b7118eed99103f2a3a4f"},
		{"/live/s", 1700000000, "0", "0", "secret", "1700000000-0-0-9ba7a36c533099fac96d5f8da908abc1"},
		{"/live/app_room_ann_camera", 1, "x", "7", "k", "1-x-7-8227124365334441cea154f293c08cc5"},
	} {
		if got := authKey(c.uri, c.timestamp, c.rand, c.uid, c.key); got != c.want {
			t.Errorf("%s: got %s, want %s", c.uri, got, c.want)
		}
	}
}

func TestSignURL(t *testing.T) {
	at := time.Unix(1700000000, 999)
	const sign = "auth_key=1700000000-0-0-9ba7a36c533099fac96d5f8da908abc1"
	for _, c := range []struct{ url, key, want string }{
		{"rtmp://h/live/s", "secret", "rtmp://h/live/s?" + sign},
		{"rtmps://h:443/live/s?", "secret", "rtmps://h:443/live/s?" + sign},
		{"rtmp://h/live/s?vhost=x", "secret", "rtmp://h/live/s?vhost=x&" + sign},
		{"rtmp://h/live/s", "", "rtmp://h/live/s"},
		{"rtmp://h/%zz", "secret", "rtmp://h/%zz"},
	} {
		if got := SignURL(c.url, c.key, at); got != c.want {
			t.Errorf("%s: got %s, want %s", c.url, got, c.want)
		}
	}
	if again := SignURL("rtmp://h/live/s", "secret", at.Add(time.Second)); strings.HasSuffix(again, sign) {
		t.Error("a second later the signature is the same")
	}
}

var authKeyCases = []struct {
	name, uri, value string
	want             error
}{
	{"right", "/live/s", "1700000000-0-0-9ba7a36c533099fac96d5f8da908abc1", nil},
	{"in capitals", "/live/s", "1700000000-0-0-9BA7A36C533099FAC96D5F8DA908ABC1", nil},
	{"none", "/live/s", "", ErrNoAuthKey},
	{"of another path", "/live/s.flv", "1700000000-0-0-9ba7a36c533099fac96d5f8da908abc1", ErrAuthKeyWrong},
	{"another timestamp", "/live/s", "1700000001-0-0-9ba7a36c533099fac96d5f8da908abc1", ErrAuthKeyWrong},
	{"last digit", "/live/s", "1700000000-0-0-9ba7a36c533099fac96d5f8da908abc2", ErrAuthKeyWrong},
	{"short md5", "/live/s", "1700000000-0-0-9ba7a36c533099fac96d5f8da908abc", ErrAuthKeyForm},
	{"no hex", "/live/s", "1700000000-0-0-9ba7a36c533099fac96d5f8da908abcx", ErrAuthKeyForm},
	{"three parts", "/live/s", "1700000000-0-9ba7a36c533099fac96d5f8da908abc1", ErrAuthKeyForm},
	{"five parts", "/live/s", "1700000000-0-0-0-9ba7a36c533099fac96d5f8da908abc1", ErrAuthKeyForm},
	{"no timestamp", "/live/s", "-0-0-9ba7a36c533099fac96d5f8da908abc1", ErrAuthKeyForm},
	{"signed timestamp", "/live/s", "+1700000000-0-0-9ba7a36c533099fac96d5f8da908abc1", ErrAuthKeyForm},
	{"milliseconds", "/live/s", "1700000000000-0-0-9ba7a36c533099fac96d5f8da908abc1", ErrAuthKeyForm},
	{"too long", "/live/s", "1700000000-" + strings.Repeat("x", 300) + "-0-9ba7a36c533099fac96d5f8da908abc1", ErrAuthKeyForm},
}

func TestCheckAuthKey(t *testing.T) {
	made := time.Unix(1700000000, 0)
	for _, c := range authKeyCases {
		if err := CheckAuthKey(c.uri, c.value, "secret", made.Add(time.Minute), time.Hour); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	good := authKeyCases[0]
	for after, want := range map[time.Duration]error{
		-time.Hour: nil, 0: nil, time.Hour - time.Second: nil, time.Hour: ErrAuthKeyExpired, 99 * time.Hour: ErrAuthKeyExpired,
	} {
		if err := CheckAuthKey(good.uri, good.value, "secret", made.Add(after), time.Hour); !errors.Is(err, want) {
			t.Errorf("%v after: got %v, want %v", after, err, want)
		}
	}
}

// What SignURL makes, CheckAuthKey takes; any other text it refuses without a panic.
func FuzzAuthKey(f *testing.F) {
	for _, c := range authKeyCases {
		f.Add(c.uri, c.value, "secret")
	}
	now := time.Unix(1700000000, 0)
	f.Fuzz(func(t *testing.T, uri, value, key string) {
		err := CheckAuthKey(uri, value, key, now, time.Hour)
		if err == nil && len(value) > maxAuthKey {
			t.Fatalf("%q is taken", value)
		}
		u := (&url.URL{Scheme: "rtmp", Host: "h", Path: "/" + uri}).String()
		signed, err := url.Parse(SignURL(u, key, now))
		if key == "" || err != nil {
			return
		}
		if err := CheckAuthKey(signed.EscapedPath(), signed.Query().Get("auth_key"), key, now, time.Hour); err != nil {
			t.Fatalf("%s: %v", signed, err)
		}
	})
}

// TestDocumentedAddresses: what doc/origin.md shows as an example holds.
func TestDocumentedAddresses(t *testing.T) {
	doc, err := os.ReadFile("../doc/origin.md")
	if err != nil {
		t.Fatal(err)
	}
	urls := regexp.MustCompile(`(?m)^(rtmp|https)://live\.example\.com/\S+$`).FindAllString(string(doc), -1)
	if len(urls) < 5 {
		t.Fatalf("only %d examples: %q", len(urls), urls)
	}
	for _, example := range urls {
		u, err := url.Parse(example)
		if err != nil {
			t.Fatal(err)
		}
		made := time.Unix(1_790_000_000, 0)
		if err := CheckAuthKey(u.EscapedPath(), u.Query().Get("auth_key"), "abcdef123456", made.Add(29*time.Minute), 30*time.Minute); err != nil {
			t.Errorf("%s: %v", example, err)
		}
		if got := SignURL("rtmp://live.example.com"+u.EscapedPath(), "abcdef123456", made); !strings.HasSuffix(got, u.Query().Get("auth_key")) {
			t.Errorf("%s: SignURL gives %s", example, got)
		}
	}
}
