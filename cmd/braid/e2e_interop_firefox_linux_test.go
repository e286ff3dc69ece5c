package main

import (
	"fmt"
	"testing"
	"time"
)

// TestFirefox is Firefox as users have it, media settings and all, against the
// server and against Chromium: by WHIP and WHEP, and in a call on the SDK.
func TestFirefox(t *testing.T) {
	if !inSpace(t) {
		return
	}
	s := startSpaceBraid(t)
	f := people(t, 1)[0]
	fox, chrome := startFirefox(t), startChrome(t, f)
	run := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			s.t, fox.t, chrome.t = t, t, t
			test(t)
		})
	}
	run("publishes", func(t *testing.T) { firefoxPublishes(t, s, fox, chrome) })
	run("plays", func(t *testing.T) { firefoxPlays(t, s, fox, chrome, f) })
	run("plays by the SDK", func(t *testing.T) { firefoxSubscribes(t, s, fox, f) })
	run("call", func(t *testing.T) { firefoxCalls(t, s, fox, chrome) })
	run("layers", func(t *testing.T) { firefoxLayers(t, s, fox, chrome) })
	s.t = t
}

// firefoxPublishes has Firefox publish by WHIP what Chromium plays by WHEP.
func firefoxPublishes(t *testing.T, s *braidServer, fox *firefox, chrome *chrome) {
	for _, codec := range []string{"vp8", "vp9", "av1"} {
		t.Run(codec, func(t *testing.T) {
			fox.t, chrome.t = t, t
			user := "fox-" + codec
			from := fox.open(user, s.http+"/demo/")
			from.camera(s.whip("whip", user), s.token("whip", user), codec)
			to := chrome.open("chrome", s.http+"/demo/")
			to.watch(s.whep("whip", user), s.token("whip", "chrome"), "v")
			to.plays("v", codec)
			from.leave()
			to.leave()
		})
	}
}

// firefoxPlays has Firefox play by WHEP what Chromium and Pion publish.
func firefoxPlays(t *testing.T, s *braidServer, fox *firefox, chrome *chrome, f clipFiles) {
	for from, codecs := range map[string][]string{"chromium": {"h264", "vp8", "vp9", "av1"}, "pion": {"h264", "vp8"}} {
		for _, codec := range codecs {
			t.Run(codec+" of "+from, func(t *testing.T) {
				fox.t, chrome.t, s.t = t, t, t
				user := from + "-" + codec
				if from == "pion" {
					s.publish("whep", user, f, 30, codec)
				} else {
					p := chrome.open(user, s.http+"/demo/")
					p.camera(s.whip("whep", user), s.token("whep", user), codec)
					defer p.leave()
				}
				to := fox.open("fox", s.http+"/demo/")
				to.watch(s.whep("whep", user), s.token("whep", "fox"), "v")
				to.plays("v", codec)
				to.shot("firefox-" + user)
				to.leave()
			})
		}
	}
}

// firefoxSubscribes has Firefox play by the SDK what WHIP users publish.
func firefoxSubscribes(t *testing.T, s *braidServer, fox *firefox, f clipFiles) {
	s.publish("sdk", "hal", f, 30, "h264")
	s.publish("sdk", "vic", f, 30, "vp8")
	to := enter(fox.open, s.http, "conference", "sdk", "fox", "")
	for user, codec := range map[string]string{"hal": "H264", "vic": "VP8"} {
		to.sees(user, "camera")
		to.hears(user)
		tile := fmt.Sprintf(`[...document.querySelectorAll('.tile')].find((e) => e.querySelector('figcaption').innerText.trim().endsWith(%q))?.querySelector('video')`, user)
		to.until(10*time.Second, "shows "+user, moving(tile)+" && "+colours(tile))
		if got := eval[string](to, fmt.Sprintf(`const r = await room.users.get(%q).sources.get('camera').receiver.getStats();
			return [...r.values()].find((s) => s.type === 'codec')?.mimeType ?? ''`, user)); got != "video/"+codec {
			t.Errorf("%s's camera comes as %q, want %s", user, got, codec)
		}
	}
	to.shot("firefox-conference")
	to.click("leave")
}

// plays waits until a watched user's pictures of a codec are decoded and shown,
// not black, not grey, and its sound has energy.
func (p *page) plays(id, codec string) {
	p.t.Helper()
	eventually(p.t, 15*time.Second, p.name+" plays "+codec, func() (bool, string) {
		got := p.received(id)
		return got.Frames >= 20 && got.Width > 0 && got.Energy > 0, fmt.Sprintf("%+v", got)
	})
	if got := p.received(id); got.Codec != map[string]string{"h264": "video/H264", "vp8": "video/VP8", "vp9": "video/VP9", "av1": "video/AV1"}[codec] {
		p.t.Errorf("%s: got codec %s, want %s", p.name, got.Codec, codec)
	}
	p.until(5*time.Second, "shows moving pictures", moving(fmt.Sprintf(`document.getElementById(%q)`, id)))
	p.until(5*time.Second, "shows colours", colours(fmt.Sprintf(`document.getElementById(%q)`, id)))
}

