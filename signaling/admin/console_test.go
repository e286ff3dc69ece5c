package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"braid/event"
	"braid/relay"
	"braid/store"
)

const password = "correct horse battery"

// signIn makes an administrator and gives the cookie of a sign-in.
func (s *server) signIn(name string, role store.Role) (cookie string) {
	s.t.Helper()
	s.do("POST", "/v1/administrators", map[string]any{"name": name, "role": role, "password": password}).expect(201)
	return s.cookie(name)
}

// cookie signs in.
func (s *server) cookie(name string) string {
	s.t.Helper()
	body := fmt.Sprintf(`{"name":%q,"password":%q}`, name, password)
	req, _ := http.NewRequest("POST", s.url+"/console/session", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		s.t.Fatalf("sign in as %s: %s", name, res.Status)
	}
	return res.Cookies()[0].String()
}

// by sends a request with a cookie alone.
func (s *server) by(cookie, method, path string, body any, headers ...string) answer {
	s.t.Helper()
	req := s.request(method, path, body, headers...)
	req.Header.Del("Authorization")
	name, value, _ := strings.Cut(strings.Split(cookie, ";")[0], "=")
	req.AddCookie(&http.Cookie{Name: name, Value: value})
	return s.send(req)
}

// An administrator's cookie is as good as a token, but for other sites' pages.
func TestCookieOfAnAdministrator(t *testing.T) {
	s := start(t)
	anna := s.signIn("anna", store.Admin)
	s.by(anna, "POST", "/v1/applications", map[string]any{"id": "app1", "name": "one"}).expect(201)
	s.by(anna, "GET", "/v1/applications/app1/key", nil).expect(200, "app_key")
	for _, h := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
		s.by(anna, "DELETE", "/v1/applications/app1", nil, h...).expect(403, "another site")
		s.do("GET", "/v1/applications/app1", nil, h...).expect(200) // a token is nobody's by accident
	}
	s.by(anna, "DELETE", "/v1/applications/app1", nil, "Origin", s.url, "Sec-Fetch-Site", "same-origin").expect(204)
	s.by("braid=made-up", "GET", "/v1/applications", nil).expect(401, "sign in again")
	s.by("other=x", "GET", "/v1/applications", nil).expect(401, "header Authorization is missing")
}

