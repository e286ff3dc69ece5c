package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The tools that look at a stream as a person would, by way of ffmpeg: none of
// braid's own parsers judges braid's output.

// rect is a rectangle in pixels.
type rect struct{ X, Y, W, H int }

// command runs a program and gives its two outputs. ffmpeg ignores SIGTERM
// while it is blocked in a read: what takes longer than limit is killed.
func command(t testing.TB, limit time.Duration, name string, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, err := tryCommand(limit, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(stderr, 2000))
	}
	return stdout, stderr
}

func tryCommand(limit time.Duration, name string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.WaitDelay = 2 * time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done within %v", limit)
	}
	return out.String(), complaints.String(), err
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// pull records a live stream into an FLV file, untouched. It waits up to 20 s
// for the stream to be there.
func pull(t testing.TB, url string, length time.Duration) (file string) {
	t.Helper()
	need(t, "ffmpeg")
	file = filepath.Join(t.TempDir(), "pulled.flv")
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, complaints, err := tryCommand(length+15*time.Second, "ffmpeg", "-nostdin", "-v", "error", "-y", "-rw_timeout", "8000000",
			"-i", url, "-t", fmt.Sprint(length.Seconds()), "-c", "copy", file)
		if info, statErr := os.Stat(file); err == nil && statErr == nil && info.Size() > 2000 {
			return file
		}
		if time.Now().After(deadline) {
			t.Fatalf("pull %s: %v\n%s", url, err, tail(complaints, 1000))
		}
		wait(300 * time.Millisecond)
	}
}

// wait is the pause between two looks at something outside this process, which
// has no channel to wait on.
func wait(d time.Duration) { <-time.After(d) }

// eventually looks until ok says yes, and fails with what it last said otherwise.
func eventually(t testing.TB, limit time.Duration, what string, ok func() (done bool, state string)) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		done, state := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v; last: %s", what, limit, state)
		}
		wait(100 * time.Millisecond)
	}
}

// streamInfo is what ffprobe says of one elementary stream.
type streamInfo struct {
	Type       string `json:"codec_type"`
	Codec      string `json:"codec_name"`
	Profile    string `json:"profile"`
	Width      int    `json:"width"`
	Height     int    `json:"height"`
	BFrames    int    `json:"has_b_frames"`
	SampleRate string `json:"sample_rate"`
	Channels   int    `json:"channels"`
}

func streams(t testing.TB, file string) (video, audio *streamInfo) {
	t.Helper()
	out, _ := command(t, 30*time.Second, "ffprobe", "-v", "error", "-show_streams", "-of", "json", file)
	var all struct{ Streams []*streamInfo }
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("ffprobe %s: %v", file, err)
	}
	for _, s := range all.Streams {
		switch s.Type {
		case "video":
			video = s
		case "audio":
			audio = s
		}
	}
	return video, audio
}

