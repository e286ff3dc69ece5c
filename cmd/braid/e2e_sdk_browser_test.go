package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// moving is JavaScript that tells whether a <video>, found by an expression,
// shows pictures that move on. Firefox counts no pictures of a MediaStream.
func moving(video string) string {
	return fmt.Sprintf(`await (async () => { const v = %s; if (!v?.videoWidth || v.hidden) return false;
		const count = () => v.getVideoPlaybackQuality().totalVideoFrames, from = count();
		let shown = 0; const next = () => { shown++; v.requestVideoFrameCallback(next); }; v.requestVideoFrameCallback(next);
		await new Promise((r) => setTimeout(r, 400)); return count() > from || shown > 1; })()`, video)
}

// enter opens one of the SDK's demo pages at a base URL and joins.
func (c *chrome) enter(base, kind, channel, user, more string) *page {
	c.t.Helper()
	return enter(c.open, base, kind, channel, user, more)
}

func enter(open func(name, url string) *page, base, kind, channel, user, more string) *page {
	p := open(user, fmt.Sprintf("%s/demo/%s/?channel=%s&user=%s", base, kind, channel, user))
	p.t.Helper()
	eval[bool](p, more+`; document.querySelector('#join button').click(); return true`)
	p.until(15*time.Second, "is in the room", `window.room?.state === 'joined'`)
	return p
}

func (p *page) click(id string) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`const b = document.getElementById(%q); if (b.hidden || b.disabled) return false; b.click(); return true`, id))
}

// fromUser is what has come from a source of a user so far, from getStats.
type fromUser struct {
	Energy  float64 `json:"energy"`
	Packets int     `json:"packets"`
	Frames  int     `json:"frames"`
	Width   int     `json:"width"`
}

func (p *page) from(user, source string) fromUser {
	p.t.Helper()
	return eval[fromUser](p, fmt.Sprintf(`
		const out = { energy: 0, packets: 0, frames: 0, width: 0 };
		const receiver = room.users.get(%q)?.sources.get(%q)?.receiver;
		(await receiver?.getStats())?.forEach((s) => {
			if (s.type === 'inbound-rtp') Object.assign(out, { energy: s.totalAudioEnergy ?? 0, packets: s.packetsReceived,
				frames: s.framesDecoded ?? 0, width: s.frameWidth ?? 0 });
		});
		return out`, user, source))
}

// hears waits until a user's sound has energy.
func (p *page) hears(user string) {
	p.t.Helper()
	before := p.from(user, "microphone")
	eventually(p.t, 15*time.Second, p.name+" hears "+user, func() (bool, string) {
		now := p.from(user, "microphone")
		return now.Energy > before.Energy, fmt.Sprintf("%+v", now)
	})
}

// sees waits until more of a user's pictures are decoded.
func (p *page) sees(user, source string) {
	p.t.Helper()
	before := p.from(user, source)
	eventually(p.t, 15*time.Second, p.name+" sees "+user+"'s "+source, func() (bool, string) {
		now := p.from(user, source)
		return now.Width > 0 && now.Frames >= before.Frames+15, fmt.Sprintf("%+v", now)
	})
}

// cord is a TCP proxy in front of the server that can be cut: pages on it lose
// their sockets, not their media.
type cord struct {
	url string

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
	torn  bool              // new ones are cut at once; guarded by mu
}

func newCord(t testing.TB, s *braidServer) *cord {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cord{url: "http://" + l.Addr().String(), conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.carry(conn, strings.TrimPrefix(s.http, "http://")) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.cut(true)
		wg.Wait()
	})
	return c
}

func (c *cord) carry(in net.Conn, to string) {
	out, err := net.Dial("tcp", to)
	if err != nil {
		in.Close()
		return
	}
	c.mu.Lock()
	c.conns[in], c.conns[out] = true, true
	if c.torn {
		in.Close()
		out.Close()
	}
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		wg.Go(func() {
			io.Copy(way[0], way[1])
			way[0].Close()
			way[1].Close()
		})
	}
	wg.Wait()
	c.mu.Lock()
	delete(c.conns, in)
	delete(c.conns, out)
	c.mu.Unlock()
}

