package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

const consolePassword = "correct horse battery"

// administrator opens the console by a set-up link and makes the first administrator.
func administrator(t *testing.T, s *braidServer, c *chrome) *page {
	t.Helper()
	var setup struct{ Path string }
	s.rest("POST", "/v1/setup-link", nil, &setup)
	p := c.open("console", s.http+setup.Path)
	p.fill("Name", "anna")
	p.fill("Password", consolePassword)
	p.fill("Password again", consolePassword)
	return p
}

// TestConsole does what the seed describes, as a person would: with a mouse and
// a keyboard, by the names that the pages show.
func TestConsole(t *testing.T) {
	s := startBraid(t)
	c := startChrome(t, clip{ID: 8, W: 640, H: 360, FPS: 30, Seconds: 20, Speech: adaSays}.make(t))
	p := administrator(t, s, c)
	p.keep("console-setup")
	p.press("Create administrator")
	p.reads("An application is a tenant")
	goesOn := `document.activeElement.id === 'main'` // whoever has no mouse is where the new page begins
	p.until(5*time.Second, "goes on from the page", goesOn)

	consoleApplication(p)
	consoleRelay(p, s)
	r := newReceiver(t, 0)
	consoleCallbacks(p, r)

	p.visit("#/applications/voice/join", "Join and test")
	p.fill("Channel", "lobby")
	p.fill("User", "tester")
	p.press("Join here")
	p.until(20*time.Second, "sees itself", `document.querySelector('video.own')?.videoWidth > 0`)
	p.until(5*time.Second, "goes on from the call", goesOn)
	eventually(t, 10*time.Second, "the receiver hears of it", func() (bool, string) {
		once, _ := r.got()
		return len(once) > 2, fmt.Sprint(once)
	})
	consoleRecords(p)
	consoleLive(p, c, s)
	consoleCheck(p)
	consoleEnd(p, s)
}

// consoleApplication creates an application and looks at its keys.
func consoleApplication(p *page) {
	p.press("Create Application")
	p.press("Create")
	p.reads("it needs 1 to 128 characters")
	p.fill("Instance Name", "Voice chat, Asia")
	p.fill("AppID", "voice")
	p.press("Create")
	p.reads("The AppKey signs join tokens")
	p.reads("What next")
	p.keep("console-next")
	if ways := eval[string](p, `return [...document.querySelectorAll('.ways a')].map((e) => e.getAttribute('href')).join()`); ways != "#/applications/voice/join,#/applications/voice/relay,#/applications/voice/callbacks" {
		p.t.Errorf("what next leads to %s", ways)
	}
	p.press("Show keys")
	p.press("Rotate the AppKey")
	p.choose("Keep the old key for", "1 h")
	p.press("Rotate")
	p.reads("The previous key holds until")
	p.press("Applications")
	p.press("Refresh")
	p.reads("Voice chat, Asia")
	p.press("Manage Voice chat, Asia")
	p.reads("Show keys")
}

// consoleRelay adds a streaming domain on the way to the relay settings.
func consoleRelay(p *page, s *braidServer) {
	p.press("Stream Relay")
	p.reads("SEI Insertion")
	p.press("Add a streaming domain")
	p.fill("Domain", "live.example.com")
	p.fill("Ingest", strings.TrimSuffix(s.rtmp, "/live"))
	p.fill("Play", s.http)
	p.choose("URL signing", "on")
	p.press("Add")
	p.press("URLs of live.example.com")
	p.until(5*time.Second, "has a signed address", `[...document.querySelectorAll('dialog code')].some((e) => e.textContent.includes('?auth_key='))`)
	p.keep("console-urls")
	p.press("Close")

	p.visit("#/applications/voice/relay", "Stream Relay")
	p.tick("Stream Relay")
	p.tick("Mixed stream")
	p.tick("Single streams")
	p.choose("Streaming Domain", "live.example.com")
	p.fill("AppName", "a b")
	p.reads("AppName may have letters, digits, hyphens")
	p.fill("AppName", "show")
	p.tick("Insert SEI at Regular Intervals")
	p.fill("Interval", "999")
	p.press("Save")
	p.reads("from 1,000 to 5,000 ms")
	p.fill("Interval", "2000")
	p.tick("Insert SEI in I-frames")
	p.press("Save")
	p.reads("It applies at once")
	var saved json.RawMessage
	s.rest("GET", "/v1/applications/voice/relay", nil, &saved)
	if want := `{"enabled":true,"single":false,"mix":true,"domain":"live.example.com","app_name":"show","sei":{"interval_ms":2000,"follow_idr":true}}`; string(saved) != want {
		p.t.Errorf("the relay settings are %s, want %s", saved, want)
	}
}

// consoleCallbacks creates, edits and deletes tasks of both kinds.
func consoleCallbacks(p *page, r *receiver) {
	p.press("Callbacks")
	p.press("Create Task")
	p.fill("Callback URL", "example.com")
	p.fill("Specified User", "ann")
	p.press("OK")
	p.reads("A callback URL begins with http:// or https://.")
	p.reads("With users, a channel is needed, too.")
	p.fill("Callback URL", r.url)
	p.fill("Specified Channel", "lobby")
	p.fill("Specified User", "tester, ann")
	p.keep("console-callback")
	p.press("OK")
	p.reads("tester, ann")
	p.press("Edit " + r.url)
	p.fill("Specified User", "")
	p.press("OK")
	p.missing("tester, ann")

	p.press("Mixed-stream Relay Callbacks")
	p.press("Configure")
	p.fill("Callback URL", r.url+"/relay")
	p.fill("Channel", "lobby, other")
	p.press("OK")
	p.reads("lobby, other")
	p.press("Delete " + r.url + "/relay")
	p.press("Delete")
	p.reads("There is no callback task yet")
}

