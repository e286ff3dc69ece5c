package rtmp

import (
	"strings"
	"testing"
)

var urlCases = []struct {
	url                       string
	addr, app, stream, redact string // addr "": refused
}{
	{"rtmp://host/live/cam", "host:1935", "live", "cam", "rtmp://host:1935/live/c***"},
	{"rtmp://host:19350/live/mysecretkey?auth_key=1-2-3", "host:19350", "live", "mysecretkey?auth_key=1-2-3", "rtmp://host:19350/live/mys***"},
	{"rtmps://host/live2/abcd-efgh", "host:443", "live2", "abcd-efgh", "rtmps://host:443/live2/abc***"},
	{"rtmp://[::1]/live/cam", "[::1]:1935", "live", "cam", "rtmp://[::1]:1935/live/c***"},
	{"rtmp://host/a/b/name1", "host:1935", "a/b", "name1", "rtmp://host:1935/a/b/na***"},
	{"rtmp://host/live?vhost=v/name1?k=2", "host:1935", "live?vhost=v", "name1?k=2", "rtmp://host:1935/live/na***"},
	{"rtmp://user:pass@host/live/name1?a=b/c", "host:1935", "live", "name1?a=b/c", "rtmp://host:1935/live/na***"},
	{"rtmp://host/live/%E6%B5%8B%E8%AF%95x", "host:1935", "live", "%E6%B5%8B%E8%AF%95x", "rtmp://host:1935/live/%E6***"},
	{"rtmp://host/live", "", "", "", "***"},
	{"rtmp://host/live/", "", "", "", "***"},
	{"rtmp://host/", "", "", "", "***"},
	{"rtmp:///live/x", "", "", "", "***"},
	{"rtmp://:1935/live/x", "", "", "", "***"},
	{"http://host/live/secret", "", "", "", "***"},
	{"rtmp://host/live/secret%zz", "", "", "", "***"},
	{"rtmp://ho st/live/secret", "", "", "", "***"},
	{"rtmp://host/live/" + strings.Repeat("x", 5000), "", "", "", "***"},
	{"", "", "", "", "***"},
}

func TestParseURL(t *testing.T) {
	for _, c := range urlCases {
		if got := Redact(c.url); got != c.redact {
			t.Errorf("Redact(%.60q) = %q, want %q", c.url, got, c.redact)
		}
		u, err := parseURL(c.url)
		if c.addr == "" {
			if err == nil {
				t.Errorf("%.60q: got %+v, want an error", c.url, u)
			} else if strings.Contains(err.Error(), "secret") {
				t.Errorf("%.60q: the error tells the key: %v", c.url, err)
			}
			continue
		}
		if err != nil || u.addr != c.addr || u.app != c.app || u.stream != c.stream {
			t.Errorf("%q: got %+v %v", c.url, u, err)
		}
	}
}

func TestScrub(t *testing.T) {
	u, err := parseURL("rtmp://host/live/mykey?auth=abcdef123")
	if err != nil {
		t.Fatal(err)
	}
	got := u.scrub("stream live/mykey?auth=abcdef123 (mykey) token abcdef123 is in use")
	if want := "stream live/*** (***) token *** is in use"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func FuzzRedact(f *testing.F) {
	for _, c := range urlCases {
		f.Add(c.url)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := Redact(raw)
		u, err := parseURL(raw)
		if err != nil {
			return
		}
		name, query, _ := strings.Cut(u.stream, "?")
		if len(query) > 20 && strings.Contains(got, query) || len(name) > 20 && strings.Contains(got, name) && !strings.Contains(u.app+u.addr, name) {
			t.Fatalf("%q still tells %q or %q", got, name, query)
		}
	})
}
