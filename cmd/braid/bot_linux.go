package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"golang.org/x/sys/unix"

	"braid/signaling/token"
)

const botUsage = `braid bot load loads a server with publishers and watchers and measures it: over WHIP and WHEP, or as a conference.

A publisher sends as a browser does at 1.4 Mbit/s: 30 pictures a second in bursts of five packets, 50 sound packets a second.
In a conference everyone has one connection up and one down with all others, as with the SDK (doc/protocol.md).
Watchers take AEAD_AES_128_GCM and report once a second, and ten times a second what has arrived of packets that have transport-wide
numbers. Loss is counted by sequence numbers, delay is from before a packet's
encryption at the publisher to its arrival in the watcher's kernel (one packet of 16 is looked at).

`

// botLoad is what braid bot load was asked for.
type botLoad struct {
	url, app, key string
	publishers    int
	watchers      int  // of the one publisher
	conference    bool // each publisher watches all others instead
	fps, burst    int
	warm, measure time.Duration
	repeat        int
	ramp          bool
	pid           int
	debug         string
	json          bool
}

// bot is the subcommand.
func bot(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "publish" {
		return runBotPublish(ctx, args[1:], stdout, stderr)
	}
	if len(args) == 0 || args[0] != "load" {
		fmt.Fprint(stderr, botPublishUsage, botUsage, "braid bot publish --help and braid bot load --help explain their flags.\n")
		if len(args) == 0 || wantsHelp(args[0]) {
			return flag.ErrHelp
		}
		return fmt.Errorf("bot: %q is neither publish nor load", args[0])
	}
	var o botLoad
	flags := flag.NewFlagSet("braid bot load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, botUsage); flags.PrintDefaults() }
	flags.StringVar(&o.url, "url", "http://127.0.0.1:8080", "the server's HTTP `address`")
	flags.StringVar(&o.app, "app", "", "the application's `id`")
	flags.StringVar(&o.key, "key", "", "the application's `key`, which tokens are signed with")
	config := flags.String("config", "", "without --key: the server's YAML `file`; without it the defaults hold, with the data in ./braid-data")
	fanout := flags.Int("fanout", 50, "one publisher and `n` watchers")
	conference := flags.Int("conference", 0, "`n` users instead, each publishes and watches all others")
	flags.IntVar(&o.fps, "fps", 30, "pictures a second, 1 to 2000")
	flags.IntVar(&o.burst, "burst", 5, "packets of a picture, 1 to 100")
	flags.DurationVar(&o.warm, "warm", 3*time.Second, "how long to wait before the first measurement")
	flags.DurationVar(&o.measure, "measure", 10*time.Second, "how long each measurement takes")
	flags.IntVar(&o.repeat, "repeat", 1, "how many measurements")
	flags.BoolVar(&o.ramp, "ramp", false, "raise the pictures a second until 0.1 % is lost or 1 % is later than 50 ms, three times in a row")
	flags.IntVar(&o.pid, "pid", 0, "the server's process `id`: weighs its CPU and memory")
	flags.StringVar(&o.debug, "debug", "", "the server's --debug `address`: counts its allocations")
	flags.BoolVar(&o.json, "json", false, "write a line of JSON for each measurement")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	o.publishers, o.watchers = 1, *fanout
	if *conference > 0 {
		o.publishers, o.watchers, o.conference = *conference, *conference-1, true
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("bot load: %q is not a flag", flags.Arg(0))
	case o.watchers < 1 || o.watchers > 5000 || o.publishers > 100:
		return errors.New("bot load: --fanout goes from 1 to 5000, --conference from 2 to 100")
	case o.fps < 1 || o.fps > 2000 || o.burst < 1 || o.burst > 100 || o.repeat < 1 || o.measure <= 0:
		return errors.New("bot load: --fps goes from 1 to 2000, --burst from 1 to 100; --repeat and --measure are above 0")
	}
	if err := botApplication(*config, &o.app, &o.key); err != nil {
		return fmt.Errorf("bot load: %w", err)
	}
	return o.run(ctx, stdout)
}

// botApplication fills in the key, and the id where it is empty, from the files
// of the server whose machine this is. A key that is there stays.
func botApplication(config string, app, key *string) error {
	if *key != "" {
		if *app == "" {
			return errors.New("--app is needed with --key")
		}
		return nil
	}
	m := machine{cfg: defaults()}
	if config != "" {
		var err error
		if m.cfg, err = readConfig(config); err != nil {
			return err
		}
	}
	own, ok := m.application()
	if !ok {
		return fmt.Errorf("--app and --key are needed: no application's key is in the settings or in %s", filepath.Join(m.cfg.DataDir, "credentials.json"))
	}
	if *app != "" && *app != own.ID {
		return fmt.Errorf("--key is needed: the settings have the key of application %q, not of %q", own.ID, *app)
	}
	*app, *key = own.ID, own.Key
	return nil
}

// run connects everyone, measures, and lets them leave.
func (o *botLoad) run(ctx context.Context, stdout io.Writer) error {
	id, err := newBotIdentity()
	if err != nil {
		return err
	}
	loop, err := newBotLoop()
	if err != nil {
		return err
	}
	go loop.run()
	defer loop.close()
	crowd := &botCrowd{load: o, loop: loop, id: id}
	defer crowd.leave()
	before := o.weigh(ctx)
	if err := crowd.gather(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, o.warm); err != nil {
		return err
	}
	if o.ramp {
		return crowd.ramp(ctx, stdout)
	}
	for range o.repeat {
		m, err := crowd.measure(ctx, before)
		if err != nil {
			return err
		}
		o.print(stdout, m)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// botCrowd is everyone who is connected.
type botCrowd struct {
	load    *botLoad
	loop    *botLoop
	id      *botIdentity
	channel string
	senders []*botSender
	seats   []*botSeat // of a conference
	mu      sync.Mutex
	clients []*botClient // guarded by mu
}

const botTogether = 8 // clients that connect at one time

// gather connects the publishers, lets them flow, then the watchers.
func (c *botCrowd) gather(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c.channel = "load-" + randomText(8)
	for i := range c.load.publishers {
		if err := c.publish(ctx, i); err != nil {
			return fmt.Errorf("bot load: %s: %w", user(i), err)
		}
	}
	if err := sleep(ctx, time.Second); err != nil { // the server shows what has begun to flow
		return err
	}
	failed := make(chan error, c.load.watchers+1)
	places := make(chan struct{}, botTogether)
	var wg sync.WaitGroup
	watch := func(who string, f func() error) {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if err := f(); err != nil {
				failed <- fmt.Errorf("bot load: %s: %w", who, err)
			}
		})
	}
	if c.load.conference {
		for i, s := range c.seats {
			watch(user(i), func() error { return c.seeAll(ctx, s, i) })
		}
	} else {
		for i := range c.load.watchers {
			who := "w" + strconv.Itoa(i)
			watch(who, func() error { return c.look(ctx, who, i) })
		}
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// publish connects a publisher and lets it flow.
func (c *botCrowd) publish(ctx context.Context, i int) error {
	p := newBotClient(c.loop, true, uint32(1000+10*i))
	if c.load.conference {
		s, err := c.sit(ctx, user(i), p, c.load.watchers)
		if err != nil {
			return err
		}
		c.seats = append(c.seats, s)
	} else if err := p.connect(ctx, c.address("whip", i), c.token(user(i)), c.id); err != nil {
		return err
	}
	c.keep(p)
	s := &botSender{client: p, fps: c.load.fps, burst: c.load.burst,
		video: botSent{ssrc: p.ssrc + 1, kind: botVideoType, seq: 1}, audio: botSent{ssrc: p.ssrc, kind: botAudioType, seq: 1}}
	c.senders = append(c.senders, s)
	// Cameras are not in step with each other.
	start := time.Now().Add(time.Duration(i) * time.Second / time.Duration(c.load.fps*c.load.publishers))
	c.loop.at(start, s.sendFrame)
	c.loop.at(start.Add(7*time.Millisecond), s.sendSound)
	c.loop.at(start.Add(100*time.Millisecond), s.reporter(&s.video, time.Second)) // Chromium's intervals
	c.loop.at(start.Add(200*time.Millisecond), s.reporter(&s.audio, 5*time.Second))
	return nil
}

// look connects a watcher of the first publisher.
func (c *botCrowd) look(ctx context.Context, who string, i int) error {
	w := newBotClient(c.loop, false, 0)
	if err := w.connect(ctx, c.address("whep", 0), c.token(who), c.id); err != nil {
		return err
	}
	c.keep(w)
	c.tell(w, i)
	return nil
}

// seeAll lets a user of a conference watch all others.
func (c *botCrowd) seeAll(ctx context.Context, s *botSeat, i int) error {
	var others []string
	for j := range c.load.watchers {
		others = append(others, user((i+1+j)%c.load.publishers))
	}
	if err := s.watch(ctx, others); err != nil {
		return err
	}
	c.keep(s.down)
	c.tell(s.down, i)
	return nil
}

// tell lets a watcher report what comes.
func (c *botCrowd) tell(w *botClient, i int) {
	c.loop.at(time.Now().Add(time.Duration(i%100)*10*time.Millisecond), func(time.Time) time.Duration { w.report(); return time.Second })
	c.loop.at(time.Now().Add(time.Duration(i%100)*time.Millisecond), func(time.Time) time.Duration { w.feedback(); return botFeedbackEvery })
}

func user(i int) string { return "u" + strconv.Itoa(i) }

// address is where a publisher is published or watched by WHIP and WHEP.
func (c *botCrowd) address(way string, publisher int) string {
	return fmt.Sprintf("%s/%s/%s/%s/%s", strings.TrimRight(c.load.url, "/"), way, c.load.app, c.channel, user(publisher))
}

func (c *botCrowd) token(who string) string {
	return token.Sign(c.load.app, c.load.key, c.channel, who, time.Now().Add(12*time.Hour)).String()
}

// keep holds a client that has connected, until all leave.
func (c *botCrowd) keep(b *botClient) {
	c.mu.Lock()
	c.clients = append(c.clients, b)
	c.mu.Unlock()
	c.loop.at(time.Now().Add(3*time.Second), func(time.Time) time.Duration { b.send(b.check); return 3 * time.Second }) // consent (RFC 7675)
}

func (c *botCrowd) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.clients) - 1; i >= 0; i-- { // watchers first
		c.clients[i].leave(ctx)
	}
	for _, s := range c.seats {
		s.leave(ctx)
	}
}

// reporter ties a stream's clock to the wall clock (RFC 3550 section 6.4.1).
func (s *botSender) reporter(o *botSent, again time.Duration) func(time.Time) time.Duration {
	return func(time.Time) time.Duration {
		now := time.Now()
		ntp := uint64(now.Unix()+2208988800)<<32 | uint64(now.Nanosecond())<<32/1e9
		s.client.sendRTCP(&rtcp.SenderReport{SSRC: o.ssrc, NTPTime: ntp, RTPTime: o.timestamp, PacketCount: o.packets, OctetCount: o.octets})
		return again
	}
}

// weight is what a process has used.
type weight struct {
	cpu     time.Duration
	rss     int64 // bytes
	mallocs uint64
}

func (o *botLoad) weigh(ctx context.Context) (w weight) {
	if o.pid > 0 {
		w.cpu, w.rss = processCPU(o.pid), processRSS(o.pid)
	}
	if o.debug == "" {
		return w
	}
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+o.debug+"/debug/vars", nil)
	if err != nil {
		return w
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return w
	}
	defer resp.Body.Close()
	var vars struct{ Memstats struct{ Mallocs uint64 } }
	if json.NewDecoder(resp.Body).Decode(&vars) == nil {
		w.mallocs = vars.Memstats.Mallocs
	}
	return w
}

