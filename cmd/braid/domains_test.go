package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"braid/media"
	"braid/media/rtmp"
	"braid/origin"
	"braid/relay"
	"braid/store"
)

// TestDomainAccess: who may do what, by host, key and the domain of the stream.
func TestDomainAccess(t *testing.T) {
	ctx := t.Context()
	db, err := store.Open(ctx, store.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d := newDomains(db, originConfig{Validity: time.Hour}, "relay-key", slog.New(slog.DiscardHandler))
	now := time.Unix(1_700_000_000, 0)
	d.now = func() time.Time { return now }
	try := func(r origin.Request) string {
		t.Helper()
		r.App, r.Name, r.Remote = "live", "cam", "192.0.2.1:5000"
		if r.Path == "" {
			r.Path = "/live/cam"
		}
		g, err := d.access(ctx, r)
		var words *rtmp.Refusal
		switch {
		case err == nil:
			return fmt.Sprintf("%s keyed %v", g.Domain, g.Keyed)
		case !errors.As(err, &words) || !errors.Is(err, origin.ErrDenied) && !errors.Is(err, media.ErrNotFound):
			return "strange error: " + err.Error()
		}
		return words.Words
	}
	expect := func(what string, r origin.Request, want string) {
		t.Helper()
		if got := try(r); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	key := func(path, key string, at time.Time) string {
		_, query, _ := strings.Cut(relay.SignURL("rtmp://h"+path, key, at), "?")
		return query
	}
	add := func(domains ...store.Domain) {
		t.Helper()
		err := db.Update(ctx, func(tx *store.Tx) error {
			for _, one := range domains {
				if err := tx.CreateDomain(&one); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		d.changed()
	}

	expect("no domain is there", origin.Request{Host: "10.0.0.1", Publish: true}, " keyed false")
	if got := d.signPlay(ctx, "/live/cam.flv"); got != "/live/cam.flv" {
		t.Errorf("nothing is signed, but for a page of the server's own: %s", got)
	}
	add(store.Domain{Name: "open.example.com", Ingest: "rtmp://push.example.com:1936", Play: "https://CDN.example.com/x", Validity: time.Hour})
	for host, want := range map[string]string{"open.example.com": "open.example.com", "push.example.com": "open.example.com", "cdn.example.com": "open.example.com", "else.example.com": ""} {
		expect(host, origin.Request{Host: host}, want+" keyed false")
	}
	expect("no key anywhere: one domain's stream at another", origin.Request{Host: "x", OnAir: true, Domain: "open.example.com"}, " keyed false")

	add(store.Domain{Name: "gold.example.com", Ingest: "rtmp://push.example.com", AuthKey: "goldgold", Validity: time.Minute})
	const gold = "gold.example.com"
	expect("the first by name has the host", origin.Request{Host: "push.example.com"}, "the address needs an auth_key")
	expect("no key", origin.Request{Host: gold, Publish: true}, "the address needs an auth_key")
	expect("right key", origin.Request{Host: gold, Publish: true, Query: key("/live/cam", "goldgold", now)}, gold+" keyed true")
	expect("among others", origin.Request{Host: gold, Query: "a=b;c&" + key("/live/cam", "goldgold", now) + "&%zz"}, gold+" keyed true")
	expect("another's key", origin.Request{Host: gold, Query: key("/live/cam", "silversilver", now)}, "the auth_key is not right for this address")
	expect("of the other form", origin.Request{Host: gold, Path: "/live/cam.flv", Query: key("/live/cam", "goldgold", now)}, "the auth_key is not right for this address")
	expect("expired", origin.Request{Host: gold, Query: key("/live/cam", "goldgold", now.Add(-time.Minute))}, "the auth_key has expired")
	expect("unreadable", origin.Request{Host: gold, Query: "auth_key=1"}, "the auth_key is not timestamp-rand-uid-md5")
	shut := func(host string) string {
		return `the host "` + host + `" in the address is that of no streaming domain, and a domain has an auth_key: ` +
			"add the host to a domain, or set origin.auth_key or origin.open in the config"
	}
	expect("a host of no domain", origin.Request{Host: "10.0.0.1"}, shut("10.0.0.1"))
	expect("no host", origin.Request{Publish: true}, shut(""))
	expect("a long host", origin.Request{Host: strings.Repeat("x", 9999) + ".example.com"}, shut(strings.Repeat("x", 255)))
	expect("the relay", origin.Request{Host: "127.0.0.1", Publish: true, Query: key("/live/cam", "relay-key", now)}, " keyed false")
	expect("what the relay signs plays nothing", origin.Request{Host: "127.0.0.1", Query: key("/live/cam", "relay-key", now)}, shut("127.0.0.1"))
	signed := func(path string) string { _, query, _ := strings.Cut(d.signPlay(ctx, path), "?"); return query }
	for _, host := range []string{"127.0.0.1", gold, "open.example.com", "x"} {
		expect("the server's own page at "+host, origin.Request{Host: host, OnAir: true, Domain: gold, Query: signed("/live/cam")}, d.hostDomain(host)+" keyed true")
	}
	expect("its address cannot be published to", origin.Request{Host: "127.0.0.1", Publish: true, Query: signed("/live/cam")}, shut("127.0.0.1"))
	expect("nor is it good for another path", origin.Request{Host: "127.0.0.1", Path: "/live/cam.flv", Query: signed("/live/cam")}, shut("127.0.0.1"))
	given := signed("/live/cam")
	now = now.Add(playValidity - playStep - time.Second)
	expect("a while later", origin.Request{Host: "127.0.0.1", Query: given}, " keyed true")
	now = now.Add(playStep + time.Second)
	expect("too late", origin.Request{Host: "127.0.0.1", Query: given}, shut("127.0.0.1"))
	expect("a domain without a key stays open", origin.Request{Host: "open.example.com", OnAir: true, Domain: "open.example.com"}, "open.example.com keyed false")
	expect("a stream of gold through it", origin.Request{Host: "open.example.com", OnAir: true, Domain: gold}, "nobody publishes this stream at this host")
	expect("a stream of the origin's own through it", origin.Request{Host: "open.example.com", OnAir: true}, "nobody publishes this stream at this host")
	expect("by gold's key", origin.Request{Host: gold, OnAir: true, Query: key("/live/cam", "goldgold", now)}, gold+" keyed true")

	_, play, _ := strings.Cut(relay.SignPlayURL("rtmp://h/live/cam", "goldgold", now), "?")
	expect("a signature for playing", origin.Request{Host: gold, Query: play}, gold+" keyed true")
	expect("publishing with it", origin.Request{Host: gold, Query: play, Publish: true}, "the auth_key is for playing alone")

	d.own = originConfig{AuthKey: "ownown", Validity: time.Minute}
	expect("the own key", origin.Request{Host: "10.0.0.1", OnAir: true, Query: key("/live/cam", "ownown", now)}, " keyed true")
	expect("the own stream by gold's key", origin.Request{Host: gold, OnAir: true, Query: key("/live/cam", "goldgold", now)}, "nobody publishes this stream at this host")
	d.own = originConfig{Open: true}
	expect("open", origin.Request{Host: "10.0.0.1", OnAir: true}, " keyed false")
	expect("open, gold's stream", origin.Request{Host: "10.0.0.1", OnAir: true, Domain: gold}, "nobody publishes this stream at this host")
}

// hostDomain is the domain of a host as last read.
func (d *domains) hostDomain(host string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.set.byHost[host]
}

// TestClosedHostsAreSaid: whoever gives a domain a key reads in the log whom that
// shuts out, once, at a start, too.
func TestClosedHostsAreSaid(t *testing.T) {
	ctx := t.Context()
	db, err := store.Open(ctx, store.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	d := newDomains(db, originConfig{}, "k", log)
	look := func(d *domains, want ...string) {
		t.Helper()
		d.changed()
		out.Reset()
		for range 2 {
			if _, err := d.all(ctx); err != nil {
				t.Fatal(err)
			}
			d.changed()
		}
		if lines := strings.Count(out.String(), "\n"); lines != min(1, len(want)) {
			t.Errorf("the log has %d lines: %s", lines, out.String())
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("got %q, want %q", out.String(), w)
			}
		}
	}
	update := func(f func(*store.Tx) error) {
		t.Helper()
		if err := db.Update(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	look(d)
	update(func(tx *store.Tx) error {
		return tx.CreateDomain(&store.Domain{Name: "a.example.com", AuthKey: "abcdef"})
	})
	look(d, "WARN", "are closed", "origin.auth_key", "origin.open", "domain=a.example.com")
	look(d)
	look(newDomains(db, originConfig{}, "k", log), "are closed")
	look(newDomains(db, originConfig{Open: true}, "k", log))
	look(newDomains(db, originConfig{AuthKey: "ownown"}, "k", log))
	update(func(tx *store.Tx) error { return tx.DeleteDomain("a.example.com") })
	look(d, "are open again")
}

// What another node has changed is seen in a while; a store that is away changes nothing.
func TestDomainsAreReadAnew(t *testing.T) {
	db, err := store.Open(t.Context(), store.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	d := newDomains(db, originConfig{}, "k", slog.New(slog.DiscardHandler))
	now := time.Now()
	d.now = func() time.Time { return now }
	domain := func() string {
		g, err := d.access(t.Context(), origin.Request{Host: "a.example.com"})
		if err != nil {
			return err.Error()
		}
		return g.Domain
	}
	if got := domain(); got != "" {
		t.Errorf("without domains: %q", got)
	}
	err = db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateDomain(&store.Domain{Name: "a.example.com"}) })
	if err != nil {
		t.Fatal(err)
	}
	if got := domain(); got != "" {
		t.Errorf("at once, without being told: %q", got)
	}
	d.changed()
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if g, err := d.access(away, origin.Request{Host: "a.example.com"}); err != nil || g.Domain != "a.example.com" {
		t.Errorf("told, and asked by somebody who has gone away: %q, %v", g.Domain, err)
	}
	update := func(f func(*store.Tx) error) {
		t.Helper()
		if err := db.Update(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx *store.Tx) error { return tx.DeleteDomain("a.example.com") })
	now = now.Add(domainsAge)
	if got := domain(); got != "" {
		t.Errorf("deleted, after a while: %q", got)
	}
	update(func(tx *store.Tx) error { return tx.CreateDomain(&store.Domain{Name: "a.example.com"}) })
	now = now.Add(domainsAge)
	if got := domain(); got != "a.example.com" {
		t.Errorf("after a while: %q", got)
	}
	db.Close()
	now = now.Add(domainsAge)
	if got := domain(); got != "a.example.com" {
		t.Errorf("the store is away: %q", got)
	}
	fresh := newDomains(db, originConfig{}, "k", slog.New(slog.DiscardHandler))
	if _, err := fresh.access(context.Background(), origin.Request{Host: "a.example.com"}); err == nil {
		t.Error("without ever having read the domains: let in")
	}
}

func TestOriginConfig(t *testing.T) {
	for want, c := range map[string]originConfig{
		"":                {Validity: time.Minute, AuthKey: "abc123"},
		"origin.auth_key": {Validity: time.Minute, AuthKey: "abc"},
		"origin.open":     {Validity: time.Minute, AuthKey: "abc123", Open: true},
		"origin.validity": {},
	} {
		if err := c.check(); (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want+":") {
			t.Errorf("%+v: got %v, want %s", c, err, want)
		}
	}
}
