package origin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/media/flv"
	"braid/media/h264"
)

// server is a whole origin on free ports.
type server struct {
	*Origin
	rtmp string // rtmp://127.0.0.1:port/live/
	http string // http://127.0.0.1:port/live/
}

func start(t *testing.T) *server {
	t.Helper()
	for _, tool := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := New(Config{Log: quiet()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.ServeRTMP(ctx, ln) }()
	web := httptest.NewServer(o)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ServeRTMP: %v", err)
		}
		o.Close()
		web.Close()
	})
	return &server{o, "rtmp://" + ln.Addr().String() + "/live/", web.URL + "/live/"}
}

// testUUID marks the SEI message that publishers put before each key frame.
const testUUID = "086f3693b7b34f2c965321492feee5b8"

// publishArgs are ffmpeg's arguments to publish a test picture and tone in real
// time, with a key frame each second.
func publishArgs(url string, more ...string) []string {
	args := []string{"-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=30", "-re", "-f", "lavfi", "-i", "sine=f=440:r=48000",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "30", "-keyint_min", "30", "-sc_threshold", "0", "-b:v", "800k",
		"-bsf:v", "h264_metadata=sei_user_data=" + testUUID + "+braid", "-c:a", "aac", "-ac", "2", "-b:a", "64k"}
	args = append(args, more...)
	return append(args, "-f", "flv", url)
}

// publishing starts ffmpeg and waits until the stream is complete. stop ends the
// process without a word, as a crash would.
func (s *server) publishing(t *testing.T, name string, more ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "ffmpeg", publishArgs(s.rtmp+name, more...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait() // killed
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("publisher of %s: %s", name, stderr.String())
		}
	})
	t.Cleanup(stop)
	testkit.Eventually(t, "stream "+name, func() bool {
		return slices.ContainsFunc(s.Streams(), func(i StreamInfo) bool {
			return i.Name == name && i.Remote != "" && i.Video == "H264" && i.Audio == "AAC" && i.BytesIn > 20_000
		})
	})
	return stop
}

// tool runs a program that must end well and without complaints.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

type probed struct {
	Codec  string `json:"codec_name"`
	Width  int
	Height int
	Frames string `json:"nb_read_frames"`
}

// probe decodes three seconds.
func probe(t *testing.T, url string) []probed {
	t.Helper()
	var out struct{ Streams []probed }
	b := tool(t, "ffprobe", "-v", "error", "-read_intervals", "%+3", "-count_frames", "-show_streams", "-of", "json", url)
	if err := json.Unmarshal(b, &out); err != nil {
		t.Errorf("ffprobe %s: %v: %s", url, err, b)
	}
	slices.SortFunc(out.Streams, func(a, b probed) int { return strings.Compare(b.Codec, a.Codec) }) // h264, aac
	return out.Streams
}

func checkPlays(t *testing.T, url string) {
	t.Helper()
	got := probe(t, url)
	if len(got) != 2 || got[0].Codec != "h264" || got[1].Codec != "aac" {
		t.Errorf("%s: got %+v, want h264 and aac", url, got)
		return
	}
	pictures, _ := strconv.Atoi(got[0].Frames)
	sounds, _ := strconv.Atoi(got[1].Frames)
	if pictures < 75 || sounds < 110 || got[0].Width != 640 || got[0].Height != 360 {
		t.Errorf("%s: got %+v, want 3 s of 640x360 at 30 pictures a second", url, got)
	}
}

// checkSEI pulls two seconds without decoding and looks for the publisher's
// messages, whole, in NAL units of their own. (FFmpeg's filter puts one into each
// key frame but its first, behind the slice.)
func checkSEI(t *testing.T, url string) {
	t.Helper()
	stream := tool(t, "ffmpeg", "-v", "error", "-i", url, "-map", "0:v", "-c", "copy", "-t", "3", "-f", "h264", "-")
	var uuid []byte
	fmt.Sscanf(testUUID, "%x", &uuid)
	want := append(append([]byte{6, 5, 22}, uuid...), "braid\x00\x80"...)
	keys, messages := 0, 0
	for _, u := range h264.SplitAnnexB(nil, stream) {
		if h264.Type(u) == 5 {
			keys++
		} else if bytes.Equal(u, want) {
			messages++
		}
	}
	if messages == 0 || messages < keys-1 {
		t.Errorf("%s: %d key frames, %d SEI messages", url, keys, messages)
	}
}