// cut breaks what runs; when torn, new connections break too, until mend.
func (c *cord) cut(torn bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.torn = torn
	for conn := range c.conns {
		conn.Close()
	}
}

func (c *cord) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.torn = false
}

// comings are the joins and leaves of a channel so far, as GET /v1/events tells
// them: "join ann", "leave ben".
func (s *braidServer) comings(channel string) (all []string) {
	s.t.Helper()
	for _, e := range s.events() {
		if e.Channel == channel && (e.Type == "UserJoin" || e.Type == "UserLeave") {
			all = append(all, e.tag())
		}
	}
	return all
}

// TestSDKIsServed: to pages of every origin, as modules, and found again
// without a download.
func TestSDKIsServed(t *testing.T) {
	s := startBraid(t, func(c *config) { off := false; c.Demo = &off })
	for _, f := range []struct{ name, kind string }{
		{"braid.js", "text/javascript; charset=utf-8"}, {"room.js", "text/javascript; charset=utf-8"},
		{"braid.d.ts", "text/plain; charset=utf-8"}, {"package.json", "application/json"},
	} {
		resp, err := http.Get(s.http + "/sdk/" + f.name)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		h := resp.Header
		if err != nil || resp.StatusCode != 200 || len(body) < 100 || h.Get("Content-Type") != f.kind || h.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: got %d, %d bytes, %v, %v", f.name, resp.StatusCode, len(body), h, err)
		}
		req, _ := http.NewRequest("GET", s.http+"/sdk/"+f.name, nil)
		req.Header.Set("If-None-Match", h.Get("ETag"))
		if resp, err = http.DefaultClient.Do(req); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: got %d, want 304", f.name, resp.StatusCode)
		}
	}
}

// TestSDKRules runs testdata/sdk.js: the SDK in Chromium against a server made
// of JavaScript.
func TestSDKRules(t *testing.T) {
	s := startBraid(t)
	script, err := os.ReadFile("testdata/sdk.js")
	if err != nil {
		t.Fatal(err)
	}
	p := startChrome(t, clip{ID: 1, W: 640, H: 360, FPS: 30, Seconds: 2, Tone: 440}.make(t)).open("rules", s.http+"/demo/")
	p.until(10*time.Second, "is there", `document.querySelector('#join').user.value`)
	eval[bool](p, "(async () => {"+string(script)+"})().then((r) => { window.failures = r; }, (e) => { window.failures = String(e.stack); }); return true")
	p.until(60*time.Second, "is through", `window.failures !== undefined`)
	if got := eval[string](p, `return window.failures`); got != "" {
		t.Error(got)
	}
}

// people makes clips for n people, each with a voice of its own: a tone would
// be taken for noise by the microphone's filters.
func people(t *testing.T, n int) (files []clipFiles) {
	says := []string{adaSays, benSays, "Good morning, both of you. This is Cara. I listen, and now and then I say a word."}
	for i := range n {
		files = append(files, clip{ID: 8 + i, W: 640, H: 360, FPS: 30, Seconds: 20, Speech: says[i]}.make(t))
	}
	return files
}

