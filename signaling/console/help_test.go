package console

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"braid/store"
	"braid/store/storetest"
)

const password = "correct horse battery"

// server is the console over real HTTP with a real store. A request's header
// Test-From is where it seems to come from, since all tests are on loopback.
type server struct {
	t        *testing.T
	url      string
	db       *store.DB
	accounts *Accounts
	now      atomic.Int64 // unix milliseconds
}

func start(t *testing.T, change func(*Config)) *server {
	t.Helper()
	s := &server{t: t}
	s.now.Store(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC).UnixMilli())
	s.db = storetest.OpenConfig(t, store.Config{Dir: t.TempDir(), Now: s.clock})
	c := Config{Store: s.db, Now: s.clock, Hash: Cost{MemoryKiB: 64, Passes: 1}}
	if change != nil {
		change(&c)
	}
	s.accounts = New(c)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if from := r.Header.Get("Test-From"); from != "" {
			r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(from), 1234).String()
		}
		s.accounts.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *server) clock() time.Time { return time.UnixMilli(s.now.Load()) }

func (s *server) advance(by time.Duration) { s.now.Add(by.Milliseconds()) }

// browser keeps cookies.
type browser struct {
	s *server
	http.Client
}

func (s *server) browser() *browser {
	jar, _ := cookiejar.New(nil) // never fails
	b := &browser{s: s}
	b.Jar = jar
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return b
}

// response is what came back.
type response struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	text   string
	body   map[string]any
	cookie *http.Cookie
}

// do sends a request with a JSON body, nil for none, and headers in pairs.
func (b *browser) do(method, path string, body any, headers ...string) response {
	t := b.s.t
	t.Helper()
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body) // of strings
	}
	req, err := http.NewRequest(method, b.s.url+path, strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := response{t: t, what: method + " " + path, status: res.StatusCode, header: res.Header, text: string(all)}
	if strings.Contains(res.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(all, &a.body); err != nil {
			t.Fatalf("%s: got %q: %v", a.what, all, err)
		}
	}
	for _, c := range res.Cookies() {
		a.cookie = c
	}
	return a
}

// expect checks the status, and that the text has some words.
func (a response) expect(status int, words ...string) response {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: got %d %s, want %d", a.what, a.status, a.text, status)
	}
	for _, w := range words {
		if !strings.Contains(a.text, w) {
			a.t.Errorf("%s: got %s, want it to say %q", a.what, a.text, w)
		}
	}
	return a
}

type texts map[string]string

// user makes an administrator without the set-up link.
func (s *server) user(name string, role store.Role) {
	s.t.Helper()
	hash, wrong, err := s.accounts.Hash(s.t.Context(), name, password)
	if err != nil || wrong != "" {
		s.t.Fatal(err, wrong)
	}
	s.update(func(tx *store.Tx) error {
		return tx.CreateAdministrator(&store.Administrator{Name: name, Role: role, Password: hash})
	})
}

func (s *server) update(f func(*store.Tx) error) {
	s.t.Helper()
	if err := s.db.Update(s.t.Context(), f); err != nil {
		s.t.Fatal(err)
	}
}

// in signs a user in, with a browser of its own.
func (s *server) in(name string) *browser {
	s.t.Helper()
	b := s.browser()
	b.do("POST", "/console/session", texts{"name": name, "password": password}).expect(200)
	return b
}

// who is signed in.
func (b *browser) who() string {
	b.s.t.Helper()
	return b.do("GET", "/console/session", nil).expect(200).body["user"].(string)
}

func (s *server) audit() (all []string) {
	s.t.Helper()
	err := s.db.View(s.t.Context(), func(tx *store.Tx) error {
		rows, err := tx.Audit(store.AuditFilter{}, 0, 100)
		for _, e := range rows {
			all = append(all, e.Who+" "+e.Action+" "+http.StatusText(e.Result)+" from "+e.Address)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}
