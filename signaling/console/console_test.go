package console

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"braid/store"
)

// The set-up link makes the first administrator: once, for 30 minutes, from this
// machine, with a password that is one.
func TestSetup(t *testing.T) {
	s := start(t, nil)
	b := s.browser()
	if a := b.do("GET", "/console/session", nil).expect(200); a.body["setup"] != true || a.body["user"] != "" {
		t.Errorf("before: got %s, want setup true and no user", a.text)
	}
	first := texts{"token": "guessed", "name": "anna", "password": password}
	b.do("POST", "/console/setup", first).expect(403, "not valid any more") // before there is a link
	old, _, err := s.accounts.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token, expires, err := s.accounts.SetupToken(t.Context())
	if err != nil || len(token) < 22 || !expires.Equal(s.clock().Add(30*time.Minute)) {
		t.Fatalf("got %q until %v, %v", token, expires, err)
	}
	b.do("POST", "/console/setup", first).expect(403)
	first["token"] = old
	b.do("POST", "/console/setup", first).expect(403) // the newer one has ended it
	first["token"] = token
	b.do("POST", "/console/setup", first, "Test-From", "192.0.2.7").expect(403, "own machine", "192.0.2.7")
	b.do("POST", "/console/setup", first, "X-Forwarded-For", "192.0.2.7").expect(403, "own machine")
	b.do("POST", "/console/setup", first, "Origin", "https://evil.example").expect(403, "another site")
	for password, words := range map[string]string{"short": "5 characters", "ANNA-anna-anna": "is the name", strings.Repeat("x", 257): "257 characters"} {
		name := "anna"
		if words == "is the name" {
			name = "anna-anna-Anna"
		}
		b.do("POST", "/console/setup", texts{"token": token, "name": name, "password": password}).expect(400, "password: ", words)
	}
	b.do("POST", "/console/setup", texts{"token": token, "name": "a b", "password": password}).expect(400, "name: ")
	s.advance(30 * time.Minute)
	b.do("POST", "/console/setup", first).expect(403)
	if first["token"], _, err = s.accounts.SetupToken(t.Context()); err != nil {
		t.Fatal(err)
	}

	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[int]int{}
	for _, name := range []string{"anna", "bert", "carl", "dora"} { // all at once
		wg.Go(func() {
			b := s.browser()
			a := b.do("POST", "/console/setup", texts{"token": first["token"], "name": name, "password": password})
			if a.status == 201 && b.who() != name {
				t.Errorf("%s is not signed in", name)
			}
			mu.Lock()
			defer mu.Unlock()
			got[a.status]++
		})
	}
	wg.Wait()
	if want := map[int]int{201: 1, 403: 3}; !reflect.DeepEqual(got, want) {
		t.Errorf("four used the link at once: got %v, want %v", got, want)
	}
	if _, _, err := s.accounts.SetupToken(t.Context()); err == nil {
		t.Error("there is a link although there is an administrator")
	}
	if a := b.do("GET", "/console/session", nil).expect(200); a.body["setup"] != false {
		t.Errorf("after: got %s, want setup false", a.text)
	}
	if all := s.audit(); len(all) != 1 || !strings.HasSuffix(all[0], "setup Created from 127.0.0.1") {
		t.Errorf("the audit log has %q", all)
	}
}

// The operator may open the link, and say which proxies tell the truth.
func TestSetupFromElsewhere(t *testing.T) {
	s := start(t, func(c *Config) { c.RemoteSetup = true })
	token, _, err := s.accounts.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.browser().do("POST", "/console/setup", texts{"token": token, "name": "anna", "password": password}, "Test-From", "192.0.2.7").expect(201)
}