// consoleRecords looks at what the receiver was sent, and sends one again.
func consoleRecords(p *page) {
	p.press("Callback Records")
	p.reads("delivered")
	p.choose("Event", "Join the channel")
	p.reads("1 shown, the newest first")
	p.choose("Result", "failed")
	p.reads("There are no records")
	p.choose("Result", "all")
	p.press("Details of Join the channel")
	p.reads(`"UserId": "tester"`)
	p.press("Send again")
	p.until(10*time.Second, "sees the second attempt", `document.querySelectorAll('dialog tbody tr').length === 2 || (document.querySelector('dialog footer button:nth-child(2)').click(), false)`)
	p.press("Close")
}

// consoleLive watches a channel, changes its mix's layout, and sends a user out.
// The person is in the channel in a second tab.
func consoleLive(p *page, c *chrome, s *braidServer) {
	other := c.open("tester", s.http+"/console/#/applications/voice/join")
	other.fill("Channel", "lobby")
	other.fill("User", "ben")
	other.press("Join here")
	other.until(20*time.Second, "sees itself", `document.querySelector('video.own')?.videoWidth > 0`)

	p.visit("#/applications/voice/channels/lobby", "lobby")
	p.reads("ben")
	p.until(10*time.Second, "sees size and bit rate", `/640×360 · .*bit\/s/.test(document.body.innerText)`)
	p.until(10*time.Second, "sees a level", `document.querySelector('meter')`)
	p.reads("Playing")
	p.keep("console-channel")

	p.press("Layout of mix_lobby")
	p.until(10*time.Second, "has ben in a pane", `document.querySelector('.pane b')?.textContent === 'ben'`)
	p.press("Speaker")
	p.press("Add pane")
	drag := eval[struct{ X, Y, DX, DY float64 }](p, `
		document.querySelector('.canvas').scrollIntoView({ block: 'center', behavior: 'instant' });
		const c = document.querySelector('.canvas').getBoundingClientRect(), pane = document.querySelector('.pane.chosen').getBoundingClientRect();
		const h = document.querySelector('.pane.chosen .handle.nw').getBoundingClientRect();
		return { X: h.x + h.width / 2, Y: h.y + h.height / 2, DX: c.x + c.width * 0.501 - pane.x, DY: c.y + c.height * 0.498 - pane.y }`)
	if err := chromedp.Do(p.ctx, chromedp.DragAndDropXY(drag.X, drag.Y, drag.X+drag.DX, drag.Y+drag.DY, 8)); err != nil {
		p.t.Fatal(err)
	}
	p.until(5*time.Second, "snaps to the middle", `document.querySelector('.pane.chosen').style.left === '50%' && document.querySelector('.pane.chosen').style.top === '50%'`)
	p.keep("console-layout")
	p.press("Apply")
	p.reads("The layout has been applied.")
	var layout struct {
		Panes []struct {
			X, Y, Width, Height float64
			User                string
		}
	}
	s.rest("GET", "/v1/applications/voice/tasks/mix_lobby/layout", nil, &layout)
	if len(layout.Panes) != 2 || layout.Panes[0].User != "ben" || math.Abs(layout.Panes[1].X-0.5) > 1e-6 || math.Abs(layout.Panes[1].Y-0.5) > 1e-6 {
		p.t.Errorf("the mix's layout is %+v", layout.Panes)
	}

	p.visit("#/applications/voice/tasks/mix_lobby", "Mixed stream: lobby")
	p.reads("Relay is playing")
	p.reads("Relay updated")
	p.visit("#/applications/voice/channels/lobby", "lobby")
	p.press("Kick ben")
	p.press("Kick")
	other.reads("It is over: the user was kicked.")
	p.until(10*time.Second, "no longer sees ben", `!document.querySelector('[aria-label="Kick ben"]')`)

	other.press("Leave")
	other.press("Join here")
	p.until(20*time.Second, "sees ben again", `document.querySelector('[aria-label="Kick ben"]')`)
	p.press("Dismiss")
	p.reads("Dismiss lobby?")
	p.press("Dismiss")
	other.reads("It is over: the channel was dismissed.")
}

// consoleCheck has this browser try a call with itself.
func consoleCheck(p *page) {
	p.visit("#/check", "Connection check")
	p.choose("Application", "Voice chat, Asia")
	p.press("Start")
	p.until(20*time.Second, "has tried every step", `document.querySelectorAll('.steps li.good').length === 8`)
	p.keep("console-check")
}

// consoleEnd deletes what was made, and leaves.
func consoleEnd(p *page, s *braidServer) {
	p.visit("#/applications/voice/callbacks", "Callbacks")
	p.until(5*time.Second, "can delete the task", `document.querySelector('.button.text.danger')`)
	eval[bool](p, `document.querySelector('.button.text.danger').click(); return true`)
	p.press("Delete")
	p.reads("There is no callback task yet")
	p.visit("#/applications/voice", "Voice chat, Asia")
	p.press("Disable")
	p.reads("Disable Voice chat, Asia?")
	p.press("Disable")
	p.reads("Disabled")
	p.press("Delete")
	p.fill("Type voice to confirm", "voice")
	p.press("Delete")
	p.reads("Voice chat, Asia has been deleted.")
	if status, _, _ := s.tryREST("GET", "/v1/applications/voice", nil); status != 404 {
		p.t.Errorf("the application is still there: %d", status)
	}
	p.press("Sign out")
	p.fill("Name", "anna")
	p.fill("Password", "wrong horse battery")
	p.press("Sign in")
	p.until(5*time.Second, "is not let in", `document.querySelector('[role=alert]')`)
}
