package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"braid/cmd/braid/internal/netbox"
	"braid/signaling/token"
)

// A lab is three machines: braid in the middle, and on each side a Chromium
// whose only way to it is a box.
//
//	Chromium ann ── box1 198.18.1.0/24 ── braid ── box2 198.18.2.0/24 ── Chromium ben
//	(publishes)                                                          (watches)
type lab struct {
	t      *testing.T
	server *netbox.Namespace
	sides  [2]side
	clip   clip
	base   string // of the server, as a path from the root
	serial int    // of the channel of the latest call
}

// side is one Chromium and its way to the server.
type side struct {
	network uint8
	ns      *netbox.Namespace
	box     *netbox.Box // Forth: from the server
	chrome  *chrome
	host    int // its address's last number
}

const labPort = 8080

// newLab starts it all. height is that of the pictures, 720 or 360.
func newLab(t *testing.T, height int) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole server and its clients: not in -short")
	}
	if err := netbox.Available(); err != nil {
		t.Skip(err)
	}
	l := &lab{t: t, clip: clip{ID: 13, W: height * 16 / 9, H: height, FPS: 30, Seconds: 20, Speech: "", Tone: 440}}
	files := l.clip.make(t)
	files.WAV = clip{ID: 1, W: 640, H: 360, FPS: 30, Seconds: 20, Speech: adaSays}.make(t).WAV
	l.server = newNamespace(t, "braid")
	for i := range l.sides {
		s := &l.sides[i]
		s.network, s.host = uint8(i+1), 2
		s.ns = newNamespace(t, []string{"ann", "ben"}[i])
		box, err := netbox.New(l.server, s.ns, s.network, uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(box.Close)
		s.box = box
	}
	l.serve()
	for i := range l.sides {
		s := &l.sides[i]
		s.chrome = startChrome(t, files, chromedp.Flag("unsafely-treat-insecure-origin-as-secure", s.url()), chromedp.ModifyCmdFunc(func(c *exec.Cmd) {
			c.Args = s.ns.Command(append([]string{c.Path}, c.Args[1:]...)...)
			c.Path, c.Err = exec.LookPath(c.Args[0])
			c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		}))
	}
	return l
}

func newNamespace(t *testing.T, what string) *netbox.Namespace {
	t.Helper()
	n, err := netbox.NewNamespace(what)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// url is where a side finds the server.
func (s *side) url() string {
	return fmt.Sprintf("http://%s:%d", netbox.Address(s.network, 1), labPort)
}

// serve starts braid as a process in its namespace.
func (l *lab) serve() {
	program, err := buildServer()
	if err != nil {
		l.t.Fatal(err)
	}
	dir := l.t.TempDir()
	config := fmt.Sprintf("data_dir: %s\nhttp: {listen: \"0.0.0.0:%d\"}\nrtmp: {listen: \"127.0.0.1:1935\"}\nmedia: {listen: \":8189\", public_ips: [%s, %s]}\n"+
		"mixer: {program: %s}\napplications: [{id: %s, key: %s}]\nadmin_tokens: [%s]\n",
		dir, labPort, netbox.Address(1, 1), netbox.Address(2, 1), mixerProgram(l.t), testApp, testKey, adminToken)
	file := filepath.Join(dir, "braid.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		l.t.Fatal(err)
	}
	level := "info"
	if os.Getenv("BRAID_DEBUG") != "" {
		level = "debug"
	}
	run := l.server.Command(program, "serve", "--config", file, "--log", level)
	cmd := exec.Command(run[0], run[1:]...)
	said := newStory(l.t)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Pdeathsig means the thread's death, not the process's
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			l.t.Errorf("the server ended with %v", err)
		}
	})
	eventually(l.t, 20*time.Second, "the server answers", func() (bool, string) {
		resp, err := l.client().Get(l.sides[1].url() + "/sdk/braid.js")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == 200, resp.Status
	})
}

// client makes HTTP requests in the server's namespace.
func (l *lab) client() *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			err = l.server.Do(func() error {
				var d net.Dialer
				c, err = d.DialContext(ctx, "tcp4", address)
				return err
			})
			return c, err
		}}}
}

// call is one publisher and one viewer in a channel of their own.
type call struct {
	*lab
	t        testing.TB
	ann, ben *page
}

// newCall has ann publish camera and microphone and ben watch until pictures
// come at full rate and size; all wires are as in quiet. options are
// publishCamera's, JavaScript.
func (l *lab) newCall(t testing.TB, options string, quiet [2]netbox.Profile) *call {
	t.Helper()
	l.serial++
	channel := fmt.Sprint("lab", l.serial)
	c := &call{lab: l, t: t}
	for i, p := range []**page{&c.ann, &c.ben} {
		s := &l.sides[i]
		s.box.Both(quiet[i])
		name := []string{"ann", "ben"}[i]
		*p = (&chrome{t, s.chrome.ctx, s.chrome.story}).open(name, s.url()+"/sdk/package.json")
		notes, err := os.ReadFile("testdata/sights.js")
		if err != nil {
			t.Fatal(err)
		}
		eval[bool](*p, "document.body.replaceChildren(); document.body.style.margin = 0;"+string(notes)+"; return true")
		eval[bool](*p, fmt.Sprintf(`
			const { join } = await import('/sdk/braid.js');
			window.story = [];
			window.room = await join({ token: %q });
			for (const type of ['reconnecting', 'reconnected', 'end']) room.on(type, (e) => story.push(type + (e.reason ?? e.resumed ?? '')));
			window.video = document.createElement('video');
			video.muted = video.autoplay = true;
			video.style = 'display: block; width: %dpx; height: %dpx';
			document.body.append(video);
			return true`, token.Sign(testApp, testKey, channel, name, time.Now().Add(time.Hour)).String(), l.clip.W, l.clip.H))
	}
	eval[bool](c.ann, fmt.Sprintf(`
		const [camera] = await Promise.all([room.publishCamera({ codec: 'h264', width: %d, height: %d, ...%s }),
			room.publishMicrophone({ constraints: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } })]);
		camera.attach(video);
		watchPictures(video);
		return true`, l.clip.W, l.clip.H, options))
	eval[bool](c.ben, `room.attach(video, 'ann', 'camera'); watchPictures(video); return true`)
	if err := c.flows(25 * time.Second); err != nil {
		t.Fatalf("on a good network: %v", err)
	}
	return c
}