// A viewer may change nothing and sees no secret, over all routes there are.
func TestViewer(t *testing.T) {
	s := start(t)
	const secretPart = "5ecretStreamKey"
	eve := s.signIn("eve", store.Viewer)
	keys := s.app("app1")
	s.do("POST", "/v1/domains", map[string]any{"name": "live.example.com", "ingest": "rtmp://in.example.com", "auth_key": secretPart}).expect(201)
	callback := s.do("POST", "/v1/applications/app1/callbacks", map[string]any{"kind": "room", "url": "http://192.0.2.1:1/x?key=" + secretPart, "events": []string{"UserEvent"}}).expect(201).str("id")
	s.do("POST", "/v1/applications/app1/callbacks", map[string]any{"kind": "mpu", "url": "http://192.0.2.1:1/x?k=" + secretPart}).expect(201)
	url := "rtmp://push.example.com/live/" + secretPart
	spec, err := json.Marshal(relay.Spec{App: "app1", Channel: "room", Task: "t1", Mode: relay.Single, URLs: []string{url}, Echo: map[string]any{"StreamURL": url}})
	if err != nil {
		t.Fatal(err)
	}
	s.update(func(tx *store.Tx) error {
		if err := tx.CreateTask(&store.Task{App: "app1", ID: "t1", Channel: "room", Spec: spec}); err != nil {
			return err
		}
		return tx.Append(event.Event{App: "app1", Channel: "room", Type: event.RelayPlaying, Relay: &event.Relay{Task: "t1", URL: url}})
	})
	s.rooms.open = append(s.rooms.open, room("app1", "room", "ann"))
	waiting := s.do("GET", "/v1/applications/app1/deliveries?state=pending", nil).expect(200, secretPart).str("items.0.message")
	s.update(func(tx *store.Tx) error { // an attempt
		return tx.Finish([]store.Outcome{{Delivered: true, Record: store.Record{App: "app1", Sub: callback, Kind: store.Room, MsgID: "m1", Event: 1,
			Type: event.UserJoin, Channel: "room", URL: "http://192.0.2.1:1/x?key=" + secretPart, Payload: `{"url":"` + url + `"}`, Attempt: 1, Time: s.clock()}}})
	})

	fill := strings.NewReplacer("{app}", "app1", "{domain}", "live.example.com", "{task}", "t1", "{callback}", callback,
		"{message}", waiting, "{channel}", "room", "{user}", "ann", "{administrator}", "eve", "{session}", "none")
	secrets := []string{secretPart, keys.str("keys.app_key.current"), keys.str("keys.signing_key.current"), "argon2"}
	for template, item := range document(t).doc["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if method == "parameters" || template == specPath || template == "/v1/live" {
				continue
			}
			t.Run(strings.ToUpper(method)+" "+template, func(t *testing.T) {
				s.in(t)
				path := fill.Replace(template)
				if method != "get" {
					var body any
					if op, _ := document(t).get(item, method, "requestBody"); op != nil {
						body = `{}`
					}
					s.by(eve, strings.ToUpper(method), path, body, "If-Match", "*").expect(403, "eve", "viewer")
					return
				}
				if strings.HasSuffix(path, "/urls") {
					path += "?stream=x"
				}
				a := s.by(eve, "GET", path, nil)
				if strings.HasSuffix(template, "/key") || strings.HasSuffix(template, "/urls") {
					a.expect(403, "may not see keys")
				} else if a.status != 200 && a.status != 404 {
					t.Errorf("got %d %s", a.status, a.text)
				}
				for _, secret := range secrets {
					if strings.Contains(a.text, secret) {
						t.Errorf("a viewer sees %q: %s", secret, a.text)
					}
				}
			})
		}
	}
	// The same answers have them for those who may see them, so that this test would.
	for _, path := range []string{"/v1/events", "/v1/applications/app1/tasks", "/v1/applications/app1/callbacks", "/v1/applications/app1/callback-records", "/v1/domains/live.example.com/key"} {
		s.do("GET", path, nil).expect(200, secretPart)
	}
	s.do("GET", "/v1/applications/app1", nil).expect(200)
	if got := len(s.rooms.did); got != 0 {
		t.Errorf("the SFU was told %q", s.rooms.did)
	}
	if all := s.do("GET", "/v1/audit?who=eve&limit=200", nil).expect(200).ids("result"); len(all) < 15 {
		t.Errorf("the audit log has %d refusals of eve, want all", len(all)-1)
	}
}

// Administrators are managed over the API; the last one stays; what ends a
// sign-in ends it at once.
func TestAdministrators(t *testing.T) {
	s := start(t)
	s.do("POST", "/v1/setup-link", nil).expect(201, "/console#setup=")
	anna := s.signIn("anna", store.Admin)
	s.do("POST", "/v1/setup-link", nil).expect(409)
	s.do("POST", "/v1/administrators", `{"name":"anna","role":"viewer","password":"`+password+`"}`).expect(409)
	s.do("POST", "/v1/administrators", `{"name":"x y","role":"owner","password":"short"}`).expect(400, `"name"`, `"role"`, `"password"`)
	s.do("POST", "/v1/administrators", `{"name":"password-is","role":"viewer","password":"password-is"}`).field("password", "is the name")
	for _, change := range []string{`{"disabled":true}`, `{"role":"viewer"}`} {
		s.do("PATCH", "/v1/administrators/anna", change, "If-Match", "*").expect(409, "last administrator")
	}
	s.do("DELETE", "/v1/administrators/anna", nil).expect(409, "last administrator")
	s.by(anna, "GET", "/v1/domains", nil).expect(200)

	bert := s.signIn("bert", store.Viewer)
	old := s.do("GET", "/v1/administrators/bert", nil).expect(200).etag()
	s.do("PATCH", "/v1/administrators/bert", `{"role":"admin"}`).expect(428)
	s.do("PATCH", "/v1/administrators/bert", `{"role":"admin"}`, "If-Match", old).expect(200, `"role":"admin"`)
	s.do("PATCH", "/v1/administrators/bert", `{"role":"viewer"}`, "If-Match", old).expect(412)
	s.by(bert, "POST", "/v1/applications", `{"name":"by bert"}`).expect(201) // at once
	s.by(bert, "PATCH", "/v1/administrators/anna", `{"password":"another password"}`, "If-Match", "*").expect(200)
	s.by(anna, "GET", "/v1/domains", nil).expect(401)
	s.by(bert, "PATCH", "/v1/administrators/anna", `{"password":"`+password+`"}`, "If-Match", "*").expect(200)
	anna = s.cookie("anna")
	s.by(anna, "PATCH", "/v1/administrators/bert", `{"disabled":true}`, "If-Match", "*").expect(200)
	s.by(bert, "GET", "/v1/domains", nil).expect(401)
	if names := s.do("GET", "/v1/administrators", nil).expect(200).ids("name"); strings.Join(names, " ") != "anna bert" {
		t.Errorf("got %q", names)
	}
	s.by(anna, "DELETE", "/v1/administrators/bert", nil).expect(204)
	s.by(bert, "GET", "/v1/domains", nil).expect(401)
}

