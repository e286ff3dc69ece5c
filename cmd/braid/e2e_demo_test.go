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
	b := join(startChrome(t, ben), "ben")
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

	layout := func(name, width string) {
		eval[bool](a, fmt.Sprintf(`document.querySelector('input[value=%s]').click(); return true`, name))
		a.until(15*time.Second, "shows the layout "+name, fmt.Sprintf(`[...document.querySelectorAll('.pane')].some((e) => e.style.width.startsWith(%q))`, width))
	}
	layout("speaker", "75")
	layout("side", "50")
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
	a.until(10*time.Second, "has no mix", `document.getElementById('playing').hidden && document.getElementById('mixer').textContent === 'Start mix'`)
	eval[bool](a, `document.getElementById('mixer').click(); return true`)
	a.until(20*time.Second, "mixes again at once", "await "+fmt.Sprintf(moves, `document.getElementById('mixed')`))
}

const (
	adaSays = "Hello Ben, this is Ada. The server weaves both of us into one picture and one sound."
	benSays = "Hello Ada. I see my name over the mixed stream, and a bar that follows my voice."
)
