package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

// layerStage is a publisher in one tab, and viewers, each a room of its own, in
// another.
type layerStage struct {
	*braidServer
	t           testing.TB
	clip        clip
	channel     string
	film, stand *page
	asked       map[string]int // by viewer: for key frames, before the first picture
}

// sentLayer is what a publisher sends of a layer.
type sentLayer struct {
	Width   int     `json:"width"`
	Frames  int     `json:"frames"`
	Active  bool    `json:"active"`
	Mode    string  `json:"mode"`
	Limited string  `json:"limited"`
	Keys    int     `json:"keys"`
	PLIs    int     `json:"plis"`
	Target  float64 `json:"target"`
}

// gotPicture is what has come to a viewer.
type gotPicture struct {
	Width   int     `json:"width"`
	Frames  int     `json:"frames"`
	Dropped int     `json:"dropped"`
	Lost    int     `json:"lost"`
	PLIs    int     `json:"plis"`
	NACKs   int     `json:"nacks"`
	Freezes int     `json:"freezes"`
	Frozen  float64 `json:"frozen"` // ms
	Packets int     `json:"packets"`
}

// newLayerStage publishes the browser's camera with a codec, and further options of
// publishCamera.
func newLayerStage(t testing.TB, s *braidServer, c *chrome, film clip, codec string, options ...string) *layerStage {
	t.Helper()
	return layersFrom((&chrome{t, c.ctx, c.story}).open, t, s, c, film, codec, options...)
}

// layersFrom is newLayerStage with a publisher in another browser.
func layersFrom(open func(name, url string) *page, t testing.TB, s *braidServer, c *chrome, film clip, codec string, options ...string) *layerStage {
	t.Helper()
	channel := "layers-" + codec
	l := &layerStage{braidServer: s, t: t, clip: film, channel: channel, asked: map[string]int{}}
	var script string
	for _, file := range []string{"testdata/sights.js", "testdata/layers.js"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		script += string(b)
	}
	for _, p := range []struct {
		tab  **page
		name string
		open func(name, url string) *page
	}{{&l.film, "film", open}, {&l.stand, "stand", (&chrome{t, c.ctx, c.story}).open}} {
		*p.tab = p.open(p.name, s.http+"/sdk/braid.js")
		eval[bool](*p.tab, "document.body.replaceChildren();"+script+"; return true")
	}
	eval[bool](l.film, fmt.Sprintf(`await film(%q, { codec: %q, width: %d, height: %d, frameRate: %d, %s }); return true`,
		s.token(channel, "ann"), codec, film.W, film.H, film.FPS, strings.Join(options, ", ")))
	return l
}

func (l *layerStage) look(name string, width, height int) {
	l.t.Helper()
	eval[bool](l.stand, fmt.Sprintf(`await look(%q, %q, 'ann', %d, %d); return true`, name, l.token(l.channel, name), width, height))
}

func (l *layerStage) got(name string) gotPicture {
	l.t.Helper()
	return eval[gotPicture](l.stand, fmt.Sprintf(`return got(%q)`, name))
}

func (l *layerStage) sending() map[string]sentLayer {
	l.t.Helper()
	return eval[map[string]sentLayer](l.film, `return sending()`)
}

func (l *layerStage) resize(name string, width, height int) {
	l.t.Helper()
	eval[bool](l.stand, fmt.Sprintf(`resize(%q, %d, %d); return true`, name, width, height))
}

// comes waits until a viewer's picture has a width, and says how long it took.
func (l *layerStage) comes(name string, width int, limit time.Duration) {
	l.t.Helper()
	from := time.Now()
	eventually(l.t, limit, fmt.Sprintf("%s gets pictures %d wide", name, width), func() (bool, string) {
		got := l.got(name)
		return got.Width == width, fmt.Sprintf("%+v of %+v", got, l.sending())
	})
	l.t.Logf("%s has pictures %d wide after %v", name, width, time.Since(from).Round(10*time.Millisecond))
	if _, again := l.asked[name]; !again {
		l.asked[name] = l.got(name).PLIs
	}
}

// rests waits until layers are not sent, and looks whether that is so.
func (l *layerStage) rests(rids ...string) {
	l.t.Helper()
	from := time.Now()
	eventually(l.t, 25*time.Second, fmt.Sprintf("the layers %v rest", rids), func() (bool, string) {
		sent := l.sending()
		for _, rid := range rids {
			if sent[rid].Active {
				return false, fmt.Sprintf("%+v", sent)
			}
		}
		return true, ""
	})
	l.t.Logf("%v rest after %v", rids, time.Since(from).Round(10*time.Millisecond))
	before := l.sending()
	eventually(l.t, 5*time.Second, "the smallest layer goes on", func() (bool, string) {
		sent := l.sending()
		return sent["q"].Frames >= before["q"].Frames+10, fmt.Sprintf("%+v", sent)
	})
	for _, rid := range rids {
		if sent := l.sending()[rid]; sent.Active || sent.Frames > before[rid].Frames+1 { // one may have been under way
			l.t.Errorf("layer %s rests and goes on from %d to %d pictures", rid, before[rid].Frames, sent.Frames)
		}
	}
}

