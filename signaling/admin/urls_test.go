package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/media"
	"braid/relay"
	"braid/store"
)

func TestDomainURLs(t *testing.T) {
	s := start(t)
	s.do("POST", "/v1/domains", `{"name":"signed","ingest":"rtmp://push","play":"https://play/x","auth_key":"abcdef","auth_validity_seconds":60}`).expect(201)
	s.do("POST", "/v1/domains", `{"name":"plain","ingest":"rtmps://push:443","play":"rtmp://play"}`).expect(201)
	s.do("POST", "/v1/domains", `{"name":"blind","ingest":"rtmp://push"}`).expect(201)

	a := s.do("GET", "/v1/domains/signed/urls?stream=v_lobby_mix&app_name=show", nil).expect(200, `"expires":"2026-11-22T13:01:00Z"`)
	now := time.UnixMilli(s.now.Load())
	for _, u := range []string{"rtmp://push/show/v_lobby_mix", "https://play/x/show/v_lobby_mix.flv", "https://play/x/show/v_lobby_mix.m3u8"} {
		if want := relay.SignURL(u, "abcdef", now); !strings.Contains(a.text, want) {
			t.Errorf("got %s, want %s", a.text, want)
		}
	}
	s.do("GET", "/v1/domains/plain/urls?stream=a", nil).expect(200, `"ingest":"rtmps://push:443/live/a","play":["rtmp://play/live/a"]}`)
	s.do("GET", "/v1/domains/blind/urls?stream=a", nil).expect(200, `"play":[]`)
	for _, c := range []struct{ field, query string }{{"stream", ""}, {"stream", "?stream=a%2Fb"}, {"app_name", "?stream=a&app_name=a%20b"}, {"x", "?stream=a&x=1"},
		{"expires_in", "?stream=a&expires_in=0"}, {"expires_in", "?stream=a&expires_in=31622401"}, {"expires_in", "?stream=a&expires_in=1h"}, {"forms", "?stream=a&forms=few"},
	} {
		s.do("GET", "/v1/domains/plain/urls"+c.query, nil).field(c.field, "")
	}
	s.do("GET", "/v1/domains/other/urls?stream=a", nil).expect(404)
}

// plays are the play addresses of an answer.
func plays(a answer) (all []string) {
	for _, u := range a.body["play"].([]any) {
		all = append(all, u.(string))
	}
	return all
}

// TestExpiresIn: an address holds for as long as it was asked to, whatever the
// domain's validity, in every form; the origin checks as it always does.
func TestExpiresIn(t *testing.T) {
	s := start(t)
	s.do("POST", "/v1/domains", `{"name":"signed","ingest":"rtmp://push","play":"https://play/x","auth_key":"abcdef","auth_validity_seconds":600}`).expect(201)
	s.do("POST", "/v1/domains", `{"name":"plain","ingest":"rtmp://push","play":"https://play/x"}`).expect(201)
	now := s.clock()
	for _, in := range []int{1, 60, 600, 601, 86400, 31622400} {
		end := now.Add(time.Duration(in) * time.Second)
		a := s.do("GET", fmt.Sprintf("/v1/domains/signed/urls?stream=cam&forms=all&expires_in=%d", in), nil).expect(200, end.Format(`"expires":"2006-01-02T15:04:05Z"`))
		all := append(plays(a), a.str("ingest"))
		if len(all) != 7 {
			t.Fatalf("got %q", all)
		}
		for _, raw := range all {
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			check := func(at time.Time) error {
				return relay.CheckAuthKey(u.EscapedPath(), u.Query().Get("auth_key"), "abcdef", at, 600*time.Second)
			}
			if before, after := check(end.Add(-time.Millisecond)), check(end); before != nil || after != relay.ErrAuthKeyExpired {
				t.Errorf("%d s, %s: just before its end %v, at its end %v", in, raw, before, after)
			}
		}
	}
	if a := s.do("GET", "/v1/domains/plain/urls?stream=cam&expires_in=60", nil).expect(200); strings.Contains(a.text, "auth_key") || strings.Contains(a.text, "expires") {
		t.Errorf("without a key: got %s", a.text)
	}
}

