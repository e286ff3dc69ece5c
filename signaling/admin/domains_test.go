package admin

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestDomain(t *testing.T) {
	s := start(t)
	a := s.do("POST", "/v1/domains", `{"name":"live.example.com","ingest":"rtmp://push.example.com","play":"https://play.example.com/x","auth_key":"secret123","auth_validity_seconds":60}`).expect(201)
	if strings.Contains(a.text, "secret123") || a.at("signed") != true || a.at("rts2") != false || a.header.Get("Location") != "/v1/domains/live.example.com" {
		t.Errorf("got %s at %s", a.text, a.header.Get("Location"))
	}
	s.do("POST", "/v1/domains", `{"name":"live.example.com","ingest":"rtmp://other"}`).expect(409, "already exists")
	s.do("POST", "/v1/domains", `{"name":"b","ingest":"rtmps://[2001:db8::1]:443"}`).expect(201, `"auth_validity_seconds":1800`, `"signed":false`)
	const path = "/v1/domains/live.example.com"
	for _, p := range []string{path, "/v1/domains"} {
		if a := s.do("GET", p, nil).expect(200); strings.Contains(a.text, "secret123") {
			t.Errorf("GET %s shows the key: %s", p, a.text)
		}
	}
	s.do("GET", path+"/key", nil).expect(200, `"auth_key":"secret123"`)
	s.do("GET", "/v1/domains/b/key", nil).expect(200, `"auth_key":""`)

	s.do("PATCH", path, `{"play":""}`).expect(428)
	s.do("PATCH", path, `{"play":""}`, "If-Match", `"9"`).expect(412)
	s.do("PATCH", path, `{"name":"c"}`, "If-Match", `"1"`).field("name", "no such field")
	a = s.do("PATCH", path, `{"play":"","auth_key":"","rts2":true,"ingest":"rtmp://h:1936"}`, "If-Match", `"1"`).expect(200)
	if a.str("play") != "" || a.at("signed") != false || a.at("rts2") != true || a.str("ingest") != "rtmp://h:1936" || a.etag() != `"2"` {
		t.Errorf("got %s with ETag %s", a.text, a.etag())
	}
	s.do("DELETE", path, nil, "If-Match", `"1"`).expect(412)
	s.do("DELETE", path, nil, "If-Match", `"2"`).expect(204)
	s.do("DELETE", path, nil).expect(404)
}

func TestDomainLimits(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ field, body, words string }{
		{"name", `{"ingest":"rtmp://h"}`, "is missing"},
		{"ingest", `{"name":"d"}`, "is missing"},
		{"name", `{"name":"Live.example.com","ingest":"rtmp://h"}`, "lower case"},
		{"name", `{"name":"a..b","ingest":"rtmp://h"}`, "host name"},
		{"name", `{"name":"-a","ingest":"rtmp://h"}`, "host name"},
		{"name", `{"name":"a/b","ingest":"rtmp://h"}`, "host name"},
		{"name", `{"name":"` + strings.Repeat("a.", 127) + `","ingest":"rtmp://h"}`, "1 to 253"},
		{"ingest", `{"name":"d","ingest":"http://h"}`, "rtmp://host"},
		{"ingest", `{"name":"d","ingest":"rtmp://"}`, "rtmp://host"},
		{"ingest", `{"name":"d","ingest":"rtmp://h:x"}`, "rtmp://host"},
		{"ingest", `{"name":"d","ingest":"rtmp://h/live"}`, "path"},
		{"ingest", `{"name":"d","ingest":"rtmp://h/"}`, "path"},
		{"ingest", `{"name":"d","ingest":"rtmp://h?a=b"}`, "query"},
		{"ingest", `{"name":"d","ingest":"rtmp://me:pw@h"}`, "user name"},
		{"ingest", `{"name":"d","ingest":"rtmp://` + strings.Repeat("a", 1024) + `"}`, "1 to 1024"},
		{"play", `{"name":"d","ingest":"rtmp://h","play":"ftp://h"}`, "http://host"},
		{"play", `{"name":"d","ingest":"rtmp://h","play":"http://h/"}`, "slash"},
		{"auth_key", `{"name":"d","ingest":"rtmp://h","auth_key":"short"}`, "6 to 128"},
		{"auth_key", `{"name":"d","ingest":"rtmp://h","auth_key":"with-dash"}`, "letters and digits"},
		{"auth_validity_seconds", `{"name":"d","ingest":"rtmp://h","auth_validity_seconds":0}`, "1 to 31622400"},
		{"rts2", `{"name":"d","ingest":"rtmp://h","rts2":"on"}`, "true or false"},
	} {
		s.do("POST", "/v1/domains", c.body).field(c.field, c.words)
	}
	name := strings.Repeat("a.", 126) + "b" // 253 characters
	s.do("POST", "/v1/domains", `{"name":"`+name+`","ingest":"rtmp://h"}`).expect(201)
	s.do("GET", "/v1/domains/"+name, nil).expect(200)
	if a := s.do("GET", "/v1/domains?limit=1", nil).expect(200); len(a.ids("name")) != 1 {
		t.Errorf("got %s", a.text)
	}
}