// processCPU is the CPU time of a living process, from its own clock: /proc counts in
// ticks of 10 ms, a fifth of what a relay uses in 10 s twice over.
func processCPU(pid int) time.Duration {
	const scheduled = 2 // clock_getcpuclockid(3): CPUCLOCK_SCHED
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduled, &used); err != nil {
		return 0
	}
	return time.Duration(used.Nano())
}

// processRSS is a process's resident memory in bytes; 0 when it cannot be told.
func processRSS(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(b, []byte("VmRSS:"))
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	kib, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	return kib << 10
}

// measurement is what one span of time showed. Fields of the server's process
// are 0 when it was not to be weighed.
type measurement struct {
	FPS         int     `json:"fps"`
	Rate        float64 `json:"packets/s"` // that arrived
	Loss        float64 `json:"loss"`      // share of those that should have
	P50         float64 `json:"p50-ms"`
	P99         float64 `json:"p99-ms"`
	CPU         float64 `json:"cpu-µs/packet"`
	Core        float64 `json:"core"` // of the server, 1 is all of one
	RSS         float64 `json:"rss-KiB/watcher"`
	Allocations float64 `json:"allocations/packet"`
	Feedback    float64 `json:"feedback/s"` // packets of transport-wide feedback, of all watchers
	Generator   float64 `json:"generator-core"`
	Lag         float64 `json:"lag-ms"` // most that a picture was sent too late
	Dead        int     `json:"dead"`   // sessions that the server has ended
}