// TestSDKCall is a call between two: media both ways, mute and camera off as
// the other sees them, another device, a socket that breaks, hanging up.
func TestSDKCall(t *testing.T) {
	s := startBraid(t)
	wire := newCord(t, s)
	files := people(t, 2)
	a := startChrome(t, files[0]).enter(wire.url, "call", "call", "ada", "")
	a.until(10*time.Second, "waits", `document.getElementById('nobody').innerText.includes('Nobody else')`)
	a.shot("call-alone")
	second := startChrome(t, files[1])
	b := second.enter(s.http, "call", "call", "ben", "")
	for _, p := range []struct {
		*page
		other string
	}{{a, "ben"}, {b, "ada"}} {
		p.until(15*time.Second, "sees the other", moving(`document.getElementById('far')`))
		p.until(5*time.Second, "sees itself", moving(`document.getElementById('near')`))
		p.hears(p.other)
		p.until(10*time.Second, "knows when the other speaks", `document.getElementById('remote').classList.contains('talking')`)
	}
	a.shot("call")

	b.click("mic")
	a.until(5*time.Second, "sees that ben is muted", `document.getElementById('name').textContent === 'ben, muted'`)
	b.click("mic")
	a.until(5*time.Second, "sees that ben is heard again", `document.getElementById('name').textContent === 'ben'`)
	a.hears("ben")
	b.click("cam")
	a.until(5*time.Second, "sees that ben's camera is off", `document.getElementById('nobody').innerText.includes('camera off')`)
	b.until(5*time.Second, "has let the camera go", `!room.tracks.get('camera').track`)
	a.shot("call-camera-off")
	b.click("cam")
	a.until(10*time.Second, "sees ben again", moving(`document.getElementById('far')`))

	sdp := eval[string](b, `
		const camera = room.tracks.get('camera');
		const before = camera.track;
		await camera.switchDevice({});
		if (camera.track === before || before.readyState !== 'ended') throw new Error('the device is the same');
		return camera.track.readyState`)
	if sdp != "live" {
		t.Errorf("the other device is %s", sdp)
	}
	a.sees("ben", "camera")

	resumes(t, s, wire, a)
	b.click("devices")
	b.until(5*time.Second, "lists devices", `document.querySelectorAll('dialog select').length >= 2`)
	b.shot("call-devices")
	eval[bool](b, `document.querySelector('dialog button').click(); return true`)

	newPath(t, a)
	again := second.enter(s.http, "call", "call", "ben", "")
	b.until(5*time.Second, "is replaced", `document.getElementById('problem').innerText.includes('another window')`)
	a.until(15*time.Second, "sees ben go on", `room.users.get('ben')?.sources.size === 2 && `+moving(`document.getElementById('far')`))
	if got := fmt.Sprint(s.comings("call")); got != "[Join ada Join ben]" {
		t.Errorf("after ben has changed windows, the channel's log has %s", got)
	}

	again.click("leave")
	again.until(5*time.Second, "is out", `!document.getElementById('join').hidden`)
	a.until(5*time.Second, "is alone", `document.getElementById('nobody').innerText.includes('ben has hung up')`)
}

// newPath restarts ICE on both connections: pictures go on, on new credentials.
func newPath(t *testing.T, a *page) {
	t.Helper()
	pairs := `await (async () => { const { up, down } = await room.stats(); const found = [];
		for (const r of [up, down]) r.forEach((s) => { if (s.type === 'transport') found.push(s.iceLocalUsernameFragment); });
		return found.join(); })()`
	before := eval[string](a, "return "+pairs)
	eval[bool](a, `room.restartMedia(); return true`)
	a.until(10*time.Second, "has new credentials for both", fmt.Sprintf(`(%s).split(',').every((u, i) => u && u !== %q.split(',')[i])`, pairs, before))
	a.sees("ben", "camera")
}

// resumes cuts ada's socket in a call with ben: media go on, nobody is told of
// a leave or a join, and what happens meanwhile is told afterwards.
func resumes(t *testing.T, s *braidServer, wire *cord, a *page) {
	t.Helper()
	eval[bool](a, `
		window.story = [];
		for (const type of ['joined', 'left', 'reconnecting', 'reconnected', 'data', 'end']) room.on(type, (e) => story.push(type + (e.resumed ?? '')));
		return true`)
	wire.cut(true)
	a.until(5*time.Second, "knows that the socket is gone", `story.includes('reconnecting') && room.state === 'reconnecting'`)
	a.shot("call-reconnecting")
	a.sees("ben", "camera") // media do not need the socket
	eval[bool](a, `room.tracks.get('microphone').mute(); return true`)
	wire.mend()
	a.until(15*time.Second, "has resumed", `room.state === 'joined' && story.at(-1) === 'reconnectedtrue'`)
	a.sees("ben", "camera")
	if got := eval[string](a, `return story.filter((e) => e !== 'reconnecting').join()`); got != "reconnectedtrue" {
		t.Errorf("ada's room told %s, want the resume alone", got)
	}
	if got := fmt.Sprint(s.comings("call")); got != "[Join ada Join ben]" {
		t.Errorf("the channel's log has %s", got)
	}
}