func TestSourceOfARequest(t *testing.T) {
	a := New(Config{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}, PublicURL: "https://live.example.com"})
	for _, c := range []struct {
		peer, host string
		headers    []string
		tls        bool
		address    string
		near       bool
		secure     bool
		camera     bool
	}{
		{peer: "192.0.2.1:5", host: "braid:8080", address: "192.0.2.1"},
		{peer: "[::1]:5", host: "localhost:8080", address: "::1", near: true, camera: true},
		{peer: "[::ffff:127.0.0.1]:5", host: "127.0.0.1:8080", address: "127.0.0.1", near: true, camera: true},
		{peer: "[::1]:5", host: "[::1]:8080", headers: []string{"X-Real-IP", "192.0.2.1"}, address: "::1", camera: true},
		{peer: "[::1]:5", host: "h", headers: []string{"Forwarded", "for=192.0.2.1"}, address: "::1"},
		{peer: "10.1.2.3:5", host: "h", headers: []string{"X-Forwarded-For", "203.0.113.9, 192.0.2.1", "X-Forwarded-Proto", "https"}, address: "192.0.2.1", secure: true, camera: true},
		{peer: "10.1.2.3:5", host: "h", headers: []string{"X-Forwarded-For", "192.0.2.1, 10.0.0.9", "X-Forwarded-Proto", "https, http"}, address: "192.0.2.1"},
		{peer: "10.1.2.3:5", host: "h", headers: []string{"X-Forwarded-For", "nonsense"}, address: "10.1.2.3"},
		{peer: "127.0.0.1:5", host: "h", headers: []string{"X-Forwarded-For", "::1"}, address: "::1", near: true},
		{peer: "192.0.2.1:5", host: "h", headers: []string{"X-Forwarded-For", "127.0.0.1", "X-Forwarded-Proto", "https"}, address: "192.0.2.1"},
		{peer: "192.0.2.1:5", host: "h", tls: true, address: "192.0.2.1", secure: true, camera: true},
		{peer: "192.0.2.1:5", host: "LIVE.example.com", address: "192.0.2.1", secure: true, camera: true},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Host = c.peer, c.host
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		for i := 0; i < len(c.headers); i += 2 {
			r.Header.Set(c.headers[i], c.headers[i+1])
		}
		if got := a.Address(r).String(); got != c.address {
			t.Errorf("%+v: address: got %s", c, got)
		}
		if got := a.near(r); got != c.near {
			t.Errorf("%+v: near: got %v", c, got)
		}
		if got := a.secure(r); got != c.secure {
			t.Errorf("%+v: secure: got %v", c, got)
		}
		if got := a.mayUseCamera(r); got != c.camera {
			t.Errorf("%+v: camera: got %v", c, got)
		}
	}
}