// sustained tells whether the server keeps up.
func (m measurement) sustained() bool { return m.Loss <= 0.001 && m.P99 <= 50 && m.Dead == 0 }

func (c *botCrowd) measure(ctx context.Context, before weight) (measurement, error) {
	w0, t0, own0, start := c.load.weigh(ctx), c.loop.tally(), processCPU(os.Getpid()), time.Now()
	if err := sleep(ctx, c.load.measure); err != nil {
		return measurement{}, err
	}
	took, w1, t1, own1 := time.Since(start).Seconds(), c.load.weigh(ctx), c.loop.tally(), processCPU(os.Getpid())
	n := float64(t1.packets - t0.packets)
	m := measurement{
		Rate: n / took, Feedback: float64(t1.feedback-t0.feedback) / took,
		P50: t1.delays.at(0.5).Seconds() * 1e3, P99: t1.delays.at(0.99).Seconds() * 1e3,
		Core: (w1.cpu - w0.cpu).Seconds() / took, Generator: (own1 - own0).Seconds() / took,
		RSS: float64(w1.rss-before.rss) / 1024 / float64(c.load.publishers*c.load.watchers),
	}
	if expected := t1.expected - t0.expected; expected > 0 {
		m.Loss = max(0, 1-float64(t1.received-t0.received)/float64(expected))
	}
	if n > 0 {
		m.CPU, m.Allocations = (w1.cpu-w0.cpu).Seconds()*1e6/n, float64(w1.mallocs-w0.mallocs)/n
	}
	c.loop.do(func() {
		m.FPS = c.senders[0].fps
		for _, s := range c.senders {
			m.Lag, s.lag = max(m.Lag, s.lag.Seconds()*1e3), 0
		}
	})
	for _, b := range c.clients {
		if b.dead.Load() {
			m.Dead++
		}
	}
	return m, nil
}