// TestSDKVoice is a voice chat of a host and two who listen: a hand goes up, an
// invitation comes, and who takes it is heard by all; then back again.
func TestSDKVoice(t *testing.T) {
	s := startBraid(t)
	files := people(t, 3)
	first := startChrome(t, files[0])
	audience := `document.querySelector('input[value=audience]').checked = true`
	ada := first.enter(s.http, "voice", "talk", "ada", "")
	ben := startChrome(t, files[1]).enter(s.http, "voice", "talk", "ben", audience)
	cara := first.enter(s.http, "voice", "talk", "cara", audience)
	entry := func(list, user string) string {
		return fmt.Sprintf(`document.querySelector('#%s [data-user=%s]')`, list, user)
	}
	for _, p := range []*page{ada, ben, cara} {
		p.until(10*time.Second, "has the host on stage and two in the audience",
			entry("stage-list", "ada")+` && `+entry("audience", "ben")+` && `+entry("audience", "cara")+` && `+entry("stage-list", "ada")+`.innerText.includes('host')`)
		p.until(10*time.Second, "sees ada speak", entry("stage-list", "ada")+`.classList.contains('talking')`)
	}
	ben.hears("ada")
	cara.hears("ada")
	if eval[bool](ben, `return room.tracks.size > 0 || !document.getElementById('mic').hidden`) {
		t.Error("ben can speak without an invitation")
	}

	ben.click("hand")
	for _, p := range []*page{ada, cara} {
		p.until(5*time.Second, "sees ben's hand", entry("audience", "ben")+`.querySelector('.hand')`)
	}
	ada.shot("voice-hand")
	eval[bool](ada, entry("audience", "ben")+`.querySelector('button').click(); return true`)
	ben.until(5*time.Second, "is invited", `document.querySelector('#invitation[open]')`)
	ben.shot("voice-invited")
	eval[bool](ben, `document.querySelector('#invitation button.primary').click(); return true`)
	for _, p := range []*page{ada, cara} {
		p.until(10*time.Second, "has ben on stage", entry("stage-list", "ben")+` && !document.querySelector('#audience .hand')`)
		p.hears("ben")
		p.until(10*time.Second, "sees ben speak", entry("stage-list", "ben")+`.classList.contains('talking')`)
	}
	cara.shot("voice")
	ben.click("mic")
	ada.until(5*time.Second, "sees that ben is muted", entry("stage-list", "ben")+`.querySelector('.muted')`)

	eval[bool](ada, entry("stage-list", "ben")+`.querySelector('button').click(); return true`)
	for _, p := range []*page{ada, ben, cara} {
		p.until(5*time.Second, "has ben in the audience", entry("audience", "ben"))
	}
	ben.until(5*time.Second, "has let the microphone go", `room.tracks.size === 0`)
	ada.until(5*time.Second, "no longer has ben's sound", `room.users.get('ben').sources.size === 0`)

	if err := chromedp.Cancel(cara.ctx); err != nil { // a closed tab says goodbye
		t.Fatal(err)
	}
	ada.until(5*time.Second, "sees cara leave", `!`+entry("audience", "cara"))
	if got := fmt.Sprint(s.comings("talk")); got != "[Join ada Join ben Join cara Leave cara]" {
		t.Errorf("the channel's log has %s", got)
	}
}

