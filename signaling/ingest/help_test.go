package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"

	"braid/event"
	"braid/internal/testkit"
	"braid/media"
	"braid/media/flv"
	"braid/media/h264"
	"braid/media/packet"
	"braid/media/rtmp"
	"braid/media/sfu"
	"braid/mixer"
	"braid/origin"
	"braid/store"
)

// TestMain fails the run when goroutines of this module outlive the tests.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ingest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workerDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	testkit.Exit(code, "braid/")
}

const addressID = "0123456789abcdef0123456789abcdef"

// stage is a real origin, ingest, SFU and mixer pool.
type stage struct {
	sfu    *sfu.Server
	ingest *Server
	url    string // of addressID
	host   string // rtmp://host:port

	mu     sync.Mutex
	events []event.Event
}

var workerDir string // of all tests

// worker is the real media worker, built once.
var worker = sync.OnceValues(func() (string, error) {
	name := filepath.Join(workerDir, "braid-mixer")
	cmd := exec.Command("go", "build", "-o", name, "braid/cmd/braid-mixer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the worker: %w\n%s", err, out)
	}
	return name, nil
})

func newStage(t *testing.T) *stage {
	t.Helper()
	program, err := worker()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := &stage{}
	s.sfu, err = sfu.New(sfu.Config{Listen: "127.0.0.1:0", Log: log, Events: func(e event.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, e)
	}})
	if err != nil {
		t.Fatal(err)
	}
	pool := mixer.NewPool(mixer.Config{Program: program, MaxWidth: 1280, MaxHeight: 720, Log: log})
	s.ingest = New(Config{
		SFU: s.sfu, Mixer: pool, Log: log,
		Addresses: func(_ context.Context, id string) (store.Address, error) {
			if id != addressID {
				return store.Address{}, fmt.Errorf("address: %w", media.ErrNotFound)
			}
			return store.Address{ID: id, Kind: store.RTMPAddress, App: "app", Channel: "room", User: "obs", DisplayName: "Obs"}, nil
		},
	})
	o := origin.New(origin.Config{Ingest: s.ingest.Publish, Log: log})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- o.ServeRTMP(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		o.Close()
		s.sfu.Close()
		pool.Close()
	})
	s.host = "rtmp://" + ln.Addr().String()
	s.url = s.host + "/" + origin.IngestApp + "/" + addressID
	return s
}

// user is what obs publishes, nil when it is not in the channel.
func (s *stage) user() *media.User {
	c, ok := s.sfu.Channel("app", "room")
	if !ok {
		return nil
	}
	for _, u := range c.Users() {
		if u.ID == "obs" {
			return u
		}
	}
	return nil
}

// story is the events so far, as "UserJoin obs".
func (s *stage) story() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		line := string(e.Type)
		if e.User != nil {
			line += " " + e.User.ID
		}
		all = append(all, line)
	}
	return all
}

// ffmpegPublishes runs ffmpeg until the test ends or stop is called.
func ffmpegPublishes(t *testing.T, url string, args ...string) (exited <-chan struct{}, stop func()) {
	t.Helper()
	need(t, "ffmpeg")
	args = append(append([]string{"-nostdin", "-v", "error"}, args...), "-f", "flv", url)
	cmd := exec.Command("ffmpeg", args...)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	stop = sync.OnceFunc(func() { cmd.Process.Kill(); <-done })
	t.Cleanup(stop)
	return done, stop
}

func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed", program)
	}
}

func ffmpeg(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	need(t, "ffmpeg")
	cmd := exec.Command("ffmpeg", append([]string{"-v", "error"}, args...)...)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, errs.String())
	}
	return out
}

// tags lets ffmpeg make an FLV file and reads it.
func tags(t *testing.T, args ...string) (all []*flv.Tag) {
	t.Helper()
	file := bytes.NewReader(ffmpeg(t, nil, append(args, "-f", "flv", "-")...))
	if err := flv.ReadHeader(file); err != nil {
		t.Fatal(err)
	}
	for {
		tag, err := flv.ReadTag(file)
		if err != nil {
			return all
		}
		if tag.Type != flv.Script {
			all = append(all, tag)
		}
	}
}

func dial(t *testing.T, url string) (*rtmp.Publisher, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p, err := rtmp.Dial(ctx, url, rtmp.Options{})
	if err == nil {
		t.Cleanup(p.Close)
	}
	return p, err
}

// viewer is a WHEP viewer made of Pion. It keeps all packets.
type viewer struct {
	pc *webrtc.PeerConnection

	mu      sync.Mutex
	packets map[webrtc.RTPCodecType][]*media.Packet
	reports map[webrtc.RTPCodecType][]*rtcp.SenderReport
}

func (s *stage) watch(t *testing.T, name string) *viewer {
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.GracefulClose() })
	v := &viewer{pc: pc, packets: map[webrtc.RTPCodecType][]*media.Packet{}, reports: map[webrtc.RTPCodecType][]*rtcp.SenderReport{}}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		go v.readReports(track.Kind(), receiver)
		v.read(track)
	})
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	_, answer, err := s.sfu.Subscribe(t.Context(), sfu.SubscribeRequest{
		App: "app", Channel: "room", Viewer: name, User: "obs", Offer: pc.LocalDescription().SDP,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *viewer) read(track *webrtc.TrackRemote) {
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		v.mu.Lock()
		v.packets[track.Kind()] = append(v.packets[track.Kind()], &media.Packet{
			Seq: p.SequenceNumber, Timestamp: p.Timestamp, Marker: p.Marker, Payload: bytes.Clone(p.Payload), Arrival: time.Now(), Level: -1,
		})
		v.mu.Unlock()
	}
}