// flows waits until ben has seen 3 s of moving pictures of full size, and says
// what was missing when they do not come in time.
func (c *call) flows(limit time.Duration) error {
	var last string
	for end := time.Now().Add(limit); time.Now().Before(end); wait(200 * time.Millisecond) {
		now := unixMS(time.Now())
		shown := c.sights(c.ben, now-3000, now)
		width := 0
		if len(shown) > 0 {
			width = shown[len(shown)-1].width
		}
		if len(shown) > 3*c.clip.FPS*6/10 && width >= c.clip.W {
			return nil
		}
		last = fmt.Sprintf("%d pictures in 3 s, %d pixels wide", len(shown), width)
	}
	return fmt.Errorf("not within %v: %s", limit, last)
}

// sight is a picture that a page showed.
type sight struct {
	at     float64 // ms since the epoch
	number int     // in the clip's strip; -1: not readable
	width  int
}

func (c *call) sights(p *page, from, to float64) (all []sight) {
	c.t.Helper()
	raw := eval[[][3]float64](p, fmt.Sprintf(`return seen.filter(([at]) => at >= %f && at < %f)`, from, to))
	for _, s := range raw {
		all = append(all, sight{s[0], int(s[1]), int(s[2])})
	}
	return all
}

// figures are sums of getStats, as testdata/sights.js names them.
type figures map[string]any

func (c *call) figures(p *page) figures {
	c.t.Helper()
	return eval[figures](p, `return await figures(room)`)
}

func (f figures) n(field string) float64 { v, _ := f[field].(float64); return v }

// grown is how much a sum has grown since.
func (f figures) grown(since figures, field string) float64 { return f.n(field) - since.n(field) }

func unixMS(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }

// frozen is how long pictures stood still between two times, by the rule of the
// WebRTC statistics: a gap of three times the average or 150 ms more than it. A
// gap that is open at the end counts, which totalFreezesDuration leaves out.
func frozen(shown []sight, from, to float64) (total float64, count int) {
	var gaps []float64 // the last 30 that were no freeze
	last := from
	for i := 0; i <= len(shown); i++ {
		at := to
		if i < len(shown) {
			at = shown[i].at
		}
		gap, average := at-last, 1000.0/30
		if len(gaps) > 0 {
			average = 0
			for _, g := range gaps {
				average += g / float64(len(gaps))
			}
		}
		if gap >= max(3*average, average+150) {
			total, count = total+gap, count+1
		} else if i < len(shown) {
			gaps = append(gaps, gap)
			gaps = gaps[max(0, len(gaps)-30):]
		}
		last = at
	}
	return total, count
}

// delays are how much later ben's page showed pictures than ann's own.
func (c *call) delays(from, to float64) (all []float64) {
	c.t.Helper()
	loop := float64(c.clip.Seconds) * 1000
	own := map[int][]float64{}
	for _, s := range c.sights(c.ann, from-loop/2, to) {
		own[s.number] = append(own[s.number], s.at)
	}
	for _, s := range c.sights(c.ben, from, to) {
		if s.number < 0 {
			continue
		}
		best := math.Inf(1)
		for _, at := range own[s.number] { // the clip loops: the latest before it
			if d := s.at - at; d >= -50 && d < best {
				best = d
			}
		}
		if best < loop/2 {
			all = append(all, best)
		}
	}
	slices.Sort(all)
	return all
}

func share(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// mos is a mean opinion score of speech, from 1 to 4.5: the E-model (ITU-T
// G.107) with the effects of delay and loss alone. For Opus G.113 has no
// robustness factor; 10 is braid's own choice, careful since what is concealed
// counts as lost. lost is a share, delay one-way in ms.
func mos(lost, delay float64) float64 {
	r := 93.2 - 0.024*delay - 95*100*lost/(100*lost+10)
	if delay > 177.3 {
		r -= 0.11 * (delay - 177.3)
	}
	r = min(100, max(0, r))
	return 1 + 0.035*r + r*(r-60)*(100-r)*7e-6
}

// move gives a side another address: the old one is gone at once, as when a
// phone leaves its Wi-Fi.
func (s *side) move() error {
	device := fmt.Sprintf("box%d", s.network)
	old := s.host
	s.host = 2 + (old-1)%200
	for _, args := range [][]string{
		{"addr", "add", netbox.Address(s.network, s.host) + "/24", "dev", device},
		{"addr", "del", netbox.Address(s.network, old) + "/24", "dev", device},
		{"addr", "replace", netbox.Address(s.network, s.host) + "/24", "dev", device}, // it was secondary, and may have gone with the first
		{"route", "replace", "default", "via", netbox.Address(s.network, 1)},
	} {
		if err := s.ns.IP(args...); err != nil {
			return err
		}
	}
	return nil
}

// story is what a page's room has told since the call began.
func (c *call) told(p *page) string {
	return strings.Join(eval[[]string](p, `return story`), " ")
}
