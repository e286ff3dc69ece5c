package admin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/media/sfu"
	"braid/relay"
	"braid/signaling/token"
	"braid/store"
)

func TestChannels(t *testing.T) {
	s := start(t)
	s.app("app1")
	s.app("app2")
	for i := range 5 {
		s.rooms.open = append(s.rooms.open, room("app1", fmt.Sprintf("ch%d", i), "u1", "u2"))
	}
	s.rooms.open = append(s.rooms.open, room("app2", "ch0", "u1"))
	const path = "/v1/applications/app1/channels"
	a := s.do("GET", path+"?limit=2", nil).expect(200)
	if got := a.ids("id"); !slices.Equal(got, []string{"ch0", "ch1"}) || a.str("items.0.users.1.id") != "u2" || a.str("items.0.users.0.codecs.video") != "H264" {
		t.Errorf("first page: got %s", a.text)
	}
	s.do("DELETE", path+"/ch1", nil).expect(204)
	s.do("DELETE", path+"/ch3", nil).expect(204)
	a = s.do("GET", path+"?limit=2"+a.next(), nil).expect(200)
	if got := a.ids("id"); !slices.Equal(got, []string{"ch2", "ch4"}) || a.next() != "" {
		t.Errorf("second page: got %s", a.text)
	}
	s.do("GET", path+"/ch2", nil).expect(200, `"role":"streamer"`, `"width":1280`)
	s.do("GET", path+"/ch1", nil).expect(404, "ch1")
	s.do("DELETE", path+"/ch1", nil).expect(404)
	s.do("DELETE", path+"/ch2/users/u1", nil).expect(204)
	s.do("DELETE", path+"/ch2/users/u1", nil).expect(404)
	s.do("GET", path+"/ch2", nil).expect(200, `"u2"`)
	s.do("DELETE", "/v1/applications/nothing/channels/ch0", nil).expect(404, "nothing")
	if want := []string{"dismiss app1/ch1", "dismiss app1/ch3", "kick app1/ch2/u1"}; !slices.Equal(s.rooms.did, want) {
		t.Errorf("got %v, want %v", s.rooms.did, want)
	}
	if s.rooms.open[len(s.rooms.open)-1].App != "app2" {
		t.Error("the other application's channel is gone")
	}
	// A user may be named as nobody expects.
	odd := "a/b c%?#é"
	s.rooms.open = []sfu.ChannelInfo{room("app1", "ch0", odd)}
	s.do("DELETE", path+"/ch0/users/a%2Fb%20c%25%3F%23%C3%A9", nil).expect(204)
	if got := s.rooms.did[len(s.rooms.did)-1]; got != "kick app1/ch0/"+odd {
		t.Errorf("got %q", got)
	}
}