func TestFFmpegPublishesAndPlays(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.publishing(t, "cam", "-bf", "0")
	s.publishing(t, "reordered", "-bf", "2", "-preset", "veryfast")

	var all sync.WaitGroup
	for _, name := range []string{"cam", "reordered"} {
		for _, url := range []string{s.rtmp + name, s.http + name + ".flv", s.http + name + ".m3u8"} {
			all.Go(func() { checkPlays(t, url) })
			all.Go(func() { checkSEI(t, url) })
		}
	}
	all.Wait()

	second := exec.CommandContext(t.Context(), "ffmpeg", publishArgs(s.rtmp+"cam", "-t", "20")...)
	if out, err := second.CombinedOutput(); second.ProcessState.ExitCode() != 1 {
		t.Errorf("second publisher: %v, want exit status 1\n%s", err, out)
	}
	nobody := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", s.rtmp+"nobody")
	if out, err := nobody.CombinedOutput(); nobody.ProcessState.ExitCode() != 1 {
		t.Errorf("RTMP play of what nobody publishes: %v, want exit status 1\n%s", err, out)
	}
	info := s.Streams()[0]
	if info.Width != 640 || info.Height != 360 || !strings.HasPrefix(info.Remote, "127.0.0.1:") || info.BytesOut == 0 {
		t.Errorf("got %+v", info)
	}
}

func TestJoinersSeeAPictureAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.publishing(t, "cam", "-g", "90", "-keyint_min", "90") // 3 s: more than anybody would wait
	const joiners = 20
	times := make(chan time.Duration, joiners)
	var all sync.WaitGroup
	for range joiners {
		all.Go(func() {
			began := time.Now()
			r := s.openFLV(t, "cam")
			defer r.Close()
			for {
				tag, err := r.next()
				if err != nil {
					t.Error(err)
					return
				}
				if tag.Type == flv.Video && !flv.IsSequenceHeader(tag) {
					if !flv.IsVideoKey(tag.Payload) {
						t.Error("the first picture is not a key frame")
					}
					times <- time.Since(began)
					return
				}
			}
		})
	}
	all.Wait()
	close(times)
	var got []time.Duration
	for d := range times {
		got = append(got, d)
	}
	slices.Sort(got)
	if len(got) != joiners || got[joiners-1] > time.Second {
		t.Fatalf("first pictures after %v", got)
	}
	t.Logf("first picture after %v (median), %v (last of %d)", got[joiners/2], got[joiners-1], joiners)
}

// flvReader reads an HTTP-FLV response.
type flvReader struct {
	io.Closer
	r     *bufio.Reader
	flags byte
}

func (s *server) openFLV(t *testing.T, name string) *flvReader {
	t.Helper()
	resp, err := http.Get(s.http + name + ".flv")
	if err != nil {
		t.Error(err)
		return &flvReader{Closer: io.NopCloser(nil), r: bufio.NewReader(strings.NewReader(""))}
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "video/x-flv" || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%s.flv: %s %v", name, resp.Status, resp.Header)
	}
	r := &flvReader{Closer: resp.Body, r: bufio.NewReader(resp.Body)}
	head := make([]byte, 13)
	if _, err := io.ReadFull(r.r, head); err != nil || string(head[:4]) != "FLV\x01" {
		t.Errorf("%s.flv: header % x, %v", name, head, err)
	}
	r.flags = head[4]
	return r
}

func (r *flvReader) next() (*flv.Tag, error) {
	head := make([]byte, 11)
	if _, err := io.ReadFull(r.r, head); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head) & 0xffffff)
	body := make([]byte, n+4)
	if _, err := io.ReadFull(r.r, body); err != nil {
		return nil, err
	}
	if back := binary.BigEndian.Uint32(body[n:]); back != uint32(n+11) {
		return nil, fmt.Errorf("previous tag size %d after a tag of %d bytes", back, n+11)
	}
	ts := binary.BigEndian.Uint32(head[4:])>>8 | uint32(head[7])<<24
	return &flv.Tag{Type: head[0], Timestamp: ts, Payload: body[:n]}, nil
}

