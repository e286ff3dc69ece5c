package store_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/event"
	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

func record(app, id, domain, appName string) store.Template {
	return store.Template{App: app, ID: id, Domain: domain, AppName: appName, Kind: store.RecordKind,
		Record: &store.RecordTemplate{Format: []string{store.FMP4, store.TS}, SegmentSeconds: 60, Name: store.DefaultRecordName, RetentionDays: 7, Storage: "cold"}}
}

func snapshot(app, id, domain, appName string) store.Template {
	return store.Template{App: app, ID: id, Domain: domain, AppName: appName, Kind: store.SnapshotKind,
		Snapshot: &store.SnapshotTemplate{IntervalSeconds: 5, History: 3, Name: store.DefaultSnapshotName}}
}

func transcode(app, id, domain, appName string) store.Template {
	return store.Template{App: app, ID: id, Domain: domain, AppName: appName, Kind: store.TranscodeKind,
		Transcode: &store.TranscodeTemplate{Renditions: []store.Rendition{{Name: "720p", Height: 720, Bitrate: 2000}, {Name: "sd", Height: 360, Bitrate: 600, FPS: 15}}}}
}

// twoApps is a store with applications a and b and the domain d.
func twoApps(t *testing.T, db *store.DB) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error {
		for _, id := range []string{"a", "b"} {
			if err := tx.CreateApplication(&store.Application{ID: id}); err != nil {
				return err
			}
		}
		return tx.CreateDomain(&store.Domain{Name: "d"})
	})
}

func TestTemplate(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		twoApps(t, db)
		all := []store.Template{record("a", "rec", "d", "live"), snapshot("a", "shot", "", "live"), transcode("a", "x", "d", "show")}
		for i := range all {
			update(t, db, func(tx *store.Tx) error { return tx.CreateTemplate(&all[i]) })
			if got := all[i]; got.Version != 1 || !got.Created.Equal(clock.at) || !got.Updated.Equal(clock.at) {
				t.Errorf("created %+v", got)
			}
			view(t, db, func(tx *store.Tx) error {
				got, err := tx.Template("a", all[i].ID)
				if err == nil && !reflect.DeepEqual(got, all[i]) {
					t.Errorf("read %+v, want %+v", got, all[i])
				}
				return err
			})
		}
		view(t, db, func(tx *store.Tx) error {
			_, err := tx.Template("b", "rec")
			wantErr(t, "another application's", err, media.ErrNotFound)
			some, err := tx.Templates("a", "rec", 1)
			if err == nil && (len(some) != 1 || some[0].ID != "shot") {
				t.Errorf("behind rec: %+v", some)
			}
			_, err2 := tx.Templates("a", "", 0)
			wantErr(t, "limit 0", err2, media.ErrInvalid)
			return err
		})
		for what, want := range map[string]struct {
			t   store.Template
			err error
		}{
			"an id that is taken":       {record("a", "rec", "", "other"), media.ErrExists},
			"the same streams":          {record("a", "rec2", "d", "live"), media.ErrExists},
			"another application's":     {record("b", "rec", "d", "live"), nil},
			"another AppName":           {record("a", "rec3", "d", "show"), nil},
			"a domain that is not":      {record("a", "rec4", "nowhere", "live"), media.ErrInvalid},
			"an application that isn't": {record("nobody", "rec", "", "live"), media.ErrNotFound},
		} {
			err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateTemplate(&want.t) })
			if !errors.Is(err, want.err) || (err == nil) != (want.err == nil) {
				t.Errorf("create %s: got %v, want %v", what, err, want.err)
			}
		}

		clock.at = clock.at.Add(time.Hour)
		next := all[0]
		next.Record = &store.RecordTemplate{Format: []string{store.TS}, SegmentSeconds: 10, Name: "{stream}/{date}T{time}"}
		next.Disabled = true
		stale := next
		update(t, db, func(tx *store.Tx) error { return tx.UpdateTemplate(&next) })
		if next.Version != 2 || !next.Updated.Equal(clock.at) || next.Created.Equal(clock.at) {
			t.Errorf("updated %+v", next)
		}
		other := snapshot("a", "rec", "d", "live")
		other.Version = 2
		gone := record("a", "gone", "", "live")
		moved := record("a", "rec3", "d", "live") // where rec is
		moved.Version = 1
		update(t, db, func(tx *store.Tx) error {
			wantErr(t, "an old version", tx.UpdateTemplate(&stale), store.ErrStale)
			wantErr(t, "another kind", tx.UpdateTemplate(&other), media.ErrInvalid)
			wantErr(t, "one that is not there", tx.UpdateTemplate(&gone), media.ErrNotFound)
			wantErr(t, "onto another's streams", tx.UpdateTemplate(&moved), media.ErrExists)
			wantErr(t, "delete the domain", tx.DeleteDomain("d"), store.ErrInUse)
			wantErr(t, "delete another's", tx.DeleteTemplate("b", "x"), media.ErrNotFound)
			return nil
		})
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.Template("a", "rec")
			if err == nil && !reflect.DeepEqual(got, next) {
				t.Errorf("read %+v, want %+v", got, next)
			}
			return err
		})
		update(t, db, func(tx *store.Tx) error { return tx.DeleteApplication("a") })
		view(t, db, func(tx *store.Tx) error {
			left, err := tx.Templates("a", "", 10)
			if len(left) != 0 {
				t.Errorf("after its application: %+v", left)
			}
			return err
		})
		update(t, db, func(tx *store.Tx) error {
			wantErr(t, "delete the domain", tx.DeleteDomain("d"), store.ErrInUse) // b's
			if err := tx.DeleteTemplate("b", "rec"); err != nil {
				return err
			}
			return tx.DeleteDomain("d")
		})
	})
}