// frameRate is measured from the timestamps of the coded pictures.
func frameRate(t testing.TB, file string) float64 {
	t.Helper()
	out, _ := command(t, 30*time.Second, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0", file)
	var pts []float64
	for line := range strings.Lines(out) {
		if v, err := strconv.ParseFloat(strings.Trim(line, ", \r\n"), 64); err == nil {
			pts = append(pts, v)
		}
	}
	if len(pts) < 2 {
		t.Fatalf("%s: %d pictures", file, len(pts))
	}
	if !slices.IsSorted(pts) {
		t.Errorf("%s: the timestamps do not grow", file)
	}
	return float64(len(pts)-1) / (pts[len(pts)-1] - pts[0])
}

// cleanDecode fails the test when ffmpeg has anything to complain about in the
// file. Times stay as they are in it: by itself ffmpeg rounds them to the frame
// rate that it guesses, and complains about what it has rounded.
func cleanDecode(t testing.TB, file string) {
	t.Helper()
	if _, complaints := command(t, time.Minute, "ffmpeg", "-nostdin", "-v", "error", "-i", file,
		"-fps_mode", "passthrough", "-enc_time_base:v", "-1", "-f", "null", "-"); complaints != "" {
		t.Errorf("%s does not decode cleanly:\n%s", file, tail(complaints, 1000))
	}
}

// picture is a decoded part of a picture: its brightness and its time.
type picture struct {
	PTS  time.Duration
	W, H int
	Y    []byte
}

var ptsTime = regexp.MustCompile(`\bpts_time:\s*(-?[0-9.]+)`)

// pictures decodes the part of each picture inside crop, scaled to size (zero:
// as it is), with times on the file's own timeline.
func pictures(t testing.TB, file string, crop rect, size [2]int) (list []picture) {
	t.Helper()
	eachPicture(t, file, crop, size, func(p picture) {
		p.Y = bytes.Clone(p.Y)
		list = append(list, p)
	})
	return list
}

// eachPicture is pictures without keeping them: p.Y is valid until fn returns.
func eachPicture(t testing.TB, file string, crop rect, size [2]int, fn func(p picture)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w, h := cmp.Or(size[0], crop.W), cmp.Or(size[1], crop.H)
	filter := fmt.Sprintf("format=yuv420p,crop=%d:%d:%d:%d,scale=%d:%d:flags=area,format=yuv420p,showinfo", crop.W, crop.H, crop.X, crop.Y, w, h)
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-copyts", "-i", file, "-map", "0:v",
		"-vf", filter, "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1")
	raw, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	info, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	times := make(chan time.Duration, 1000) // showinfo speaks before the picture is written; closed by its reader
	said := &strings.Builder{}              // read after times is closed
	go func() {
		defer close(times)
		for lines := bufio.NewScanner(info); lines.Scan(); {
			if m := ptsTime.FindStringSubmatch(lines.Text()); m != nil && strings.Contains(lines.Text(), "showinfo") {
				times <- seconds(m[1])
			} else if !strings.Contains(lines.Text(), "showinfo") {
				said.WriteString(lines.Text() + "\n")
			}
		}
	}()
	buffered := bufio.NewReaderSize(raw, 1<<20)
	whole := make([]byte, w*h+2*((w+1)/2)*((h+1)/2)) // 4:2:0, of which the brightness is looked at
	n := 0
	for ; ; n++ {
		if _, err := io.ReadFull(buffered, whole); err != nil {
			break
		}
		fn(picture{PTS: <-times, W: w, H: h, Y: whole[:w*h]})
	}
	for range times { // none is left in a whole recording
	}
	if err := cmd.Wait(); err != nil || n == 0 {
		t.Fatalf("%s: %d pictures decode: %v\n%s", file, n, err, tail(said.String(), 1000))
	}
}

// part copies a rectangle out of a picture.
func (p picture) part(r rect) picture {
	out := picture{PTS: p.PTS, W: r.W, H: r.H, Y: make([]byte, 0, r.W*r.H)}
	for row := r.Y; row < r.Y+r.H; row++ {
		out.Y = append(out.Y, p.Y[row*p.W+r.X:row*p.W+r.X+r.W]...)
	}
	return out
}

func seconds(s string) time.Duration {
	v, _ := strconv.ParseFloat(s, 64) // the callers' expressions match numbers only
	return time.Duration(math.Round(v*1e6)) * time.Microsecond
}

// barcode reads the strip of a clip's picture, at whatever size it is shown.
// ok is false when there is none, or its parity is wrong.
func (p picture) barcode() (n, id int, ok bool) {
	cell := func(i int) int {
		// The middle half of the cell: its edges are blurred by scaling and coding.
		x0, x1 := (4*i+1)*p.W/(4*stripCells), (4*i+3)*p.W/(4*stripCells)
		y0, y1 := p.H*32/360/4, p.H*32/360*3/4
		sum, count := 0, 0
		for y := y0; y < max(y1, y0+1); y++ {
			for x := x0; x < max(x1, x0+1); x++ {
				sum += int(p.Y[y*p.W+x])
				count++
			}
		}
		return sum / count
	}
	white, black := cell(0), cell(1)
	if white-black < 80 {
		return 0, 0, false
	}
	bit := func(i int) bool { return cell(i) > (white+black)/2 }
	parity := false
	for i := range counterBits {
		if bit(2 + i) {
			n |= 1 << i
			parity = !parity
		}
	}
	for i := range idBits {
		if bit(2 + counterBits + i) {
			id |= 1 << i
			parity = !parity
		}
	}
	ok = bit(2+counterBits+idBits) == parity && bit(3+counterBits+idBits)
	return n, id, ok
}