func TestViewersStayWhenThePublisherRestarts(t *testing.T) {
	t.Parallel()
	s := start(t)
	stop := s.publishing(t, "cam")
	r := s.openFLV(t, "cam")
	defer r.Close()
	last := map[byte]uint32{}
	var newest uint32
	// until reads on, with time rising, up to the nth tag that fits.
	until := func(what string, n int, fits func(*flv.Tag) bool) {
		t.Helper()
		for n > 0 {
			tag, err := r.next()
			if err != nil {
				t.Fatalf("waiting for %s: %v", what, err)
			}
			if tag.Timestamp < last[tag.Type] {
				t.Fatalf("waiting for %s: type %d goes back from %d to %d ms", what, tag.Type, last[tag.Type], tag.Timestamp)
			}
			last[tag.Type] = tag.Timestamp
			newest = max(newest, tag.Timestamp)
			if fits(tag) {
				n--
			}
		}
	}
	key := func(tag *flv.Tag) bool { return tag.Type == flv.Video && flv.IsVideoKey(tag.Payload) }
	header := func(tag *flv.Tag) bool { return tag.Type == flv.Video && flv.IsSequenceHeader(tag) }
	until("a second", 3, key)
	// Start the list before the break, so that it sees both publishers.
	if code, body := s.get(t, "cam.m3u8"); code != 200 {
		t.Fatalf("playlist before the break: %d %s", code, body)
	}
	stop()
	s.publishing(t, "cam")
	until("the new publisher's header", 1, header)
	before := newest
	until("its pictures", 4, func(tag *flv.Tag) bool { return key(tag) && !header(tag) })
	if newest-before < 2000 || newest-before > 10_000 {
		t.Errorf("three key frames later: %d ms went by, want about 3000", newest-before)
	}
	testkit.Eventually(t, "the break in the playlist", func() bool {
		_, body := s.get(t, "cam.m3u8")
		i := strings.Index(body, "#EXT-X-DISCONTINUITY\n")
		return i > 0 && strings.Contains(body[i:], ".ts")
	})
}