// colours is JavaScript that tells whether a <video> shows something: a picture
// in which a channel of colour differs by a quarter of its range at least, or is
// far from grey.
func colours(video string) string {
	return fmt.Sprintf(`(() => { const c = new OffscreenCanvas(32, 18).getContext('2d'); c.drawImage(%s, 0, 0, 32, 18);
		const d = c.getImageData(0, 0, 32, 18).data; let low = 255, high = 0, colour = 0;
		for (let i = 0; i < d.length; i += 4) {
			for (const v of [d[i], d[i + 1], d[i + 2]]) { low = Math.min(low, v); high = Math.max(high, v); }
			colour = Math.max(colour, Math.max(d[i], d[i + 1], d[i + 2]) - Math.min(d[i], d[i + 1], d[i + 2]));
		}
		return high - low > 64 || colour > 64; })()`, video)
}

// leave ends the page's sessions of the demo's WHIP and WHEP modules.
func (p *page) leave() {
	p.t.Helper()
	eval[bool](p, `for (const s of [window.session, ...Object.values(window.sessions ?? {})]) s?.close(); return true`)
}

// firefoxCalls is a call between ada on Firefox and ben on Chromium.
func firefoxCalls(t *testing.T, s *braidServer, fox *firefox, chrome *chrome) {
	wire := newCord(t, s)
	a := enter(fox.open, wire.url, "call", "call", "ada", "")
	a.until(10*time.Second, "waits", `document.getElementById('nobody').innerText.includes('Nobody else')`)
	b := chrome.enter(s.http, "call", "call", "ben", "")
	for _, p := range []struct {
		*page
		other string
	}{{a, "ben"}, {b, "ada"}} {
		p.until(15*time.Second, "sees the other", moving(`document.getElementById('far')`)+" && "+colours(`document.getElementById('far')`))
		p.until(5*time.Second, "sees itself", moving(`document.getElementById('near')`))
		p.hears(p.other)
		p.until(10*time.Second, "knows when the other speaks", `document.getElementById('remote').classList.contains('talking')`)
	}
	a.shot("firefox-call")
	b.shot("firefox-call-chromium")

	a.click("mic")
	b.until(5*time.Second, "sees that ada is muted", `document.getElementById('name').textContent === 'ada, muted'`)
	a.click("mic")
	b.until(5*time.Second, "sees that ada is heard again", `document.getElementById('name').textContent === 'ada'`)
	b.hears("ada")
	a.click("cam")
	b.until(5*time.Second, "sees that ada's camera is off", `document.getElementById('nobody').innerText.includes('camera off')`)
	a.until(5*time.Second, "has let the camera go", `!document.getElementById('cam').disabled && !room.tracks.get('camera').track`)
	a.click("cam")
	b.until(10*time.Second, "sees ada again", moving(`document.getElementById('far')`))

	resumes(t, s, wire, a)
	newPath(t, a)
	b.sees("ada", "camera")

	a.click("leave")
	b.until(5*time.Second, "is alone", `document.getElementById('nobody').innerText.includes('ada has hung up')`)
	again := enter(fox.open, s.http, "call", "call", "ada", "")
	b.until(15*time.Second, "sees ada again", moving(`document.getElementById('far')`))
	if err := again.fire.shut(again.ctx); err != nil { // a closed tab says goodbye
		t.Fatal(err)
	}
	b.until(5*time.Second, "is alone again", `document.getElementById('nobody').innerText.includes('ada has hung up')`)
}

// firefoxLayers has Firefox publish a camera in three sizes by the SDK, and a viewer
// change between them.
func firefoxLayers(t *testing.T, s *braidServer, fox *firefox, chrome *chrome) {
	const settled = 30 * time.Second
	l := layersFrom(fox.open, t, s, chrome, clip{W: 960, H: 540, FPS: 15}, "vp8", "maxBitrate: 300_000") // there is soon room for all
	l.look("ben", 120, 68)
	l.comes("ben", 240, settled)
	for _, width := range []int{480, 960, 240} {
		l.resize("ben", width*3/4, width*27/64)
		l.comes("ben", width, settled)
	}
	if got := l.got("ben"); got.Lost != 0 || len(l.sending()) != 3 {
		t.Errorf("%d packets lost, %d layers", got.Lost, len(l.sending()))
	}
}
