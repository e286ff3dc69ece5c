package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// hostile is what somebody may call an application or themselves.
const hostile = `<img src=x onerror="document.title='taken over'">`

// consolePages are the console's pages: address, heading.
var consolePages = [][2]string{
	{"#/applications", "Applications"},
	{"#/applications/e2e", "tests"},
	{"#/applications/e2e/channels", "Live channels"},
	{"#/applications/e2e/channels/lobby", "lobby"},
	{"#/applications/e2e/tasks/mix_lobby", "Mixed stream: lobby"},
	{"#/applications/e2e/tasks/mix_lobby/layout", "Layout"},
	{"#/applications/e2e/relay", "Stream Relay"},
	{"#/applications/e2e/callbacks", "Callbacks"},
	{"#/applications/e2e/callbacks/mpu", "Callbacks"},
	{"#/applications/e2e/records", "Callback Records"},
	{"#/applications/e2e/usage", "Usage"},
	{"#/applications/e2e/join", "Join and test"},
	{"#/domains", "Streaming domains"},
	{"#/check", "Connection check"},
	{"#/node", "Node"},
	{"#/people", "Administrators"},
	{"#/people/audit", "Administrators"},
	{"#/people/me", "Administrators"},
	{"#/applications/e2e/templates", "Templates"},
	{"#/applications/e2e/callbacks/stream", "Callbacks"},
	{"#/streams", "Streams"},
	{"#/streams/live/e2e_lobby_mix", "e2e_lobby_mix"},
	{"#/recordings", "Recordings"},
}

// furnish makes something for each page to show: a channel with two users and a
// mix, domains, callback tasks of which one fails, names that are markup.
func furnish(t *testing.T, s *braidServer) {
	r := newReceiver(t, 0)
	s.rest("POST", "/v1/applications", map[string]any{"id": "hostile", "name": hostile}, nil)
	s.rest("POST", "/v1/domains", map[string]any{"name": "live.example.com", "ingest": "rtmp://push.example.com", "play": "https://play.example.com", "auth_key": "abcdef123456"}, nil)
	s.rest("POST", "/v1/domains", map[string]any{"name": "rts.example.com", "ingest": "rtmps://rts.example.com:443", "rts2": true}, nil)
	for url, channels := range map[string][]string{r.url: {}, "http://127.0.0.1:9/nobody": {"lobby"}} {
		s.rest("POST", "/v1/applications/e2e/callbacks", map[string]any{"kind": "room", "url": url, "channels": channels, "events": []string{"ChannelEvent", "UserEvent"}}, nil)
	}
	s.rest("POST", "/v1/applications/e2e/callbacks", map[string]any{"kind": "mpu", "url": r.url}, nil)
	s.rest("POST", "/v1/applications/e2e/callbacks", map[string]any{"kind": "stream", "url": r.url, "events": []string{"StreamStarted", "RecordFile"}}, nil)
	for kind, more := range map[string]map[string]any{"record": {"segment_seconds": 60}, "snapshot": {"interval_seconds": 1},
		"transcode": {"renditions": []map[string]any{{"name": "180p", "height": 180, "bitrate": 200}}}} {
		s.rest("POST", "/v1/applications/e2e/templates", map[string]any{"id": kind, "kind": kind, kind: more, "disabled": kind == "transcode"}, nil)
	}
	s.rest("PUT", "/v1/applications/e2e/relay", map[string]any{"enabled": true, "mix": true, "sei": map[string]any{"interval_ms": 1000}}, nil, "If-Match", "*")
	for id, user := range map[int]string{5: "anna", 6: "ben"} {
		s.publish("lobby", user, clip{ID: id, W: 320, H: 180, FPS: 15, Seconds: 10, Tone: 400}.make(t), 15, "vp8")
	}
}