func TestTemplatesOfStreams(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		twoApps(t, db)
		off := transcode("b", "off", "", "live")
		off.Disabled = true
		update(t, db, func(tx *store.Tx) error {
			for _, r := range []store.Template{record("a", "1", "", "live"), snapshot("a", "2", "", "live"), record("b", "1", "d", "live"), off} {
				if err := tx.CreateTemplate(&r); err != nil {
					return err
				}
			}
			relay := func(id string, disabled bool, r store.RelaySettings) error {
				return tx.CreateApplication(&store.Application{ID: id, Disabled: disabled, Relay: r})
			}
			return errors.Join(relay("relays", false, store.RelaySettings{Enabled: true, AppName: "live"}),
				relay("relays-off", false, store.RelaySettings{AppName: "live"}),
				relay("disabled", true, store.RelaySettings{Enabled: true, AppName: "live"}),
				relay("relays-d", false, store.RelaySettings{Enabled: true, Domain: "d", AppName: "live"}))
		})
		expect := func(domain, appName string, templates, apps []string) {
			t.Helper()
			view(t, db, func(tx *store.Tx) error {
				got, err := tx.TemplatesFor(domain, appName)
				var ids []string
				for _, t := range got {
					ids = append(ids, t.App+"/"+t.ID)
				}
				if !slices.Equal(ids, templates) {
					t.Errorf("%q %q: templates %q, want %q", domain, appName, ids, templates)
				}
				to, err2 := tx.StreamApps(domain, appName)
				if !slices.Equal(to, apps) {
					t.Errorf("%q %q: applications %q, want %q", domain, appName, to, apps)
				}
				return errors.Join(err, err2)
			})
		}
		expect("", "live", []string{"a/1", "a/2"}, []string{"a", "relays"})
		expect("d", "live", []string{"b/1"}, []string{"b", "relays-d"})
		expect("", "show", nil, nil)
		update(t, db, func(tx *store.Tx) error {
			a, err := tx.Application("a")
			if err != nil {
				return err
			}
			a.Disabled = true
			return tx.UpdateApplication(&a)
		})
		expect("", "live", nil, []string{"relays"})
	})
}

func TestTemplateLimit(t *testing.T) {
	db := storetest.Open(t)
	twoApps(t, db)
	update(t, db, func(tx *store.Tx) error {
		for i := range 101 {
			r := record("a", fmt.Sprint("t", i), "", fmt.Sprint("app", i))
			if err := tx.CreateTemplate(&r); (err != nil) != (i == 100) || err != nil && !errors.Is(err, media.ErrLimit) {
				t.Errorf("number %d: %v", i+1, err)
			}
		}
		return nil
	})
}