// sawAll looks at all the pictures that a viewer has shown: they are in order, without
// a hole that a person would call a freeze.
func (l *layerStage) sawAll(name string) {
	l.t.Helper()
	if longest := l.inOrder(name, 50); longest > 1500 {
		l.t.Errorf("%s: no new picture for %.0f ms", name, longest)
	}
	// A browser asks each 200 ms while its first key frame is on its way, which takes
	// longer from a publisher that begins with three layers at 300 kbit/s.
	got := l.got(name)
	if asked := got.PLIs - l.asked[name]; got.Lost != 0 || asked > 0 {
		l.t.Errorf("%s: %d packets lost, %d key frames asked for after the first picture, want none", name, got.Lost, asked)
	}
}

// inOrder looks at all the pictures that a viewer has shown: there are so many at
// least, of the film, and none is older than the one before. It gives the longest
// time without a new one, in ms.
func (l *layerStage) inOrder(name string, least int) (longest float64) {
	l.t.Helper()
	seen := eval[[][3]float64](l.stand, fmt.Sprintf(`return viewers[%q].seen`, name))
	total := float64(l.clip.Seconds * l.clip.FPS)
	unreadable, back, last := 0, 0, -1.0
	switches, blurred := 0, map[float64]int{} // by width
	for i, s := range seen {
		if i > 0 {
			longest = max(longest, s[0]-seen[i-1][0])
			if s[2] != seen[i-1][2] {
				switches++
			}
		}
		if s[1] < 0 {
			unreadable++
			blurred[s[2]]++
			continue
		}
		if step := math.Mod(s[1]-last+total, total); last >= 0 && step > total/2 {
			back++
			l.t.Logf("%s: picture %.0f after %.0f", name, s[1], last)
		}
		last = s[1]
	}
	got := l.got(name)
	l.t.Logf("%s: %d pictures of %d widths in turn, %d unreadable (by width: %v), %d step back, %.0f ms the longest; %+v", name, len(seen), switches+1, unreadable, blurred, back, longest, got)
	if len(seen) < least || unreadable > len(seen)/20 {
		l.t.Errorf("%s: %d of %d pictures cannot be read, want %d at least that can", name, unreadable, len(seen), least)
	}
	if back > 0 {
		l.t.Errorf("%s: %d pictures are older than the one before", name, back)
	}
	return longest
}

// askedAtMost bounds how often the server asked the publisher for key frames.
func (l *layerStage) askedAtMost(most int) {
	l.t.Helper()
	plis := 0
	for _, sent := range l.sending() {
		plis += sent.PLIs
	}
	if plis > most {
		l.t.Errorf("the server asked for %d key frames, want at most %d", plis, most)
	}
	l.t.Logf("the server asked for %d key frames", plis)
}

// TestLayers has a camera published in three layers: what a viewer gets follows
// the size of its element, and what nobody takes rests.
func TestLayers(t *testing.T) {
	s := startBraid(t)
	film := clip{ID: 14, W: 1280, H: 720, FPS: 15, Seconds: 20}
	c := startChrome(t, film.make(t))
	const soon, settled = 5 * time.Second, 20 * time.Second

	t.Run("sizes", func(t *testing.T) {
		l := newLayerStage(t, s, c, film, "vp8")
		l.look("ben", 160, 90)
		l.comes("ben", 320, settled)
		l.resize("ben", 640, 360)
		l.comes("ben", 640, settled)
		l.resize("ben", 1280, 720)
		l.comes("ben", 1280, settled)
		l.look("cara", 200, 112)
		l.comes("cara", 320, soon)
		if got := l.got("ben").Width; got < 640 {
			t.Errorf("with cara's small element, ben gets pictures %d wide", got)
		}
		l.resize("ben", 160, 90)
		l.comes("ben", 320, soon)
		l.askedAtMost(16)
		l.rests("h", "f")
		l.sawAll("ben")
		l.sawAll("cara")

		s.call("StartLiveMPUTask", mixParams("layers", l.channel, []string{s.rtmp + "/layers"}, 640, 360, 15, pane{"ann", 0, 0, 1, 1, 1}))
		eventually(t, soon, "the mix wakes the layer that fits its pane", func() (bool, string) {
			sent := l.sending()
			return sent["h"].Active && !sent["f"].Active, fmt.Sprintf("%+v", sent)
		})
		l.stand.watch(s.whep(l.channel, "ann"), s.token(l.channel, "dan"), "dan")
		eventually(t, settled, "who plays by WHEP gets the largest", func() (bool, string) {
			got := l.stand.received("dan")
			return got.Width == 1280, fmt.Sprintf("%+v of %+v", got, l.sending())
		})
		if seen := l.sending()["h"]; !seen.Active {
			t.Errorf("the mix has lost its layer: %+v", seen)
		}
		s.call("StopLiveMPUTask", map[string]any{"TaskId": "layers"})
	})

	t.Run("rest", func(t *testing.T) {
		l := newLayerStage(t, s, c, film, "h264")
		l.look("ben", 160, 90)
		l.comes("ben", 320, settled)
		l.rests("h", "f")
		l.resize("ben", 1280, 720)
		l.comes("ben", 1280, settled)
		l.resize("ben", 160, 90)
		l.comes("ben", 320, soon)
		l.sawAll("ben")
		l.askedAtMost(12)

		l.resize("ben", 0, 0)
		eventually(t, soon, "what nobody sees is not sent", func() (bool, string) {
			from := l.got("ben").Packets
			wait(500 * time.Millisecond)
			return l.got("ben").Packets == from, fmt.Sprint(from, " packets")
		})
		from := l.got("ben").Frames
		l.resize("ben", 160, 90)
		eventually(t, soon, "what is seen again is sent", func() (bool, string) {
			got := l.got("ben")
			return got.Frames > from+10, fmt.Sprintf("%+v", got)
		})
	})
}