func TestSessions(t *testing.T) {
	s := start(t)
	at := time.Date(2026, 11, 22, 12, 0, 0, 5, time.UTC)
	bad := sfu.Diagnosis{Code: sfu.NothingArrived, Says: "Nothing came.", Do: "Open port 8189."}
	s.rooms.seen = []sfu.SessionInfo{
		{ID: "s4", App: "app1", Channel: "ch1", User: "u1", Agent: "OBS\xff", Began: at.Add(time.Second), Connections: []sfu.ConnectionInfo{{
			Kind: "publish", State: "connected", Began: at, Told: []string{"1 1 udp 2130706431 203.0.113.5 8189 typ host"},
			Arrivals:  []sfu.Arrival{{Transport: "udp", Address: "198.51.100.7:50000", Requests: 3, Answered: 2, First: at, Last: at}},
			Transport: "udp", Local: "203.0.113.5:8189", Remote: "198.51.100.7:50000", Selected: at, DTLS: "connected", DTLSBegan: at, DTLSFinished: at,
			SRTP: "SRTP_AEAD_AES_128_GCM", Received: 7, LastReceived: at, Diagnosis: sfu.Diagnosis{Code: sfu.OK, Says: "It is connected."},
		}}},
		{ID: "s2", App: "app1", Channel: "ch1", User: "u2", Began: at},
		{ID: "s3", App: "app1", Channel: "ch2", User: "u1", Began: at, Ended: at.Add(15 * time.Second), Reason: "did not connect",
			Connections: []sfu.ConnectionInfo{{Kind: "down", Began: at, DTLS: "new", Diagnosis: bad}}},
		{ID: "s1", App: "app2", Channel: "ch1", User: "u1", Began: at.Add(-time.Second)},
	}
	const path = "/v1/sessions"
	a := s.do("GET", path+"?limit=2", nil).expect(200, `"srtp":"SRTP_AEAD_AES_128_GCM"`, `"agent":"OBS?"`, `"remote":"198.51.100.7:50000"`)
	if got := a.ids("id"); !slices.Equal(got, []string{"s4", "s2"}) {
		t.Errorf("first page: got %v", got)
	}
	s.rooms.seen = append([]sfu.SessionInfo{{ID: "s5", App: "app1", Channel: "ch1", User: "u5", Began: at.Add(time.Minute)}}, s.rooms.seen...)
	if got := s.do("GET", path+"?limit=2"+a.next(), nil).ids("id"); !slices.Equal(got, []string{"s3", "s1"}) {
		t.Errorf("second page, after somebody came: got %v", got)
	}
	for query, want := range map[string]string{
		"state=failed": "[s3]", "state=open": "[s5 s4 s2 s1]", "app=app2": "[s1]", "channel=ch2": "[s3]", "user=u1&app=app1": "[s4 s3]", "user=nobody": "[]",
	} {
		if got := fmt.Sprint(s.do("GET", path+"?"+query, nil).ids("id")); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	s.do("GET", path+"/s3", nil).expect(200, `"code":"nothing_arrived"`, `"do":"Open port 8189."`, `"reason":"did not connect"`)
	s.do("GET", path+"/s9", nil).expect(404, "s9")
	s.do("GET", path+"?state=closed", nil).field("state", "open, failed")
	s.do("GET", path+"?cursor="+writeCursor("sessions", "x"), nil).field("cursor", "not a cursor")
	s.do("GET", path+"?cursor="+writeCursor("tasks", "1 s"), nil).field("cursor", "not a cursor")
}

func TestTasks(t *testing.T) {
	s := start(t)
	s.app("app1")
	s.app("app2")
	add := func(app, id string, auto bool, spec relay.Spec) {
		spec.App, spec.Task, spec.Channel = app, id, "ch1"
		b, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		s.advance(time.Millisecond)
		s.update(func(tx *store.Tx) error {
			return tx.CreateTask(&store.Task{App: app, ID: id, Channel: "ch1", Auto: auto, Spec: b, Content: "{}"})
		})
	}
	mix := relay.Spec{Mode: relay.Mix, URLs: []string{"rtmp://h/live/m"}, Echo: map[string]any{"TaskId": "t3", "StreamURL": "rtmp://h/live/m"}}
	for i, id := range []string{"t3", "t1", "t2", "t0"} {
		if i == 2 {
			add("app1", id, true, relay.Spec{Mode: relay.Single, URLs: []string{"rtmp://h/live/s"}})
			continue
		}
		add("app1", id, false, mix)
	}
	add("app2", "t1", false, mix)
	const path = "/v1/applications/app1/tasks"
	a := s.do("GET", path+"?limit=2", nil).expect(200, `"request":{"StreamURL":"rtmp://h/live/m","TaskId":"t3"}`, `"mode":"mix"`, `"sei_content":"{}"`)
	if got := a.ids("id"); !slices.Equal(got, []string{"t3", "t1"}) {
		t.Errorf("first page: got %v", got)
	}
	a.expect(200, `"destinations":[{"url":"rtmp://h:1935/live/***","state":"waiting","reason":"rejected (NetStream.Publish.BadName)",`+
		`"since":"2023-11-14T22:13:20Z","bytes":7,"dropped":8,"reconnects":9}]`)
	if a.at("items.1.destinations") != nil {
		t.Errorf("a task that does not run has destinations: %s", a.text)
	}
	s.do("DELETE", path+"/t1", nil).expect(204)
	add("app1", "t9", false, mix)
	a = s.do("GET", path+"?limit=9"+a.next(), nil).expect(200, `"mode":"single"`, `"auto":true`)
	if got := a.ids("id"); !slices.Equal(got, []string{"t2", "t0", "t9"}) || a.next() != "" || a.at("items.0.request") != nil {
		t.Errorf("second page: got %s", a.text)
	}
	s.do("DELETE", path+"/t1", nil).expect(404)
	s.do("GET", path+"?cursor="+writeCursor("tasks", "x"), nil).field("cursor", "not a cursor")
	if got, want := s.tasks.told(), []string{"stop app1/t1", "stop app1/t1"}; !slices.Equal(got, want) {
		t.Errorf("the relay was told %v, want %v", got, want)
	}
	if got := s.do("GET", "/v1/applications/app2/tasks", nil).ids("id"); !slices.Equal(got, []string{"t1"}) {
		t.Errorf("app2: got %v, want its own task", got)
	}
}

func TestTokens(t *testing.T) {
	s := start(t)
	key := s.app("app1").str("keys.app_key.current")
	const path = "/v1/applications/app1/tokens"
	for _, c := range []struct{ field, body, words string }{
		{"channel", `{"user":"u1","subscribe":true}`, "is missing"},
		{"user", `{"channel":"ch1","subscribe":true}`, "is missing"},
		{"channel", `{"channel":"a b","user":"u1","subscribe":true}`, "A-Za-z0-9_-"},
		{"user", `{"channel":"ch1","user":"` + strings.Repeat("u", 65) + `","subscribe":true}`, "1 to 64"},
		{"ttl_seconds", `{"channel":"ch1","user":"u1","subscribe":true,"ttl_seconds":0}`, "1 to 86400"},
		{"ttl_seconds", `{"channel":"ch1","user":"u1","subscribe":true,"ttl_seconds":86401}`, "1 to 86400"},
		{"form", `{"channel":"ch1","user":"u1","form":"paseto"}`, "jwt, artc"},
		{"form", `{"channel":"ch1","user":"u1","form":"artc","subscribe":false}`, "lets its user do everything"},
		{"form", `{"channel":"ch1","user":"u1","form":"artc","mix":true}`, "mix and role are for jwt"},
		{"publish", `{"channel":"ch1","user":"u1"}`, "allow nothing"},
		{"publish", `{"channel":"ch1","user":"u1","publish":["microphone"]}`, "neither camera nor shareScreen"},
		{"publish", `{"channel":"ch1","user":"u1","publish":"all"}`, "true or false"},
		{"role", `{"channel":"ch1","user":"u1","publish":true,"role":"admin"}`, "streamer, viewer"},
	} {
		s.do("POST", path, c.body).field(c.field, c.words)
	}
	for _, c := range []struct {
		body string
		want token.Claims
	}{
		{`"publish":true,"subscribe":true,"ttl_seconds":86400`, token.Claims{Camera: true, ShareScreen: true, Subscribe: true}},
		{`"publish":["camera"],"role":"streamer"`, token.Claims{Camera: true, Role: token.Streamer}},
		{`"subscribe":true,"mix":true`, token.Claims{Subscribe: true, Mix: true}},
		{`"mix":true`, token.Claims{Mix: true}},
		{`"publish":["shareScreen"]`, token.Claims{ShareScreen: true}},
		{`"publish":false,"subscribe":true,"role":"viewer"`, token.Claims{Subscribe: true, Role: token.Viewer}},
	} {
		a := s.do("POST", path, `{"channel":"ch1","user":"u1",`+c.body+`}`).expect(201, `"form":"jwt"`)
		got, err := token.VerifyJWT(a.str("token"), "app1", key, s.clock())
		if err != nil {
			t.Fatalf("%s: %v", c.body, err)
		}
		if got.Expires.UTC().Format(time.RFC3339) != a.str("expires") {
			t.Errorf("%s: the token holds until %v, the answer says %s", c.body, got.Expires, a.str("expires"))
		}
		c.want.App, c.want.Channel, c.want.User, c.want.Expires = "app1", "ch1", "u1", got.Expires
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.body, got, c.want)
		}
	}
	a := s.do("POST", path, `{"channel":"ch1","user":"u1","form":"artc"}`).expect(201, `"expires":"2026-11-22T14:00:00Z"`)
	tok, err := token.Parse(a.str("token"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tok.Verify("app1", key, s.clock()); err != nil {
		t.Errorf("the artc token: %v", err)
	}
	s.do("PATCH", "/v1/applications/app1", `{"tokens":"jwt"}`, "If-Match", "*").expect(200)
	s.do("POST", path, `{"channel":"ch1","user":"u1","form":"artc"}`).expect(409, "JWT alone")
	s.do("PATCH", "/v1/applications/app1", `{"disabled":true}`, "If-Match", "*").expect(200)
	s.do("POST", path, `{"channel":"ch1","user":"u1","publish":true}`).expect(409, "disabled")
}

func TestUsage(t *testing.T) {
	s := start(t)
	s.app("app1")
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	use := func(app string, kind store.UsageKind, class string, start time.Time, d time.Duration) store.Usage {
		return store.Usage{App: app, Kind: kind, Class: class, Start: start, Time: d}
	}
	s.update(func(tx *store.Tx) error {
		return tx.AddUsage(
			use("app1", store.CallUsage, "720p", at, time.Minute),
			use("app1", store.CallUsage, "720p", at.Add(10*time.Minute), 30*time.Second),
			use("app1", store.CallUsage, "audio", at.Add(90*time.Minute), 1500*time.Millisecond),
			use("app1", store.RelayUsage, "single_video", at, time.Minute),
			use("other", store.CallUsage, "720p", at, time.Hour))
	})
	const path = "/v1/applications/app1/usage"
	a := s.do("GET", path, nil).expect(200, `"kind":"call"`, `"from":"2026-11-21T13:00:00Z"`, `"to":"2026-11-22T13:00:00Z"`)
	if got := fmt.Sprint(a.ids("start"), a.ids("class"), a.ids("seconds")); got != "[2026-11-22T10:00:00Z 2026-11-22T11:00:00Z] [720p audio] [90 1.5]" {
		t.Errorf("got %s", got)
	}
	a = s.do("GET", path+"?interval=300&from=2026-11-22T10:00:00Z&to=2026-11-22T18:30:00%2B08:00", nil).expect(200)
	if got := fmt.Sprint(a.ids("start"), a.ids("seconds")); got != "[2026-11-22T10:00:00Z 2026-11-22T10:10:00Z] [60 30]" {
		t.Errorf("in steps of 5 minutes: got %s", got)
	}
	a = s.do("GET", path+"?interval=300&from=2026-11-22T10:00:00Z&to=2026-11-22T10:10:01Z", nil).expect(200)
	if got := fmt.Sprint(a.ids("start"), a.ids("seconds")); got != "[2026-11-22T10:00:00Z 2026-11-22T10:10:00Z] [60 30]" {
		t.Errorf("the span that to lies in does not count: got %s", got)
	}
	a = s.do("GET", path+"?interval=300&from=2026-11-22T10:00:00Z&to=2026-11-22T10:10:00Z", nil).expect(200)
	if got := fmt.Sprint(a.ids("start")); got != "[2026-11-22T10:00:00Z]" {
		t.Errorf("the span that begins at to counts: got %s", got)
	}
	s.do("GET", path+"?kind=relay&interval=86400", nil).expect(200, "single_video")
	s.do("GET", path+"?kind=all", nil).field("kind", "call, relay")
	s.do("GET", path+"?interval=60", nil).field("interval", "300, 3600, 86400")
	s.do("GET", path+"?from=yesterday", nil).field("from", "not a time")
	s.do("GET", path+"?from=2026-11-22T13:00:00Z", nil).field("from", "not before")
	s.do("GET", path+"?from=2026-10-22T12:59:59Z", nil).field("from", "31 days")
	s.do("GET", path+"?from=2026-08-24T12:59:59Z&to=2026-09-01T00:00:00Z", nil).field("from", "90 days")
	s.do("GET", path+"?from=2026-10-22T13:00:00Z", nil).expect(200)
}
