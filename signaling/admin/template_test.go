package admin

import (
	"slices"
	"strings"
	"testing"
	"time"

	"braid/event"
	"braid/store"
)

func TestTemplate(t *testing.T) {
	s := start(t)
	s.app("a")
	s.do("POST", "/v1/domains", `{"name":"live.example.com","ingest":"rtmp://h"}`).expect(201)
	s.streams.told()
	const path = "/v1/applications/a/templates"
	a := s.do("POST", path, `{"id":"rec","kind":"record","domain":"live.example.com","record":{"format":["ts","fmp4"],"segment_seconds":60}}`).expect(201)
	if a.header.Get("Location") != path+"/rec" || a.etag() != `"1"` || a.str("app_name") != "live" || a.at("disabled") != false ||
		a.str("record.name") != store.DefaultRecordName || a.at("record.segment_seconds") != 60.0 || a.at("snapshot") != nil {
		t.Errorf("got %s", a.text)
	}
	if n := s.streams.told(); n != 1 {
		t.Errorf("told of %d changes, want 1", n)
	}
	again := s.do("POST", path, `{"kind":"record","domain":"live.example.com"}`).expect(409, `\"rec\"`)
	if n := s.streams.told(); n != 0 {
		t.Errorf("told of a change that was none: %s", again.text)
	}
	s.do("POST", path, `{"id":"rec","kind":"record"}`).expect(409, "already exists")
	made := s.do("POST", path, `{"kind":"snapshot"}`).expect(201)
	if len(made.str("id")) != 16 || made.at("snapshot.interval_seconds") != 10.0 {
		t.Errorf("by default: %s", made.text)
	}
	tr := s.do("POST", path, `{"id":"tr","kind":"transcode","app_name":"show","transcode":{"renditions":[{"name":"720p","height":720,"bitrate":2000},{"name":"360p","height":360,"bitrate":600,"fps":15}]}}`).expect(201)
	if tr.at("transcode.renditions.1.fps") != 15.0 || tr.at("transcode.renditions.0.fps") != 0.0 {
		t.Errorf("got %s", tr.text)
	}
	list := s.do("GET", path+"?limit=2", nil).expect(200)
	rest := s.do("GET", path+"?limit=2"+list.next(), nil).expect(200)
	if ids := append(list.ids("id"), rest.ids("id")...); len(ids) != 3 || !slices.Contains(ids, "rec") || rest.next() != "" {
		t.Errorf("got %v", ids)
	}
	s.do("GET", path+"/rec", nil).expect(200)
	s.do("GET", path+"/other", nil).expect(404)
	s.do("GET", "/v1/applications/none/templates", nil).expect(404)
	s.do("POST", "/v1/applications/none/templates", `{"kind":"record"}`).expect(404)
	s.do("DELETE", "/v1/domains/live.example.com", nil).expect(409, "template")

	s.streams.told()
	put := `{"kind":"record","domain":"live.example.com","disabled":true,"record":{"retention_days":7,"storage":"cold"}}`
	s.do("PUT", path+"/rec", put).expect(428)
	s.do("PUT", path+"/rec", put, "If-Match", `"2"`).expect(412)
	a = s.do("PUT", path+"/rec", put, "If-Match", `"1"`).expect(200)
	if a.etag() != `"2"` || a.at("record.segment_seconds") != 1800.0 || a.at("record.format.0") != "fmp4" || a.str("record.storage") != "cold" || a.at("disabled") != true {
		t.Errorf("after PUT: %s", a.text)
	}
	s.do("PUT", path+"/rec", `{"kind":"snapshot"}`, "If-Match", "*").field("kind", "stays")
	s.do("PUT", path+"/rec", `{"kind":"record","id":"x"}`, "If-Match", "*").field("id", "no such field")
	s.do("PUT", path+"/none", put, "If-Match", "*").expect(404)
	s.do("DELETE", path+"/rec", nil, "If-Match", `"1"`).expect(412)
	s.do("DELETE", path+"/rec", nil, "If-Match", `"2"`).expect(204)
	s.do("DELETE", path+"/rec", nil).expect(404)
	if n := s.streams.told(); n != 2 {
		t.Errorf("told of %d changes, want 2", n)
	}
	s.do("DELETE", "/v1/domains/live.example.com", nil).expect(204)
	log := s.do("GET", "/v1/audit?app=a", nil).expect(200)
	if !strings.Contains(log.text, `"action":"PUT /v1/applications/{app}/templates/{template}"`) || !strings.Contains(log.text, `retention_days`) {
		t.Errorf("the audit log: %s", log.text)
	}
	s.do("PATCH", "/v1/applications/a", `{"disabled":true}`, "If-Match", "*").expect(200)
	if n := s.streams.told(); n != 1 {
		t.Errorf("when the application was disabled: told %d times, want 1", n)
	}
	s.do("DELETE", "/v1/applications/a", nil).expect(204)
	s.app("a")
	if ids := s.do("GET", path, nil).expect(200).ids("id"); len(ids) != 0 {
		t.Errorf("an application that was made anew has templates %v", ids)
	}
}

