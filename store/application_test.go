package store_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"braid/event"
	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

// clock is a Config.Now that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Date(2026, 11, 22, 12, 0, 0, 123e6, time.UTC)} }

func TestApplication(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		made := clock.at
		app := store.Application{ID: "shop", Name: "Shop 店", Tokens: store.TokensJWT, Disabled: true, Config: true,
			Key:     store.Secret{Current: "k2", Previous: "k1", Until: made.Add(time.Hour)},
			Signing: store.Secret{Current: "whsec_x"},
			Relay: store.RelaySettings{Enabled: true, Single: true, Mix: true, Domain: "live", AppName: "app",
				SEIInterval: 2 * time.Second, SEIFollowIDR: true}}

		err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateApplication(&app) })
		wantErr(t, "create with a domain that is not there", err, media.ErrInvalid)
		if app.Version != 0 {
			t.Errorf("version after a refusal: got %d, want 0", app.Version)
		}
		update(t, db, func(tx *store.Tx) error {
			if err := tx.CreateDomain(&store.Domain{Name: "live"}); err != nil {
				return err
			}
			return tx.CreateApplication(&app)
		})
		want := app
		want.Version, want.Created, want.Updated = 1, made, made
		read := func() (a store.Application) {
			view(t, db, func(tx *store.Tx) (err error) {
				a, err = tx.Application("shop")
				return err
			})
			return a
		}
		if !reflect.DeepEqual(app, want) || !reflect.DeepEqual(read(), want) {
			t.Errorf("created %+v\nread %+v\nwant %+v", app, read(), want)
		}
		update(t, db, func(tx *store.Tx) error {
			wantErr(t, "create it again", tx.CreateApplication(&store.Application{ID: "shop"}), media.ErrExists)
			wantErr(t, "create without id", tx.CreateApplication(&store.Application{}), media.ErrInvalid)
			return nil
		})

		clock.at = clock.at.Add(time.Minute)
		stale := app
		app.Disabled, app.Relay = false, store.RelaySettings{AppName: "x"}
		app.Created = time.Time{} // is not written
		update(t, db, func(tx *store.Tx) error { return tx.UpdateApplication(&app) })
		if app.Version != 2 || !app.Updated.Equal(clock.at) {
			t.Errorf("after the update: version %d, updated %v, want 2, %v", app.Version, app.Updated, clock.at)
		}
		app.Created = made
		if got := read(); !reflect.DeepEqual(got, app) {
			t.Errorf("read %+v\nwant %+v", got, app)
		}
		stale.Name = "lost update"
		update(t, db, func(tx *store.Tx) error {
			wantErr(t, "update of what was changed meanwhile", tx.UpdateApplication(&stale), store.ErrStale)
			wantErr(t, "update of nothing", tx.UpdateApplication(&store.Application{ID: "no", Version: 1}), media.ErrNotFound)
			wantErr(t, "delete of nothing", tx.DeleteApplication("no"), media.ErrNotFound)
			_, err := tx.Application("no")
			wantErr(t, "read of nothing", err, media.ErrNotFound)
			return nil
		})
		if got := read(); got.Name != app.Name || stale.Version != 1 {
			t.Errorf("after a stale update: name %q, its version %d, want %q, 1", got.Name, stale.Version, app.Name)
		}
	})
}

func TestDeleteApplicationTakesAllThatIsItsOwn(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		for _, id := range []string{"gone", "stays"} {
			update(t, db, func(tx *store.Tx) error { return fill(tx, id) })
		}
		update(t, db, func(tx *store.Tx) error { return tx.DeleteApplication("gone") })
		view(t, db, func(tx *store.Tx) error {
			for _, table := range []string{"tasks", "addresses", "events", "present_channels", "present_users", "used", "subscriptions"} {
				for app, want := range map[string]bool{"gone": false, "stays": true} {
					n, err := tx.Count("SELECT COUNT(*) FROM "+table+" WHERE app = ?", app)
					if err != nil {
						return err
					}
					if n > 0 != want {
						t.Errorf("%s of application %s: got %d rows, want some: %v", table, app, n, want)
					}
				}
			}
			return nil
		})
	})
}

