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
)

// moving is JavaScript that tells whether a <video>, found by an expression,
// shows pictures that move on.
func moving(video string) string {
	return fmt.Sprintf(`await (async () => { const v = %s; if (!v?.videoWidth || v.hidden) return false;
		const from = v.getVideoPlaybackQuality().totalVideoFrames;
		await new Promise((r) => setTimeout(r, 400)); return v.getVideoPlaybackQuality().totalVideoFrames > from; })()`, video)
}

// enter opens one of the SDK's demo pages at a base URL and joins.
func (c *chrome) enter(base, kind, channel, user, more string) *page {
	c.t.Helper()
	p := c.open(user, fmt.Sprintf("%s/demo/%s/?channel=%s&user=%s", base, kind, channel, user))
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
	b := startChrome(t, files[1]).enter(s.http, "call", "call", "ben", "")
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

	b.click("leave")
	b.until(5*time.Second, "is out", `!document.getElementById('join').hidden`)
	a.until(5*time.Second, "is alone", `document.getElementById('nobody').innerText.includes('ben has hung up')`)
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