func TestTemplateLimits(t *testing.T) {
	s := start(t)
	s.app("a")
	rendition := `{"name":"a","height":360,"bitrate":600}`
	for _, c := range []struct{ field, body, words string }{
		{"kind", `{}`, "is missing"},
		{"kind", `{"kind":"film"}`, "record, snapshot, transcode"},
		{"id", `{"id":"a b","kind":"record"}`, "1 to 64"},
		{"domain", `{"kind":"record","domain":"nowhere"}`, `no domain`},
		{"app_name", `{"kind":"record","app_name":"a/b"}`, "1 to 255"},
		{"snapshot", `{"kind":"record","snapshot":{}}`, "no such field"},
		{"transcode", `{"kind":"transcode"}`, "is missing"},
		{"record", `{"kind":"record","record":[]}`, "not a JSON object"},
		{"record.format", `{"kind":"record","record":{"format":[]}}`, "1 or 2"},
		{"record.format", `{"kind":"record","record":{"format":["mkv"]}}`, "fmp4 or ts"},
		{"record.format", `{"kind":"record","record":{"format":["ts","ts"]}}`, "twice"},
		{"record.segment_seconds", `{"kind":"record","record":{"segment_seconds":9}}`, "10 to 7200"},
		{"record.segment_seconds", `{"kind":"record","record":{"segment_seconds":7201}}`, "10 to 7200"},
		{"record.segment_seconds", `{"kind":"record","record":{"segment_seconds":"9"}}`, "whole number"},
		{"record.retention_days", `{"kind":"record","record":{"retention_days":3651}}`, "0 to 3650"},
		{"record.storage", `{"kind":"record","record":{"storage":"a/b"}}`, "storage's name"},
		{"record.name", `{"kind":"record","record":{"name":"{stream}/{start}"}}`, "{start} {sequence}"},
		{"record.name", `{"kind":"record","record":{"name":"../{stream}{start}{sequence}"}}`, "begins with a dot"},
		{"record.name", `{"kind":"record","record":{"name":"/{stream}{start}{sequence}"}}`, "not a path"},
		{"record.name", `{"kind":"record","record":{"name":"{stream}{start}{sequence} "}}`, "characters other"},
		{"record.name", `{"kind":"record","record":{"name":"{stream}{start}{sequence}{host}"}}`, "{host}"},
		{"record.speed", `{"kind":"record","record":{"speed":1}}`, "no such field"},
		{"snapshot.interval_seconds", `{"kind":"snapshot","snapshot":{"interval_seconds":0}}`, "1 to 3600"},
		{"snapshot.history", `{"kind":"snapshot","snapshot":{"history":10001}}`, "0 to 10000"},
		{"snapshot.name", `{"kind":"snapshot","snapshot":{"name":"{stream}"}}`, "{time} or {sequence}"},
		{"transcode.renditions", `{"kind":"transcode","transcode":{}}`, "is missing"},
		{"transcode.renditions", `{"kind":"transcode","transcode":{"renditions":[` + strings.Repeat(rendition+",", 6) + rendition + `]}}`, "1 to 6"},
		{"transcode.renditions[1].name", `{"kind":"transcode","transcode":{"renditions":[` + rendition + "," + rendition + `]}}`, "twice"},
		{"transcode.renditions[0].name", `{"kind":"transcode","transcode":{"renditions":[{"name":"720P","height":720,"bitrate":600}]}}`, "a-z0-9"},
		{"transcode.renditions[0].height", `{"kind":"transcode","transcode":{"renditions":[{"name":"a","height":119,"bitrate":600}]}}`, "120 to 1080"},
		{"transcode.renditions[0].height", `{"kind":"transcode","transcode":{"renditions":[{"name":"a","height":361,"bitrate":600}]}}`, "odd"},
		{"transcode.renditions[0].bitrate", `{"kind":"transcode","transcode":{"renditions":[{"name":"a","height":360,"bitrate":49}]}}`, "50 to 10000"},
		{"transcode.renditions[0].fps", `{"kind":"transcode","transcode":{"renditions":[{"name":"a","height":360,"bitrate":600,"fps":61}]}}`, "0 to 60"},
		{"transcode.renditions[0].bitrate", `{"kind":"transcode","transcode":{"renditions":[{"name":"a","height":360}]}}`, "is missing"},
	} {
		s.do("POST", "/v1/applications/a/templates", c.body).field(c.field, c.words)
	}
	if n := s.streams.told(); n != 0 {
		t.Errorf("told of %d changes", n)
	}
}

