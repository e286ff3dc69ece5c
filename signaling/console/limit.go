package console

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often somebody may try a password. An account gets 4 tries a minute in
// the long run, from everywhere together; an address 12, over all accounts. An
// address from which the account was signed in to lately has tries of its own,
// so that nobody is shut out by a stranger who guesses.
const (
	accountEvery = 15 * time.Second
	accountBurst = 10
	addressEvery = 5 * time.Second
	addressBurst = 20
	mostBuckets  = 10_000 // of each kind; the least used of some are forgotten
	mostKnown    = 1_000
)

// limits are the buckets of tries. They are in memory alone.
type limits struct {
	now       func() time.Time
	mu        sync.Mutex
	accounts  buckets
	addresses buckets
	known     map[string]time.Time // name@address: when it signed in
}

func newLimits(now func() time.Time) *limits {
	return &limits{
		now:       now,
		accounts:  buckets{every: accountEvery, burst: accountBurst, all: map[string]*rate.Limiter{}},
		addresses: buckets{every: addressEvery, burst: addressBurst, all: map[string]*rate.Limiter{}},
		known:     map[string]time.Time{},
	}
}

// network is whom an address stands for: with IPv6 one has 2^64 of them.
func network(addr netip.Addr) string {
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	p, err := addr.WithZone("").Prefix(64)
	if err != nil { // not an address
		return "?"
	}
	return p.String()
}

// try takes a try of an account ("" for none) from an address; when there is
// none left, wait says how long until there is.
func (l *limits) try(name string, addr netip.Addr) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, now := network(addr), l.now()
	if wait = l.addresses.take(from, now); wait > 0 || name == "" {
		return wait
	}
	return l.accounts.take(l.accountLocked(name, from), now)
}

// accountLocked is the bucket of an account.
func (l *limits) accountLocked(name, from string) string {
	if _, ok := l.known[name+" "+from]; ok {
		return name + " " + from
	}
	return name
}

// right says that a try was right: the account's tries are new again.
func (l *limits) right(name string, addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := network(addr)
	delete(l.accounts.all, l.accountLocked(name, from))
	if len(l.known) >= mostKnown {
		oldest, at := "", time.Time{}
		for k, t := range l.known {
			if oldest == "" || t.Before(at) {
				oldest, at = k, t
			}
		}
		delete(l.known, oldest)
	}
	l.known[name+" "+from] = l.now()
}

// buckets are token buckets by name.
type buckets struct {
	every time.Duration
	burst int
	all   map[string]*rate.Limiter
}

func (b *buckets) take(name string, now time.Time) (wait time.Duration) {
	l := b.all[name]
	if l == nil {
		if len(b.all) >= mostBuckets {
			b.forget(now)
		}
		l = rate.NewLimiter(rate.Every(b.every), b.burst)
		b.all[name] = l
	}
	if l.AllowN(now, 1) {
		return 0
	}
	return max(time.Second, time.Duration((1-l.TokensAt(now))*float64(b.every)))
}

// forget makes room: buckets that are full again say nothing; when all say
// something, a tenth goes, those first that come first.
func (b *buckets) forget(now time.Time) {
	for name, l := range b.all {
		if l.TokensAt(now) >= float64(b.burst) {
			delete(b.all, name)
		}
	}
	if len(b.all) < mostBuckets {
		return
	}
	left := mostBuckets / 10
	for name := range b.all {
		if left--; left < 0 {
			return
		}
		delete(b.all, name)
	}
}
