package store_test

import (
	"errors"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

func TestAdministrators(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		anna := store.Administrator{Name: "anna", Role: store.Admin, Password: "hash"}
		update(t, db, func(tx *store.Tx) error {
			for _, a := range []*store.Administrator{&anna, {Name: "Zoe", Role: store.Viewer}, {Name: "bert", Role: store.Admin, Disabled: true}} {
				if err := tx.CreateAdministrator(a); err != nil {
					return err
				}
			}
			if n, err := tx.Admins(); n != 1 || err != nil {
				t.Errorf("there are %d admins, %v, want 1: anna", n, err)
			}
			return nil
		})
		for name, want := range map[string]error{"anna": media.ErrExists, "": media.ErrInvalid} {
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				return tx.CreateAdministrator(&store.Administrator{Name: name, Role: store.Admin})
			})
			if !errors.Is(err, want) {
				t.Errorf("create %q: got %v, want %v", name, err, want)
			}
		}
		if err := db.Update(t.Context(), func(tx *store.Tx) error {
			return tx.CreateAdministrator(&store.Administrator{Name: "x", Role: "owner"})
		}); !errors.Is(err, media.ErrInvalid) {
			t.Errorf("create with another role: got %v, want media.ErrInvalid", err)
		}
		old := anna
		update(t, db, func(tx *store.Tx) error {
			anna.Role, anna.Password, anna.Disabled = store.Viewer, "another", true
			return tx.UpdateAdministrator(&anna)
		})
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.UpdateAdministrator(&old) }); !errors.Is(err, store.ErrStale) {
			t.Errorf("write an old version: got %v, want ErrStale", err)
		}
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.Administrator("anna")
			if err != nil || !reflect.DeepEqual(got, anna) || got.Version != 2 {
				t.Errorf("got %+v, %v, want %+v", got, err, anna)
			}
			all, err := tx.Administrators("", 2)
			if err != nil || len(all) != 2 || all[0].Name != "Zoe" || all[1].Name != "anna" {
				t.Errorf("the first page is %+v, %v, want Zoe and anna", all, err)
			}
			all, err = tx.Administrators("anna", 2)
			if err != nil || len(all) != 1 || all[0].Name != "bert" {
				t.Errorf("the second page is %+v, %v, want bert", all, err)
			}
			return nil
		})
		update(t, db, func(tx *store.Tx) error { return tx.DeleteAdministrator("anna") })
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteAdministrator("anna") }); !errors.Is(err, media.ErrNotFound) {
			t.Errorf("delete twice: got %v, want media.ErrNotFound", err)
		}
	})
}

