package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// chrome is one Chromium with a profile of its own, whose camera and microphone
// are a clip. It ends with the test.
type chrome struct {
	t     testing.TB
	ctx   context.Context
	story *story
}

func startChrome(t testing.TB, f clipFiles, more ...chromedp.ExecAllocatorOption) *chrome {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if _, _, err := tryCommand(10*time.Second, "which", name); err == nil {
			program = name
			break
		}
	}
	if program == "" {
		t.Skip("chromium is not installed: script/setup.sh test installs it")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("headless", "new"), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 1000),
		chromedp.Flag("disable-dev-shm-usage", true), // /dev/shm is 64 MB in many containers
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars",
		"use-fake-device-for-media-stream", "use-fake-ui-for-media-stream",
		"disable-background-timer-throttling", "disable-renderer-backgrounding", "disable-backgrounding-occluded-windows"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	options = append(options, chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.Flag("use-file-for-fake-video-capture", f.MJPEG), chromedp.Flag("use-file-for-fake-audio-capture", f.WAV))
	options = append(options, more...)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		chromedp.Cancel(ctx) // closes the browser and waits for it
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	return &chrome{t, ctx, newStory(t)}
}

// page is one tab.
type page struct {
	t    testing.TB
	ctx  context.Context
	name string
	fire *firefoxTab // set: a tab of Firefox, not of Chromium
}

// open opens a tab. What the page writes to its console, and what it throws,
// goes into the test's story.
func (c *chrome) open(name, url string) *page {
	c.t.Helper()
	ctx, cancel := chromedp.NewContext(c.ctx)
	c.t.Cleanup(cancel)
	p := &page{t: c.t, ctx: ctx, name: name}
	messages := chromedp.Console(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return
			}
			fmt.Fprintf(c.story, "%s %s: %s\n", time.Now().Format("15:04:05.000"), name, m)
		}
	}()
	c.t.Cleanup(func() { cancel(); <-done })
	limited, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	if err := chromedp.Do(limited, chromedp.Navigate(url)); err != nil {
		c.t.Fatalf("%s: open %s: %v", name, url, err)
	}
	return p
}

// eval runs JavaScript in the page and waits for its promise.
func eval[T any](p *page, js string) T {
	p.t.Helper()
	v, err := tryEval[T](p, js)
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", p.name, err, js)
	}
	return v
}

func tryEval[T any](p *page, js string) (T, error) {
	ctx, stop := context.WithTimeout(p.ctx, 30*time.Second)
	defer stop()
	if p.fire != nil {
		var v T
		err := p.fire.eval(ctx, js, &v)
		return v, err
	}
	return chromedp.Run(ctx, chromedp.Evaluate[T]("(async () => {"+js+"})()", chromedp.EvalAwaitPromise))
}

// slack is how much longer than on a quiet machine a page may take: what is waited
// for here is that something comes, not how soon.
const slack = 4

// until evaluates until it is true, and fails with the page's own words otherwise.
// limit is what a quiet machine keeps to.
func (p *page) until(limit time.Duration, what, js string) {
	p.t.Helper()
	done := false
	defer func() {
		if !done {
			p.shot(p.name + "-failed")
		}
	}()
	eventually(p.t, slack*limit, p.name+": "+what, func() (bool, string) {
		ok, err := tryEval[bool](p, "return !!("+js+")")
		if err != nil {
			return false, err.Error()
		}
		if ok {
			done = true
			return true, ""
		}
		text, _ := tryEval[string](p, "return document.body.innerText.slice(0, 400)")
		return false, text
	})
}

