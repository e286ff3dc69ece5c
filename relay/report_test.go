package relay

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"braid/event"
)

func testReport(urls ...string) (*report, *event.Queue) {
	q := new(event.Queue)
	r := &report{to: q, urls: make(map[string]destination), tell: func(typ event.Type, url string, code int, detail string) event.Event {
		return event.Event{Type: typ, Relay: relayed("t1", url, code, detail)}
	}}
	r.follow(urls)
	return r, q
}

func story(q *event.Queue) string {
	var words []string
	for _, e := range q.Take() {
		w := strings.TrimPrefix(string(e.Type), "Relay") + e.Relay.URL
		if e.Relay.Code != 0 {
			w += fmt.Sprint(":", e.Relay.Code)
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// Each change of a URL is told once. The words are phase, reason and second.
func TestReportTells(t *testing.T) {
	for _, c := range []struct{ name, says, want string }{
		{"it works", "connecting@0 live@1 closed@9", "Playing/a"},
		{"lost and back", "connecting@0 live@1 waiting:lost@5 connecting:lost@6 waiting:refused@6 connecting:refused@8 live@9",
			"Playing/a Reconnecting/a:204 Playing/a"},
		{"another form", "connecting@0 live@1 closed@2 connecting@2 live@3 closed@4 connecting@4 live@5", "Playing/a"},
		{"another form, and lost in between", "connecting@0 live@1 closed@2 connecting@2 waiting:refused@3 connecting:refused@4 live@5",
			"Playing/a Reconnecting/a:201 Playing/a"},
		{"rejected", "connecting@0 waiting:rejected_(NetStream.Publish.BadName)@1 connecting@2 waiting:rejected@3 connecting@4 live@5",
			"Failed/a:209 Playing/a"},
		{"forbidden", "connecting@0 waiting:forbidden@1", "Failed/a:206"},
		{"a bad URL", "closed:url@0", "Failed/a:208"},
		{"not there for less than 30 s", "connecting@0 waiting:refused@1 connecting:refused@15 waiting:refused@29 connecting@29 live@30", "Playing/a"},
		{"not there for 30 s", "connecting@0 waiting:dns@1 connecting:dns@2 waiting:stalled@31 connecting@33 waiting:dns@50", "Failed/a:203"},
		{"lost, and away for 30 s", "connecting@0 live@1 waiting:lost@100 connecting@101 waiting:refused@129 connecting@130 waiting:refused@131 connecting@140 live@150",
			"Playing/a Reconnecting/a:204 Failed/a:201 Playing/a"},
		{"lost, then rejected", "connecting@0 live@1 waiting:lost@2 connecting@3 waiting:rejected@3", "Playing/a Reconnecting/a:204 Failed/a:207"},
		{"lost, back without media for long, lost again", "connecting@0 live@1 waiting:lost@100 connecting@101 reached@101 waiting:lost@4000 connecting@4001 live@4002",
			"Playing/a Reconnecting/a:204 Playing/a"},
		{"lost, back without media for long, lost for good", "connecting@0 live@1 waiting:lost@100 connecting@101 reached@101 waiting:lost@4000 connecting@4001 waiting:refused@4029 connecting@4030 waiting:refused@4031",
			"Playing/a Reconnecting/a:204 Failed/a:201"},
		{"nothing to send for long, then lost", "connecting@0 reached@0 waiting:lost@4000 connecting@4001 live@4002", "Playing/a"},
		{"reached for a second, then not there for 30 s", "connecting@0 reached@0 waiting:lost@1 connecting@2 waiting:refused@15 connecting@16 waiting:refused@29 connecting@30 waiting:refused@31", "Failed/a:201"},
		{"closed at once, each time", "connecting@0 reached@0 waiting:lost@1 connecting@15 reached@15 waiting:lost@16 connecting@31 reached@31 waiting:lost@32", "Failed/a:204"},
		{"taken and closed, time and again, then for good", "connecting@0 live@1 waiting:lost@2 connecting@3 live@3 waiting:lost@4 connecting@6 live@6 waiting:lost@7 connecting@11 live@11 waiting:lost@12 " +
			"connecting@30 live@30 waiting:lost@36 connecting@50 live@50 waiting:lost@51 connecting@60 live@60 held@70 waiting:lost@100 connecting@101 live@101",
			"Playing/a Reconnecting/a:204 Playing/a Reconnecting/a:204 Failed/a:204 Playing/a Reconnecting/a:204 Playing/a"},
		{"no TLS", "connecting@0 waiting:tls@31", "Failed/a:205"},
	} {
		r, q := testReport("/a")
		begin, reached := time.Now(), time.Time{}
		for _, say := range strings.Fields(c.says) {
			var at int
			what, second, _ := strings.Cut(say, "@")
			fmt.Sscan(second, &at)
			phase, reason, _ := strings.Cut(what, ":")
			now := begin.Add(time.Duration(at) * time.Second)
			held := phase == "held"
			if held {
				phase = "live"
			}
			if phase == "reached" { // a session that carries nothing yet: that is no phase
				reached = now
				continue
			}
			r.push("/a", PushState{Phase: Phase(phase), Reason: strings.ReplaceAll(reason, "_", " "), Since: now, Reached: reached, Held: held})
		}
		if got := story(q); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// What happens while a change of the task is written comes after it, without
// the URLs that are gone; after its end there is nothing.
func TestReportHolds(t *testing.T) {
	live := PushState{Phase: PhaseLive}
	r, q := testReport("/a", "/b")
	r.hold()
	r.push("/a", live)
	r.push("/b", live)
	if got := story(q); got != "" {
		t.Errorf("told while the task is changed: %q", got)
	}
	r.follow([]string{"/b", "/c"})
	r.push("/a", PushState{Phase: PhaseWaiting, Reason: "lost"})
	r.push("/c", live)
	if got := story(q); got != "Playing/b Playing/c" {
		t.Errorf("after the change: %q", got)
	}
	r.hold()
	r.push("/b", PushState{Phase: PhaseWaiting, Reason: "lost"})
	r.end()
	r.push("/c", PushState{Phase: PhaseWaiting, Reason: "lost"})
	r.worker("no memory", time.Now())
	if got := story(q); got != "" {
		t.Errorf("told after the end: %q", got)
	}
}

func TestReportWorker(t *testing.T) {
	r, q := testReport("/a", "/b")
	r.push("/a", PushState{Phase: PhaseLive})
	now := time.Now()
	r.worker("bad encoder", now)
	r.worker("bad encoder", now.Add(5*time.Second))
	if r.flows(now.Add(mended)) {
		t.Error("the worker is well, 25 s after it complained")
	}
	if got := story(q); got != "Playing/a Failed:301" {
		t.Errorf("got %q", got)
	}
	if !r.flows(now.Add(5*time.Second + mended)) {
		t.Error("the worker is not well, 30 s after it complained")
	}
	if got := story(q); got != "Playing/a" {
		t.Errorf("got %q", got)
	}
}

// Every reason of a push has a code with words; words of others are cut.
func TestCodes(t *testing.T) {
	for _, reason := range []string{"refused", "dns", "tls", "tls (the certificate has expired)", "forbidden", "rejected", "rejected (NetStream.Publish.BadName)", "stalled", "lost", "url"} {
		code, detail := codeOf(reason)
		if words[code] == "" || code == CodeLost && reason != "lost" {
			t.Errorf("%s: code %d, words %q", reason, code, words[code])
		}
		if strings.Contains(reason, "expired") && detail != "the certificate has expired" {
			t.Errorf("%s: detail %q", reason, detail)
		}
		if strings.Contains(reason, "BadName") && detail != "NetStream.Publish.BadName" {
			t.Errorf("%s: detail %q", reason, detail)
		}
	}
	long := relayed("t1", "", CodeMedia, "\xff"+strings.Repeat("ü", 500)).Message
	if n := utf8.RuneCountInString(long); n != maxMessage || !utf8.ValidString(long) {
		t.Errorf("a message of %d characters: %q", n, long)
	}
}