// TestSDKConference has three people: the grid, a screen, mute, the speaker
// view, elements that nobody sees, the mixed stream and its layout.
func TestSDKConference(t *testing.T) {
	s := startBraid(t)
	files := people(t, 3)
	enter := func(i int, name string) *page {
		return startChrome(t, files[i]).enter(s.http, "conference", "team", name, "")
	}
	ada, ben, cara := enter(0, "ada"), enter(1, "ben"), enter(2, "cara")
	tile := func(label string) string {
		return fmt.Sprintf(`[...document.querySelectorAll('.tile')].find((e) => e.querySelector('figcaption').innerText.trim().endsWith(%q))`, label)
	}
	all := map[*page][]string{ada: {"ben", "cara"}, ben: {"ada", "cara"}, cara: {"ada", "ben"}}
	for p, others := range all {
		for _, other := range others {
			p.until(20*time.Second, "sees "+other, moving(tile(other)+`?.querySelector('video')`))
			p.hears(other)
		}
	}
	ada.until(10*time.Second, "marks who speaks", `document.querySelector('.tile.talking')`)
	ada.shot("conference")

	ben.click("mic")
	ada.until(5*time.Second, "sees that ben is muted", `!`+tile("ben")+`.querySelector('.muted').hidden`)
	cara.click("cam")
	ada.until(5*time.Second, "sees that cara's camera is off", tile("cara")+`.classList.contains('off')`)

	ben.click("share")
	for _, p := range []*page{ada, cara} {
		p.until(15*time.Second, "sees ben's screen large", moving(tile("ben's screen")+`?.querySelector('video')`)+` && `+tile("ben's screen")+`.classList.contains('first')`)
	}
	ada.shot("conference-screen")
	ben.click("share")
	ada.until(5*time.Second, "has no screen", `!`+tile("ben's screen")+` && document.querySelector('#tiles.grid')`)
	ben.click("mic")
	cara.click("cam")
	ada.until(10*time.Second, "sees cara again", moving(tile("cara")+`?.querySelector('video')`))

	ada.click("view")
	ada.until(5*time.Second, "has somebody large", `document.querySelectorAll('.tile.first').length === 1`)
	ada.shot("conference-speaker")
	ada.click("view")

	before := ada.from("ben", "camera")
	eval[bool](ada, tile("ben")+`.style.display = 'none'; return true`)
	ada.until(10*time.Second, "gets no picture that nobody sees", fmt.Sprintf(`await (async () => {
		const frames = async () => { let n = 0; (await room.users.get('ben').sources.get('camera').receiver.getStats()).forEach((s) => { n += s.framesReceived ?? 0; }); return n; };
		const from = await frames(); await new Promise((r) => setTimeout(r, 700)); return from >= %d && from === await frames(); })()`, before.Frames))
	eval[bool](ada, tile("ben")+`.style.display = ''; return true`)
	ada.sees("ben", "camera")

	ada.click("mixed-view")
	ada.click("mixer")
	names := `[...document.querySelectorAll('.pane b')].map((e) => e.textContent).sort().join()`
	ada.until(25*time.Second, "plays the mix", moving(`document.getElementById('mixed')`))
	ada.until(10*time.Second, "names all over the mix", names+` === 'ada,ben,cara'`)
	eval[bool](ada, `document.querySelector('input[value=side]').click(); return true`)
	ada.until(15*time.Second, "shows the layout side", `[...document.querySelectorAll('.pane')].every((e) => e.style.top.startsWith('33'))`)
	ada.until(5*time.Second, "is at peace", `document.getElementById('problem').hidden`)
	ada.shot("conference-mix")

	cara.click("leave")
	ada.until(5*time.Second, "sees cara leave", `!`+tile("cara"))
	ada.until(15*time.Second, "has a mix of two", names+` === 'ada,ben'`)
	ada.click("mixer")
	ada.until(10*time.Second, "has no mix", `document.getElementById('playing').hidden`)
}