// A cookie is kept from scripts, from other sites, and from plain HTTP where
// there is HTTPS.
func TestCookie(t *testing.T) {
	s := start(t, func(c *Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")} })
	s.user("anna", store.Admin)
	in := texts{"name": "anna", "password": password}
	plain := s.browser().do("POST", "/console/session", in).expect(200).cookie
	if plain.Name != "braid" || !plain.HttpOnly || plain.Secure || plain.SameSite != http.SameSiteStrictMode || plain.Path != "/" || plain.Domain != "" || len(plain.Value) < 43 {
		t.Errorf("on loopback: got %+v", plain)
	}
	b := s.browser()
	safe := b.do("POST", "/console/session", in, "Test-From", "10.0.0.1", "X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "https").expect(200).cookie
	if safe.Name != "__Host-braid" || !safe.HttpOnly || !safe.Secure || safe.SameSite != http.SameSiteStrictMode || safe.Path != "/" || safe.Domain != "" {
		t.Errorf("behind a proxy with HTTPS: got %+v", safe)
	}
	secure := func(name, value string) string {
		return s.browser().do("GET", "/console/session", nil, "Test-From", "10.0.0.1", "X-Forwarded-Proto", "https", "Cookie", name+"="+value).body["user"].(string)
	}
	if got := secure("__Host-braid", safe.Value); got != "anna" {
		t.Errorf("the secure cookie: got user %q, want anna", got)
	}
	if got := secure("braid", plain.Value); got != "" {
		t.Errorf("a plain cookie by HTTPS, which any host of the domain can set: got user %q, want none", got)
	}
	kept := false
	_ = s.db.View(t.Context(), func(tx *store.Tx) error {
		all, err := tx.Logins("anna")
		for _, l := range all {
			kept = kept || strings.Contains(l.ID, plain.Value)
		}
		if len(all) != 2 {
			t.Errorf("got %d logins, %v, want 2", len(all), err)
		}
		return err
	})
	if kept {
		t.Error("the store has the cookie itself")
	}
}

// A login holds for 12 hours after it was used, a week in all.
func TestLoginHolds(t *testing.T) {
	s := start(t, nil)
	s.user("anna", store.Admin)
	b := s.in("anna")
	s.advance(12*time.Hour - time.Minute)
	if a := b.do("GET", "/console/session", nil); a.body["user"] != "anna" || a.cookie == nil || a.cookie.MaxAge != 12*3600 {
		t.Errorf("used just in time: got %s and cookie %v, want it to hold for 12 hours more", a.text, a.cookie)
	}
	s.advance(12*time.Hour - time.Minute)
	if got := b.who(); got != "anna" {
		t.Errorf("a day after: got %q, want anna", got)
	}
	s.advance(12 * time.Hour)
	if got := b.who(); got != "" {
		t.Errorf("12 hours without use: got %q, want nobody", got)
	}
	b = s.in("anna")
	hours := 0
	for ; hours < 24*30 && b.who() == "anna"; hours += 6 {
		s.advance(6 * time.Hour)
	}
	if hours != 24*7 {
		t.Errorf("used all the time it held for %d hours, want %d", hours, 24*7)
	}
}

// Whatever is wrong, the answer says the same; tries are counted by account and
// by address; who was in lately from where it is does not wait for others.
func TestTriesAreLimited(t *testing.T) {
	s := start(t, nil)
	s.user("anna", store.Admin)
	s.user("off", store.Admin)
	s.update(func(tx *store.Tx) error {
		a, err := tx.Administrator("off")
		if err != nil {
			return err
		}
		a.Disabled = true
		return tx.UpdateAdministrator(&a)
	})
	b := s.browser()
	try := func(name, password, from string) response {
		return b.do("POST", "/console/session", texts{"name": name, "password": password}, "Test-From", from)
	}
	wrong := try("anna", "wrong wrong wrong", "192.0.2.1").expect(401).text
	for name, password := range map[string]string{"nobody": password, "off": password, "a b": password, "bert": ""} {
		if got := try(name, password, "192.0.2.1").expect(401).text; got != wrong {
			t.Errorf("%q with %q: got %s, want as for a wrong password: %s", name, password, got, wrong)
		}
	}
	try("anna", password, "198.51.100.1").expect(200) // a place of hers
	guesses := 0
	for ; guesses < 100; guesses++ { // from everywhere
		from := netip.AddrFrom4([4]byte{203, 0, 113, byte(guesses)}).String()
		if a := try("anna", "wrong wrong wrong", from); a.status != 401 {
			a.expect(429, "too many tries")
			if a.header.Get("Retry-After") != "15" {
				t.Errorf("Retry-After: got %q, want 15", a.header.Get("Retry-After"))
			}
			break
		}
	}
	if guesses > accountBurst {
		t.Errorf("an account could be tried %d times at once, want at most %d", guesses, accountBurst)
	}
	try("anna", password, "203.0.113.200").expect(429) // the right one too
	try("anna", password, "198.51.100.1").expect(200)
	s.advance(15 * time.Second)
	try("anna", password, "203.0.113.200").expect(200)

	guesses = 0
	for ; guesses < 100; guesses++ { // one address, many names
		if a := try("name"+string(rune('a'+guesses%26))+string(rune('a'+guesses/26)), "wrong wrong wrong", "192.0.2.99"); a.status == 429 {
			break
		}
	}
	if guesses != addressBurst {
		t.Errorf("an address could try %d times at once, want %d", guesses, addressBurst)
	}
	if n := network(netip.MustParseAddr("2001:db8::1")); n != network(netip.MustParseAddr("2001:db8::ffff:1")) || n == network(netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Errorf("an IPv6 network is %s", n)
	}
	if failed := slices.DeleteFunc(s.audit(), func(e string) bool { return !strings.Contains(e, "Unauthorized") }); len(failed) == 0 ||
		slices.ContainsFunc(failed, func(e string) bool { return !strings.HasPrefix(e, "anna ") && !strings.HasPrefix(e, "off ") }) {
		t.Errorf("failed sign-ins in the audit log: %q, want those of accounts that are there", failed)
	}
}

// Where somebody signed in from is forgotten when there are too many.
func TestKnownPlacesAreBounded(t *testing.T) {
	now := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	l := newLimits(func() time.Time { return now })
	for i := range 3 * mostKnown {
		l.right("anna", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if n := len(l.known); n > mostKnown {
		t.Errorf("%d places of sign-ins are known, want at most %d", n, mostKnown)
	}
}

// A changed password ends the other sign-ins; own ones can be listed and ended.
func TestOwnLogins(t *testing.T) {
	s := start(t, nil)
	s.user("anna", store.Viewer) // may do this much
	s.user("bert", store.Admin)
	one, two, three, other := s.in("anna"), s.in("anna"), s.in("anna"), s.in("bert")
	items := one.do("GET", "/console/logins", nil).expect(200).body["items"].([]any)
	if len(items) != 3 {
		t.Fatalf("got %d sign-ins, want 3", len(items))
	}
	for _, item := range other.do("GET", "/console/logins", nil).expect(200).body["items"].([]any) {
		one.do("DELETE", "/console/logins/"+item.(map[string]any)["id"].(string), nil).expect(404) // bert's
	}
	var mine string
	for _, item := range three.do("GET", "/console/logins", nil).expect(200).body["items"].([]any) {
		l := item.(map[string]any)
		if l["current"] == true {
			mine = l["id"].(string)
		}
		if l["address"] != "127.0.0.1" || l["agent"] != "Go-http-client/1.1" {
			t.Errorf("got %v", l)
		}
	}
	one.do("DELETE", "/console/logins/"+mine, nil).expect(204)
	three.do("GET", "/console/logins", nil).expect(401, "has ended")

	one.do("POST", "/console/password", texts{"current": "wrong wrong wrong", "new": "another password"}).expect(403)
	one.do("POST", "/console/password", texts{"current": password, "new": "short"}).expect(400, "new: ")
	one.do("POST", "/console/password", texts{"current": password, "new": "another password"}).expect(204)
	if a, b := one.who(), two.who(); a != "anna" || b != "" {
		t.Errorf("after a new password: got %q and %q, want anna in the browser that set it and nobody in the other", a, b)
	}
	if got := other.who(); got != "bert" {
		t.Errorf("another person: got %q, want bert", got)
	}
	s.browser().do("POST", "/console/session", texts{"name": "anna", "password": password}).expect(401)
	s.browser().do("POST", "/console/session", texts{"name": "anna", "password": "another password"}).expect(200)

	if a := one.do("DELETE", "/console/session", nil).expect(204); a.cookie == nil || a.cookie.MaxAge >= 0 {
		t.Errorf("signing out leaves the cookie: %v", a.cookie)
	}
	one.do("DELETE", "/console/session", nil).expect(401)
	if got := one.who(); got != "" {
		t.Errorf("after signing out: got %q", got)
	}
}

// Another site's page cannot act, not even sign somebody in.
func TestOtherSites(t *testing.T) {
	s := start(t, func(c *Config) { c.PublicURL = "https://live.example.com" })
	s.user("anna", store.Admin)
	b := s.in("anna")
	in := texts{"name": "anna", "password": password}
	for _, h := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "null"}} {
		b.do("DELETE", "/console/session", nil, h...).expect(403, "another site")
		b.do("POST", "/console/session", in, h...).expect(403, "another site")
		b.do("POST", "/console/password", texts{"current": password, "new": "another password"}, h...).expect(403)
	}
	b.do("POST", "/console/session", in, "Origin", s.url, "Sec-Fetch-Site", "same-origin").expect(200)
	b.do("POST", "/console/session", in, "Origin", "https://live.example.com").expect(200)
	b.do("POST", "/console/session", in, "Content-Type", "text/plain").expect(415)
	b.do("POST", "/console/session", texts{"name": "anna", "password": password, "more": "x"}).expect(400, "more: there is no such field")
	b.do("POST", "/console/session", texts{"name": strings.Repeat("x", maxBody), "password": password}).expect(413)
}

func TestPagesHaveTheirHeaders(t *testing.T) {
	s := start(t, func(c *Config) {
		c.Pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("page " + r.URL.Path)) })
	})
	a := s.browser().do("GET", "/console/app.js", nil).expect(200, "page /console/app.js")
	csp := a.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("Content-Security-Policy: got %q, want it to have %q", csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy: %q", csp)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := s.browser().do("GET", "/console", nil).expect(302).header.Get("Location"); got != "/console/" {
		t.Errorf("/console leads to %q", got)
	}
}