func TestDomainPages(t *testing.T) {
	s := start(t)
	add := func(name string) { s.do("POST", "/v1/domains", `{"name":"`+name+`","ingest":"rtmp://h"}`).expect(201) }
	for i := range 9 {
		add(fmt.Sprintf("d%d", i))
	}
	a := s.do("GET", "/v1/domains?limit=4", nil).expect(200)
	got := a.ids("name")
	add("a") // before the cursor
	add("e") // after it
	s.do("DELETE", "/v1/domains/d3", nil).expect(204)
	s.do("DELETE", "/v1/domains/d5", nil).expect(204)
	for a.next() != "" {
		a = s.do("GET", "/v1/domains?limit=4"+a.next(), nil).expect(200)
		got = append(got, a.ids("name")...)
	}
	if want := []string{"d0", "d1", "d2", "d3", "d4", "d6", "d7", "d8", "e"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRelaySettings(t *testing.T) {
	s := start(t)
	s.app("app1")
	s.do("POST", "/v1/domains", `{"name":"plain","ingest":"rtmp://h"}`).expect(201)
	s.do("POST", "/v1/domains", `{"name":"rts","ingest":"rtmp://h","rts2":true}`).expect(201)
	const path = "/v1/applications/app1/relay"
	a := s.do("GET", path, nil).expect(200)
	if want := `{"enabled":false,"single":false,"mix":false,"domain":"","app_name":"live","sei":{"interval_ms":0,"follow_idr":false}}`; strings.TrimSpace(a.text) != want || a.etag() != `"1"` {
		t.Errorf("at first: got %s with ETag %s, want %s", a.text, a.etag(), want)
	}
	s.do("PUT", path, `{"enabled":false}`).expect(428)
	s.do("PUT", path, `{"enabled":false}`, "If-Match", `"2"`).expect(412)
	for _, c := range []struct{ field, body, words string }{
		{"enabled", `{}`, "is missing"},
		{"enabled", `{"enabled":true}`, "nothing to relay"},
		{"app_name", `{"enabled":true,"mix":true,"app_name":""}`, "1 to 255"},
		{"app_name", `{"enabled":true,"mix":true,"app_name":"a/b"}`, "A-Za-z0-9-_="},
		{"app_name", `{"enabled":true,"mix":true,"app_name":"` + strings.Repeat("a", 256) + `"}`, "1 to 255"},
		{"domain", `{"enabled":true,"mix":true,"domain":"nothing"}`, "no streaming domain"},
		{"domain", `{"enabled":true,"mix":true,"domain":"rts"}`, "RTS 2.0"},
		{"sei", `{"enabled":true,"mix":true,"sei":[]}`, "not a JSON object"},
		{"sei", `{"enabled":true,"mix":true,"sei":{"interval_ms":0,"interval_ms":1}}`, "twice"},
		{"sei.interval_ms", `{"enabled":true,"mix":true,"sei":{"interval_ms":999}}`, "1000 to 5000"},
		{"sei.interval_ms", `{"enabled":true,"mix":true,"sei":{"interval_ms":5001}}`, "0 to 5000"},
		{"sei.colour", `{"enabled":true,"mix":true,"sei":{"colour":1}}`, "no such field"},
	} {
		s.do("PUT", path, c.body, "If-Match", `"1"`).field(c.field, c.words)
	}
	if told := s.tasks.told(); len(told) != 0 {
		t.Errorf("after refusals the relay was told %v", told)
	}
	s.do("PUT", path, `{"enabled":false,"domain":"rts"}`, "If-Match", `"1"`).field("domain", "RTS 2.0")
	a = s.do("PUT", path, `{"enabled":true,"single":true,"mix":true,"domain":"plain","app_name":"a-_=9","sei":{"interval_ms":5000,"follow_idr":true}}`, "If-Match", `"1"`).expect(200)
	if want := `{"enabled":true,"single":true,"mix":true,"domain":"plain","app_name":"a-_=9","sei":{"interval_ms":5000,"follow_idr":true}}`; strings.TrimSpace(a.text) != want || a.etag() != `"2"` {
		t.Errorf("got %s with ETag %s, want %s", a.text, a.etag(), want)
	}
	if told := s.tasks.told(); !slices.Equal(told, []string{"changed app1"}) {
		t.Errorf("the relay was told %v", told)
	}
	if got := s.do("GET", path, nil).text; got != a.text {
		t.Errorf("GET: got %s, want %s", got, a.text)
	}

	s.do("DELETE", "/v1/domains/plain", nil).expect(409, "app1")
	s.do("PATCH", "/v1/domains/plain", `{"rts2":true}`, "If-Match", "*").expect(409, "app1", "RTS 2.0")
	s.do("PATCH", "/v1/domains/plain", `{"auth_key":"another1"}`, "If-Match", "*").expect(200)
	if told := s.tasks.told(); !slices.Equal(told, []string{"changed app1"}) {
		t.Errorf("the domain has another key: the relay was told %v", told)
	}
	// What is left out of a PUT is the default again.
	s.do("PUT", path, `{"enabled":true,"mix":true}`, "If-Match", `"2"`).expect(200, `"single":false`, `"domain":""`, `"app_name":"live"`, `"interval_ms":0`)
	s.do("PATCH", "/v1/domains/plain", `{"rts2":true}`, "If-Match", "*").expect(200)
	s.do("DELETE", "/v1/domains/plain", nil).expect(204)
}
