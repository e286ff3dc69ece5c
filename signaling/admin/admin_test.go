package admin

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"braid/signaling/artc"
)

// signed makes a request that the access key testid signs.
func (s *server) signed(method, path, body string) *http.Request {
	s.t.Helper()
	var sent any
	if body != "" {
		sent = body
	}
	req := s.request(method, path, sent)
	req.Header.Del("Authorization")
	s.sign(req, "testid", "testsecret", s.clock())
	return req
}

func (s *server) sign(req *http.Request, id, secret string, at time.Time) {
	s.t.Helper()
	if err := artc.Sign(req, id, secret, at, "n"+strconv.FormatInt(s.nonce.Add(1), 10)); err != nil {
		s.t.Fatal(err)
	}
}

func TestAdminTokens(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		name    string
		headers []string
		status  int
		words   string
	}{
		{"right", []string{"Bearer " + adminToken}, 200, `"items":[]`},
		{"another right one", []string{"Bearer another"}, 200, ""},
		{"scheme in other case", []string{"bearer  " + adminToken}, 200, ""},
		{"none", nil, 401, "Authorization is missing"},
		{"wrong", []string{"Bearer " + adminToken + "s"}, 401, "not an admin token"},
		{"empty, and the config has an empty one", []string{"Bearer "}, 401, "not an admin token"},
		{"no token", []string{"Bearer"}, 401, "not an admin token"},
		{"two", []string{"Bearer " + adminToken, "Bearer " + adminToken}, 401, "twice"},
		{"password", []string{"Basic dGVzdGlkOnRlc3RzZWNyZXQ="}, 401, `\"Basic\" is not supported`},
		{"the token in a query is not looked at", nil, 401, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.in(t)
			req := s.request("GET", "/v1/applications?access_token="+strings.ReplaceAll(adminToken, " ", "+"), nil)
			if c.status == 200 {
				req.URL.RawQuery = ""
			}
			req.Header.Del("Authorization")
			for _, h := range c.headers {
				req.Header.Add("Authorization", h)
			}
			a := s.send(req).expect(c.status, c.words)
			want := "Bearer realm=\"braid\", ACS3-HMAC-SHA256 realm=\"braid\""
			if got := strings.Join(a.header.Values("WWW-Authenticate"), ", "); c.status == 401 && got != want {
				t.Errorf("WWW-Authenticate: got %s, want %s", got, want)
			}
		})
	}
}

func TestSignatures(t *testing.T) {
	s := start(t)
	s.app("app1")
	s.send(s.signed("GET", "/v1/applications?limit=2", "")).expect(200, `"app1"`)
	s.send(s.signed("POST", "/v1/applications", `{"name":"signed"}`)).expect(201)

	patch := func() *http.Request {
		req := s.request("PATCH", "/v1/applications/app1", `{"name":"renamed"}`, "If-Match", `*`)
		req.Header.Del("Authorization")
		return req
	}
	again := patch()
	s.sign(again, "testid", "testsecret", s.clock())
	s.send(again).expect(200)
	for _, c := range []struct {
		name, words string
		change      func(*http.Request)
	}{
		{"replayed", "SignatureNonceUsed", func(r *http.Request) { r.Header = again.Header.Clone() }},
		{"an unknown key", "InvalidAccessKeyId.NotFound", func(r *http.Request) { s.sign(r, "nobody", "testsecret", s.clock()) }},
		{"a key without a secret", "InvalidAccessKeyId.NotFound", func(r *http.Request) { s.sign(r, "empty", "", s.clock()) }},
		{"a wrong secret", "SignatureDoesNotMatch", func(r *http.Request) { s.sign(r, "testid", "wrong", s.clock()) }},
		{"16 minutes old", "InvalidTimeStamp.Expired", func(r *http.Request) { s.sign(r, "testid", "testsecret", s.clock().Add(-16*time.Minute)) }},
		{"16 minutes ahead", "InvalidTimeStamp.Expired", func(r *http.Request) { s.sign(r, "testid", "testsecret", s.clock().Add(16*time.Minute)) }},
		{"another body", "SignatureDoesNotMatch", func(r *http.Request) {
			s.sign(r, "testid", "testsecret", s.clock())
			const body = `{"name":"tampered"}`
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			r.GetBody = nil
		}},
		{"another path", "SignatureDoesNotMatch", func(r *http.Request) {
			s.sign(r, "testid", "testsecret", s.clock())
			r.URL.Path = "/v1/applications/app2"
		}},
		{"another method", "SignatureDoesNotMatch", func(r *http.Request) {
			s.sign(r, "testid", "testsecret", s.clock())
			r.Method = "PUT"
		}},
		{"content type not signed", "does not contain content-type", func(r *http.Request) {
			s.sign(r, "testid", "testsecret", s.clock())
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "content-type;", "", 1))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.in(t)
			req := patch()
			c.change(req)
			s.send(req).expect(401, c.words)
		})
	}
	if name := s.do("GET", "/v1/applications/app1", nil).str("name"); name != "renamed" {
		t.Errorf("a refused request has changed the name to %q", name)
	}
}

