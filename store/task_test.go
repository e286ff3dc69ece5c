package store_test

import (
	"reflect"
	"testing"
	"time"

	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

func TestTask(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		b := store.Task{App: "shop", ID: "b", Channel: "c", Auto: true, Spec: []byte(`{"x":"\u0000"}`), Content: "hello"}
		a := store.Task{App: "shop", ID: "a"}
		update(t, db, func(tx *store.Tx) error {
			wantErr(t, "create without its application", tx.CreateTask(&b), media.ErrNotFound)
			if err := tx.CreateApplication(&store.Application{ID: "shop"}); err != nil {
				return err
			}
			wantErr(t, "create without id", tx.CreateTask(&store.Task{App: "shop"}), media.ErrInvalid)
			return tx.CreateTask(&b)
		})
		clock.at = clock.at.Add(time.Second)
		update(t, db, func(tx *store.Tx) error {
			wantErr(t, "create it again", tx.CreateTask(&store.Task{App: "shop", ID: "b", Content: "other"}), media.ErrExists)
			return tx.CreateTask(&a)
		})
		check := func(want ...store.Task) {
			t.Helper()
			view(t, db, func(tx *store.Tx) error {
				got, err := tx.Tasks()
				if !reflect.DeepEqual(got, want) {
					t.Errorf("got %+v\nwant %+v", got, want)
				}
				return err
			})
		}
		check(b, a)
		b.Spec, b.Content = []byte(`{}`), ""
		update(t, db, func(tx *store.Tx) error { return tx.UpdateTask(&b) })
		if !b.Updated.Equal(clock.at) {
			t.Errorf("updated: got %v, want %v", b.Updated, clock.at)
		}
		check(b, a)
		update(t, db, func(tx *store.Tx) error {
			got, err := tx.Task("shop", "b")
			if !reflect.DeepEqual(got, b) {
				t.Errorf("got %+v\nwant %+v", got, b)
			}
			_, none := tx.Task("shop", "no")
			wantErr(t, "read of nothing", none, media.ErrNotFound)
			wantErr(t, "update of nothing", tx.UpdateTask(&store.Task{App: "other", ID: "b"}), media.ErrNotFound)
			wantErr(t, "delete of nothing", tx.DeleteTask("other", "b"), media.ErrNotFound)
			if err != nil {
				return err
			}
			return tx.DeleteTask("shop", "b")
		})
		check(a)
	})
}

func TestAddress(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		a := store.Address{ID: "secret", Kind: store.WHIPAddress, App: "shop", Channel: "c", User: "u", DisplayName: "U",
			ClientToken: "once", Expires: clock.at.Add(time.Hour)}
		update(t, db, func(tx *store.Tx) error {
			wantErr(t, "create without its application", tx.CreateAddress(&a), media.ErrNotFound)
			if err := tx.CreateApplication(&store.Application{ID: "shop"}); err != nil {
				return err
			}
			return tx.CreateAddress(&a)
		})
		if !a.Created.Equal(clock.at) {
			t.Errorf("created: got %v, want %v", a.Created, clock.at)
		}
		again := store.Address{ID: "new", Kind: a.Kind, App: "shop", ClientToken: "once", Expires: clock.at.Add(2 * time.Hour)}
		update(t, db, func(tx *store.Tx) error {
			byID, err := tx.Address("secret")
			byToken, err2 := tx.AddressByToken("shop", store.WHIPAddress, "once")
			if !reflect.DeepEqual(byID, a) || !reflect.DeepEqual(byToken, a) {
				t.Errorf("by id %+v (%v)\nby token %+v (%v)\nwant %+v", byID, err, byToken, err2, a)
			}
			same := again
			same.ID, same.ClientToken = "secret", ""
			wantErr(t, "the same id", tx.CreateAddress(&same), media.ErrExists)
			same = again
			wantErr(t, "the same token", tx.CreateAddress(&same), media.ErrExists)
			same.Kind = store.RTMPAddress
			if err := tx.CreateAddress(&same); err != nil {
				t.Errorf("the same token for the other protocol: %v", err)
			}
			for _, id := range []string{"t1", "t2"} {
				if err := tx.CreateAddress(&store.Address{ID: id, App: "shop", Kind: a.Kind, Expires: a.Expires}); err != nil {
					t.Errorf("without a token: %v", err)
				}
			}
			_, err = tx.AddressByToken("shop", store.WHIPAddress, "")
			wantErr(t, "by no token", err, media.ErrNotFound)
			_, err = tx.AddressByToken("other", store.WHIPAddress, "once")
			wantErr(t, "by another's token", err, media.ErrNotFound)
			return nil
		})
		clock.at = a.Expires
		update(t, db, func(tx *store.Tx) error {
			if late, err := tx.Address("secret"); err != nil || clock.at.Before(late.Expires) {
				t.Errorf("what has expired and is not purged: got %+v, %v", late, err)
			}
			_, err := tx.AddressByToken("shop", store.WHIPAddress, "once")
			wantErr(t, "by the token of what has expired", err, media.ErrNotFound)
			again.ID = "newer"
			return tx.CreateAddress(&again) // its token is free again
		})
		if err := db.Purge(t.Context(), clock.at); err != nil {
			t.Fatal(err)
		}
		view(t, db, func(tx *store.Tx) error {
			n, err := tx.Count("SELECT COUNT(*) FROM addresses")
			if n != 2 { // newer and the one for RTMP
				t.Errorf("after the purge: got %d addresses, want 2", n)
			}
			return err
		})
	})
}
