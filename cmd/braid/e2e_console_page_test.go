package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

// What a person does with a page: looks for a control by the name that it
// shows or that a screen reader says, clicks where it is, types.

// control finds the first visible control with a name, in the open dialog if
// there is one. Its middle has to be reachable by a mouse.
const control = `
const names = (e) => (e.hasAttribute('aria-label') ? [e.getAttribute('aria-label')]
	: e.labels?.length ? [...e.labels].map((l) => [...l.childNodes].filter((n) => n.nodeName !== 'SMALL').map((n) => n.textContent).join(''))
	: [e.textContent]).map((s) => s.replace(/\s+/g, ' ').trim());
const control = (name, kinds) =>
	[...([...document.querySelectorAll('dialog[open]')].pop() ?? document).querySelectorAll(kinds)]
		.find((e) => names(e).includes(name) && !e.disabled && e.checkVisibility());
`

// press clicks a button or a link.
func (p *page) press(name string) {
	p.t.Helper()
	p.clickOn(name, "button, a[href], summary, [role=button]")
}

// tick clicks a checkbox or a switch.
func (p *page) tick(name string) {
	p.t.Helper()
	p.clickOn(name, "input[type=checkbox], input[type=radio]")
}

func (p *page) clickOn(name, kinds string) {
	p.t.Helper()
	p.until(10*time.Second, "can click "+name, locate(name, kinds))
	x, y := eval[float64](p, "return window.found.x"), eval[float64](p, "return window.found.y")
	if err := chromedp.Do(p.ctx, chromedp.MouseClickXY(x, y)); err != nil {
		p.t.Fatalf("%s: click %s: %v", p.name, name, err)
	}
}

// locate is true when the control is there and nothing lies over it; where, is
// left in window.found.
func locate(name, kinds string) string {
	return fmt.Sprintf(`await (async () => { %s
		const e = control(%s, %s);
		if (!e) return false;
		e.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
		await new Promise(requestAnimationFrame);
		const r = e.getBoundingClientRect();
		window.found = { x: r.x + r.width / 2, y: r.y + r.height / 2 };
		const there = document.elementFromPoint(found.x, found.y);
		return e.contains(there) || [...(e.labels ?? [])].some((l) => l.contains(there));
	})()`, control, quoted(name), quoted(kinds))
}

// fill puts a text into a field, in place of what is there.
func (p *page) fill(name, text string) {
	p.t.Helper()
	p.clickOn(name, "input, textarea")
	eval[bool](p, `document.activeElement.select?.(); return true`)
	keys := strings.TrimSuffix(text, "\n")
	if keys == "" {
		keys = "\b"
	}
	if err := chromedp.Do(p.ctx, chromedp.KeyEvent(keys)); err != nil {
		p.t.Fatalf("%s: type into %s: %v", p.name, name, err)
	}
	p.until(5*time.Second, name+" has what was typed", fmt.Sprintf("document.activeElement.value === %s", quoted(text)))
}

// choose takes an option of a select by its text.
func (p *page) choose(name, option string) {
	p.t.Helper()
	p.until(10*time.Second, "can choose "+option+" as "+name, fmt.Sprintf(`(() => { %s
		const e = control(%s, 'select');
		const option = [...(e?.options ?? [])].find((o) => o.text.trim() === %s && !o.disabled);
		if (!option) return false;
		e.focus();
		e.value = option.value;
		e.dispatchEvent(new Event('input', { bubbles: true }));
		e.dispatchEvent(new Event('change', { bubbles: true }));
		return true;
	})()`, control, quoted(name), quoted(option)))
}

// reads waits for a text that can be read on the page.
func (p *page) reads(text string) {
	p.t.Helper()
	p.until(10*time.Second, "reads "+text, fmt.Sprintf("document.body.innerText.replace(/\\s+/g, ' ').includes(%s)", quoted(text)))
}

// missing waits until a text is gone.
func (p *page) missing(text string) {
	p.t.Helper()
	p.until(10*time.Second, "no longer sees "+text, fmt.Sprintf("!document.body.innerText.includes(%s)", quoted(text)))
}

// visit goes to a page of the console by its address.
func (p *page) visit(hash, heading string) {
	p.t.Helper()
	eval[bool](p, "location.hash = "+quoted(hash)+"; return true")
	p.until(10*time.Second, "is at "+heading, fmt.Sprintf("document.querySelector('h1')?.textContent === %s && !document.querySelector('.loading')", quoted(heading)))
}

// keep keeps a picture of the page as a person sees it, without the colours
// being thinned out, under $BRAID_SHOTS.
func (p *page) keep(name string) {
	p.t.Helper()
	dir := os.Getenv("BRAID_SHOTS")
	if dir == "" {
		return
	}
	eval[bool](p, `await Promise.all(document.getAnimations().map((a) => a.effect.getComputedTiming().iterations === Infinity ? null : a.finished.catch(() => {}))); return true`)
	b, err := p.picture()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), b, 0o644)
	}
	if err != nil {
		p.t.Errorf("screenshot %s: %v", name, err)
	}
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("a string is JSON: " + err.Error())
	}
	return string(b)
}