// readBarcodes gives each picture's number; -1 where the clip is not seen.
func readBarcodes(t testing.TB, file string, crop rect, size [2]int, clipID int) []int {
	t.Helper()
	var numbers []int
	for _, p := range pictures(t, file, crop, size) {
		n, id, ok := p.barcode()
		if !ok || id != clipID {
			n = -1
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// shrink scales brightness by averaging areas: the plain twin of what a scaler does.
func shrink(y []byte, w, h, toW, toH int) []byte {
	out := make([]byte, toW*toH)
	for r := range toH {
		y0, y1 := r*h/toH, max((r+1)*h/toH, r*h/toH+1)
		for c := range toW {
			x0, x1 := c*w/toW, max((c+1)*w/toW, c*w/toW+1)
			sum := 0
			for yy := y0; yy < y1; yy++ {
				for xx := x0; xx < x1; xx++ {
					sum += int(y[yy*w+xx])
				}
			}
			out[r*toW+c] = byte(sum / ((y1 - y0) * (x1 - x0)))
		}
	}
	return out
}

// ssim compares two pictures of one size: 1 is equal, above 0.95 looks equal,
// below 0.8 is another picture (Wang et al. 2004, 8x8 windows every 4 pixels).
func ssim(a, b []byte, w, h int) float64 {
	const c1, c2 = 6.5025, 58.5225
	var total float64
	count := 0
	for y := 0; y+8 <= h; y += 4 {
		for x := 0; x+8 <= w; x += 4 {
			var sa, sb, saa, sbb, sab float64
			for r := y; r < y+8; r++ {
				for c := x; c < x+8; c++ {
					va, vb := float64(a[r*w+c]), float64(b[r*w+c])
					sa, sb = sa+va, sb+vb
					saa, sbb, sab = saa+va*va, sbb+vb*vb, sab+va*vb
				}
			}
			ma, mb := sa/64, sb/64
			va, vb, cov := saa/64-ma*ma, sbb/64-mb*mb, sab/64-ma*mb
			total += (2*ma*mb + c1) * (2*cov + c2) / ((ma*ma + mb*mb + c1) * (va + vb + c2))
			count++
		}
	}
	return total / float64(count)
}

// sound is decoded mono audio at 48 kHz with the time of each decoded block.
type sound struct {
	Samples []float32
	blocks  []soundBlock
}

type soundBlock struct {
	pts   time.Duration
	first int // sample
}

var blockInfo = regexp.MustCompile(`pts_time:\s*(-?[0-9.]+).*nb_samples:(\d+)`)

func decodePCM(t testing.TB, file string) sound {
	t.Helper()
	out, info := command(t, time.Minute, "ffmpeg", "-nostdin", "-copyts", "-i", file, "-map", "0:a", "-af",
		fmt.Sprintf("aformat=sample_fmts=fltp:sample_rates=%d:channel_layouts=mono,ashowinfo", sampleRate), "-f", "f32le", "-ac", "1", "pipe:1")
	s := sound{Samples: make([]float32, len(out)/4)}
	for i := range s.Samples {
		b := out[4*i:]
		s.Samples[i] = math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
	}
	first := 0
	for _, m := range blockInfo.FindAllStringSubmatch(info, -1) {
		s.blocks = append(s.blocks, soundBlock{seconds(m[1]), first})
		n, _ := strconv.Atoi(m[2]) // digits only
		first += n
	}
	if len(s.Samples) == 0 || len(s.blocks) == 0 {
		t.Fatalf("%s: no sound decodes\n%s", file, tail(info, 1000))
	}
	return s
}

// at is the time of a sample on the file's timeline.
func (s sound) at(sample int) time.Duration {
	i, found := slices.BinarySearchFunc(s.blocks, sample, func(b soundBlock, v int) int { return cmp.Compare(b.first, v) })
	if !found {
		i--
	}
	b := s.blocks[i]
	return b.pts + time.Duration(sample-b.first)*time.Second/sampleRate
}

// toneLevel is the level of one frequency in dBFS of a sine's amplitude, by
// Goertzel over blocks of 0.1 s: narrow enough to tell tones 20 Hz apart, wide
// enough for a sender's clock that is a little off.
func toneLevel(s sound, hz float64) float64 {
	const block = sampleRate / 10
	coefficient := 2 * math.Cos(2*math.Pi*hz/sampleRate)
	var power float64
	blocks := 0
	for from := 0; from+block <= len(s.Samples); from += block {
		var s1, s2 float64
		for _, v := range s.Samples[from : from+block] {
			s1, s2 = float64(v)+coefficient*s1-s2, s1
		}
		power += s1*s1 + s2*s2 - coefficient*s1*s2
		blocks++
	}
	amplitude := 2 * math.Sqrt(power/float64(max(blocks, 1))) / block
	return 20 * math.Log10(max(amplitude, 1e-9))
}

// avOffsets measures how much later each beep is heard than its flash is seen
// in a part of the picture.
func avOffsets(t testing.TB, file string, crop rect) []time.Duration {
	t.Helper()
	var flashes, beeps []time.Duration
	dark := false
	for _, p := range pictures(t, file, crop, [2]int{64, 36}) {
		sum := 0
		for _, v := range p.Y {
			sum += int(v)
		}
		switch mean := sum / len(p.Y); {
		case mean > 160:
			if dark {
				flashes = append(flashes, p.PTS)
			}
			dark = false
		case mean < 100:
			dark = true
		}
	}
	s := decodePCM(t, file)
	quiet := 0 // samples since the last loud one
	for i, v := range s.Samples {
		if v > 0.08 || v < -0.08 {
			if quiet > sampleRate/5 {
				beeps = append(beeps, s.at(i))
			}
			quiet = 0
		} else {
			quiet++
		}
	}
	var offsets []time.Duration
	for _, f := range flashes {
		for _, b := range beeps {
			if (b - f).Abs() < 400*time.Millisecond {
				offsets = append(offsets, b-f)
			}
		}
	}
	return offsets
}

// seiMessage is one SEI message and the picture it came with.
type seiMessage struct {
	PTS     time.Duration
	Key     bool
	Type    int
	UUID    []byte // payload type 5 only
	Payload []byte // without the UUID
}

var (
	tracePacket = regexp.MustCompile(`Packet: \d+ bytes(, key frame)?, pts (-?\d+),`)
	traceType   = regexp.MustCompile(`last_payload_type_byte\s+[01]+ = (\d+)`)
	traceUUID   = regexp.MustCompile(`uuid_iso_iec_11578\[\d+\]\s+[01]+ = (\d+)`)
	traceByte   = regexp.MustCompile(`payload_byte\[\d+\]\s+[01]+ = (\d+)`)
)

// seis reads the SEI messages of an FLV file (its timestamps are milliseconds)
// with ffmpeg's bitstream tracer. x264's own settings message is left out.
func seis(t testing.TB, file string) []seiMessage {
	t.Helper()
	_, trace := command(t, time.Minute, "ffmpeg", "-nostdin", "-copyts", "-i", file, "-map", "0:v", "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-")
	var list []seiMessage
	var pts time.Duration
	key := false
	number := func(s string) int { n, _ := strconv.Atoi(s); return n } // digits only
	for line := range strings.Lines(trace) {
		if m := tracePacket.FindStringSubmatch(line); m != nil {
			key, pts = m[1] != "", time.Duration(number(m[2]))*time.Millisecond
		} else if m := traceType.FindStringSubmatch(line); m != nil {
			list = append(list, seiMessage{PTS: pts, Key: key, Type: number(m[1])})
		} else if len(list) == 0 {
			continue
		} else if m := traceUUID.FindStringSubmatch(line); m != nil {
			list[len(list)-1].UUID = append(list[len(list)-1].UUID, byte(number(m[1])))
		} else if m := traceByte.FindStringSubmatch(line); m != nil {
			list[len(list)-1].Payload = append(list[len(list)-1].Payload, byte(number(m[1])))
		}
	}
	return slices.DeleteFunc(list, func(m seiMessage) bool { return bytes.HasPrefix(m.Payload, []byte("x264 ")) })
}

// layoutSEI is the layout message of artc-api.md section 7.1.
type layoutSEI struct{ Stream []layoutEntry }

type layoutEntry struct {
	UID        string
	PaneID     int
	ZOrder     int
	X, Y, W, H float64
	Vol, Vad   int
}

// layoutsIn decodes the messages that speak of a layout.
func layoutsIn(t testing.TB, list []seiMessage) (at []time.Duration, messages []layoutSEI) {
	t.Helper()
	for _, m := range list {
		var l layoutSEI
		if err := json.Unmarshal(bytes.TrimRight(m.Payload, "\x00"), &l); err != nil {
			t.Errorf("SEI at %v is not JSON: %v: %q", m.PTS, err, m.Payload)
			continue
		}
		if l.Stream != nil {
			at, messages = append(at, m.PTS), append(messages, l)
		}
	}
	return at, messages
}

// nals lists the NAL units of the video in a file, as ffmpeg takes them out of
// the container, without SEI (6), access unit delimiters (9) and filler (12).
func nals(t testing.TB, file string, inputOptions ...string) [][]byte {
	t.Helper()
	args := append([]string{"-nostdin", "-v", "error"}, inputOptions...)
	args = append(args, "-i", file, "-map", "0:v", "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "pipe:1")
	out, _ := command(t, time.Minute, "ffmpeg", args...)
	return splitAnnexB([]byte(out))
}

func splitAnnexB(b []byte) (units [][]byte) {
	for _, part := range bytes.Split(b, []byte{0, 0, 1}) {
		unit := bytes.TrimRight(part, "\x00") // the next start code's leading zero; a NAL unit never ends in one
		if len(unit) == 0 || unit[0]&31 == 6 || unit[0]&31 == 9 || unit[0]&31 == 12 {
			continue
		}
		units = append(units, unit)
	}
	return units
}

// nginx is a live origin that is not braid's: nginx with its RTMP module.
type nginx struct {
	t       testing.TB
	dir     string
	address string
	cmd     *exec.Cmd
}

// nginxRTMP starts nginx on a free port and gives the base URL of an
// application that takes and plays any stream. It ends with the test.
func nginxRTMP(t testing.TB) string {
	t.Helper()
	n := newNginx(t)
	n.start()
	return n.url()
}

func newNginx(t testing.TB) *nginx {
	t.Helper()
	need(t, "nginx")
	module := ""
	for _, dir := range []string{"/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules"} {
		if _, err := os.Stat(dir + "/ngx_rtmp_module.so"); err == nil {
			module = dir + "/ngx_rtmp_module.so"
		}
	}
	if module == "" {
		t.Skip("libnginx-mod-rtmp is not installed: script/setup.sh test installs it")
	}
	n := &nginx{t: t, dir: t.TempDir(), address: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	conf := fmt.Sprintf(`load_module %s;
daemon off; master_process off; worker_processes 1;
pid %[2]s/pid; error_log %[2]s/error.log info;
events { worker_connections 64; }
rtmp { server { listen %[3]s; access_log off; application live { live on; wait_key on; wait_video on; } } }
`, module, n.dir, n.address)
	if err := os.WriteFile(n.dir+"/nginx.conf", []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	return n
}

func (n *nginx) url() string { return "rtmp://" + n.address + "/live" }

// start starts it, also again after a stop, and waits until it listens.
func (n *nginx) start() {
	n.t.Helper()
	n.cmd = exec.Command("nginx", "-p", n.dir, "-c", n.dir+"/nginx.conf", "-e", n.dir+"/error.log")
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	eventually(n.t, 5*time.Second, "nginx listens", func() (bool, string) {
		c, err := net.Dial("tcp", n.address)
		if err != nil {
			said, _ := os.ReadFile(n.dir + "/error.log")
			return false, err.Error() + ": " + string(said)
		}
		c.Close()
		return true, ""
	})
}

// stop ends it as a crash does: connections break off.
func (n *nginx) stop() {
	if n.cmd != nil {
		n.cmd.Process.Kill()
		n.cmd.Wait()
		n.cmd = nil
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestNginxHelper pushes a clip with ffmpeg to nginx-rtmp and reads it back:
// what later tests hold against braid holds for ffmpeg's own push.
func TestNginxHelper(t *testing.T) {
	base := nginxRTMP(t)
	c := clip{ID: 5, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 440}
	f := c.make(t)
	ctx, cancel := context.WithCancel(context.Background())
	push := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-re", "-framerate", "30", "-i", f.H264, "-re", "-i", f.WAV,
		"-c:v", "copy", "-c:a", "aac", "-f", "flv", base+"/helper")
	stderr, _ := push.StderrPipe()
	if err := push.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		io.Copy(io.Discard, bufio.NewReader(stderr))
		push.Wait()
	}()
	file := pull(t, base+"/helper", 4*time.Second)
	video, audio := streams(t, file)
	if video == nil || video.Codec != "h264" || video.Width != 640 || audio == nil || audio.Codec != "aac" {
		t.Fatalf("streams: got %+v and %+v", video, audio)
	}
	if rate := frameRate(t, file); math.Abs(rate-30) > 0.3 {
		t.Errorf("frame rate: got %.2f, want 30", rate)
	}
	numbers := readBarcodes(t, file, rect{0, 0, 640, 360}, [2]int{}, c.ID)
	for i := 1; i < len(numbers); i++ {
		if numbers[i] != numbers[i-1]+1 {
			t.Fatalf("picture %d is number %d after %d", i, numbers[i], numbers[i-1])
		}
	}
	p := pictures(t, file, rect{0, 0, 640, 360}, [2]int{320, 180})[0]
	n, _, _ := p.barcode()
	if s := ssim(p.Y, shrink(c.luma(n), 640, 360, 320, 180), 320, 180); s < 0.95 {
		t.Errorf("picture %d: SSIM %.3f with its source, want 0.95", n, s)
	}
	if s := ssim(p.Y, shrink(c.luma(n+40), 640, 360, 320, 180), 320, 180); s > 0.8 {
		t.Errorf("picture %d: SSIM %.3f with another one: the clip does not move enough to tell", n, s)
	}
}