// ramp raises the load until the server fails three steps in a row: a shared
// machine stalls now and then.
func (c *botCrowd) ramp(ctx context.Context, stdout io.Writer) error {
	for fails, fps := 0, c.load.fps; fails < 3 && fps <= 2000; {
		c.loop.do(func() {
			for _, s := range c.senders {
				s.fps = fps
			}
		})
		if err := sleep(ctx, c.load.warm/3); err != nil { // the step before drains
			return err
		}
		m, err := c.measure(ctx, weight{})
		if err != nil {
			return err
		}
		m.RSS, m.Allocations = 0, 0
		c.load.print(stdout, m)
		if !m.sustained() {
			fails++
			continue
		}
		fails = 0
		fps += max(30, fps/8)
	}
	return nil
}

func (o *botLoad) print(w io.Writer, m measurement) {
	if o.json {
		b, _ := json.Marshal(m) // of numbers
		fmt.Fprintf(w, "%s\n", b)
		return
	}
	fmt.Fprintf(w, "%4d fps %8.0f packets/s  loss %.3f %%  p50 %.2f ms  p99 %.2f ms  server %.2f µs/packet, %.2f core, %.0f KiB/watcher, %.3f allocations/packet, %.0f feedback/s  generator %.2f core, %.1f ms late  ended %d\n",
		m.FPS, m.Rate, 100*m.Loss, m.P50, m.P99, m.CPU, m.Core, m.RSS, m.Allocations, m.Feedback, m.Generator, m.Lag, m.Dead)
}