// checks are templates of which one field is out of its limits, or that are right.
var templateChecks = []struct {
	field  string
	change func(*store.Template)
}{
	{"", func(t *store.Template) {}},
	{"", func(t *store.Template) { t.ID, t.AppName = strings.Repeat("a", 64), strings.Repeat("=", 255) }},
	{"id", func(t *store.Template) { t.ID = "" }},
	{"id", func(t *store.Template) { t.ID = strings.Repeat("a", 65) }},
	{"app_name", func(t *store.Template) { t.AppName = "a.b" }},
	{"app_name", func(t *store.Template) { t.AppName = strings.Repeat("a", 256) }},
	{"kind", func(t *store.Template) { t.Kind = "film" }},
	{"record", func(t *store.Template) { t.Record = nil }},
	{"snapshot", func(t *store.Template) { t.Snapshot = &store.SnapshotTemplate{} }},
	{"record.format", func(t *store.Template) { t.Record.Format = nil }},
	{"record.segment_seconds", func(t *store.Template) { t.Record.SegmentSeconds = 7201 }},
	{"record.retention_days", func(t *store.Template) { t.Record.RetentionDays = -1 }},
	{"record.storage", func(t *store.Template) { t.Record.Storage = "a b" }},
}

func TestTemplateCheck(t *testing.T) {
	for i, c := range templateChecks {
		r := record("a", "rec", "", "live")
		c.change(&r)
		err := r.Check()
		var field *store.FieldError
		switch {
		case c.field == "" && err != nil:
			t.Errorf("%d: %v", i, err)
		case c.field != "" && (!errors.As(err, &field) || field.Field != c.field || !errors.Is(err, media.ErrInvalid) || field.Detail == ""):
			t.Errorf("%d: got %v, want one that names %s", i, err, c.field)
		}
	}
}

// patterns are names of recordings, right or not.
var patterns = map[string]bool{
	store.DefaultRecordName: true, "{stream}{start}{sequence}": true, "a/b-c_d=e.f/{stream}.{date}.{time}": true,
	"": false, "{stream}/{start}": false, "{start}/{sequence}": false, "{stream}{date}{sequence}": false,
	"{stream}{start}{sequence}/": false, "/{stream}{start}{sequence}": false, "a//{stream}{start}{sequence}": false,
	"../{stream}{start}{sequence}": false, ".a/{stream}{start}{sequence}": false, "{stream}{start}{sequence}/..": false,
	"{stream}{start}{sequence}{host}": false, "{stream}{start}{sequence}}": false, "{{stream}}{start}{sequence}": false,
	"{stream}{start}{sequence} ": false, "{stream}{start}{sequence}\\": false, "{stream}{start}{sequence}ä": false,
	"{stream}{start}{sequence}" + strings.Repeat("a", 230): true, "{stream}{start}{sequence}" + strings.Repeat("a", 231): false,
}

func TestTemplatePattern(t *testing.T) {
	for name, right := range patterns {
		r := record("a", "rec", "", "live")
		r.Record.Name = name
		if err := r.Check(); (err == nil) != right {
			t.Errorf("%q: got %v, want right: %v", name, err, right)
		}
	}
}

// FuzzTemplatePattern: what is let through is a path that stays below its
// directory, whatever the stream is called.
func FuzzTemplatePattern(f *testing.F) {
	for name := range patterns {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		r := record("a", "rec", "", "live")
		r.Record.Name = name
		if r.Check() != nil {
			return
		}
		path := strings.NewReplacer("{domain}", "d", "{app}", "a", "{stream}", "s", "{start}", "1", "{sequence}", "2", "{date}", "3", "{time}", "4").Replace(name)
		if strings.ContainsAny(path, "{}\\ \x00\n") {
			t.Errorf("%q becomes %q", name, path)
		}
		for part := range strings.SplitSeq(path, "/") {
			if part == "" || part[0] == '.' {
				t.Errorf("%q becomes %q, with the part %q", name, path, part)
			}
		}
	})
}