// TestForms: other origins are not said to have what only braid's own has.
func TestForms(t *testing.T) {
	s := start(t)
	s.do("POST", "/v1/domains", `{"name":"here.example.com","ingest":"rtmp://here:1936","play":"https://here"}`).expect(201)
	s.do("POST", "/v1/domains", `{"name":"rtmp.example.com","ingest":"rtmp://in","play":"rtmp://out"}`).expect(201)
	s.do("POST", "/v1/domains", `{"name":"blind.example.com","ingest":"rtmp://in"}`).expect(201)
	s.handler.own = func(r *http.Request) (Own, error) {
		return Own{Domain: store.Domain{Ingest: "rtmp://own", Play: "http://" + r.Host, Validity: time.Minute}, Closed: true}, nil
	}
	s.streams.on = []Stream{{Domain: "here.example.com", App: "live", Name: "cam", Jobs: []Job{}}, {App: "live", Name: "own", Jobs: []Job{}}}
	two := []string{"https://here/live/cam.flv", "https://here/live/cam.m3u8"}
	six := append(slices.Clone(two), "https://here/live/cam/fmp4.m3u8", "https://here/live/cam/ll.m3u8", "https://here/live/cam/master.m3u8", "rtmp://here:1936/live/cam")
	other := func(all []string) (out []string) {
		for _, u := range all {
			out = append(out, strings.Replace(u, "/cam", "/other", 1))
		}
		return out
	}
	at := strings.TrimPrefix(s.url, "http://")
	for _, c := range []struct {
		path string
		want []string
	}{
		{"domains/here.example.com/urls?stream=cam", six},
		{"domains/here.example.com/urls?stream=cam&forms=common", two},
		{"domains/here.example.com/urls?stream=other", other(two)},
		{"domains/here.example.com/urls?stream=other&forms=all", other(six)},
		{"domains/here.example.com/urls?stream=own", []string{"https://here/live/own.flv", "https://here/live/own.m3u8"}}, // on air, and not there
		{"domains/rtmp.example.com/urls?stream=cam&forms=all", []string{"rtmp://out/live/cam"}},
		{"domains/blind.example.com/urls?stream=cam", nil},
		{"origin/urls?stream=none", []string{"http://" + at + "/live/none.flv", "http://" + at + "/live/none.m3u8", "http://" + at + "/live/none/fmp4.m3u8",
			"http://" + at + "/live/none/ll.m3u8", "http://" + at + "/live/none/master.m3u8", "rtmp://own/live/none"}},
	} {
		if got := plays(s.do("GET", "/v1/"+c.path, nil).expect(200)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.path, got, c.want)
		}
	}
}

func TestOwnOrigin(t *testing.T) {
	s := start(t)
	s.do("GET", "/v1/origin", nil).expect(404)
	s.do("GET", "/v1/origin/urls?stream=a", nil).expect(404)
	own := Own{Domain: store.Domain{Ingest: "rtmp://h", Play: "http://h", AuthKey: "5ecret5", Validity: time.Minute}, HostOf: "live.example.com"}
	var failure error
	s.handler.own = func(*http.Request) (Own, error) { return own, failure }
	if a := s.do("GET", "/v1/origin", nil).expect(200, `"signed":true,"auth_validity_seconds":60,"open":false,"closed":false,"host_of":"live.example.com"`); strings.Contains(a.text, "5ecret5") {
		t.Errorf("it shows the key: %s", a.text)
	}
	s.do("GET", "/v1/origin?x=1", nil).field("x", "no such parameter")
	failure = fmt.Errorf("the store is away: %w", media.ErrClosed)
	s.do("GET", "/v1/origin", nil).expect(503)
}
