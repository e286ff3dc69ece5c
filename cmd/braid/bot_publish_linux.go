package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pion/rtcp"

	"braid/signaling/token"
)

const botPublishUsage = `braid bot publish publishes a test picture to a channel over WHIP until it is ended: moving colours with a clock that
counts from the start and the number of each picture, and a beep of 50 ms at the beginning of each second. With --file it
plays a media file instead, over and over, also one with sound or pictures alone. ffmpeg, which has to be installed, makes H.264 without B-frames, with a key
frame each second, and Opus; the bot sends them as a browser would, and again what the server asks for again.

On the server's machine it finds the application's id and key in the server's files, where --token and --key are left out.

`

// botPublish is what braid bot publish was asked for.
type botPublish struct {
	url, app, key, token, channel, user string
	width, height, fps, kbps            int
	file, ffmpeg                        string
	dark, mute                          bool // the file has no pictures, no sound
	length                              time.Duration
}

func runBotPublish(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o botPublish
	flags := flag.NewFlagSet("braid bot publish", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, botPublishUsage); flags.PrintDefaults() }
	flags.StringVar(&o.url, "url", "http://127.0.0.1:8080", "the server's HTTP `address`")
	flags.StringVar(&o.app, "app", "", "the application's `id`")
	flags.StringVar(&o.key, "key", "", "the application's `key`, which the join token is signed with")
	config := flags.String("config", "", "without --token and --key: the server's YAML `file`; without it the defaults hold, with the data in ./braid-data")
	flags.StringVar(&o.token, "token", "", "a join `token` instead")
	flags.StringVar(&o.channel, "channel", "test", "the channel's `id`")
	flags.StringVar(&o.user, "user", "bot", "the user's `id`")
	size := flags.String("size", "1280x720", "`width x height` of the picture, 160x90 to 1920x1080, both even")
	flags.IntVar(&o.fps, "fps", 30, "pictures a second, 1 to 60")
	flags.IntVar(&o.kbps, "kbps", 1500, "bit rate of the picture in kbit/s, 100 to 10000")
	flags.StringVar(&o.file, "file", "", "play this media `file`")
	flags.StringVar(&o.ffmpeg, "ffmpeg", "ffmpeg", "the ffmpeg `program`")
	flags.DurationVar(&o.length, "for", 0, "end after so long; 0: at SIGINT or SIGTERM")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if n, err := fmt.Sscanf(*size, "%dx%d", &o.width, &o.height); n != 2 || err != nil {
		return fmt.Errorf("bot publish: --size: %q is not like 1280x720", *size)
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("bot publish: %q is not a flag", flags.Arg(0))
	case o.width < 160 || o.width > 1920 || o.height < 90 || o.height > 1080 || o.width%2+o.height%2 > 0:
		return fmt.Errorf("bot publish: --size: %s is not from 160x90 to 1920x1080, with even sides", *size)
	case o.fps < 1 || o.fps > 60:
		return fmt.Errorf("bot publish: --fps: %d is not from 1 to 60", o.fps)
	case o.kbps < 100 || o.kbps > 10000:
		return fmt.Errorf("bot publish: --kbps: %d is not from 100 to 10000", o.kbps)
	}
	if o.token == "" {
		if err := botApplication(*config, &o.app, &o.key); err != nil {
			return fmt.Errorf("bot publish: %w", err)
		}
	} else if o.app == "" {
		return errors.New("bot publish: --app is needed with --token")
	}
	if _, err := exec.LookPath(o.ffmpeg); err != nil {
		return fmt.Errorf("bot publish: ffmpeg makes the media and is not installed (Debian: apt-get install ffmpeg): %w", err)
	}
	if o.file != "" {
		if o.dark, o.mute = !o.has(ctx, "v"), !o.has(ctx, "a"); o.dark && o.mute {
			return fmt.Errorf("bot publish: --file: ffmpeg finds neither pictures nor sound in %s", o.file)
		}
	}
	if o.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.length)
		defer cancel()
	}
	return o.run(ctx, stdout, stderr)
}

// has tells whether the file has a stream of a kind, "v" or "a".
func (o *botPublish) has(ctx context.Context, kind string) bool {
	return exec.CommandContext(ctx, o.ffmpeg, "-nostdin", "-v", "quiet", "-i", "file:"+o.file, "-map", "0:"+kind+":0", "-c", "copy", "-t", "0", "-f", "null", "-").Run() == nil
}

// botConnect is how long everything up to the first packet may take.
const botConnect = 15 * time.Second

func (o *botPublish) run(ctx context.Context, stdout, stderr io.Writer) error {
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
	const ssrc = 0x0b07_0001
	c := newBotClient(loop, true, ssrc)
	p := &botPipe{client: c, kept: map[uint32]*[botKept][]byte{ssrc: {}, ssrc + 1: {}}}
	c.control = p.control
	ticket := o.token
	if ticket == "" {
		ticket = token.Sign(o.app, o.key, o.channel, o.user, time.Now().Add(24*time.Hour)).String()
	}
	connecting, cancel := context.WithTimeout(ctx, botConnect)
	defer cancel()
	at := strings.TrimRight(o.url, "/") + "/whip/" + url.PathEscape(o.app) + "/" + url.PathEscape(o.channel) + "/" + url.PathEscape(o.user)
	if err := c.connect(connecting, at, ticket, id); err != nil {
		return fmt.Errorf("bot publish: %w", err)
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		c.leave(bye)
	}()
	loop.at(time.Now(), func(time.Time) time.Duration { c.send(c.check); return 3 * time.Second }) // consent (RFC 7675)
	fmt.Fprintf(stdout, "%s publishes to channel %s of %s\n", o.user, o.channel, o.app)
	return o.media(ctx, p, stderr)
}