func (v *viewer) readReports(kind webrtc.RTPCodecType, receiver *webrtc.RTPReceiver) {
	for {
		packets, _, err := receiver.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			if sr, ok := p.(*rtcp.SenderReport); ok {
				v.mu.Lock()
				v.reports[kind] = append(v.reports[kind], sr)
				v.mu.Unlock()
			}
		}
	}
}

// count is how many frames of a kind have come.
func (v *viewer) count(kind webrtc.RTPCodecType) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	seen := map[uint32]bool{}
	for _, p := range v.packets[kind] {
		seen[p.Timestamp] = true
	}
	return len(seen)
}

// profile is what the newest SPS says; 0 before the first.
func (v *viewer) profile() (p byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, q := range v.packets[webrtc.RTPCodecTypeVideo] {
		if b := q.Payload; len(b) > 4 && b[0]&0x1f == 24 && b[3]&0x1f == h264.TypeSPS { // STAP-A
			p = b[4]
		}
	}
	return p
}

// frames joins the packets of a kind; none may be missing or out of order.
func (v *viewer) frames(t *testing.T, kind webrtc.RTPCodecType, c media.Codec) []packet.Frame {
	t.Helper()
	v.mu.Lock()
	packets := slices.Clone(v.packets[kind])
	v.mu.Unlock()
	buf, asm := packet.NewBuffer(time.Second, 500), packet.NewAssembler(c)
	var all []packet.Frame
	for _, p := range packets {
		buf.Push(p)
		for q, gap := buf.Pop(time.Now()); q != nil; q, gap = buf.Pop(time.Now()) {
			if gap {
				t.Fatalf("%s: packets are missing in front of number %d", kind, q.Seq)
			}
			all = append(all, asm.Push(q, gap)...)
		}
	}
	if s := asm.Stats(); s.Dropped+s.Malformed > 0 {
		t.Errorf("%s: %+v", kind, s)
	}
	for i := 1; i < len(all); i++ {
		if int32(all[i].Timestamp-all[i-1].Timestamp) <= 0 {
			t.Fatalf("%s: timestamp %d after %d", kind, all[i].Timestamp, all[i-1].Timestamp)
		}
	}
	return all
}

// clock maps RTP timestamps of a kind to the publisher's time by its newest report.
func (v *viewer) clock(t *testing.T, kind webrtc.RTPCodecType, rate int64) func(ts uint32) time.Duration {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.reports[kind]
	if len(all) == 0 {
		t.Fatalf("no sender report of the %s", kind)
	}
	sr := all[len(all)-1]
	at := time.Duration(sr.NTPTime>>32)*time.Second + time.Duration((sr.NTPTime&0xffffffff)*uint64(time.Second)>>32)
	return func(ts uint32) time.Duration {
		return at + time.Duration(int32(ts-sr.RTPTime))*time.Second/time.Duration(rate)
	}
}

// decodeH264 lets ffmpeg decode frames to grey pictures of w x h.
func decodeH264(t *testing.T, frames []packet.Frame, w, h int) [][]byte {
	t.Helper()
	var stream []byte
	for _, f := range frames {
		stream = h264.AppendAnnexB(stream, f.Units)
	}
	raw := ffmpeg(t, stream, "-f", "h264", "-i", "-", "-vf", fmt.Sprintf("scale=%d:%d", w, h), "-vsync", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "-")
	if len(raw) != len(frames)*w*h {
		t.Fatalf("ffmpeg decodes %d pictures of %d", len(raw)/(w*h), len(frames))
	}
	return slices.Collect(slices.Chunk(raw, w*h))
}

// oggPreSkip is what oggwriter tells players to leave out.
const oggPreSkip = 3840

// decodeOpus lets ffmpeg decode frames to mono; sample i is oggPreSkip+i of the first frame.
func decodeOpus(t *testing.T, frames []packet.Frame) []float32 {
	t.Helper()
	var file bytes.Buffer
	w, err := oggwriter.NewWith(&file, 48000, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		if i > 0 && f.Timestamp-frames[i-1].Timestamp != 960 {
			t.Fatalf("sound: timestamp steps by %d at packet %d", f.Timestamp-frames[i-1].Timestamp, i)
		}
		if err := w.WriteRTP(&rtp.Packet{Header: rtp.Header{Timestamp: f.Timestamp, SequenceNumber: uint16(i)}, Payload: f.Units[0]}); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	// FFmpeg's own decoder garbles changes of the coding mode.
	raw := ffmpeg(t, file.Bytes(), "-c:a", "libopus", "-f", "ogg", "-i", "-", "-ac", "1", "-f", "f32le", "-")
	pcm := make([]float32, len(raw)/4)
	if err := binary.Read(bytes.NewReader(raw), binary.LittleEndian, pcm); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return pcm
}