func TestLogins(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		start := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
		var passed atomic.Int64
		now := func() time.Time { return start.Add(time.Duration(passed.Load())) }
		c.Now = now
		db := storetest.OpenConfig(t, c)
		find := func(id string) (l store.Login, err error) {
			err = db.View(t.Context(), func(tx *store.Tx) error {
				l, _, err = tx.Login(id)
				return err
			})
			return l, err
		}
		gone := func(when string, ids ...string) {
			t.Helper()
			for _, id := range ids {
				if _, err := find(id); !errors.Is(err, media.ErrNotFound) {
					t.Errorf("%s: login %s: got %v, want media.ErrNotFound", when, id, err)
				}
			}
		}
		in := func(id, name string, after time.Duration) {
			update(t, db, func(tx *store.Tx) error {
				return tx.CreateLogin(store.Login{ID: id, Name: name, Address: "::1", Agent: "ä", Created: start.Add(after),
					Used: start.Add(after), Expires: start.Add(time.Hour)}, 3)
			})
		}
		update(t, db, func(tx *store.Tx) error {
			for _, name := range []string{"anna", "bert"} {
				if err := tx.CreateAdministrator(&store.Administrator{Name: name, Role: store.Admin}); err != nil {
					return err
				}
			}
			return nil
		})
		for i, id := range []string{"1", "2", "3", "4"} {
			in(id, "anna", time.Duration(i)*time.Second)
		}
		in("b", "bert", 0)
		gone("of four at most three", "1")
		view(t, db, func(tx *store.Tx) error {
			l, a, err := tx.Login("4")
			want := store.Login{ID: "4", Name: "anna", Address: "::1", Agent: "ä", Created: start.Add(3 * time.Second), Used: start.Add(3 * time.Second), Expires: start.Add(time.Hour)}
			if err != nil || l != want || a.Name != "anna" {
				t.Errorf("got %+v of %q, %v, want %+v", l, a.Name, err, want)
			}
			all, err := tx.Logins("anna")
			if err != nil || len(all) != 3 || all[0].ID != "4" || all[2].ID != "2" {
				t.Errorf("anna's are %+v, %v, want 4, 3, 2", all, err)
			}
			return err
		})
		update(t, db, func(tx *store.Tx) error { return tx.UseLogin("4", start.Add(time.Minute), start.Add(2*time.Hour)) })
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.EndLogin("bert", "4") }); !errors.Is(err, media.ErrNotFound) {
			t.Errorf("end another's login: got %v, want media.ErrNotFound", err)
		}
		update(t, db, func(tx *store.Tx) error { return tx.EndLogin("anna", "3") })
		gone("ended", "3")
		passed.Store(int64(time.Hour))
		gone("expired", "2", "b")
		if _, err := find("4"); err != nil {
			t.Errorf("used, so that it holds for longer: %v", err)
		}
		update(t, db, func(tx *store.Tx) error { // for a clock that goes back
			return tx.CreateLogin(store.Login{ID: "5", Name: "anna", Created: now(), Expires: now().Add(time.Hour)}, 3)
		})
		update(t, db, func(tx *store.Tx) error { return tx.EndLogins("anna", "4") })
		gone("all others ended", "5")
		update(t, db, func(tx *store.Tx) error {
			a, err := tx.Administrator("anna")
			if err != nil {
				return err
			}
			a.Disabled = true
			return tx.UpdateAdministrator(&a)
		})
		gone("disabled", "4")
		if err := db.Purge(t.Context(), now()); err != nil {
			t.Fatal(err)
		}
		update(t, db, func(tx *store.Tx) error { return tx.DeleteAdministrator("anna") })
		view(t, db, func(tx *store.Tx) error {
			if n, err := tx.Count("SELECT COUNT(*) FROM logins"); n != 0 || err != nil {
				t.Errorf("after all have expired or lost their administrator: %d are left, %v", n, err)
			}
			return nil
		})
	})
}

func TestAudit(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		start := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
		c.Now = func() time.Time { return start }
		c.AuditKept = 24 * time.Hour
		db := storetest.OpenConfig(t, c)
		var first int64
		update(t, db, func(tx *store.Tx) (err error) {
			first, err = tx.AppendAudit(store.AuditEntry{Kind: "console", Who: "anna", Address: "::1", Action: "POST /v1/applications", Summary: "name=x\x00\xff" + strings.Repeat("ä", 500)})
			if err != nil {
				return err
			}
			for _, e := range []store.AuditEntry{{Who: "bert", App: "a", Time: start.Add(-time.Hour)}, {Who: "anna", App: "b", Time: start.Add(-25 * time.Hour)}} {
				if _, err := tx.AppendAudit(e); err != nil {
					return err
				}
			}
			return tx.AuditResult(first, 201, "applications/a", "a")
		})
		read := func(f store.AuditFilter, before int64, limit int) (all []store.AuditEntry) {
			t.Helper()
			view(t, db, func(tx *store.Tx) (err error) {
				all, err = tx.Audit(f, before, limit)
				return err
			})
			return all
		}
		want := store.AuditEntry{ID: first, Time: start, Kind: "console", Who: "anna", Address: "::1", Action: "POST /v1/applications",
			Object: "applications/a", App: "a", Summary: "name=x??" + strings.Repeat("ä", 492) + "…", Result: 201}
		if got := read(store.AuditFilter{Who: "anna", App: "a"}, 0, 10); len(got) != 1 || got[0] != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		page := read(store.AuditFilter{}, 0, 2)
		if len(page) != 2 || page[0].ID <= page[1].ID {
			t.Fatalf("the first page is %+v, want the two newest", page)
		}
		if got := read(store.AuditFilter{}, page[1].ID, 2); len(got) != 1 || got[0].ID != first {
			t.Errorf("the second page is %+v, want entry %d", got, first)
		}
		if got := read(store.AuditFilter{From: start.Add(-time.Hour), To: start}, 0, 10); len(got) != 1 || got[0].Who != "bert" {
			t.Errorf("of the hour before: got %+v, want bert's", got)
		}
		if err := db.Purge(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		if got := read(store.AuditFilter{}, 0, 10); len(got) != 2 {
			t.Errorf("after a day: %+v is left, want two", got)
		}
	})
}
