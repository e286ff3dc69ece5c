package console

import (
	"net/netip"
	"sync"
	"time"

	"braid/signaling"
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
	mostKnown    = 1_000
)

// limits are the buckets of tries. They are in memory alone: a restart, which nobody who
// guesses can bring about, gives him accountBurst tries; a store of them would give him a
// write to the disk with each.
type limits struct {
	now       func() time.Time
	accounts  *signaling.Buckets
	addresses *signaling.Buckets

	mu    sync.Mutex
	known map[string]time.Time // name@address: when it signed in
}

func newLimits(now func() time.Time) *limits {
	return &limits{
		now:       now,
		accounts:  signaling.NewBuckets(accountEvery, accountBurst),
		addresses: signaling.NewBuckets(addressEvery, addressBurst),
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
	if wait = l.addresses.Take(from, now); wait > 0 || name == "" {
		return wait
	}
	return l.accounts.Take(l.accountLocked(name, from), now)
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
	l.accounts.Fill(l.accountLocked(name, from))
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