func (s *server) get(t *testing.T, path string) (code int, body string) {
	t.Helper()
	resp, err := http.Get(s.http + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestSoundAlone(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "sine=f=440:r=44100", "-c:a", "aac", "-f", "flv", s.rtmp+"mic")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	testkit.Eventually(t, "stream mic", func() bool { return len(s.Streams()) == 1 && s.Streams()[0].Audio == "AAC" })
	r := s.openFLV(t, "mic")
	if r.flags != 4 {
		t.Errorf("FLV header says %#x, want sound alone (4): players wait for pictures that never come", r.flags)
	}
	r.Close()
	for _, url := range []string{s.rtmp + "mic", s.http + "mic.flv", s.http + "mic.m3u8"} {
		if got := probe(t, url); len(got) != 1 || got[0].Codec != "aac" || got[0].Frames < "100" {
			t.Errorf("%s: got %+v, want 3 s of aac", url, got)
		}
	}
}

func TestHTTPAnswers(t *testing.T) {
	t.Parallel()
	s := start(t)
	in := publish(t, s.Hub, "cam")
	open(in)
	in.WriteTag(picture(0, true))
	in.WriteTag(sound(0))
	vvc := publish(t, s.Hub, "vvc")
	vvc.WriteTag(&flv.Tag{Type: flv.Video, Payload: []byte{0x90, 'v', 'v', 'c', '1', 1, 2}})
	for _, c := range []struct {
		method, path string
		code         int
		says         string
	}{
		{"GET", "nobody.flv", 404, "nobody publishes it"},
		{"GET", "nobody.m3u8", 404, "nobody publishes it"},
		{"GET", "nobody/1.ts", 404, "not found"},
		{"GET", "b%20d.flv", 400, "characters other than"},
		{"GET", "a/b/c.ts", 404, "no such page"},
		{"GET", "cam.mp4", 404, "no such page"},
		{"GET", "", 404, "no such page"},
		{"POST", "cam.flv", 405, "only GET"},
		{"OPTIONS", "cam.flv", 204, ""},
		{"HEAD", "cam.flv", 200, ""},
		{"GET", "vvc.m3u8", 415, "not supported"},
		{"GET", "cam.m3u8", 503, "first segment"},
		{"GET", "cam/1.ts", 404, "is not kept"},
	} {
		req, _ := http.NewRequest(c.method, s.http+c.path, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.code || !strings.Contains(string(body), c.says) || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: got %d %s, want %d ...%s", c.method, c.path, resp.StatusCode, body, c.code, c.says)
		}
	}
	// A whole segment with a key frame behind it, then the end of the stream.
	in.WriteTag(picture(1200, true))
	testkit.Eventually(t, "the playlist", func() bool { code, _ := s.get(t, "cam.m3u8"); return code == 200 })
	_, list := s.get(t, "cam.m3u8")
	lines := strings.Split(strings.TrimSpace(list), "\n")
	if code, data := s.get(t, lines[len(lines)-1]); code != 200 || len(data)%188 != 0 || data[0] != 0x47 {
		t.Errorf("segment: %d, %d bytes\n%s", code, len(data), list)
	}
	in.Close()
	testkit.Eventually(t, "the end of the playlist", func() bool {
		code, list := s.get(t, "cam.m3u8")
		return code == 200 && strings.HasSuffix(list, "#EXT-X-ENDLIST\n")
	})
	publish(t, s.Hub, "cam") // a new stream under the name takes the list over
	if code, body := s.get(t, "cam.m3u8"); code != 503 {
		t.Errorf("playlist of the next stream: %d %s", code, body)
	}
}

func TestListenerLimitAndEnd(t *testing.T) {
	t.Parallel()
	s := start(t)
	addr := strings.TrimSuffix(strings.TrimPrefix(s.rtmp, "rtmp://"), "/live/")
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write(bytes.Repeat([]byte{0xff, 0, 3}, 40_000)); err != nil { // no RTMP
		t.Log(err) // refused early
	}
	_ = nc.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.Copy(io.Discard, nc); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("a client that does not speak RTMP: %v, want the connection closed", err)
	}
	s.publishing(t, "cam", "-t", "2") // others are not concerned
}

// dropped counts what the viewers of a stream have lost.
func (s *server) dropped(name string) (n uint64) {
	s.Hub.mu.Lock()
	defer s.Hub.mu.Unlock()
	stream := s.Hub.streams[key{"live", name}]
	stream.mu.Lock()
	defer stream.mu.Unlock()
	for v := range stream.viewers {
		n += v.Dropped()
	}
	return n
}

// A viewer that does not read for a while costs neither the publisher nor the
// others; what it gets after the gap begins with a key frame.
func TestSlowViewerOverTCP(t *testing.T) {
	t.Parallel()
	s := start(t)
	in := publish(t, s.Hub, "cam")
	open(in)
	r := s.openFLV(t, "cam")
	defer r.Close()
	const gop = 10
	pictures := 0
	write := func() {
		tag := picture(pictures*40, pictures%gop == 0)
		tag.Payload = append(tag.Payload, make([]byte, 1<<20)...)
		in.WriteTag(tag)
		pictures++
	}
	for s.dropped("cam") == 0 {
		if write(); pictures > 500 {
			t.Fatal("500 MB wait for one viewer")
		}
	}
	for range 2 * gop {
		write()
	}
	in.Close()

	last, gaps := -1, 0
	for {
		tag, err := r.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if tag.Type != flv.Video || flv.IsSequenceHeader(tag) {
			continue
		}
		n := int(tag.Timestamp) / 40
		if n != last+1 {
			gaps++
			if !flv.IsVideoKey(tag.Payload) {
				t.Errorf("picture %d follows %d and is not a key frame", n, last)
			}
		}
		last = n
	}
	if gaps == 0 || last != pictures-1 {
		t.Errorf("%d gaps, last picture %d, want the last one of %d behind a gap", gaps, last, pictures)
	}
}
