package admin

import (
	"encoding/json"
	"net/url"
	"testing"
	"unicode/utf8"

	"braid/signaling"
	"braid/store"
)

// FuzzCursor: what is made is read again, and nothing else is taken for a cursor.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "x", "YQo", writeCursor("applications", "1700000000000.app"), writeCursor("domains", "live.example.com"),
		writeCursor("events", "-1"), writeCursor("", ""), writeCursor("domains", "a\x00"), writeCursor("domains", "\xff")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := readCursor("domains", s)
		if err == nil && (writeCursor("domains", at) != s || at == "" || !utf8.ValidString(at)) {
			t.Errorf("%q was read as %q, which is written %q", s, at, writeCursor("domains", at))
		}
		q := &query{left: url.Values{"cursor": {s}}}
		if n := q.number("events"); n < 0 || n != 0 && len(q.wrong) > 0 {
			t.Errorf("%q: got %d and %v", s, n, q.wrong)
		}
		afterTask(store.Task{}, s)
	})
}

// FuzzBody: whatever comes, a body is refused with a reason, or what was read of
// it is within the limits.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `[]`, `{"a":1,"a":2}`, `{"name":"x"}{}`, `{"name":null}`, "{\"name\":\"\xff\"}",
		`{"enabled":true,"single":true,"mix":true,"domain":"d","app_name":"live","sei":{"interval_ms":1000,"follow_idr":true}}`,
		`{"enabled":true,"mix":true,"sei":{"interval_ms":999}}`, `{"enabled":false,"sei":{"sei":{}}}`,
		`{"name":"live.example.com","ingest":"rtmp://push.example.com","play":"https://h/x","auth_key":"secret123","auth_validity_seconds":60,"rts2":false}`,
		`{"channel":"ch1","user":"u1","ttl_seconds":60,"form":"jwt","publish":["camera"],"subscribe":true,"role":"viewer"}`,
		`{"kind":"room","url":"http://h/","channels":["a"],"events":["UserEvent"],"users":["u"]}`,
		`{"publish":[1]}`, `{"publish":}`, `{"ttl_seconds":1e3}`, `{"ttl_seconds":-0}`,
	} {
		f.Add([]byte(s))
	}
	doc := document(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		read := func() *object {
			o, err := (&call{body: body}).json()
			if err != nil {
				if signaling.Status(err) != 400 || len(err.Error()) > 4096 {
					t.Errorf("refused with %d: %v", signaling.Status(err), err)
				}
				return nil
			}
			return o
		}
		o := read()
		if o == nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q was taken for JSON", body)
		}
		// What these accept, the document accepts too.
		if readRelay(o); o.done() == nil {
			doc.valid(t, "relay settings", "#/components/schemas/NewRelaySettings", body)
		}
		if o = read(); o != nil {
			if readToken(o); o.done() == nil {
				doc.valid(t, "token", "#/components/schemas/NewToken", body)
			}
		}
		var d store.Domain
		if o = read(); o != nil {
			if readDomain(o, &d); o.done() == nil {
				doc.valid(t, "domain", "#/components/schemas/DomainPatch", body)
			}
		}
		var sub store.Subscription
		if o = read(); o != nil {
			if readCallback(o, &sub) == nil && len(sub.Channels) > 100 {
				t.Errorf("%d channels", len(sub.Channels))
			}
		}
	})
}
