package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"braid/media"
	"braid/media/rtmp"
	"braid/origin"
	"braid/relay"
	"braid/signaling/admin"
	"braid/store"
)

const (
	// domainsAge is how old what is known of the streaming domains may be: another
	// node on the same database may have changed them.
	domainsAge = 2 * time.Second
	// domainsPage is how many domains are read at once.
	domainsPage = 500
	// relayValidity is how long a push of the relay may take from its signature to
	// the origin, which is in the same process.
	relayValidity = time.Minute
	// playValidity is how long an address opens a connection that the server itself
	// hands out to its own pages. It has a new signature each playStep, so that what a
	// page is told stays the same meanwhile.
	playValidity, playStep = 2 * time.Minute, time.Minute
)

// domains decides who may publish to and play from the origin: it finds the
// streaming domain that a request's host belongs to and checks the request with the
// domain's key. doc/origin.md has the rules in words.
type domains struct {
	db     *store.DB
	own    originConfig // the origin's own domain, ""
	ownKey string       // of this process: signs the relay's pushes, and what the demo plays
	log    *slog.Logger
	now    func() time.Time

	mu   sync.Mutex // held while reading: the others wait for the same answer
	set  *domainSet // as last read; nil before
	read time.Time  // zero: set is to be read anew
}

// domainSet is all streaming domains at one moment.
type domainSet struct {
	byHost map[string]string // host to domain
	byName map[string]store.Domain
	keyed  string // one that has a key, "": none has
}

func newDomains(db *store.DB, own originConfig, ownKey string, log *slog.Logger) *domains {
	return &domains{db: db, own: own, ownKey: ownKey, log: log, now: time.Now}
}

// changed makes the next request read the domains anew.
func (d *domains) changed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = time.Time{}
}

// all are the domains now. While the store does not answer they are what was read
// last: streams go on.
func (d *domains) all(ctx context.Context) (*domainSet, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.set != nil && !d.read.IsZero() && d.now().Sub(d.read) < domainsAge {
		return d.set, nil
	}
	// What is read holds for all: who goes away while it is must not keep a key alive.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readWithin)
	defer cancel()
	var rows []store.Domain
	err := d.db.View(ctx, func(tx *store.Tx) error {
		for after := ""; ; after = rows[len(rows)-1].Name {
			page, err := tx.Domains(after, domainsPage)
			rows = append(rows, page...)
			if err != nil || len(page) < domainsPage {
				return err
			}
		}
	})
	switch {
	case err == nil:
		d.replaceLocked(newDomainSet(rows))
	case d.set == nil:
		return nil, err
	default:
		d.log.Error("the streaming domains cannot be read, those of before hold", "error", err)
	}
	d.read = d.now()
	return d.set, nil
}

// replaceLocked takes domains that were read, and says when that closes hosts or opens
// them: whoever gave another domain a key may not have thought of them.
func (d *domains) replaceLocked(set *domainSet) {
	was := d.set != nil && d.locked(d.set, "")
	d.set = set
	switch is := d.locked(set, ""); {
	case is && !was:
		d.log.Warn("hosts that no streaming domain names are closed, since a domain has an auth_key; origin.auth_key in the config signs their addresses, origin.open opens them", "domain", set.keyed)
	case was && !is:
		d.log.Info("hosts that no streaming domain names are open again: no domain has an auth_key")
	}
}

// newDomainSet orders domains by their hosts. Where two claim one, a domain's name
// goes before its ingest host and that before its play host, and the first by name
// before the others.
func newDomainSet(rows []store.Domain) *domainSet {
	set := &domainSet{byHost: map[string]string{}, byName: map[string]store.Domain{}}
	claim := func(host, domain string) {
		if _, taken := set.byHost[host]; !taken && host != "" {
			set.byHost[host] = domain
		}
	}
	for _, d := range rows {
		set.byName[d.Name] = d
		if d.AuthKey != "" && set.keyed == "" {
			set.keyed = d.Name
		}
		claim(strings.ToLower(d.Name), d.Name)
	}
	for _, d := range rows {
		claim(hostOfURL(d.Ingest), d.Name)
	}
	for _, d := range rows {
		claim(hostOfURL(d.Play), d.Name)
	}
	return set
}

func hostOfURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// access is origin.Config.Access.
func (d *domains) access(ctx context.Context, r origin.Request) (origin.Grant, error) {
	set, err := d.all(ctx)
	if err != nil {
		return origin.Grant{}, &rtmp.Refusal{Words: "the server cannot look the streaming domain up", Err: err}
	}
	name := set.byHost[r.Host]
	query, _ := url.ParseQuery(r.Query) // of a bad one, the good parts
	value := query.Get("auth_key")
	if d.isOwn(r, value) {
		return origin.Grant{Domain: name, Keyed: !r.Publish}, nil
	}
	if r.App == cloudApp { // also with a domain's key, and where there is none
		return origin.Grant{}, denied("streams of " + cloudApp + " are there for cloud recordings alone")
	}
	key, validity := d.keyOf(set, name)
	switch {
	case key != "":
		if err := relay.CheckAuthKey(r.Path, value, key, d.now(), validity); err != nil {
			return origin.Grant{}, denied(err.Error())
		}
		if r.Publish && relay.PlayOnly(value) {
			return origin.Grant{}, denied("the auth_key is for playing alone")
		}
	case d.locked(set, name):
		return origin.Grant{}, denied(fmt.Sprintf("the host %.255q in the address is that of no streaming domain, and a domain has an auth_key: "+
			"add the host to a domain, or set origin.auth_key or origin.open in the config", r.Host))
	}
	if !r.Publish && r.OnAir && r.Domain != name {
		// A stream of a domain with a key is had by that key alone; one of the origin's
		// own also by whoever has a key of another domain.
		other, _ := d.keyOf(set, r.Domain)
		if other != "" || key == "" && d.locked(set, r.Domain) {
			return origin.Grant{}, &rtmp.Refusal{Words: "nobody publishes this stream at this host",
				Err: fmt.Errorf("it is one of domain %q: %w", r.Domain, media.ErrNotFound)}
		}
	}
	return origin.Grant{Domain: name, Keyed: key != ""}, nil
}

// isOwn tells whether the server itself signed an address for what is asked.
func (d *domains) isOwn(r origin.Request, value string) bool {
	holds := playValidity
	if r.Publish {
		holds = relayValidity
	}
	return r.Publish != relay.PlayOnly(value) && relay.CheckAuthKey(r.Path, value, d.ownKey, d.now(), holds) == nil
}

// signPlay makes an address, or a path, with which a page of this server can play a
// stream at whatever host and of whatever domain; it holds for playValidity less
// playStep at least. Where nothing is signed it stays as it is.
func (d *domains) signPlay(ctx context.Context, address string) string {
	if set, err := d.all(ctx); err == nil && set.keyed == "" && d.own.AuthKey == "" {
		return address
	}
	return relay.SignPlayURL(address, d.ownKey, d.now().Truncate(playStep))
}

// keyOf is the key of a domain, "" for none.
func (d *domains) keyOf(set *domainSet, name string) (key string, validity time.Duration) {
	if name == "" {
		return d.own.AuthKey, d.own.Validity
	}
	one := set.byName[name]
	return one.AuthKey, one.Validity
}

// locked tells whether a domain without a key is closed to clients: the origin's own
// is as soon as another one has a key.
func (d *domains) locked(set *domainSet, name string) bool {
	return name == "" && d.own.AuthKey == "" && !d.own.Open && set.keyed != ""
}

func denied(words string) error { return &rtmp.Refusal{Words: words, Err: origin.ErrDenied} }

// ownDomain is admin.Config.OwnDomain.
func (s *server) ownDomain(r *http.Request) (admin.Own, error) {
	set, err := s.domains.all(r.Context())
	if err != nil {
		return admin.Own{}, err
	}
	own := admin.Own{
		Domain: store.Domain{Ingest: s.publicRTMP(r), Play: s.publicHTTP(r), AuthKey: s.cfg.Origin.AuthKey, Validity: s.cfg.Origin.Validity},
		Open:   s.cfg.Origin.Open, Closed: s.domains.locked(set, ""),
	}
	own.HostOf = cmp.Or(set.byHost[hostOfURL(own.Ingest)], set.byHost[hostOfURL(own.Play)])
	return own, nil
}