// TestConsolePages opens each page with something to show: in light and dark
// colours, on a phone, in Chinese, with names that are markup, and for people
// who use it with other means than eyes and a mouse.
func TestConsolePages(t *testing.T) {
	s := startBraid(t)
	furnish(t, s)
	c := startChrome(t, clipFiles{})
	p := administrator(t, s, c)
	p.press("Create administrator")
	p.reads("An application is a tenant")

	axe := ""
	t.Run("axe-core", func(t *testing.T) { axe = axeCore(t) }) // may skip
	t.Run("pages", func(t *testing.T) {
		p := p.in(t)
		for i, page := range consolePages {
			p.visit(page[0], page[1])
			p.ready()
			p.pictures(page[0])
			p.keep(fmt.Sprintf("console-page-%02d", i))
			p.accessible(axe, page[0])
		}
		p.visit("#/applications/e2e/callbacks", "Callbacks")
		p.press("Create Task")
		p.accessible(axe, "the dialog of a callback task")
		p.press("Cancel")
		p.until(5*time.Second, "has the focus where it was", `document.activeElement.textContent.trim() === 'Create Task'`)
		p.visit("#/applications/e2e/templates", "Templates")
		p.press("Create Template")
		p.choose("Kind", "Transcoding")
		p.accessible(axe, "the dialog of a template")
		p.press("Cancel")
		p.visit("#/domains", "Streaming domains")
		p.press("URLs of live.example.com")
		p.reads("They open a connection for")
		p.accessible(axe, "the dialog of addresses")
		p.press("Close")
	})
	t.Run("dark", func(t *testing.T) {
		p := p.in(t)
		p.choose("Colours", "Dark")
		for _, i := range []int{3, 5, 9, 10, 18, 21, 22} {
			page := consolePages[i]
			p.visit(page[0], page[1])
			p.ready()
			p.keep(fmt.Sprintf("console-dark-%02d", i))
			p.accessible(axe, page[0]+" in dark colours")
		}
		p.choose("Colours", "System")
	})
	t.Run("markup", func(t *testing.T) { consoleMarkup(p.in(t)) })
	t.Run("phone", func(t *testing.T) { consolePhone(p.in(t)) })
	t.Run("demo", func(t *testing.T) { // where "Join and test" leads
		var made struct{ Token string }
		s.rest("POST", "/v1/applications/hostile/tokens", map[string]any{"channel": "room", "user": "dora", "subscribe": true, "publish": []string{"camera"}}, &made)
		call := c.open("demo", s.http+"/demo/voice/?channel=room&user=dora#token="+made.Token).in(t)
		call.until(10*time.Second, "is inside", `document.body.classList.contains('inside') && location.hash === ''`)
	})
	t.Run("elsewhere", func(t *testing.T) { // neither https nor loopback: a page is told why it gets no camera
		c := startChrome(t, clipFiles{}, chromedp.Flag("host-resolver-rules", "MAP braid.test 127.0.0.1"))
		p := c.open("elsewhere", strings.Replace(s.http, "127.0.0.1", "braid.test", 1)+"/console/#/applications/e2e/join")
		p.fill("Name", "anna")
		p.fill("Password", consolePassword)
		p.press("Sign in")
		p.reads("Browsers give camera and microphone only to pages from https or from localhost.")
	})
	t.Run("chinese", func(t *testing.T) {
		p := p.in(t)
		p.choose("Language, 语言", "中文")
		p.until(10*time.Second, "speaks Chinese", `document.documentElement.lang === 'zh' && document.querySelector('h1')`)
		p.visit("#/applications/e2e/relay", "旁路转推")
		p.reads("按固定间隔插入 SEI")
		p.visit("#/domains", "域名管理")
		p.press("live.example.com 的地址")
		p.reads("可用于建立连接的时间")
		p.keep("console-urls-chinese")
		p.press("关闭")
		p.visit("#/applications/e2e/relay", "旁路转推")
		p.choose("Language, 语言", "English")
		p.until(10*time.Second, "speaks English", `document.documentElement.lang === 'en' && document.querySelector('h1')?.textContent === 'Stream Relay'`)
	})
}

// in is the page in a subtest.
func (p *page) in(t *testing.T) *page { return &page{t: t, ctx: p.ctx, name: p.name} }

// ready waits until a page has what it loads, and nothing of it has failed.
func (p *page) ready() {
	p.t.Helper()
	p.until(10*time.Second, "has loaded", `!document.querySelector('.loading, [aria-busy=true]') && !/Loading …|Connecting again/.test(document.querySelector('main').innerText)`)
	if trouble := eval[string](p, `return [...document.querySelectorAll('[role=alert]')].map((e) => e.textContent).join()`); trouble != "" {
		p.t.Errorf("%s shows %q", eval[string](p, "return location.hash"), trouble)
	}
}