// shot keeps a picture of the page under $BRAID_SHOTS, for people to look at.
func (p *page) shot(name string) {
	p.t.Helper()
	dir := os.Getenv("BRAID_SHOTS")
	if dir == "" {
		return
	}
	b, err := p.picture()
	if err != nil {
		p.t.Errorf("screenshot %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), smaller(b), 0o644); err != nil {
		p.t.Error(err)
	}
}

func (p *page) picture() ([]byte, error) {
	ctx, stop := context.WithTimeout(p.ctx, 30*time.Second)
	defer stop()
	if p.fire != nil {
		return p.fire.screenshot(ctx)
	}
	return chromedp.Run(ctx, chromedp.CaptureScreenshot())
}

// smaller stores a screenshot with its 256 most frequent colours: a third of
// the bytes, and no loss that a reader of a README would see.
func smaller(b []byte) []byte {
	full, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return b
	}
	bounds := full.Bounds()
	coarse := func(x, y int) color.RGBA {
		r, g, b, _ := full.At(x, y).RGBA()
		return color.RGBA{uint8(r>>8) &^ 7, uint8(g>>8) &^ 7, uint8(b>>8) &^ 7, 255}
	}
	count := map[color.RGBA]int{}
	sum := map[color.RGBA][3]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := coarse(x, y)
			r, g, b, _ := full.At(x, y).RGBA()
			s := sum[c]
			sum[c] = [3]int{s[0] + int(r>>8), s[1] + int(g>>8), s[2] + int(b>>8)}
			count[c]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return count[b] - count[a] })
	var colours color.Palette
	for _, c := range frequent[:min(256, len(frequent))] {
		n, s := count[c], sum[c]
		colours = append(colours, color.RGBA{uint8(s[0] / n), uint8(s[1] / n), uint8(s[2] / n), 255})
	}
	flat := image.NewPaletted(bounds, colours)
	index := map[color.RGBA]uint8{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := coarse(x, y)
			i, known := index[c]
			if !known {
				i = uint8(colours.Index(c))
				index[c] = i
			}
			flat.SetColorIndex(x, y, i)
		}
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if encoder.Encode(&out, flat) != nil || out.Len() >= len(b) {
		return b
	}
	return out.Bytes()
}

// camera publishes the tab's fake camera and microphone with the demo's own
// WHIP module, with the sound untouched: echo and noise filters take tones out.
func (p *page) camera(whip, token, codec string) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`
		const { publish } = await import('/demo/rtc.js');
		const stream = await navigator.mediaDevices.getUserMedia({
			audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
			video: { width: 640, height: 360, frameRate: 30 } });
		window.session = await publish({ url: %q, token: %q, stream, codec: %q });
		return true`, whip, token, codec))
}

// watch subscribes to a user with the demo's own WHEP module, into a <video>.
func (p *page) watch(whep, token, id string) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`
		const { watch } = await import('/demo/rtc.js');
		const session = await watch({ url: %q, token: %q });
		const video = document.createElement('video');
		video.autoplay = true; video.id = %q;
		video.srcObject = session.stream;
		document.body.append(video);
		(window.sessions ??= {})[video.id] = session;
		return true`, whep, token, id))
}

// inbound is what a subscription has received, from getStats.
type inbound struct {
	Frames   int     `json:"frames"`
	Codec    string  `json:"codec"`
	Width    int     `json:"width"`
	Height   int     `json:"height"`
	Energy   float64 `json:"energy"`
	Lost     int     `json:"lost"`
	FreezeMs float64 `json:"freezeMs"`
}

func (p *page) received(id string) inbound {
	p.t.Helper()
	return eval[inbound](p, fmt.Sprintf(`
		const stats = await window.sessions[%q].pc.getStats();
		const out = { frames: 0, codec: '', width: 0, height: 0, energy: 0, lost: 0, freezeMs: 0 };
		stats.forEach((s) => {
			if (s.type !== 'inbound-rtp') return;
			out.lost += s.packetsLost;
			if (s.kind === 'audio') { out.energy = s.totalAudioEnergy; return; }
			out.frames = s.framesDecoded;
			out.codec = stats.get(s.codecId)?.mimeType ?? '';
			out.width = s.frameWidth ?? 0; out.height = s.frameHeight ?? 0;
			out.freezeMs = (s.totalFreezesDuration ?? 0) * 1000;
		});
		return out`, id))
}