// Every route wants credentials, and knows what is not there.
func TestEveryRoute(t *testing.T) {
	s := start(t)
	fill := strings.NewReplacer("{app}", "nothing", "{domain}", "nothing", "{task}", "nothing", "{callback}", "nothing",
		"{message}", "nothing", "{template}", "nothing", "{channel}", "nothing", "{user}", "nothing", "{administrator}", "nothing")
	bodies := map[string]string{
		"rotate-key": `{"keep_previous_seconds":0}`, "rotate-signing-key": `{"keep_previous_seconds":0}`,
		"relay": `{"enabled":false}`, "tokens": `{"channel":"c","user":"u","subscribe":true}`,
		"callbacks": `{"kind":"room","url":"http://h/","events":["UserEvent"]}`, "nothing": `{}`, "templates": `{"kind":"record"}`,
	}
	for _, rt := range s.handler.routes {
		t.Run(rt.method+" "+rt.pattern, func(t *testing.T) {
			s.in(t)
			path := "/v1/" + fill.Replace(rt.pattern)
			var body any
			if rt.body == needBody {
				body = bodies[path[strings.LastIndex(path, "/")+1:]]
				if strings.HasSuffix(rt.pattern, "{callback}") {
					body = `{"url":"http://h/"}`
				}
				if strings.HasSuffix(rt.pattern, "{template}") {
					body = `{"kind":"record"}`
				}
			}
			req := s.request(rt.method, path, body)
			req.Header.Del("Authorization")
			s.send(req).expect(401)
			if strings.Contains(rt.pattern, "{") {
				s.do(rt.method, path, body, "If-Match", "*").expect(404, `"status":404`)
			}
			s.do(rt.method, path+"?unknown=1", body, "If-Match", "*").field("unknown", "there is no such parameter")
			if rt.body == noBody {
				s.do(rt.method, path, `{}`, "If-Match", "*").expect(400, "takes no body")
				return
			}
			s.do(rt.method, path, `{}`, "If-Match", "*", "Content-Type", "text/plain").expect(415, "application/json")
			s.do(rt.method, path, `{}`, "If-Match", "*", "Content-Encoding", "gzip").expect(415, "gzip")
			s.do(rt.method, path, strings.Repeat(" ", maxBody+1), "If-Match", "*").expect(413, "1048576")
		})
	}
}

func TestMethodsAndPaths(t *testing.T) {
	s := start(t)
	s.app("app1")
	a := s.do("PUT", "/v1/applications", `{}`).expect(405, "has no method PUT")
	if got, want := a.header.Get("Allow"), "GET, HEAD, POST"; got != want {
		t.Errorf("Allow: got %s, want %s", got, want)
	}
	a = s.do("GET", "/v1/applications/app1/tokens", nil).expect(405)
	if got, want := a.header.Get("Allow"), "POST"; got != want {
		t.Errorf("Allow: got %s, want %s", got, want)
	}
	for _, path := range []string{"/v1", "/v1/", "/v2/applications", "/v1/applications/", "/v1/nothing", "/v1/applications/app1/nothing",
		"/v1/applications//key", "/v1/applications/../domains", "/v1/applications/app1%2Fkey"} {
		s.do("GET", path, nil).expect(404)
	}
	get, head := s.do("GET", "/v1/applications/app1", nil).expect(200), s.do("HEAD", "/v1/applications/app1", nil).expect(200)
	if head.text != "" || head.etag() != get.etag() || head.header.Get("Content-Type") != "application/json" ||
		head.header.Get("Content-Length") != strconv.Itoa(len(get.text)) {
		t.Errorf("HEAD: got %v %q, want GET's headers and no body", head.header, head.text)
	}
	s.do("POST", "/v1/applications", `{"name":"x"}`, "Content-Type", "application/json; charset=utf-8").expect(201)
}

func TestBodies(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ body, field, words string }{
		{`{"name":"x","colour":"red"}`, "colour", "there is no such field"},
		{`{"Name":"x"}`, "Name", "there is no such field"},
		{`{}`, "name", "is missing"},
		{`{"name":null}`, "name", "is null"},
		{`{"name":1}`, "name", "is not a string"},
		{`{"name":""}`, "name", "is empty"},
		{`{"name":"` + strings.Repeat("é", maxName+1) + `"}`, "name", "has 129 characters"},
		{`{"name":"a\u0000b"}`, "name", "cannot be printed"},
		{`{"name":"x","id":"a b"}`, "id", "A-Za-z0-9_-"},
		{`{"name":"x","id":""}`, "id", "A-Za-z0-9_-"},
		{`{"name":"x","id":"` + strings.Repeat("a", 65) + `"}`, "id", "A-Za-z0-9_-"},
		{`{"name":"x","` + strings.Repeat("a", 100) + `":1}`, strings.Repeat("a", 64) + "…", "there is no such field"},
	} {
		s.do("POST", "/v1/applications", c.body).field(c.field, c.words)
	}
	for _, c := range []struct{ body, words string }{
		{``, "the body is empty"},
		{`[]`, "not a JSON object"},
		{`"name"`, "not a JSON object"},
		{`{"name":"x"`, "not JSON"},
		{`{"name":x}`, "not JSON"},
		{`{name:"x"}`, "not JSON"},
		{`{"name":"x"}{}`, "something follows"},
		{`{"name":"x","name":"y"}`, "there twice"},
		{"{\"name\":\"\xff\"}", "not UTF-8"},
	} {
		s.do("POST", "/v1/applications", c.body).expect(400, c.words)
	}
	if got := s.do("GET", "/v1/applications", nil).ids("id"); len(got) != 0 {
		t.Errorf("refused requests have created %v", got)
	}
	s.do("POST", "/v1/applications", `{"name":"`+strings.Repeat("é", maxName)+`","id":"`+strings.Repeat("a", 64)+`"}`).expect(201)
	s.do("POST", "/v1/applications", `{"name":"x","id":"`+strings.Repeat("a", 64)+`"}`).expect(409, "already exists")
}