// Every change is in the audit log, with who, where from, what and how it came
// out, and without secrets.
func TestAudit(t *testing.T) {
	s := start(t)
	anna := s.signIn("anna", store.Admin)
	s.by(anna, "POST", "/v1/applications", `{"id":"app1","name":"one"}`).expect(201)
	s.by(anna, "PATCH", "/v1/applications/app1", `{"name":"two","disabled":false}`, "If-Match", `"77"`).expect(412)
	s.do("POST", "/v1/domains", `{"name":"live.example.com","ingest":"rtmp://in.example.com","auth_key":"notforthelog"}`).expect(201)
	s.do("PUT", "/v1/applications/app1/relay", `{"enabled":false,"sei":{"interval_ms":1000}}`, "If-Match", "*").expect(200)
	req := s.request("DELETE", "/v1/applications/app1", nil)
	s.sign(req, "testid", "testsecret", s.clock())
	s.send(req).expect(204)
	s.by("braid=wrong", "DELETE", "/v1/domains/live.example.com", nil).expect(401) // nobody: not in the log

	a := s.do("GET", "/v1/audit", nil).expect(200)
	var got []string
	for i := range a.body["items"].([]any) {
		at := fmt.Sprintf("items.%d.", i)
		app, _ := a.at(at + "app").(string)
		summary, _ := a.at(at + "summary").(string)
		got = append(got, fmt.Sprintf("%s %s | %s | %s | %s | %s | %v", a.str(at+"kind"), a.str(at+"who"), a.str(at+"action"), a.str(at+"object"), app, summary, a.at(at+"result")))
		if a.str(at+"address") != "127.0.0.1" {
			t.Errorf("entry %d: from %s", i, a.str(at+"address"))
		}
	}
	want := []string{
		`key testid | DELETE /v1/applications/{app} | applications/app1 | app1 |  | 204`,
		`token token 2 | PUT /v1/applications/{app}/relay | applications/app1/relay | app1 | enabled=false, sei | 200`,
		`token token 2 | POST /v1/domains | domains/live.example.com |  | auth_key, ingest, name="live.example.com" | 201`,
		`console anna | PATCH /v1/applications/{app} | applications/app1 | app1 | disabled=false, name="two" | 412`,
		`console anna | POST /v1/applications | applications/app1 | app1 | id="app1", name="one" | 201`,
		`console anna | login | administrators/anna |  |  | 200`,
		`token token 2 | POST /v1/administrators | administrators/anna |  | name="anna", password, role="admin" | 201`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	page := s.do("GET", "/v1/audit?limit=3&app=app1", nil).expect(200)
	rest := s.do("GET", "/v1/audit?limit=3&app=app1"+page.next(), nil).expect(200)
	if len(page.ids("id")) != 3 || len(rest.ids("id")) != 1 || rest.next() != "" {
		t.Errorf("pages of 3 of app1's: got %v and %v", page.ids("id"), rest.ids("id"))
	}
	s.do("GET", "/v1/audit?from=2026-11-22T13:00:00Z&to=2026-11-22T12:00:00Z", nil).field("from")
}