// TestDepartStreams: what was on air when the server was killed is told to have
// ended at the next start.
func TestDepartStreams(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		clock := newClock()
		c.Now = clock.now
		db := storetest.OpenConfig(t, c)
		start := clock.at
		of := func(typ event.Type, app, name string) event.Event {
			return event.Event{App: app, Type: typ, Stream: &event.Stream{Domain: "d", App: "live", Name: name, Since: start, Remote: "10.0.0.1:1"}}
		}
		update(t, db, func(tx *store.Tx) error {
			return tx.Append(of(event.StreamStarted, "a", "one"), of(event.StreamStarted, "b", "one"), of(event.StreamStarted, "a", "two"),
				of(event.RecordStarted, "a", "two"), of(event.StreamEnded, "a", "two"))
		})
		for _, bad := range []event.Event{{App: "a", Type: event.StreamStarted}, {App: "a", Type: event.StreamStarted, Stream: &event.Stream{App: "live"}},
			{Type: event.StreamStarted, Stream: &event.Stream{App: "live", Name: "x"}}} {
			err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.Append(bad) })
			wantErr(t, "append what lacks something", err, media.ErrInvalid)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		clock.at = clock.at.Add(time.Minute)
		db = storetest.OpenConfig(t, c)
		for range 2 { // once is enough
			if err := db.Depart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var got []event.Event
		view(t, db, func(tx *store.Tx) (err error) {
			got, err = tx.Events("", 5, 100)
			return err
		})
		if len(got) != 2 || got[0].App != "a" || got[1].App != "b" {
			t.Fatalf("got %v", got)
		}
		for _, e := range got {
			if s := e.Stream; e.Type != event.StreamEnded || s.Name != "one" || s.Domain != "d" || s.Reason == "" || !s.Since.Equal(start) || !e.Time.Equal(clock.at) {
				t.Errorf("got %v: %+v", e, s)
			}
		}
	})
}

// TestTemplatePictures: two templates do not keep pictures under the same names,
// as each would let those of the other go.
func TestTemplatePictures(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		db := storetest.OpenConfig(t, c)
		twoApps(t, db)
		shot := func(app, id, domain, appName, name string, change func(*store.Template)) *store.Template {
			s := snapshot(app, id, domain, appName)
			s.Snapshot.Name = name
			if change != nil {
				change(&s)
			}
			return &s
		}
		first := shot("a", "one", "", "live", store.DefaultSnapshotName, nil)
		update(t, db, func(tx *store.Tx) error { return tx.CreateTemplate(first) })
		for what, c := range map[string]struct {
			t    *store.Template
			want error
		}{
			"the same pattern":                {shot("b", "1", "", "live", store.DefaultSnapshotName, nil), media.ErrExists},
			"the same names":                  {shot("b", "2", "", "live", "origin/{app}/{stream}/{time}", nil), media.ErrExists},
			"those of another domain":         {shot("b", "3", "d", "live", store.DefaultSnapshotName, nil), nil},
			"those of another AppName":        {shot("b", "4", "", "show", store.DefaultSnapshotName, nil), nil},
			"its own, of another AppName":     {shot("a", "5", "", "more", "origin/live/{stream}/{time}", nil), media.ErrExists},
			"another storage":                 {shot("b", "6", "", "live", store.DefaultSnapshotName, func(t *store.Template) { t.Snapshot.Storage = "cold" }), nil},
			"no history":                      {shot("b", "7", "", "none", "origin/live/{stream}/{time}", func(t *store.Template) { t.Snapshot.History = 0 }), nil},
			"disabled, with the same pattern": {shot("b", "8", "", "off", "origin/live/{stream}/{time}", func(t *store.Template) { t.Disabled = true }), nil},
		} {
			err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateTemplate(c.t) })
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%s: got %v, want %v", what, err, c.want)
			}
		}
		update(t, db, func(tx *store.Tx) error {
			off, err := tx.Template("b", "8")
			if err != nil {
				return err
			}
			off.Disabled = false
			wantErr(t, "enable it", tx.UpdateTemplate(&off), media.ErrExists)
			first.Snapshot.IntervalSeconds = 20
			return tx.UpdateTemplate(first)
		})
	})
}
