package main

import (
	"fmt"
	"testing"
	"time"
)

// TestDemoPage does what a first visitor does: joins twice, looks whether they
// see each other, starts the mix, changes its layout, leaves.
func TestDemoPage(t *testing.T) {
	s := startBraid(t)
	ada := clip{ID: 8, W: 640, H: 360, FPS: 30, Seconds: 20, Speech: adaSays}.make(t)
	ben := clip{ID: 9, W: 640, H: 360, FPS: 30, Seconds: 20, Speech: benSays}.make(t)
	join := func(c *chrome, name string) *page {
		p := c.open(name, s.http+"/demo/?channel=demo&user="+name)
		eval[bool](p, `document.querySelector('#join button').click(); return true`)
		p.until(10*time.Second, "sees itself", `document.querySelector('.tile.own video')?.videoWidth > 0`)
		return p
	}
	a := join(startChrome(t, ada), "ada")
	second := startChrome(t, ben)
	b := join(second, "ben")
	moves := `(async () => { const v = %s; if (!v?.videoWidth) return false; const from = v.currentTime;
		await new Promise((r) => setTimeout(r, 500)); return v.currentTime > from; })()`
	for _, p := range []*page{a, b} {
		p.until(15*time.Second, "sees the other", "await "+fmt.Sprintf(moves, `document.querySelector('.tile:not(.own) video')`))
	}

	eval[bool](a, `document.getElementById('mixer').click(); return true`)
	names := `[...document.querySelectorAll('.pane b')].map((e) => e.textContent).sort().join()`
	for _, p := range []*page{a, b} { // ben's page learns of the mix from the event stream
		p.until(20*time.Second, "plays the mix", "await "+fmt.Sprintf(moves, `document.getElementById('mixed')`))
		p.until(10*time.Second, "names both over the mix", names+" === 'ada,ben'")
	}
	a.until(10*time.Second, "hears a voice in the SEI", `JSON.parse(document.getElementById('sei').textContent).stream.some((e) => e.vol > 0)`)
	eval[bool](a, `document.getElementById('mix').scrollIntoView(); return true`)

	eval[bool](a, `document.querySelector('input[value=side]').click(); return true`)
	a.until(15*time.Second, "shows the layout side", `[...document.querySelectorAll('.pane')].every((e) => e.style.top.startsWith('25'))`)
	overlayIsInTime(t, a)
	a.until(5*time.Second, "is at peace", `document.getElementById('problem').hidden`)
	eval[bool](a, `scrollTo(0, 0); return true`)
	a.shot("demo")

	eval[bool](b, `document.getElementById('screen').click(); return true`)
	a.until(15*time.Second, "sees ben's screen", "await "+fmt.Sprintf(moves, `[...document.querySelectorAll('.tile')].find((e) => e.textContent.startsWith("ben's screen"))?.querySelector('video')`))
	a.until(15*time.Second, "has ben's screen in the mix", names+" === 'ada,ben,ben'")
	eval[bool](b, `document.getElementById('screen').click(); return true`)
	a.until(10*time.Second, "sees two again", names+" === 'ada,ben' && document.querySelectorAll('.tile').length === 2")

	eval[bool](b, `document.getElementById('cam').click(); return true`)
	a.until(10*time.Second, "is told that ben's camera is off", `document.querySelector('.tile:not(.own) .note')?.textContent === 'camera off'`)
	eval[bool](b, `document.getElementById('cam').click(); return true`)
	a.until(15*time.Second, "sees ben again", "await "+fmt.Sprintf(moves, `document.querySelector('.tile:not(.own) video')`))

	eval[bool](b, `document.getElementById('leave').click(); return true`)
	a.until(10*time.Second, "is alone", `document.querySelectorAll('.tile').length === 1`)
	a.until(15*time.Second, "has a mix of one", names+" === 'ada'")
	eval[bool](a, `document.getElementById('mixer').click(); return true`)
	a.until(10*time.Second, "has no mix", `document.getElementById('playing').hidden && document.getElementById('mixer').textContent === 'Start mix' && !document.getElementById('mixer').disabled`)
	// A domain with a key closes the host that the page is at: the page's backend signs.
	s.rest("POST", "/v1/domains", map[string]any{"name": "live.example.com", "ingest": "rtmp://push.example.com", "auth_key": "abcdef123456"}, nil)
	eval[bool](a, `document.getElementById('mixer').click(); return true`)
	a.until(20*time.Second, "mixes again at once", "await "+fmt.Sprintf(moves, `document.getElementById('mixed')`))
	for _, c := range []struct {
		what, address string
		code          int
	}{
		{"HLS as the page has it", eval[string](a, `return [...document.querySelectorAll('#links code')].at(-1).textContent`), 200},
		{"FLV without a signature", eval[string](a, `return document.querySelectorAll('#links code')[1].textContent.split('?')[0]`), 403},
	} {
		if code, body := getText(t, c.address); code != c.code {
			t.Errorf("%s: %s: got %d %.300s, want %d", c.what, c.address, code, body, c.code)
		}
	}

	again := join(second, "ada") // the same name: the first one is out, says so, and stays out
	a.until(15*time.Second, "is out", `!document.getElementById('join').hidden && /newer session of the same user/.test(document.getElementById('problem').textContent)`)
	s.rest("DELETE", "/v1/applications/"+testApp+"/channels/demo/users/ada", nil, nil)
	again.until(15*time.Second, "is out", `!document.getElementById('join').hidden && /sent out of the channel/.test(document.getElementById('problem').textContent)`)
	a.until(time.Second, "is still out", `!document.getElementById('join').hidden`)
}

// overlayIsInTime changes from "side", which is black at the top, to "speaker",
// which is not, and compares when the outline moves and when the picture does. A
// page that stalls just then is given two more tries: an outline that is wrong is so
// each time.
func overlayIsInTime(t *testing.T, p *page) {
	t.Helper()
	var apart float64
	for range 3 {
		apart = outlineMoves(p)
		t.Logf("the outline moves %.0f ms after the picture", apart)
		if apart >= -150 && apart <= 150 {
			return
		}
		eval[bool](p, `document.querySelector('input[value=side]').click(); return true`)
		p.until(10*time.Second, "is back at the side layout", `![...document.querySelectorAll('.pane')].some((e) => e.style.width.startsWith('75'))`)
	}
	t.Errorf("the outline moves %.0f ms after the picture, want within 150", apart)
}

// outlineMoves changes the layout and gives how many ms after the picture the outline
// changes.
func outlineMoves(p *page) float64 {
	return eval[float64](p, `
		const video = document.getElementById('mixed');
		const dot = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
		let outline, picture;
		document.querySelector('input[value=speaker]').click();
		for (const end = performance.now() + 20000; !(outline && picture) && performance.now() < end;) {
			const now = await new Promise(requestAnimationFrame);
			if ([...document.querySelectorAll('.pane')].some((e) => e.style.width.startsWith('75'))) outline ??= now;
			dot.drawImage(video, video.videoWidth * 0.1, video.videoHeight * 0.05, 1, 1, 0, 0, 1, 1);
			if (dot.getImageData(0, 0, 1, 1).data[1] > 100) picture ??= now;
		}
		return outline && picture ? outline - picture : 99999`)
}

const (
	adaSays = "Hello Ben, this is Ada. The server weaves both of us into one picture and one sound."
	benSays = "Hello Ada. I see my name over the mixed stream, and a bar that follows my voice."
)
