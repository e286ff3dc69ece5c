package artc

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Each captured request verifies; that the action is not one of ours is said only after that.
func TestCapturedRequestsVerify(t *testing.T) {
	for name, code := range map[string]string{
		"v2-CreateEventSub":        "InputInvalid", // Users want one channel
		"v2-StartLiveMPUTask":      "",
		"v2-RemoveTerminals":       "",
		"v2-ListEventSub":          "",
		"v2-legacy-CreateEventSub": "",
		"v1-StartLiveMPUTask":      "MissingParam", // it sets only some of the required fields
	} {
		t.Run(name, func(t *testing.T) {
			s := startWhole(t)
			raw := captured(t, name)
			if a := s.replay(raw); a.code() != code {
				t.Fatalf("got %d %s %q, want code %q", a.status, a.code(), a.message(), code)
			}
			s.expect("sent again", s.replay(raw), 400, "SignatureNonceUsed", "Specified signature nonce was used already.")

			// One letter of the first parameter's value is changed: AppId=app1, AccessKeyId=testid.
			tampered := bytes.Replace(raw, []byte("app1"), []byte("app2"), 1)
			a := startWhole(t).replay(tampered)
			if a.code() != "SignatureDoesNotMatch" {
				t.Errorf("tampered: got %s %q, want SignatureDoesNotMatch", a.code(), a.message())
			}
			for _, off := range []time.Duration{-skew - time.Second, skew + time.Second} {
				s := startWhole(t)
				s.now.Add(int64(off / time.Second))
				s.expect("clock off by "+off.String(), s.replay(raw), 400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
			}
			for _, off := range []time.Duration{-skew, skew} {
				s := startWhole(t)
				s.now.Add(int64(off / time.Second))
				if a := s.replay(raw); a.code() != code {
					t.Errorf("clock off by %v: got %s %q, want code %q", off, a.code(), a.message(), code)
				}
			}
		})
	}
}

func TestAnswerShape(t *testing.T) {
	s := start(t)
	id := regexp.MustCompile(`^[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`)
	good := s.call("DescribeChannelUsers", map[string]string{"AppId": "app1", "ChannelId": "ch1"})
	bad := s.call("DescribeChannelUsers", map[string]string{"AppId": "app1"})
	for _, a := range []answer{good, bad} {
		if got, _ := a.body["RequestId"].(string); !id.MatchString(got) {
			t.Errorf("RequestId %q is not an upper-case UUID", got)
		}
	}
	if good.body["RequestId"] == bad.body["RequestId"] {
		t.Error("two answers have the same RequestId")
	}
	s.expect("no ChannelId", bad, 400, "MissingParam", "ChannelId is missing")
	if bad.body["HostId"] != s.addr {
		t.Errorf("HostId: got %v, want %s", bad.body["HostId"], s.addr)
	}
	res, err := http.DefaultClient.Do(s.request("StopLiveMPUTask", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "application/json;charset=utf-8" {
		t.Errorf("Content-Type of an error: %q", got)
	}
}

func TestMethodsAndPaths(t *testing.T) {
	s := start(t)
	for _, method := range []string{"HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		req, _ := http.NewRequest(method, s.url+"/", nil)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 405 || res.Header.Get("Allow") != "GET, POST" {
			t.Errorf("%s: got %d, Allow %q, want 405, Allow GET, POST", method, res.StatusCode, res.Header.Get("Allow"))
		}
	}
	req := s.request("StopLiveMPUTask", nil)
	req.URL.Path = "/api"
	s.expect("another path", s.do(req), 404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.")
}

func TestACS3Refusals(t *testing.T) {
	s := start(t)
	params := map[string]string{"AppId": "app1", "TaskId": "t1"}
	sign := func(req *http.Request, id, secret string) {
		if err := Sign(req, id, secret, s.clock(), s.newNonce()); err != nil {
			t.Fatal(err)
		}
	}
	replace := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			h := r.Header.Get("Authorization")
			if !strings.Contains(h, old) {
				t.Fatalf("%q is not in %q", old, h)
			}
			r.Header.Set("Authorization", strings.Replace(h, old, new, 1))
		}
	}
	without := func(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }
	for _, c := range []struct {
		what    string
		change  func(*http.Request)
		status  int
		code    string
		message string
	}{
		{"untouched", func(*http.Request) {}, 404, "TaskNotExist", `TaskId: there is no task "t1"`},
		{"unsigned", without("Authorization"), 400, "MissingParameter", errUnsigned.message},
		{"another scheme", replace("ACS3-HMAC-SHA256", "ACS3-HMAC-SM3"), 400, "IncompleteSignature",
			`The request signature does not conform to the standard: the Authorization scheme "ACS3-HMAC-SM3" is not supported, use ACS3-HMAC-SHA256.`},
		{"no Credential", replace("Credential=testid,", ""), 400, "MissingParameter", "The input parameter Credential is not supplied."},
		{"no SignedHeaders", replace("SignedHeaders=", "Signed="), 400, "MissingParameter", "The input parameter SignedHeaders is not supplied."},
		{"no Signature", replace("Signature=", "Sig="), 400, "MissingParameter", "The input parameter Signature is not supplied."},
		{"Signature is not hex", replace("Signature=", "Signature=x"), 400, "IncompleteSignature", ""},
		{"no date", without("x-acs-date"), 400, "MissingParameter", "The input parameter x-acs-date is not supplied."},
		{"no nonce", without("x-acs-signature-nonce"), 400, "MissingParameter", "The input parameter x-acs-signature-nonce is not supplied."},
		{"no action", without("x-acs-action"), 400, "MissingParameter", "The input parameter x-acs-action is not supplied."},
		{"no version", without("x-acs-version"), 400, "MissingParameter", "The input parameter x-acs-version is not supplied."},
		{"no content hash", without("x-acs-content-sha256"), 400, "MissingParameter", "The input parameter x-acs-content-sha256 is not supplied."},
		{"host not signed", replace("host;", ""), 400, "IncompleteSignature", "The request signature does not conform to the standard: SignedHeaders does not contain host."},
		{"action not signed", replace("x-acs-action;", ""), 400, "IncompleteSignature", "The request signature does not conform to the standard: SignedHeaders does not contain x-acs-action."},
		{"nonce not signed", replace("x-acs-signature-nonce;", ""), 400, "IncompleteSignature", ""},
		{"date not signed", replace("x-acs-date;", ""), 400, "IncompleteSignature", ""},
		{"hash not signed", replace("x-acs-content-sha256;", ""), 400, "IncompleteSignature", ""},
		{"version not signed", replace(";x-acs-version", ""), 400, "IncompleteSignature", ""},
		{"unknown key", func(r *http.Request) { sign(r, "nobody", "testsecret") }, 404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."},
		{"key with an empty secret", func(r *http.Request) { sign(r, "empty", "") }, 404, "InvalidAccessKeyId.NotFound", ""},
		{"wrong secret", func(r *http.Request) { sign(r, "testid", "wrong") }, 400, "SignatureDoesNotMatch", ""},
		{"another's secret", func(r *http.Request) { sign(r, "testid", "othersecret") }, 400, "SignatureDoesNotMatch", ""},
		{"another action", func(r *http.Request) { r.Header.Set("x-acs-action", "StartLiveMPUTask") }, 400, "SignatureDoesNotMatch", ""},
		{"another host", func(r *http.Request) { r.Host = "127.0.0.1:1" }, 400, "SignatureDoesNotMatch", ""},
		{"another method", func(r *http.Request) { r.Method = "GET" }, 400, "SignatureDoesNotMatch", ""},
		{"a parameter more", func(r *http.Request) { r.URL.RawQuery += "&X=1" }, 400, "SignatureDoesNotMatch", ""},
		{"a parameter twice", func(r *http.Request) { r.URL.RawQuery += "&AppId=app2" }, 400, "InvalidParam", `"AppId" is given twice`},
		{"a bad escape", func(r *http.Request) { r.URL.RawQuery += "&X=%zz" }, 400, "InvalidParam", `query: invalid URL escape "%zz"`},
		{"not UTF-8", func(r *http.Request) { r.URL.RawQuery += "&X=%ff" }, 400, "InvalidParam", `"X" is not UTF-8`},
		{"bad date", func(r *http.Request) { r.Header.Set("x-acs-date", "2026-11-22 13:37:35") }, 400, "InvalidTimeStamp.Format", ""},
		{"another version", func(r *http.Request) { r.Header.Set("x-acs-version", "2014-05-26"); sign(r, "testid", "testsecret") },
			400, "InvalidVersion", "Specified parameter Version is not valid."},
		{"unknown action", func(r *http.Request) {
			r.Header.Set("x-acs-action", "CreateLiveMPUTask")
			sign(r, "testid", "testsecret")
		},
			404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."},
	} {
		req := s.request("StopLiveMPUTask", params)
		c.change(req)
		s.expect(c.what, s.do(req), c.status, c.code, c.message)
	}
}

// A failed signature must not burn the nonce of the right one.
func TestNonceIsKeptForTheRightSignature(t *testing.T) {
	s := start(t)
	good := s.request("StopLiveMPUTask", map[string]string{"AppId": "app1", "TaskId": "t1"})
	bad := good.Clone(t.Context())
	bad.URL.RawQuery = strings.Replace(bad.URL.RawQuery, "t1", "t2", 1)
	s.expect("tampered", s.do(bad), 400, "SignatureDoesNotMatch", "")
	s.expect("the right one", s.do(good.Clone(t.Context())), 404, "TaskNotExist", "")
	s.expect("replayed", s.do(good), 400, "SignatureNonceUsed", "")
}

func TestSignatureDoesNotMatchEndsWithTheString(t *testing.T) {
	s := start(t)
	all := s.rpcParams("GET", "StopLiveMPUTask", map[string]string{"AppId": "app1", "TaskId": "t1"})
	toSign := rpcStringToSign("GET", all)
	all["Signature"] = base64.StdEncoding.EncodeToString(rpcSum("wrong", toSign))
	req, _ := http.NewRequest("GET", s.url+"/?"+values(all).Encode(), nil)
	a := s.do(req)
	s.expect("wrong secret", a, 400, "SignatureDoesNotMatch",
		"Specified signature is not matched with our calculation. server string to sign is:"+toSign)
}

func TestRPCRefusals(t *testing.T) {
	s := start(t)
	params := map[string]string{"AppId": "app1", "TaskId": "t1"}
	s.expect("untouched", s.callRPC("StopLiveMPUTask", params), 404, "TaskNotExist", "")
	send := func(all map[string]string) answer {
		req, _ := http.NewRequest("GET", s.url+"/?"+values(all).Encode(), nil)
		req.Header.Set("x-acs-action", "StopLiveMPUTask") // unsigned here: must not count
		req.Header.Set("x-acs-version", Version)
		return s.do(req)
	}
	for _, name := range []string{"AccessKeyId", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp", "Action", "Version"} {
		all := s.rpcParams("GET", "StopLiveMPUTask", params)
		delete(all, name)
		s.expect("no "+name, send(all), 400, "MissingParameter", "The input parameter "+name+" is not supplied.")
	}
	for _, c := range []struct{ what, name, value, code string }{
		{"tampered", "TaskId", "t2", "SignatureDoesNotMatch"},
		{"emptied type changed", "SignatureType", "x", "SignatureDoesNotMatch"},
		{"unknown key", "AccessKeyId", "nobody", "InvalidAccessKeyId.NotFound"},
		{"another's key", "AccessKeyId", "other", "SignatureDoesNotMatch"},
		{"another method", "SignatureMethod", "HMAC-SHA256", "IncompleteSignature"},
		{"another signature version", "SignatureVersion", "2.0", "IncompleteSignature"},
		{"Signature is not base64", "Signature", "!", "IncompleteSignature"},
		{"empty Signature", "Signature", "", "MissingParameter"},
		{"stale", "Timestamp", "2026-11-22T13:00:00Z", "InvalidTimeStamp.Expired"},
		{"bad time", "Timestamp", "now", "InvalidTimeStamp.Format"},
	} {
		all := s.rpcParams("GET", "StopLiveMPUTask", params)
		all[c.name] = c.value
		if a := send(all); a.code() != c.code {
			t.Errorf("%s: got %s %q, want %s", c.what, a.code(), a.message(), c.code)
		}
	}
	s.expect("another version", s.callRPC("StopLiveMPUTask", map[string]string{"Version": "2014-05-26"}), 400, "InvalidVersion", "")
}

// A form body carries parameters in both schemes and is under the signature.
func TestFormBody(t *testing.T) {
	s := start(t)
	form := func(query, body map[string]string) *http.Request {
		req, _ := http.NewRequest("POST", s.url+"/?"+values(query).Encode(), strings.NewReader(values(body).Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		return req
	}
	s.expect("RPC", s.do(form(nil, s.rpcParams("POST", "StopLiveMPUTask", map[string]string{"AppId": "app1", "TaskId": "t1"}))),
		404, "TaskNotExist", "")

	acs := func() *http.Request {
		req := form(map[string]string{"AppId": "app1"}, map[string]string{"TaskId": "t1"})
		req.Header.Set("x-acs-action", "StopLiveMPUTask")
		if err := Sign(req, "testid", "testsecret", s.clock(), s.newNonce()); err != nil {
			t.Fatal(err)
		}
		return req
	}
	s.expect("ACS3", s.do(acs()), 404, "TaskNotExist", "")
	req := acs()
	req.Body = http.NoBody
	req.ContentLength = 0
	s.expect("another body", s.do(req), 400, "SignatureDoesNotMatch", "")
	req = acs()
	req.Header.Set("Authorization", strings.Replace(req.Header.Get("Authorization"), "content-type;", "", 1))
	s.expect("content-type not signed", s.do(req), 400, "IncompleteSignature", "The request signature does not conform to the standard: SignedHeaders does not contain content-type.")
	s.expect("in query and body", s.do(form(map[string]string{"A": "1"}, map[string]string{"A": "1"})), 400, "InvalidParam", `"A" is given twice`)
	s.expect("too large", s.do(form(nil, map[string]string{"A": strings.Repeat("a", maxBody)})), 413, "RequestBodyTooLarge", "")
}

// FuzzVerify: who does not know a secret is never let in, whatever the header and the query say.
func FuzzVerify(f *testing.F) {
	for _, name := range []string{"v2-StartLiveMPUTask", "v2-ListEventSub", "v1-StartLiveMPUTask", "v2-legacy-CreateEventSub"} {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(captured(f, name))))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r.Header.Get("Authorization"), r.URL.RawQuery)
	}
	f.Add("ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=,Signature=", "")
	f.Add("ACS3-HMAC-SHA256 =,,=;", "Signature")
	f.Add("Basic dXNlcjpwYXNz", "Signature=&AccessKeyId=testid")
	h := New(Config{Keys: keyring{"testid": "only the server knows", "empty": ""}, Now: func() time.Time { return captureTime }})
	f.Fuzz(func(t *testing.T, authorization, query string) {
		r := httptest.NewRequest("POST", "http://127.0.0.1:33017/", nil)
		r.URL.RawQuery = query
		for _, name := range []string{"x-acs-action", "x-acs-signature-nonce", "x-acs-content-sha256"} {
			r.Header.Set(name, "x")
		}
		r.Header.Set("x-acs-version", Version)
		r.Header.Set("x-acs-date", captureTime.Format(timeLayout))
		r.Header.Set("Authorization", authorization)
		req, err := readRequest(httptest.NewRecorder(), r)
		if err != nil {
			return
		}
		if c, err := h.verify(req); err == nil {
			t.Fatalf("let in as %q: %q", c.keyID, authorization)
		}
	})
}