// fill makes an application with one of everything.
func fill(tx *store.Tx, id string) error {
	user := &event.User{ID: "u", Session: "s", Role: event.Streamer}
	for _, f := range []func() error{
		func() error { return tx.CreateApplication(&store.Application{ID: id}) },
		func() error {
			return tx.CreateSubscription(&store.Subscription{App: id, ID: "sub-" + id, Kind: store.Room, URL: "http://127.0.0.1/",
				Events: []string{"ChannelEvent", "UserEvent"}})
		},
		func() error { return tx.CreateTask(&store.Task{App: id, ID: "t", Channel: "c"}) },
		func() error {
			return tx.CreateAddress(&store.Address{ID: "secret-" + id, App: id, Kind: store.WHIPAddress, Expires: time.Now().Add(time.Hour)})
		},
		func() error {
			return tx.Append(event.Event{App: id, Channel: "c", Type: event.ChannelOpen},
				event.Event{App: id, Channel: "c", Type: event.UserJoin, User: user})
		},
		func() error {
			return tx.AddUsage(store.Usage{App: id, Kind: store.CallUsage, Class: "audio", Start: time.Now(), Time: time.Minute})
		},
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// Whatever is added and deleted while someone turns the pages, what is there
// all the time is seen once.
func TestPagesStayRight(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		rnd := rand.New(rand.NewPCG(1, 2))
		alive := map[string]bool{}
		add := func() {
			// Ids and domain names that sort otherwise in most languages than as
			// bytes; often several at the same millisecond.
			id := fmt.Sprintf("%c%c-%04d", 'a'+rnd.IntN(2)*('A'-'a'), 'A'+rnd.IntN(2)*('_'-'A'), rnd.IntN(10000))
			if alive[id] {
				return
			}
			alive[id] = true
			clock.at = clock.at.Add(time.Duration(rnd.IntN(2)) * time.Millisecond)
			update(t, db, func(tx *store.Tx) error {
				if err := tx.CreateDomain(&store.Domain{Name: id}); err != nil {
					return err
				}
				return tx.CreateApplication(&store.Application{ID: id})
			})
		}
		remove := func(id string) {
			delete(alive, id)
			update(t, db, func(tx *store.Tx) error {
				if err := tx.DeleteDomain(id); err != nil {
					return err
				}
				return tx.DeleteApplication(id)
			})
		}
		for range 60 {
			add()
		}
		turn := func(what string, page func(tx *store.Tx, after string) (ids []string, next string, err error)) {
			constant := map[string]bool{}
			for id := range alive {
				constant[id] = true
			}
			seen := map[string]int{}
			after := ""
			for {
				var ids []string
				view(t, db, func(tx *store.Tx) (err error) {
					ids, after, err = page(tx, after)
					return err
				})
				for _, id := range ids {
					seen[id]++
				}
				if len(ids) < 7 {
					break
				}
				add()
				remove(ids[len(ids)-1]) // the one the cursor stands on
				delete(constant, ids[len(ids)-1])
			}
			for id, n := range seen {
				if n > 1 {
					t.Errorf("%s %q was seen %d times", what, id, n)
				}
			}
			for id := range constant {
				if seen[id] != 1 {
					t.Errorf("%s %q was there all the time and seen %d times", what, id, seen[id])
				}
			}
			if len(constant) < 20 {
				t.Errorf("only %d were there all the time", len(constant))
			}
		}
		turn("application", func(tx *store.Tx, after string) (ids []string, next string, err error) {
			page, err := tx.Applications(after, 7)
			for _, a := range page {
				ids, next = append(ids, a.ID), a.Cursor()
			}
			return ids, next, err
		})
		turn("domain", func(tx *store.Tx, after string) (ids []string, next string, err error) {
			page, err := tx.Domains(after, 7)
			for _, d := range page {
				ids, next = append(ids, d.Name), d.Name
			}
			return ids, next, err
		})
		view(t, db, func(tx *store.Tx) error {
			for _, bad := range []string{"shop", ".shop", "x.shop", "99999999999999999999.shop"} {
				_, err := tx.Applications(bad, 1)
				wantErr(t, fmt.Sprintf("cursor %q", bad), err, media.ErrInvalid)
			}
			_, err := tx.Applications("", 0)
			wantErr(t, "limit 0", err, media.ErrInvalid)
			_, err = tx.Domains("", -1)
			wantErr(t, "limit -1", err, media.ErrInvalid)
			return nil
		})
	})
}

func TestDomain(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		d := store.Domain{Name: "live.example.com", Ingest: "rtmps://push.example.com", Play: "https://play.example.com",
			AuthKey: "secret", Validity: 30 * time.Minute, RTS2: true}
		update(t, db, func(tx *store.Tx) error { return tx.CreateDomain(&d) })
		want := d
		want.Version, want.Created, want.Updated = 1, clock.at, clock.at
		stale := d
		d.AuthKey = ""
		update(t, db, func(tx *store.Tx) error {
			got, err := tx.Domain(d.Name)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("read %+v\nwant %+v", got, want)
			}
			wantErr(t, "create it again", tx.CreateDomain(&store.Domain{Name: d.Name}), media.ErrExists)
			wantErr(t, "create without a name", tx.CreateDomain(&store.Domain{}), media.ErrInvalid)
			if err := tx.UpdateDomain(&d); err != nil {
				return err
			}
			wantErr(t, "update of what was changed meanwhile", tx.UpdateDomain(&stale), store.ErrStale)
			wantErr(t, "update of nothing", tx.UpdateDomain(&store.Domain{Name: "no"}), media.ErrNotFound)
			return err
		})
		app := store.Application{ID: "shop", Relay: store.RelaySettings{Domain: d.Name}}
		update(t, db, func(tx *store.Tx) error { return tx.CreateApplication(&app) })
		update(t, db, func(tx *store.Tx) error {
			wantErr(t, "delete of what is used", tx.DeleteDomain(d.Name), store.ErrInUse)
			app.Relay.Domain = ""
			if err := tx.UpdateApplication(&app); err != nil {
				return err
			}
			if err := tx.DeleteDomain(d.Name); err != nil {
				return err
			}
			wantErr(t, "delete of nothing", tx.DeleteDomain(d.Name), media.ErrNotFound)
			wantErr(t, "delete of no name", tx.DeleteDomain(""), media.ErrNotFound)
			_, err := tx.Domain(d.Name)
			wantErr(t, "read of nothing", err, media.ErrNotFound)
			return nil
		})
	})
}

// Both engines sort text alike, whatever the language of the database.
func TestTextIsSortedByBytes(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		want := []string{"B", "Z-1", "Z1", "_", "a", "b", "z", "ä"}
		update(t, db, func(tx *store.Tx) error {
			for _, i := range rand.Perm(len(want)) {
				if err := tx.CreateDomain(&store.Domain{Name: want[i]}); err != nil {
					return err
				}
			}
			return nil
		})
		view(t, db, func(tx *store.Tx) error {
			domains, err := tx.Domains("", 100)
			var got []string
			for _, d := range domains {
				got = append(got, d.Name)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			return err
		})
	})
}
