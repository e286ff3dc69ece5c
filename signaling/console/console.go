// Package console is what stands in front of the console's pages: the people
// who may use it, their passwords and logins, the link by which the first of
// them is made, and the headers that pages are served with. What the pages show
// and change is the REST API's (signaling/admin), which asks Accounts.Who for
// requests that carry a login's cookie. doc/console.md is its manual.
//
// It starts no goroutine. Passwords are hashed in the goroutine of their
// request, few at a time.
package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"sync"
	"time"

	"braid/store"
)

// Times of a login.
const (
	Holds      = 12 * time.Hour     // after it was used last
	HoldsEver  = 7 * 24 * time.Hour // after it was begun
	noteEvery  = 5 * time.Minute    // a use is written down no more often
	setupHolds = 30 * time.Minute
	mostLogins = 20 // of one administrator; the oldest end
)

// nameForm is a name of an administrator; braid's own.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)

// ValidName tells whether an administrator may have a name: 1 to 64 of
// A-Za-z0-9._@-.
func ValidName(name string) bool { return nameForm.MatchString(name) }

// Config is what Accounts work with. Store is required.
type Config struct {
	Store       *store.DB
	Pages       http.Handler   // of GET /console/…; nil: 404
	Proxies     []netip.Prefix // whose X-Forwarded-For and X-Forwarded-Proto are believed
	PublicURL   string         // how browsers reach the server, when it cannot be seen from requests; may be ""
	RemoteSetup bool           // the set-up link works from everywhere, not from loopback alone
	Hash        Cost           // of passwords; zero: DefaultCost
	Now         func() time.Time
	Log         *slog.Logger // nil: nothing is logged
}

// Accounts know who may use the console, and serve /console/. All methods may be
// called from any goroutine.
type Accounts struct {
	cfg     Config
	public  *url.URL // nil: not known
	now     func() time.Time
	log     *slog.Logger
	hasher  *hasher
	limits  *limits
	origins *http.CrossOriginProtection
	mux     *http.ServeMux

	mu    sync.Mutex // held while an administrator is set up
	setup setup
}

// setup is the link of the first start; the zero value is none.
type setup struct {
	sum     [sha256.Size]byte
	expires time.Time
}

// New makes Accounts. The link of a first start is made by SetupToken.
func New(c Config) *Accounts {
	a := &Accounts{cfg: c, now: c.Now, log: c.Log, origins: http.NewCrossOriginProtection()}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if u, err := url.Parse(c.PublicURL); err == nil && u.Host != "" {
		a.public = u
		// A proxy may change Host; an origin of a well-formed URL is not refused.
		_ = a.origins.AddTrustedOrigin(u.Scheme + "://" + u.Host)
	}
	a.hasher = newHasher(c.Hash)
	a.limits = newLimits(a.now)
	a.mux = a.routes()
	return a
}

// ServeHTTP serves everything under /console.
func (a *Accounts) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// secret is 256 random bits as a cookie or a link can have them.
func secret() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

// loginID is under what name the store keeps the login of a cookie.
func loginID(cookie string) string {
	sum := sha256.Sum256([]byte(cookie))
	return hex.EncodeToString(sum[:])
}

// valid tells in constant time whether a set-up token is the right one.
func (s setup) valid(token string, now time.Time) bool {
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], s.sum[:]) == 1 && now.Before(s.expires)
}
