package admin

import (
	"net/url"

	"braid/event"
	"braid/relay"
	"braid/store"
)

// What a viewer sees of what may hold a secret: of the URL of a stream all but
// its name, of a callback's or a file's all but user and query, of a message
// nothing, since it may have both.

func (t *task) veil() {
	t.Request = nil
	for i, u := range t.URLs {
		t.URLs[i] = relay.Redact(u)
	}
}

func (r *record) veil() { r.URL, r.Payload = veilURL(r.URL), "" }

// showCallback is a callback task as the caller may see it.
func (c *call) showCallback(s store.Subscription) callbackTask {
	out := showCallback(s)
	if c.who.viewer {
		out.URL = veilURL(out.URL)
	}
	return out
}

// veilEvent leaves the event itself as it is, which is immutable.
func veilEvent(e event.Event) event.Event {
	if e.Relay != nil {
		shown := *e.Relay
		if shown.URL != "" {
			shown.URL = relay.Redact(shown.URL)
		}
		e.Relay = &shown
	}
	if e.Stream != nil && e.Stream.File != nil {
		shown, file := *e.Stream, *e.Stream.File
		file.URL = veilURL(file.URL)
		shown.File = &file
		e.Stream = &shown
	}
	return e
}

func veilURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "***"
	}
	if u.User != nil {
		u.User = url.User("***")
	}
	if u.RawQuery != "" {
		u.RawQuery = "***"
	}
	u.Fragment = ""
	return u.String()
}