// media runs ffmpeg and passes on what it makes, until ctx or the session ends.
func (o *botPublish) media(ctx context.Context, p *botPipe, stderr io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sockets [4]*net.UDPConn // packets and reports of sound, the same of pictures
	var readers sync.WaitGroup
	defer readers.Wait()
	for i := range sockets {
		s, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return fmt.Errorf("bot publish: %w", err)
		}
		defer s.Close()
		sockets[i] = s
		_ = s.SetReadBuffer(1 << 20)
		readers.Go(func() { p.pass(s, i%2 == 1) })
	}
	var complaints tailBuffer
	cmd := exec.CommandContext(ctx, o.ffmpeg, o.arguments(p.client.ssrc, sockets)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("bot publish: start ffmpeg: %w", err)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		p.watch(ctx, cancel)
	}()
	err := cmd.Wait()
	ended := ctx.Err() != nil
	cause := context.Cause(ctx)
	cancel(nil)
	<-watched
	switch {
	case !ended:
		return fmt.Errorf("bot publish: ffmpeg ended: %v: %s", err, strings.TrimSpace(complaints.String()))
	case errors.Is(cause, errBotEnded):
		return fmt.Errorf("bot publish: %w", cause)
	}
	return nil
}

var errBotEnded = errors.New("the server ended the session")

// arguments are ffmpeg's.
func (o *botPublish) arguments(ssrc uint32, to [4]*net.UDPConn) []string {
	target := func(i int) string {
		return fmt.Sprintf("rtp://127.0.0.1:%d?rtcpport=%d&pkt_size=1200", port(to[i]), port(to[i+1]))
	}
	args := []string{"-nostdin", "-hide_banner", "-loglevel", "error"}
	picture := []string{"-map", "0:v:0", "-vf", fmt.Sprintf("scale=%d:%d:force_original_aspect_ratio=decrease,pad=%[1]d:%[2]d:-1:-1,fps=%[3]d,format=yuv420p", o.width, o.height, o.fps)}
	sound := []string{"-map", "1:a:0"}
	if o.file == "" {
		args = append(args, "-re", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=%d", o.width, o.height, o.fps),
			"-re", "-f", "lavfi", "-i", "aevalsrc='0.4*sin(2*PI*1000*t)*lt(mod(t,1),0.05)':s=48000")
	} else {
		args = append(args, "-stream_loop", "-1", "-re", "-i", "file:"+o.file)
		sound = []string{"-map", "0:a:0"}
	}
	if !o.dark {
		args = append(append(args, picture...), "-an", "-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "baseline",
			"-g", fmt.Sprint(o.fps), "-keyint_min", fmt.Sprint(o.fps), "-sc_threshold", "0",
			"-b:v", fmt.Sprint(o.kbps, "k"), "-maxrate", fmt.Sprint(o.kbps, "k"), "-bufsize", fmt.Sprint(o.kbps, "k"),
			"-payload_type", fmt.Sprint(botVideoType), "-ssrc", fmt.Sprint(ssrc+1), "-f", "rtp", target(2))
	}
	if !o.mute {
		args = append(append(args, sound...), "-vn", "-c:a", "libopus", "-b:a", "64k", "-ac", "2", "-ar", "48000", "-frame_duration", "20",
			"-payload_type", fmt.Sprint(botAudioType), "-ssrc", fmt.Sprint(ssrc), "-f", "rtp", target(0))
	}
	return args
}

func port(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }

// botKept is how many packets of a stream may be asked for again.
const botKept = 1024

// botPipe seals what comes from ffmpeg and sends it on.
type botPipe struct {
	client *botClient

	mu   sync.Mutex // for all that follows, and client.out
	kept map[uint32]*[botKept][]byte
}

// pass sends on what comes to a socket until that is closed.
func (p *botPipe) pass(from *net.UDPConn, reports bool) {
	buf := make([]byte, 2048)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if n >= 12 {
			p.send(buf[:n], reports)
		}
	}
}

func (p *botPipe) send(b []byte, report bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if report {
		p.client.sendRawRTCP(b)
		return
	}
	sealed, err := p.client.out.EncryptRTP(nil, b, nil)
	if err != nil {
		return
	}
	if kept := p.kept[binary.BigEndian.Uint32(b[8:])]; kept != nil {
		kept[binary.BigEndian.Uint16(b[2:])%botKept] = sealed
	}
	p.client.send(sealed)
}

// control takes the server's RTCP: what it lacks is sent again as it was.
func (p *botPipe) control(plain []byte) {
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, packet := range packets {
		nack, ok := packet.(*rtcp.TransportLayerNack)
		if !ok || p.kept[nack.MediaSSRC] == nil {
			continue
		}
		for _, pair := range nack.Nacks {
			pair.Range(func(seq uint16) bool {
				if b := p.kept[nack.MediaSSRC][seq%botKept]; b != nil && binary.BigEndian.Uint16(b[2:]) == seq {
					p.client.send(b)
				}
				return true
			})
		}
	}
}

// watch ends what runs when the server has ended the session.
func (p *botPipe) watch(ctx context.Context, end context.CancelCauseFunc) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if p.client.dead.Load() {
				end(errBotEnded)
				return
			}
		}
	}
}

// tailBuffer keeps the end of what is written.
type tailBuffer struct{ b []byte }

func (t *tailBuffer) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-2000):]
	return len(b), nil
}

func (t *tailBuffer) String() string { return string(t.b) }