// A viewer sees templates and streams, and of the URL of a file all but its
// query, in which it is signed. TestViewer shows that it changes nothing.
func TestTemplatesAsViewer(t *testing.T) {
	s := start(t)
	eve := s.signIn("eve", store.Viewer)
	s.app("a")
	s.do("POST", "/v1/applications/a/templates", `{"id":"rec","kind":"record"}`).expect(201)
	s.by(eve, "GET", "/v1/applications/a/templates/rec", nil).expect(200, "segment_seconds")
	s.by(eve, "GET", "/v1/streams", nil).expect(200)
	s.update(func(tx *store.Tx) error {
		return tx.Append(event.Event{App: "a", Type: event.RecordFile, Stream: &event.Stream{App: "live", Name: "cam",
			File: &event.File{Name: "1.mp4", Format: "fmp4", Start: s.clock(), URL: "http://h/1.mp4?auth_key=5ecret"}}})
	})
	s.do("GET", "/v1/events", nil).expect(200, "5ecret")
	if a := s.by(eve, "GET", "/v1/events", nil).expect(200, "http://h/1.mp4?"); strings.Contains(a.text, "5ecret") {
		t.Errorf("a viewer sees %s", a.text)
	}
}

func TestStreams(t *testing.T) {
	s := start(t)
	if a := s.do("GET", "/v1/streams", nil).expect(200); len(a.ids("name")) != 0 {
		t.Errorf("got %s", a.text)
	}
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s.streams.on = []Stream{
		{App: "live", Name: "a", Since: at, Remote: "10.0.0.1:1", Video: "H264", Audio: "AAC", Width: 1280, Height: 720, Viewers: 2, BytesIn: 10, BytesOut: 20, Bitrate: 2500000,
			Jobs: []Job{{Application: "x", Template: "rec", Kind: store.RecordKind, State: "waiting", Since: at, Failures: 3, Error: "no space left", Failed: &at}}},
		{App: "live", Name: "a_720p", Since: at, Source: "a", Jobs: []Job{}},
		{Domain: "d", App: "live", Name: "b", Since: at, Jobs: []Job{}},
	}
	a := s.do("GET", "/v1/streams?limit=2", nil).expect(200, `"error":"no space left"`)
	b := s.do("GET", "/v1/streams?limit=2"+a.next(), nil).expect(200)
	if got := append(a.ids("name"), b.ids("name")...); !slices.Equal(got, []string{"a", "a_720p", "b"}) || b.next() != "" {
		t.Errorf("got %v", got)
	}
	s.do("GET", "/v1/streams?app=live", nil).field("app", "no such parameter")
}

// Stream events are in the log, and callbacks of kind stream choose among them.
func TestStreamCallbacks(t *testing.T) {
	s := start(t)
	s.app("a")
	const path = "/v1/applications/a/callbacks"
	s.do("POST", path, `{"kind":"stream","url":"http://h/"}`).field("events", "1 to 7")
	s.do("POST", path, `{"kind":"stream","url":"http://h/","events":["UserEvent"]}`).field("events", "StreamStarted")
	s.do("POST", path, `{"kind":"stream","url":"http://h/","events":["RecordFile"],"channels":["c"]}`).field("channels", "has none")
	id := s.do("POST", path, `{"kind":"stream","url":"http://h/","events":["StreamStarted","RecordFile"]}`).expect(201).str("id")
	s.do("PUT", path+"/"+id, `{"url":"http://h/2","events":["StreamStarted"]}`).expect(200, `"kind":"stream"`)
	if a := s.do("GET", path+"?kind=stream", nil).expect(200); len(a.ids("id")) != 1 {
		t.Errorf("got %s", a.text)
	}
	s.update(func(tx *store.Tx) error {
		return tx.Append(
			event.Event{App: "a", Type: event.StreamStarted, Stream: &event.Stream{App: "live", Name: "cam", Since: s.clock(), Remote: "10.0.0.1:1"}},
			event.Event{App: "a", Type: event.StreamStarted, Stream: &event.Stream{App: "live", Name: "other"}},
			event.Event{App: "a", Type: event.RecordFile, Stream: &event.Stream{App: "live", Name: "cam", Template: "rec",
				File: &event.File{Name: "cam/1.mp4", Format: "fmp4", Size: 5, Start: s.clock(), Duration: 1000, URL: "http://h/cam/1.mp4"}}})
	})
	if a := s.do("GET", "/v1/events?app=a&stream=live/cam", nil).expect(200); !slices.Equal(a.ids("type"), []string{"StreamStarted", "RecordFile"}) {
		t.Errorf("got %s", a.text)
	}
	if a := s.do("GET", "/v1/applications/a/deliveries", nil).expect(200); len(a.ids("id")) != 2 || a.at("items.0.event.stream.name") != "cam" {
		t.Errorf("waiting: %s", a.text)
	}
	if a := s.do("GET", "/v1/applications/a/callback-records?kind=stream&channel=live/cam", nil).expect(200); len(a.ids("id")) != 0 {
		t.Errorf("got %s", a.text)
	}
	s.do("DELETE", path+"/"+id, nil).expect(204)
}
