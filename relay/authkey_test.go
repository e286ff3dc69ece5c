package relay

import (
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