// pictures waits until the live pictures of a page are there, which are of the
// channel's users or of what the mix makes of them.
func (p *page) pictures(address string) {
	p.t.Helper()
	want := map[string]int{"#/applications/e2e/channels/lobby": 2, "#/applications/e2e/tasks/mix_lobby": 1, "#/applications/e2e/tasks/mix_lobby/layout": 2}[address]
	if want == 0 {
		return
	}
	p.until(20*time.Second, fmt.Sprintf("has %d live pictures", want), fmt.Sprintf(`(() => {
		const all = [...document.querySelectorAll('.livepicture img, .panepicture img')];
		return all.length >= %d && all.every((e) => e.complete && e.naturalWidth >= 80 && e.hasAttribute('alt'));
	})()`, want))
}

// consoleMarkup shows names that are markup as the text that they are. Ids of
// channels and users cannot have such characters; the page does not rely on it:
// it is told such ids by a stream of events of the test's own.
func consoleMarkup(p *page) {
	defer func() { _, _ = tryEval[bool](p, `window.EventSource = window.RealSource ?? EventSource; return true`) }()
	p.visit("#/applications", "Applications")
	p.reads(hostile)
	p.visit("#/applications/hostile", hostile)
	p.press("Rename")
	p.press("Cancel")
	eval[bool](p, fmt.Sprintf(`
		window.RealSource = EventSource;
		window.EventSource = class extends EventTarget {
			constructor() {
				super();
				const bad = %s, at = new Date().toISOString();
				const user = { id: bad, display_name: bad, session: '1', joined: at, role: bad, client: bad, sources: [bad], connections: 1,
					tracks: [{ source: bad, codec: bad, bitrate: 1 }], receives: { audio: true }, quality: { up: 1, down: 1, reasons: [bad] } };
				setTimeout(() => this.dispatchEvent(new MessageEvent('snapshot', { data: JSON.stringify({
					channels: [{ app: bad, id: bad, opened: at, users: [user], levels: {}, speakers: [bad] }],
					tasks: [{ app: bad, id: bad, channel: bad, mode: 'mix', created: at, urls: [{ url: bad, state: bad, reason: bad }] }] }) })));
			}
			close() {}
		};
		return true`, quoted(hostile)))
	p.visit("#/applications/hostile/channels", "Live channels")
	p.reads(hostile)
	eval[bool](p, `document.querySelector('td a.rowname').click(); return true`)
	p.until(5*time.Second, "is at the channel", `document.querySelector('h1').textContent.startsWith('<img')`)
	p.reads("very weak")
	p.press("Kick " + hostile)
	p.reads("Kick " + hostile + "?")
	p.press("Cancel")
	eval[bool](p, `location.hash = '#/applications/hostile/tasks/' + encodeURIComponent(document.querySelector('h1').textContent); return true`)
	p.until(5*time.Second, "is at the task", `document.querySelector('h1').textContent.startsWith('Mixed stream: <img')`)
	if eval[bool](p, `return document.title === 'taken over' || !!document.querySelector('img[src=x]')`) {
		p.t.Error("a name has become part of the page")
	}
}

// consolePhone uses the pages at a phone's width: none is wider than it.
func consolePhone(p *page) {
	if err := chromedp.Do(p.ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch)); err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = chromedp.Do(p.ctx, chromedp.EmulateViewport(1280, 1000)) }()
	for i, page := range consolePages {
		p.visit(page[0], page[1])
		p.ready()
		if wide := eval[float64](p, `return document.documentElement.scrollWidth - innerWidth`); wide > 0 {
			p.t.Errorf("%s is %.0f pixels wider than a phone", page[0], wide)
		}
		if i == 0 || i == 3 || i == 5 || i == 6 || i == 9 || i >= 18 {
			p.keep(fmt.Sprintf("console-phone-%02d", i))
		}
	}
	p.press("Menu")
	p.keep("console-phone-menu")
	p.press("Node")
	p.reads("Data directory")
}
